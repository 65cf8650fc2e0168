"""The ablation of continuous inference and latency-aware streaming, over injected latencies.

It asks the question of the paper's Table II under the virtual clock: what either mechanism is
worth alone and together, at every latency on the same seeds. Everything that it depends on is a
constant here, so that a commit names a configuration.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from dvla.benchmarks.dom.campaign import Cell, finished, run_campaign
from dvla.benchmarks.dom.cell import digest_of
from dvla.benchmarks.dom.latency import Latency
from dvla.benchmarks.dom.result import CellConfig, EpisodeResult
from dvla.engines.cli_errors import run_main
from dvla.runtime.config import SchedulerConfig

LATENCIES_MS = (200.0, 0.0, 400.0, 100.0)
SWITCHES = ((True, True), (True, False), (False, True), (False, False))
"""Continuous inference and latency-aware streaming; both, either, none."""
FIRST_SEED, TRIALS = 20_000, 200


def cells(policy: str = "oracle") -> Iterator[tuple[str, Cell]]:
    """Yield the name and the configuration of each cell, the most telling latency first.

    Raises:
        DvlaError: there is no such policy.
    """
    digest = digest_of(policy)
    for latency_ms in LATENCIES_MS:
        for ci, laas in SWITCHES:
            name = f"{latency_ms:.0f}ms-{'ci' if ci else 'noci'}-{'laas' if laas else 'nolaas'}"
            config = CellConfig(
                policy=policy,
                policy_digest=digest,
                latency=Latency(median_ms=latency_ms),
                scheduler=SchedulerConfig(ci=ci, laas=laas),
            )
            yield name, Cell(config=config, first_seed=FIRST_SEED, trials=TRIALS)


def run_ablation(policy: str, folder: Path, workers: int) -> None:
    """Run the cells that have no report in ``folder`` yet; an interrupted one goes on.

    Raises:
        UsageError: the folder holds another policy's cells; nothing is run.
    """

    def progress(result: EpisodeResult) -> None:
        if result.seed % 20 == 0:
            print(f"  seed {result.seed} {result.outcome}", file=sys.stderr)

    folder.mkdir(parents=True, exist_ok=True)
    command = f"python -m dvla.benchmarks.dom.ablation --policy {Path(policy).name}"
    places = [(folder / f"{name}.json", cell) for name, cell in cells(policy)]
    for out, cell in [place for place in places if finished(*place) is None]:
        print(out.stem, file=sys.stderr)
        report = run_campaign(cell, out, workers=workers, command=command, progress=progress)
        print(f"  {report.successes} of {TRIALS}", file=sys.stderr)


def main() -> int:
    """Run the ablation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policy", default="oracle", help="oracle, or the folder of a bundle")
    parser.add_argument("--out", type=Path, required=True, help="folder of the cells' reports")
    parser.add_argument("--workers", type=int, default=2)
    asked = parser.parse_args()
    run_ablation(asked.policy, asked.out, asked.workers)
    return 0


if __name__ == "__main__":
    sys.exit(run_main(main))
