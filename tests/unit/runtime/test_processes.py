"""The small parts that processes are made of: heartbeats, the table, readers, settings."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import msgspec
import numpy as np
import pytest

from dvla.bindings import SharedRing
from dvla.engines.errors import UsageError
from dvla.runtime import supervisor as supervisor_module
from dvla.runtime.arm_host import arm_settings
from dvla.runtime.cli.run import parse
from dvla.runtime.config import SchedulerConfig, ServoConfig
from dvla.runtime.errors import ConfigError, ProcessDied
from dvla.runtime.processes.heartbeat import HeartbeatBoard
from dvla.runtime.processes.recorder import RowReader
from dvla.runtime.processes.settings import Rings, Settings
from dvla.runtime.processes.spawn import StartFailed
from dvla.runtime.processes.table import PROCESSES, STALL_PERIODS, ProcessSpec, process_spec
from dvla.runtime.replay.journal import ARM_CALL_SLOTS
from dvla.runtime.run_config import RunConfig, load_run_config
from dvla.runtime.supervisor import START_ORDER, SharedMemory, Supervisor
from dvla.runtime.telemetry import SERVO_RING_SLOTS, SERVO_TICK


def test_a_beat_is_seen_through_another_mapping_of_the_same_board() -> None:
    board = HeartbeatBoard.create(3)
    other = HeartbeatBoard(board.fd, 3)
    assert other.last(1) == (0, 0)
    board.beat(1, 123)
    board.beat(1, 456)
    assert other.last(1) == (456, 2)
    assert other.last(0) == other.last(2) == (0, 0)


def test_liveness_follows_from_the_declared_rates() -> None:
    assert set(START_ORDER) == set(PROCESSES)
    for spec in PROCESSES.values():
        assert spec.stall_ns >= STALL_PERIODS * 1e9 / spec.rate_hz
        assert spec.stall_ns >= spec.min_stall_s * 1e9
    # The control path is watched the closest, and a slow disk is nobody's emergency.
    assert PROCESSES["servo"].stall_ns == PROCESSES["arm"].stall_ns == 500_000_000
    assert PROCESSES["recorder"].stall_ns == max(spec.stall_ns for spec in PROCESSES.values())


def test_the_servo_is_watched_at_the_rate_that_it_was_asked_for() -> None:
    assert process_spec("servo", 1000).rate_hz == 1000
    assert process_spec("arm", 1000) == PROCESSES["arm"]
    # A recorder that does not count as stalled yet finds everything still in the rings.
    patience_s = PROCESSES["recorder"].stall_ns * 1e-9
    fastest = ServoConfig(rate_hz=1000)
    assert SERVO_RING_SLOTS > patience_s * fastest.rate_hz
    assert ARM_CALL_SLOTS > patience_s * PROCESSES["arm"].rate_hz


def test_a_stalled_recorder_is_told_and_ends_the_run_only_where_it_must_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = {"ns": 1}
    monkeypatch.setattr(supervisor_module, "monotonic_ns", lambda: now["ns"])
    for name, must_record, ends in (
        ("recorder", False, False),
        ("recorder", True, True),
        ("servo", False, True),
    ):
        shared, said = SharedMemory({}, 16), []
        settings = arm_settings("franka", "franka")
        settings = msgspec.structs.replace(settings, rings=shared.rings())
        watched = Supervisor(settings, shared, said.append, must_record=must_record)
        lives = SimpleNamespace(poll=lambda: None)
        watched._children[name] = SimpleNamespace(process=lives, spec=PROCESSES[name], pid=9)  # type: ignore[assignment]
        row = list(PROCESSES).index(name)
        shared.heartbeat.beat(row, now["ns"])
        watched.check()
        now["ns"] += PROCESSES[name].stall_ns + 1
        if ends:
            with pytest.raises(ProcessDied, match=f"process {name} .* is stalled"):
                watched.check()
            continue
        watched.check()
        watched.check()
        shared.heartbeat.beat(row, now["ns"])
        watched.check()
        assert [line.split()[0] for line in said] == ["WARNING:", "recorder:"], said
        assert "the run goes on" in said[0]


class LaunchedDouble:
    """Stands in for a started process: the arm dies while the policy loads.

    Args:
        spec: its row of the table.
        rings: as the real one.
    """

    codes: ClassVar[dict[str, int | None]] = {}
    fails: ClassVar[bool] = False

    def __init__(self, spec: ProcessSpec, rings: Rings) -> None:
        self.spec, self.pid = spec, 9
        self.process = SimpleNamespace(poll=lambda: self.codes.get(spec.name))

    def tell(self, settings: Settings) -> None:
        """Take the settings."""

    def wait_ready(self, timeout_s: float, wanted: Callable[[], bool]) -> str:
        """Return at once, but for the policy, during whose wait the arm is lost."""
        if self.spec.name == "policy":
            self.codes["arm"] = -signal.SIGKILL
            self.codes["policy"] = 2
            if self.fails:
                raise StartFailed("nobody is connected at ipc://arm", 2)
            while wanted():
                pass
        return ""

    def last_words(self) -> str:
        """Return nothing: it was killed."""
        return ""


@pytest.mark.parametrize("fails", [False, True])
def test_what_was_ready_and_is_lost_while_the_rest_loads_is_named(
    monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    shared, said = SharedMemory({}, 16), []
    monkeypatch.setattr(LaunchedDouble, "codes", {})
    monkeypatch.setattr(LaunchedDouble, "fails", fails)
    monkeypatch.setattr(supervisor_module, "Launched", LaunchedDouble)
    settings = msgspec.structs.replace(arm_settings("franka", "franka"), rings=shared.rings())
    starting = Supervisor(settings, shared, said.append)
    asked = iter([True, True, True, False])  # without the look at the others the wait would end
    with pytest.raises(ProcessDied, match=r"process arm \(pid 9\) ended while .* SIGKILL") as died:
        starting.start(lambda: next(asked, False))
    assert died.value.exit_code == 1
    assert [line.split(":")[0] for line in said] == ["recorder", "arm", "camera"]


def publish_ticks(ring: SharedRing, first: int, count: int) -> None:
    """Publish servo ticks whose ``sent`` is their number."""
    row = np.zeros(1, SERVO_TICK)
    for number in range(first, first + count):
        row["sent"] = number
        ring.publish(row.view(np.uint8), number)


def test_ticks_are_read_once_and_in_order() -> None:
    ring = SharedRing.create(SERVO_TICK.itemsize, 16)
    reader = RowReader(ring, SERVO_TICK)
    assert len(reader.take()) == 0
    publish_ticks(ring, 1, 5)
    assert reader.take()["sent"].tolist() == [1, 2, 3, 4, 5]
    publish_ticks(ring, 6, 2)
    assert reader.take()["sent"].tolist() == [6, 7]
    assert reader.lost == 0


def test_ticks_that_were_overtaken_are_counted() -> None:
    ring = SharedRing.create(SERVO_TICK.itemsize, 16)
    reader = RowReader(ring, SERVO_TICK)
    publish_ticks(ring, 1, 50)
    taken = reader.take()["sent"].tolist()
    assert taken == list(range(51 - len(taken), 51))
    assert reader.lost == 50 - len(taken)


def test_settings_survive_their_way_to_a_child() -> None:
    settings = Settings(
        session=7,
        supervisor_pid=1,
        robot="franka",
        arm_name="left",
        run_folder="/runs/x",
        policy="oracle",
        scheduler=SchedulerConfig(ci=False, seam="blend"),
        servo=ServoConfig(rate_hz=500),
        rings=Rings(
            heartbeat=3,
            heartbeat_rows={"arm": 0},
            stream=4,
            snapshot=5,
            servo_ticks=6,
            arm_calls=9,
            status=7,
            clock=10,
            frames={"a": 8},
        ),
        cameras={},
    )
    encoded = msgspec.json.encode(settings)
    assert msgspec.json.decode(encoded, type=Settings) == settings


def test_a_configuration_file_is_the_flags(tmp_path: Path) -> None:
    file = tmp_path / "run.yaml"
    file.write_text("robot: franka\nsim: true\npolicy: oracle\nlaas: false\nout: elsewhere\n")
    config = load_run_config(file)
    assert config == RunConfig(sim=True, policy="oracle", laas=False, out=Path("elsewhere"))
    assert not config.scheduler().laas


def test_its_name_is_taken_from_either_form_of_the_flag(tmp_path: Path) -> None:
    file = tmp_path / "run=1.yaml"
    file.write_text("policy: oracle\n")
    for words in (["--config", str(file)], [f"--config={file}"]):
        assert parse(["--sim", *words]) == RunConfig(sim=True, policy="oracle")
    for words in (["--config"], ["--config="], ["--config", ""]):
        with pytest.raises(UsageError, match="--config needs a file"):
            parse(["--sim", *words])


@pytest.mark.parametrize(
    ("text", "found"),
    [("polcy: oracle\n", "polcy"), ("duration: soon\n", "duration"), ("- a\n", "array"), ("{", "")],
)
def test_a_wrong_configuration_file_is_named(tmp_path: Path, text: str, found: str) -> None:
    file = tmp_path / "run.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=rf"run\.yaml.*{found}"):
        load_run_config(file)
