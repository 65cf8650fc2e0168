"""MCAP files of a run: complete, of bounded size, readable while they grow and after a kill."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from synthetic_run import START_NS, arm_states, events, servo_ticks

from dvla.engines.errors import UsageError
from dvla.runtime.append_file import AppendArray
from dvla.runtime.recorder import Recorder
from dvla.runtime.recordings.jpeg import JpegEncoder, decode_jpeg
from dvla.runtime.recordings.mcap_log import CHUNK_BYTES, McapLog
from dvla.runtime.recordings.mcap_read import cameras_of, messages, pictures, recordings_of
from dvla.runtime.recordings.mcap_schemas import ARM_STATE, EVENT, IMAGE, TICK, schema_of
from dvla.runtime.recordings.tail import LineTail, McapTail, RowTail
from dvla.runtime.run_folder import RunFolder, RunFolderError
from dvla.runtime.telemetry import SERVO_TICK

pytest.importorskip("mcap")
pytest.importorskip("av")


def shade(value: int, size: tuple[int, int] = (48, 64)) -> NDArray[np.uint8]:
    return np.full((*size, 3), value, np.uint8)


def test_a_picture_comes_back() -> None:
    image = np.tile(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], (48, 1, 3))
    back = decode_jpeg(JpegEncoder()(image))
    assert np.abs(back.astype(int) - image).max() <= 8


def test_everything_of_a_run_is_in_it_and_files_stay_small(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    recorder = Recorder(folder, cameras=[], mcap_bytes=120_000)
    for event in events(2.0):
        recorder.add_event(event)
    for state in arm_states(2.0):
        recorder.add_arm_state(state)
    recorder.add_servo_ticks(servo_ticks(2.0))
    times = [START_NS + 40_000_000 * index for index in range(50)]
    for index, t_ns in enumerate(times):
        recorder.add_frame("opst", t_ns, shade(40 + 4 * index))
    recorder.close()
    assert not recorder.failed
    files = recordings_of(tmp_path)
    assert len(files) > 1
    assert max(file.stat().st_size for file in files) < 200_000
    told = [topic for file in files for topic, _, _ in messages(file)]
    assert told.count("/events") == len(events(2.0))
    assert told.count("/arm") == len(arm_states(2.0))
    assert told.count("/commands") == len(servo_ticks(2.0))
    shown = [pair for pair in pictures(tmp_path, "opst")]
    assert [t_ns for t_ns, _ in shown] == times
    assert [round(float(image.mean()) / 4) for _, image in shown] == [10 + i for i in range(50)]


@pytest.mark.parametrize("name", [EVENT, ARM_STATE, TICK, IMAGE])
def test_every_kind_of_message_has_a_schema(name: str) -> None:
    schema = json.loads(schema_of(name))
    assert schema["title"] == name
    if name in (TICK, IMAGE):
        assert schema["type"] == "object" and len(schema["properties"]) >= 4
        return
    referred = set(re.findall(r"#/\$defs/(\w+)", json.dumps(schema)))
    assert referred and referred <= schema["$defs"].keys()


def test_a_file_that_a_kill_cut_off_is_read_up_to_the_cut(tmp_path: Path) -> None:
    log = McapLog(tmp_path, 1 << 30)
    random = np.random.default_rng(0)
    count = 0
    while (tmp_path / "recording-000.mcap").stat().st_size < 2 * CHUNK_BYTES:
        log.picture("a", count, random.integers(0, 256, (240, 320, 3), np.uint8))
        count += 1
    path = recordings_of(tmp_path)[0]
    path.write_bytes(path.read_bytes()[:-1000])  # never finished, its last chunk torn
    found = [t_ns for t_ns, _ in pictures(tmp_path, "a")]
    assert found == list(range(len(found)))
    assert 0 < len(found) < count
    assert cameras_of(tmp_path) == ["a"]


def test_a_run_without_pictures_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--mcap"):
        next(pictures(tmp_path, "a"))


def test_lines_and_rows_come_once_and_whole(tmp_path: Path) -> None:
    lines, rows = LineTail(tmp_path / "l"), RowTail(tmp_path / "r.npy", SERVO_TICK)
    assert lines.take() == [] and len(rows.take()) == 0
    (tmp_path / "l").write_bytes(b"one\ntwo\nthr")
    array = AppendArray(tmp_path / "r.npy", SERVO_TICK)
    ticks = servo_ticks(0.1)
    array.append(ticks)
    with (tmp_path / "r.npy").open("ab") as file:
        file.write(ticks[:1].tobytes()[:10])
    assert lines.take() == [b"one", b"two"]
    np.testing.assert_array_equal(rows.take(), ticks)
    with (tmp_path / "l").open("ab") as file:
        file.write(b"ee\n")
    assert lines.take() == [b"three"]
    assert lines.take() == [] and len(rows.take()) == 0


def test_rows_of_an_older_version_are_followed_too(tmp_path: Path) -> None:
    names = SERVO_TICK.names[:-1]
    older = np.dtype([(name, SERVO_TICK[name]) for name in names])
    ticks = servo_ticks(0.1)
    array, rows = AppendArray(tmp_path / "r.npy", older), RowTail(tmp_path / "r.npy", SERVO_TICK)
    array.append(ticks[list(names)].astype(older))
    found = rows.take()
    for name in names:
        np.testing.assert_array_equal(found[name], ticks[name])
    assert not found[SERVO_TICK.names[-1]].any()


def test_rows_of_an_unknown_version_are_refused(tmp_path: Path) -> None:
    newer = np.dtype([*SERVO_TICK.descr, ("more", "<i8")])
    AppendArray(tmp_path / "r.npy", newer).append(np.zeros(3, newer))
    with pytest.raises(RunFolderError, match=r"r\.npy holds rows of another version.*more"):
        RowTail(tmp_path / "r.npy", SERVO_TICK).take()


def test_a_growing_mcap_gives_every_message_once(tmp_path: Path) -> None:
    tail, log = McapTail(tmp_path), McapLog(tmp_path, 1_500_000)
    random, found, count = np.random.default_rng(0), [], 0
    for _ in range(40):
        for _ in range(5):
            log.picture("a", count, random.integers(0, 256, (120, 160, 3), np.uint8))
            count += 1
        found += [t_ns for _, t_ns, _ in tail.take()]
    assert len(recordings_of(tmp_path)) > 1
    log.close()
    while part := tail.take():
        found += [t_ns for _, t_ns, _ in part]
    assert found == list(range(count))
