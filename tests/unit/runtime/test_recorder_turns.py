"""The recorder's turns: every picture within a budget, the rest at the end, a status that fits."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dvla.bindings import SharedRing
from dvla.runtime.arm_host import arm_settings
from dvla.runtime.cameras.frame_ring import FrameRing, FrameShape
from dvla.runtime.clock import NS_PER_S, VirtualClock
from dvla.runtime.processes import recorder as recorder_module
from dvla.runtime.processes.recorder import LAST_PICTURES_NS, FrameReader, show, turn
from dvla.runtime.processes.table import PROCESSES
from dvla.runtime.status import StatusTracker
from dvla.runtime.supervisor import STATUS_BYTES, SharedMemory

SHAPE = FrameShape(height=4, width=4)
IMAGE = np.zeros((4, 4, 3), np.uint8)
PICTURE_NS = 3_500_000
PERIOD_NS = round(NS_PER_S / PROCESSES["recorder"].rate_hz)


class SlowRecorder:
    """Stands in for the recorder: each picture costs virtual time.

    Args:
        clock: that moves on.
        picture_ns: what a picture costs.
        turn_ns: what the rest of a turn costs.
    """

    failed = False

    def __init__(self, clock: VirtualClock, picture_ns: int = 0, turn_ns: int = 0) -> None:
        self._clock, self._picture_ns, self._turn_ns = clock, picture_ns, turn_ns
        self.times: dict[str, list[int]] = {}
        self.notes: list[str] = []

    def add_frame(self, camera: str, t_ns: int, image_hwc: object) -> None:
        """Take a picture."""
        self.times.setdefault(camera, []).append(t_ns)
        self._clock.advance_to(self._clock.now_ns() + self._picture_ns)

    def add_servo_ticks(self, ticks: object) -> None:
        """Take the ticks, and the time of everything else."""
        self._clock.advance_to(self._clock.now_ns() + self._turn_ns)

    def add_event(self, event: Any) -> None:
        """Keep what the notes say."""
        self.notes.append(event.text)

    def nothing(self, *given: object) -> None:
        """Take anything else."""

    write_inputs = add_arm_calls = close = nothing


class Run:
    """A recorder's loop on a virtual clock, with cameras that publish by it.

    Args:
        cameras: frames per second by name.
        seconds: until it is told to stop.
        turn_ns: what a turn costs besides pictures.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, cameras: dict[str, int], seconds: float, turn_ns: int
    ) -> None:
        self.clock, self._fps = VirtualClock(), cameras
        self._begun_ns = self._due_ns = self.clock.now_ns()
        self._until_ns = self._begun_ns + round(seconds * NS_PER_S)
        self.recorder = SlowRecorder(self.clock, PICTURE_NS, turn_ns)
        self.shared = SharedMemory(dict.fromkeys(cameras, SHAPE), 16)
        self.published: dict[str, list[int]] = {name: [] for name in cameras}
        self.turns: list[int] = []
        monkeypatch.setattr(recorder_module, "Recorder", lambda *given, **told: self.recorder)
        monkeypatch.setattr(recorder_module.RunInputs, "of", lambda settings: settings)
        settings = msgspec.structs.replace(
            arm_settings("franka", "franka", mcap_bytes=1),
            rings=self.shared.rings(),
            cameras=dict.fromkeys(cameras, SHAPE),
        )
        self.child = SimpleNamespace(
            settings=settings, spec=PROCESSES["recorder"], stopping=False, beat=self.turns.append,
            ready=lambda text: None, enter_realtime=lambda: SimpleNamespace(text=""),
        )  # fmt: skip

    def go(self) -> None:
        """Turn the loop until its end."""
        nothing: Any = SimpleNamespace(drain=list)
        child: Any = self.child
        turn(child, nothing, nothing, None, self.wait, self.clock.now_ns)

    def wait(self) -> int:
        """Sleep to the grid, as the pacer does, while the cameras go on."""
        late = max(1, -(-(self.clock.now_ns() - self._due_ns) // PERIOD_NS))
        self._due_ns += late * PERIOD_NS
        self.clock.advance_to(self._due_ns)
        for name, fps in self._fps.items():
            times = self.published[name]
            while (t_ns := self._begun_ns + len(times) * NS_PER_S // fps) < self._due_ns:
                self.shared.frames[name].publish(IMAGE, t_ns)
                times.append(t_ns)
        self.child.stopping = self._due_ns >= self._until_ns
        return self._due_ns


@pytest.mark.parametrize(
    ("cameras", "turn_ns"),
    [
        ({"opst": 60}, 0),
        ({"opst": 30, "wrist": 30}, 15_000_000),
        ({"opst": 60, "wrist": 60}, 5_000_000),
        ({"opst": 60, "wrist": 30}, 15_000_000),
    ],
)
def test_every_picture_of_every_camera_is_recorded_once_and_in_order(
    monkeypatch: pytest.MonkeyPatch, cameras: dict[str, int], turn_ns: int
) -> None:
    run = Run(monkeypatch, cameras, 20.0, turn_ns)
    run.go()
    assert run.recorder.times == run.published
    assert run.recorder.notes == []
    # What a turn takes is no part of what it sleeps: none is late.
    assert np.diff(run.turns).tolist() == [PERIOD_NS] * (len(run.turns) - 1)


def test_what_is_too_much_is_counted_and_every_camera_has_its_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run(monkeypatch, {"opst": 120, "wrist": 120}, 10.0, 15_000_000)
    run.go()
    kept = {name: len(times) for name, times in run.recorder.times.items()}
    published = sum(len(times) for times in run.published.values())
    lost = published - sum(kept.values())
    assert lost > 0
    assert abs(kept["opst"] - kept["wrist"]) <= len(run.turns)  # one a turn
    assert run.recorder.notes == [
        f"0 servo ticks, 0 arm calls and {lost} pictures were overtaken unrecorded"
    ]


def reader_of(
    counts: dict[str, int], now_ns: Callable[[], int], every: bool = True
) -> tuple[FrameReader, dict[str, FrameRing]]:
    """Return a reader of rings that hold the last of some frames, dated by their number."""
    rings = {name: FrameRing.create(SHAPE) for name in counts}
    for name, count in counts.items():
        for number in range(1, count + 1):
            rings[name].publish(IMAGE, number)
    return FrameReader(rings, every=every, now_ns=now_ns), rings


@given(
    counts=st.fixed_dictionaries({"opst": st.integers(0, 40), "wrist": st.integers(0, 40)}),
    picture_ns=st.integers(1, LAST_PICTURES_NS),
    budget_ns=st.integers(0, 10 * PICTURE_NS),
)
def test_each_picture_is_recorded_or_counted_as_lost(
    counts: dict[str, int], picture_ns: int, budget_ns: int
) -> None:
    clock = VirtualClock()
    recorder: Any = SlowRecorder(clock, picture_ns)
    reader, _ = reader_of(counts, clock.now_ns)
    begun_ns = clock.now_ns()
    reader.record(recorder, budget_ns)
    # One picture at least, or a slow disk would starve all; none begins after the budget.
    assert clock.now_ns() - begun_ns < max(budget_ns, 1) + picture_ns
    assert bool(recorder.times) == any(counts.values())
    begun_ns = clock.now_ns()
    reader.record_rest(recorder)
    assert clock.now_ns() - begun_ns < LAST_PICTURES_NS + picture_ns
    for times in recorder.times.values():
        assert times == sorted(set(times))
    assert sum(map(len, recorder.times.values())) + reader.lost == sum(counts.values())


def test_what_is_left_in_the_rings_is_taken_at_the_end() -> None:
    clock = VirtualClock()
    recorder: Any = SlowRecorder(clock, PICTURE_NS)
    reader, _ = reader_of({"opst": 10}, clock.now_ns)
    reader.record(recorder, PICTURE_NS)
    assert recorder.times == {"opst": [1]}
    reader.record_rest(recorder)
    assert recorder.times == {"opst": list(range(1, 11))}
    assert reader.lost == 0


def test_a_film_takes_the_newest_picture_and_loses_none() -> None:
    clock = VirtualClock()
    recorder: Any = SlowRecorder(clock, PICTURE_NS)
    reader, rings = reader_of({"opst": 10, "wrist": 7}, clock.now_ns, every=False)
    reader.record(recorder, 0)
    reader.record(recorder, 0)
    rings["opst"].publish(IMAGE, 11)
    reader.record_rest(recorder)
    assert recorder.times == {"opst": [10, 11], "wrist": [7]}
    assert reader.lost == 0


def test_a_status_that_does_not_fit_leaves_the_last_one() -> None:
    status, seen = SharedRing.create(STATUS_BYTES, 4), np.zeros(STATUS_BYTES, np.uint8)
    snapshot = StatusTracker(20).snapshot(NS_PER_S)
    show(status, snapshot, 1)
    show(status, msgspec.structs.replace(snapshot, notes=("x" * STATUS_BYTES,)), 2)
    assert status.newest == 1
    assert status.read(1, seen) == 1
    assert msgspec.json.decode(seen.tobytes().rstrip(), type=type(snapshot)) == snapshot
    show(status, snapshot, 3)
    assert status.newest == 2
