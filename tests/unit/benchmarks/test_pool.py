"""Seeds over processes: every seed once, whatever becomes of the processes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from pool_doubles import Behaviour, Result, Squares

from dvla.benchmarks.pool.local import run_seeds
from dvla.benchmarks.pool.work import Work, WorkerDied, WorkerFailed

TESTS = str(Path(__file__).resolve().parents[2])


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([TESTS, os.environ.get("PYTHONPATH", "")]))


def run(behaviour: Behaviour, seeds: object, workers: int = 2) -> dict[int, int]:
    found: dict[int, int] = {}

    def take(seed: int, encoded: bytes) -> None:
        assert seed not in found
        found[seed] = msgspec.json.decode(encoded, type=Result).square

    run_seeds(Work.of(Squares, behaviour), seeds, workers, take)  # type: ignore[arg-type]
    return found


def test_every_seed_is_answered_once(tmp_path: Path) -> None:
    assert run(Behaviour(folder=str(tmp_path)), range(7)) == {n: n * n for n in range(7)}


def test_the_seed_of_a_killed_worker_is_done_again(tmp_path: Path) -> None:
    found = run(Behaviour(folder=str(tmp_path), dies_once=(1, 2)), range(5))
    assert found == {n: n * n for n in range(5)}
    assert (tmp_path / "died-1").exists() and (tmp_path / "died-2").exists()


def test_a_seed_that_kills_every_worker_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkerDied, match="Seed 2 ended 3 worker processes") as raised:
        run(Behaviour(folder=str(tmp_path), dies=(2,)), range(4), workers=1)
    assert raised.value.exit_code == 1 and "what is finished is kept" in str(raised.value)


def test_a_full_disk_is_said_and_nothing_more_is_begun(tmp_path: Path) -> None:
    begun: list[int] = []

    def seeds() -> Iterator[int]:
        for seed in range(100):
            begun.append(seed)
            yield seed

    with pytest.raises(WorkerFailed, match=r"disk is full.*episode\.npy.*it goes on") as raised:
        run(Behaviour(folder=str(tmp_path), full=3), seeds(), workers=1)
    assert raised.value.exit_code == 3 and begun == [0, 1, 2, 3]


def test_a_worker_whose_pool_has_ended_ends_in_order(tmp_path: Path) -> None:
    worker = subprocess.Popen(
        [sys.executable, "-m", "dvla.benchmarks.pool.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert worker.stdin and worker.stdout and worker.stderr
    worker.stdout.close()
    work = Work.of(Squares, Behaviour(folder=str(tmp_path)))
    worker.stdin.write(msgspec.json.encode(work) + b"\n1\n2\n")
    worker.stdin.flush()
    assert worker.wait(60.0) == 1
    assert b"Traceback" not in worker.stderr.read()
    worker.stdin.close()


def test_a_fault_of_ours_keeps_its_exit_code(tmp_path: Path) -> None:
    with pytest.raises(WorkerFailed, match="ZeroDivisionError") as raised:
        run(Behaviour(folder=str(tmp_path), wrong=0), range(3), workers=1)
    assert raised.value.exit_code == 70


def test_seeds_are_drawn_when_they_are_needed(tmp_path: Path) -> None:
    found: dict[int, int] = {}

    def until_three() -> Iterator[int]:
        seed = 0
        while len(found) < 3:
            yield seed
            seed += 1

    def take(seed: int, encoded: bytes) -> None:
        found[seed] = msgspec.json.decode(encoded, type=Result).square

    run_seeds(Work.of(Squares, Behaviour(folder=str(tmp_path))), until_three(), 1, take)
    assert list(found) == [0, 1, 2]
