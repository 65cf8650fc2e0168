"""The recorder: what goes in comes back, and no disk can hurt a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
from synthetic_run import (
    CAMERAS,
    START_NS,
    arm_states,
    events,
    make_run,
    manifest,
    servo_ticks,
)

from dvla.runtime.events import Event, Note
from dvla.runtime.recorder import Recorder
from dvla.runtime.run_data import load_run
from dvla.runtime.run_folder import RunFolder

TESTS = Path(__file__).parents[2]


class Sink:
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(self, event: Event) -> None:
        self.events.append(event)


def test_what_was_recorded_comes_back(tmp_path: Path) -> None:
    data = load_run(make_run(tmp_path, 3.0, video=False).path)
    assert data.events == events(3.0)
    np.testing.assert_array_equal(data.servo, servo_ticks(3.0))
    states = arm_states(3.0)
    np.testing.assert_array_equal(data.arm["measured"], [state.measured for state in states])
    assert data.counts[-1].rejected == states[-1].rejected
    assert not data.warnings and data.video is None


def test_lost_states_of_the_arm_are_told(tmp_path: Path) -> None:
    folder = make_run(tmp_path, 2.0, video=False)
    rows = np.load(folder.arm)
    np.save(folder.arm, np.delete(rows, slice(20, 27)))
    (told,) = load_run(folder.path).warnings
    assert told.startswith("7 states of the arm were lost to the recorder")
    np.save(folder.arm, rows[:50])
    (told,) = load_run(folder.path).warnings
    assert told.startswith("The last 1.5 s of the arm's states were not recorded")


def test_an_unwritable_folder_is_one_note(tmp_path: Path) -> None:
    sink = Sink()
    recorder = Recorder(RunFolder(tmp_path / "gone"), cameras=CAMERAS, sink=sink, now_ns=5)
    recorder.add_event(Note(t_ns=9, source="x", text="y"))
    recorder.add_servo_ticks(servo_ticks(1.0))
    recorder.add_arm_state(arm_states(0.1)[0])
    recorder.add_frame("opst_cam", 9, np.zeros((4, 4, 3), np.uint8))
    recorder.close()
    assert recorder.failed and "No such file" in recorder.failure
    assert [type(event) for event in sink.events] == [Note]
    assert sink.events[0].t_ns == 5


def test_a_folder_of_an_earlier_run_is_not_overwritten(tmp_path: Path) -> None:
    folder = make_run(tmp_path, 2.0, video=False)
    before = folder.events.read_bytes()
    recorder = Recorder(folder)
    recorder.add_event(Note(t_ns=START_NS, source="x", text="y"))
    recorder.close()
    assert recorder.failed and folder.events.read_bytes() == before


DISK_FULL = """
import resource, sys
from pathlib import Path
from synthetic_run import CAMERAS, add_frames, arm_states, events, manifest, servo_ticks
from dvla.runtime.recorder import Recorder
from dvla.runtime.run_folder import RunFolder
folder = RunFolder.create(Path(sys.argv[1]), "franka", sim=True)
folder.write_manifest(manifest())
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))
notes = []
class Sink:
    def emit(self, event): notes.append(event)
recorder = Recorder(folder, cameras=CAMERAS, sink=Sink())
ticks, states = servo_ticks(4.0), arm_states(4.0)
for event in events(4.0): recorder.add_event(event)
for index, state in enumerate(states):
    recorder.add_arm_state(state)
    recorder.add_servo_ticks(ticks[index * 2 : index * 2 + 2])
    if index % 4 == 0: add_frames(recorder, index // 4)
recorder.close()
assert recorder.failed and len(notes) == 1, (recorder.failure, notes)
print(folder.path)
"""


def test_a_full_disk_ends_the_recording_and_not_the_run(tmp_path: Path) -> None:
    """The kernel refuses every byte beyond a limit, as a full disk does."""
    result = run_python(DISK_FULL, tmp_path)
    assert result.returncode == 0, result.stderr
    data = load_run(result.stdout.strip())
    assert len(data.events) >= len(events(4.0))
    told = [event for event in data.events if isinstance(event, Note)]
    assert sum("ended here: File too large" in note.text for note in told) == 1
    assert 0 < len(data.arm) < 400 and 0 < len(data.servo) < 1000
    np.testing.assert_array_equal(data.servo, servo_ticks(4.0)[: len(data.servo)])


KILLED = """
import os, signal, sys
from pathlib import Path
from synthetic_run import CAMERAS, add_frames, arm_states, events, manifest, servo_ticks
from dvla.runtime.recorder import Recorder
from dvla.runtime.run_folder import RunFolder
folder = RunFolder.create(Path(sys.argv[1]), "franka", sim=True)
folder.write_manifest(manifest())
recorder = Recorder(folder, cameras=CAMERAS)
for event in events(4.0): recorder.add_event(event)
recorder.add_servo_ticks(servo_ticks(4.0))
for state in arm_states(4.0): recorder.add_arm_state(state)
for index in range(100): add_frames(recorder, index)
print(folder.path, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_recorder_leaves_everything_readable(tmp_path: Path) -> None:
    result = run_python(KILLED, tmp_path)
    assert result.returncode == -signal.SIGKILL
    data = load_run(result.stdout.strip())
    assert data.events == events(4.0)
    assert len(data.servo) == 1000 and len(data.arm) == 400
    assert data.counts, "the counters by reason are missing"
    if data.video is not None:
        import av

        with av.open(str(data.video)) as film:
            seconds = [float(frame.time) for frame in film.decode(video=0)]
        assert max(seconds) > 2.0, "a kill may cost the last fragment, not the film"


def test_a_torn_last_line_costs_that_line_alone(tmp_path: Path) -> None:
    folder = make_run(tmp_path, 2.0, video=False)
    folder.events.write_bytes(folder.events.read_bytes()[:-9])
    data = load_run(folder.path)
    assert data.events == events(2.0)[:-1]
    assert data.warnings == ["events.jsonl ends in the middle of a line; that line is left out."]


def test_notes_carry_the_newest_time(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_manifest(manifest())
    sink = Sink()
    recorder = Recorder(folder, sink=sink)
    recorder.add_arm_state(arm_states(0.5)[-1])
    recorder._guard(raise_no_space)
    assert [event.t_ns for event in sink.events] == [START_NS + 490_000_000]


def raise_no_space() -> None:
    raise OSError(28, os.strerror(28))


def run_python(script: str, argument: Path) -> subprocess.CompletedProcess[str]:
    """Run a script in a process of its own, with the test helpers in reach."""
    path = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    return subprocess.run(
        [sys.executable, "-c", script, str(argument)],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
