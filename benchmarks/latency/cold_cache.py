"""Cold starts with and without the compiled graphs that a bundle keeps, in alternation.

``python -m dvla.benchmarks.latency.cold_cache BUNDLE --out FILE``: each round starts one process
per backend with the stored graphs and one without, in an order that reverses from round to round.
The first actions of both are compared bit by bit.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec
import tyro

from dvla.benchmarks.fixtures import TOKENS
from dvla.benchmarks.latency.cold_start import measure_cold_start
from dvla.benchmarks.report.schema import ColdStart
from dvla.benchmarks.report.store import write_whole
from dvla.benchmarks.session import say
from dvla.engines.bundle import Bundle, read_bundle
from dvla.engines.cli_errors import run_main
from dvla.engines.compiled import ENGINES_FOLDER
from dvla.engines.errors import EngineMismatch
from dvla.engines.selection import chosen_engine, compiled_store, verify_command
from dvla.runtime.machine import Machine, describe_machine

STORED, COMPILED = "stored graphs", "compiled from ONNX"


class ColdCacheReport(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cold starts of a bundle.

    Attributes:
        command: that measures the same again.
        machine: that it ran on, with its load before.
        weights_sha256: of the checkpoint.
        threads: of one inference.
        bundle_bytes: of the files that were exported, without compiled graphs.
        stored_bytes: of the compiled graphs, by backend.
        starts: by backend, then by ``STORED`` and ``COMPILED``, in their order.
        bit_equal: by backend, whether the first actions of all starts are the same bits.
    """

    command: str
    machine: Machine
    weights_sha256: str
    threads: int
    bundle_bytes: int
    stored_bytes: dict[str, int]
    starts: dict[str, dict[str, tuple[ColdStart, ...]]]
    bit_equal: dict[str, bool]


@contextmanager
def without_compiled(bundle: Path) -> Iterator[Path]:
    """Yield a view of a bundle that lacks the compiled graphs; the bundle stays as it is."""
    with tempfile.TemporaryDirectory(prefix="dvla-bundle-") as folder:
        view = Path(folder) / bundle.name
        view.mkdir()
        for entry in bundle.resolve().iterdir():
            if entry.name != ENGINES_FOLDER:
                (view / entry.name).symlink_to(entry)
        yield view


def stored_bytes(bundle: Bundle, backend: str) -> int:
    """Return the size of the compiled graphs of a backend that this machine would load.

    Raises:
        EngineMismatch: there are none, so that there is nothing to compare.
    """
    choice = chosen_engine(bundle, backend)
    folder = compiled_store(bundle, choice.engine, choice.precision).folder
    if not folder.is_dir():
        raise EngineMismatch(
            f"Bundle {bundle.path} keeps no compiled graphs of {backend} for this machine",
            next_command=verify_command(bundle, backend),
        )
    return sum(file.stat().st_size for file in folder.iterdir())


def measure(path: Path, backends: Sequence[str], rounds: int, threads: int) -> ColdCacheReport:
    """Start processes in alternation and return how they went."""
    bundle, machine = read_bundle(path), describe_machine()
    sizes = {backend: stored_bytes(bundle, backend) for backend in backends}
    found: dict[str, dict[str, list[ColdStart]]] = {
        backend: {STORED: [], COMPILED: []} for backend in backends
    }
    with without_compiled(path) as view:
        turns = [(b, kind) for b in backends for kind in (STORED, COMPILED)]
        for index in range(rounds):
            for backend, kind in turns if index % 2 == 0 else reversed(turns):
                say(f"round {index + 1} of {rounds}: {backend}, {kind} ...")
                start = measure_cold_start(
                    path if kind == STORED else view, backend, threads, TOKENS
                )
                found[backend][kind].append(start)
    return ColdCacheReport(
        command="python -m dvla.benchmarks.latency.cold_cache BUNDLE "
        f"--backend {' '.join(backends)} --rounds {rounds} --threads {threads}",
        machine=machine,
        weights_sha256=bundle.manifest.source.sha256,
        threads=threads,
        bundle_bytes=sum(file.size_bytes for file in bundle.manifest.files),
        stored_bytes=sizes,
        starts={b: {kind: tuple(s) for kind, s in kinds.items()} for b, kinds in found.items()},
        bit_equal={
            b: len({s.actions_sha256 for kind in kinds.values() for s in kind}) == 1
            for b, kinds in found.items()
        },
    )


def command(
    bundle: Annotated[Path, tyro.conf.Positional],
    out: Path,
    backend: tuple[str, ...] = ("onnxruntime",),
    rounds: int = 3,
    threads: int = 1,
) -> None:
    """Measure cold starts with and without a bundle's compiled graphs, in alternation.

    Args:
        bundle: verified on every backend, so that it keeps their compiled graphs.
        out: JSON file of the result.
        backend: to measure.
        rounds: each starts two processes per backend.
        threads: of one inference.
    """
    report = measure(bundle, backend, rounds, threads)
    write_whole(out, msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    say(f"report: {out}")


if __name__ == "__main__":
    name = "python -m dvla.benchmarks.latency.cold_cache"
    sys.exit(run_main(lambda: tyro.cli(command, prog=name)))
