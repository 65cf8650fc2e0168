"""What a run leaves for others: MCAP files, a viewer's file, decisions that come out again."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from run_harness import ROOT, LiveRun

from dvla.runtime.latency import Delay
from dvla.runtime.latency_set_up import LatencySetUp, write_set_up
from dvla.runtime.recordings.jpeg import decode_jpeg
from dvla.runtime.run_data import load_run

for package in ("mcap", "av", "rerun", "mujoco"):
    pytest.importorskip(package, reason=f"{package} is not installed")

CAMERAS = ("observation.images.opst_cam", "observation.images.wrist_cam")
DELAY_S = {"arm": 0.05, "opst_cam": 0.03}


def command(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of DVLA."""
    return subprocess.run(
        [sys.executable, "-m", f"dvla.runtime.cli.{name}", *words],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveRun]:
    """Record a run as MCAP, with a viewer beside it, on a set-up whose delays are known."""
    folder = tmp_path_factory.mktemp("recorded")
    arm, camera = (
        Delay(delay_s=delay_s, bound_s=0.01, correlation=0.9, intervals=99)
        for delay_s in DELAY_S.values()
    )
    set_up = LatencySetUp(
        run="r", robot="franka", sim=True, started_utc="", actuation=arm,
        cameras={CAMERAS[0]: camera},
    )  # fmt: skip
    write_set_up(folder / "delays.json", set_up)
    made = LiveRun(
        folder, "--policy", "oracle", "--viz", "--mcap-mb", "1", "--duration", "0",
        "--latency", str(folder / "delays.json"),
        env={"DISPLAY": "", "WAYLAND_DISPLAY": ""},
    )  # fmt: skip
    try:
        made.until_following()
        time.sleep(2.0)
        made.process.send_signal(signal.SIGINT)
        assert made.end() == 128 + signal.SIGINT, made.text
        yield made
    finally:
        made.kill()


def test_the_mcap_files_are_for_every_reader(run: LiveRun) -> None:
    from mcap.reader import make_reader

    files = sorted(run.folder().glob("recording-*.mcap"))
    assert len(files) > 1, "they are begun anew when they are full"
    seen: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    schemas: dict[str, str] = {}
    for path in files:
        assert path.stat().st_size < 1.3 * 2**20
        with path.open("rb") as file:
            reader = make_reader(file, validate_crcs=True)
            (about,) = reader.iter_metadata()
            assert about.name == "dvla.run" and about.metadata["robot"] == "franka"
            for schema, channel, message in reader.iter_messages():
                told = json.loads(message.data)
                seen.setdefault(channel.topic, []).append((message.log_time, told))
                assert schema is not None and json.loads(schema.data)["title"] == schema.name
                schemas[channel.topic] = schema.name
    assert schemas == {
        "/events": "dvla.Event",
        "/arm": "dvla.ArmState",
        "/commands": "dvla.ServoTick",
        **{f"/cameras/{name}": "foxglove.CompressedImage" for name in CAMERAS},
    }
    data = load_run(run.folder())
    assert len(seen["/commands"]) == len(data.servo)
    assert len(seen["/arm"]) == len(data.arm)
    for name in CAMERAS:
        times = [t_ns for t_ns, _ in seen[f"/cameras/{name}"]]
        assert times == sorted(set(times))
        image_hwc = decode_jpeg(base64.b64decode(seen[f"/cameras/{name}"][-1][1]["data"]))
        assert image_hwc.shape == (360, 480, 3) and np.ptp(image_hwc) > 100


def test_the_viewer_shows_all_of_it(run: LiveRun, tmp_path: Path) -> None:
    # The one beside the run is as nice as can be; on a busy machine it is not waited for.
    assert f"viewer: no display; writing {run.folder() / 'run.rrd'}" in run.text
    assert (run.folder() / "viewer.log").exists()
    saved = tmp_path / "run.rrd"
    done = command("view", str(run.folder()), "--save", str(saved))
    assert done.returncode == 0, done.stderr
    content = saved.read_bytes()
    assert content[:3] == b"RRF" and len(content) > 100_000
    for entity in (*(f"/cameras/{name}" for name in CAMERAS), "/arm/tool", "/ages/observation_ms"):
        assert entity.encode() in content, entity


def test_every_decision_comes_out_again(run: LiveRun) -> None:
    done = command("replay", str(run.folder()), "--json")
    assert done.returncode in (0, 1), done.stderr
    stages = json.loads(done.stdout)["stages"]
    for stage in stages:
        # On a busy machine states may be lost to the recorder; what is there comes out again.
        assert stage["difference"] is None and stage["compared"] > 5, stage
        assert not stage["missing"] or "was not recorded" in stage["missing"], stage
    assert len(stages) == 3 or stages[-1]["missing"]


def test_delays_of_the_set_up_are_taken_off_and_told(run: LiveRun) -> None:
    assert load_run(run.folder()).manifest.delays_s == DELAY_S
    assert "delays taken off" in run.text and "arm 50 ms, opst_cam 30 ms" in run.text
    inputs = json.loads(Path(run.folder() / "inputs.json").read_text())
    assert inputs["scheduler"]["lead_s"] == DELAY_S["arm"]
    assert re.search(r"opst_cam: the twin's, rendered by \w+, less 30.0 ms", run.text), run.text
