"""The summary: computed from the files alone, and in words where something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from synthetic_run import START_NS, H, events, make_run, manifest

from dvla.runtime.events import ChunkDiscarded, InferenceStarted, SchedulerStateChanged
from dvla.runtime.percentiles import percentiles
from dvla.runtime.recorder import Recorder
from dvla.runtime.run_folder import RunFolder, RunFolderError
from dvla.runtime.summary import RunSummary, rate_hz, summarise
from dvla.runtime.summary_text import summary_text, verdict


def test_the_numbers_of_a_run(tmp_path: Path) -> None:
    summary = summarise(make_run(tmp_path, 8.0, video=False).path)
    chunks = sum(type(event).__name__ in ("ChunkMerged", "ChunkDiscarded") for event in events(8.0))
    assert summary.chunks == chunks and summary.merged == chunks - 1
    assert summary.action_hz == H * summary.replan_hz
    assert summary.dispatch_hz == pytest.approx(250.0)
    assert summary.first_action_s == pytest.approx(0.5, abs=0.03)
    fates = summary.actions_executed + summary.actions_stale + summary.actions_overridden
    assert fates + summary.actions_cleared + summary.actions_pending == H * chunks
    assert (summary.underruns, summary.arm_stops, summary.overruns) == (1, 1, 0)
    assert summary.taken_back == 2
    assert summary.rejected == {"stale": 1} and summary.accepted == 1997
    assert summary.acceptance_share == pytest.approx(1997 / 1998)
    assert (summary.caught, summary.attempts) == (1, 2)
    assert summary.pids == manifest().pids
    assert summary.tracking_m is not None and 0 < summary.tracking_m.p50 < summary.tracking_m.max
    assert any("ran dry once" in problem for problem in summary.problems)


def test_it_travels_as_json(tmp_path: Path) -> None:
    summary = summarise(make_run(tmp_path, 2.0, video=False).path)
    encoded = msgspec.json.encode(summary)
    assert msgspec.json.decode(encoded, type=RunSummary) == summary
    assert json.loads(encoded)["manifest"]["robot"] == "franka"


def test_a_run_killed_at_its_start_has_a_summary(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_manifest(manifest())
    summary = summarise(tmp_path)
    assert summary.duration_s == 0.0 and summary.inference_s is None
    assert summary.acceptance_share is None and summary.first_action_s is None
    assert "before the policy began" in verdict(summary)
    assert summary.problems[0].endswith("it was killed, or nobody followed it.")
    assert any("servo.npy is missing" in problem for problem in summary.problems)
    assert "replan_hz" in summary_text(summary)


def with_manifest(folder: RunFolder, drop: tuple[str, ...], **changes: object) -> RunSummary:
    """Return the summary of a run of another kind, without some of its events."""
    folder.write_manifest(manifest(**changes))
    lines = folder.events.read_text().splitlines()
    kept = [line for line in lines if json.loads(line)["event"] not in drop]
    folder.events.write_text("".join(line + "\n" for line in kept))
    return summarise(folder.path)


EPISODES = ("episode_started", "episode_ended")


def test_a_run_on_a_real_arm_is_not_told_what_only_a_twin_can_see(tmp_path: Path) -> None:
    summary = with_manifest(make_run(tmp_path, 4.0, video=False), EPISODES, sim=False)
    assert verdict(summary).startswith(f"Executed {summary.actions_executed} actions in 4.0 s")
    assert "not judged: only a twin" in summary_text(summary)
    assert "caught" not in summary_text(summary)


def test_a_twin_whose_episodes_have_not_ended_has_caught_nothing_and_missed_nothing(
    tmp_path: Path,
) -> None:
    summary = with_manifest(make_run(tmp_path, 4.0, video=False), ("episode_ended",))
    assert "none ended" in summary_text(summary) and "caught" not in summary_text(summary)


def test_in_shadow_nothing_was_executed_and_nothing_was_behind(tmp_path: Path) -> None:
    folder = make_run(tmp_path, 4.0, video=False)
    summary = with_manifest(folder, EPISODES, sim=False, shadow=True)
    assert "came into force and moved nothing" in verdict(summary)
    assert "the gate accepted" in verdict(summary)
    assert summary.tracking_m is None and summary.tracking_rad is None


def test_a_run_that_ended_before_it_began_says_so_and_why(tmp_path: Path) -> None:
    folder = make_run(tmp_path, 1.0, video=False)
    policy = ("inference_started", "chunk_merged", "action_in_force", "scheduler_state")
    ending = "somebody holds the arm. Got hold: coffee."
    summary = with_manifest(folder, (*EPISODES, *policy), sim=False, ending=ending)
    assert verdict(summary) == "The run ended after 1.0 s, before the policy began."
    first = "The run ended before the policy began: somebody holds the arm. Got hold: coffee."
    assert summary.problems[0] == first
    assert not any("inference" in problem for problem in summary.problems)


def test_a_policy_that_is_too_slow_is_told_why(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_manifest(manifest())
    recorder = Recorder(folder)
    for number in range(4):
        t_ns = START_NS + number * 2_000_000_000
        recorder.add_event(
            InferenceStarted(t_ns=t_ns, sequence=number, generation=0, t_obs_ns=t_ns)
        )
        recorder.add_event(
            ChunkDiscarded(
                t_ns=t_ns + 2_000_000_000, sequence=number, generation=0, t_obs_ns=t_ns,
                reason="stale",
            )
        )  # fmt: skip
    recorder.add_event(SchedulerStateChanged(t_ns=START_NS + 8_000_000_000, state="too_slow"))
    recorder.close()
    summary = summarise(tmp_path)
    assert summary.actions_stale == 4 * H and summary.too_slow == 1
    assert summary.inference_s is not None and summary.inference_s.p50 == pytest.approx(2.0)
    assert summary.replan_hz == pytest.approx(0.5)
    assert any("takes 2.00 s (p50), while a chunk lasts 0.80 s" in p for p in summary.problems)


def test_samples_newer_than_the_counters_are_not_lost(tmp_path: Path) -> None:
    folder = make_run(tmp_path, 4.0, video=False)
    folder.counts.write_bytes(b"")
    assert summarise(folder.path).rejected == {"unknown": 1}


@pytest.mark.parametrize("name", ["events.jsonl", "servo.npy", "arm.npy", "counts.jsonl"])
def test_foreign_bytes_are_refused(tmp_path: Path, name: str) -> None:
    folder = make_run(tmp_path, 2.0, video=False)
    (folder.path / name).write_bytes(b"\x93NUMPX not ours\n" * 40)
    with pytest.raises(RunFolderError, match=name) as caught:
        summarise(folder.path)
    assert "\n" not in str(caught.value)


def test_rows_of_another_version_are_refused(tmp_path: Path) -> None:
    folder = make_run(tmp_path, 2.0, video=False)
    np.save(folder.servo, np.zeros(4))
    with pytest.raises(RunFolderError, match="another version"):
        summarise(folder.path)


def test_nulls_are_not_numbers_in_events(tmp_path: Path) -> None:
    folder = make_run(tmp_path, 2.0, video=False)
    lines = folder.events.read_text().splitlines()
    place = next(i for i, line in enumerate(lines) if '"chunk_merged"' in line)
    lines[place] = json.dumps({**json.loads(lines[place]), "seam_m": None})
    folder.events.write_text("\n".join(lines) + "\n")
    assert summarise(folder.path).merged == summarise(folder.path).chunks


def test_percentiles_and_rates_of_little() -> None:
    assert percentiles([]) is None and percentiles([np.nan]) is None
    one = percentiles([3.0])
    assert one is not None and (one.count, one.p50, one.max) == (1, 3.0, 3.0)
    assert rate_hz(np.array([5])) == 0.0 and rate_hz(np.array([5, 5])) == 0.0
    assert rate_hz(np.array([0, 10**9, 2 * 10**9])) == 1.0
