"""Which precision an engine of a bundle runs in: tried on the reference, chosen by evidence."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from dvla.engines.base import Engine
from dvla.engines.bundle import REFERENCE_NAME, Bundle, read_bundle, write_manifest
from dvla.engines.cache import FP32, RUNNING_GRAPHS, complete_precision
from dvla.engines.errors import BundleError, UsageError
from dvla.engines.files import locked_folder
from dvla.engines.manifest import EngineRecord, Verification
from dvla.engines.pipeline import ActionPipeline
from dvla.engines.selection import key_here, with_record
from dvla.export.gate import require_passed, verify
from dvla.export.progress import Progress
from dvla.export.reference import load_reference

AUTO = "auto"
# A reduced precision must be this much faster: closer latencies are noise, and float32 is exact.
_WORTHWHILE = 0.97
# A verdict is of a bundle with just these.
_VERIFIED = ("source", "policy", "normalisation", "graphs", "files")


def check_precision(engine: type[Engine], asked: str | None) -> None:
    """Raise a UsageError unless ``asked`` is a precision of the backend here, or ``auto``."""
    if asked == AUTO and not engine.can_run():
        raise UsageError(
            f"Precision auto measures, and backend {engine.backend} cannot run on this machine",
            choices=engine.precisions(),
            next_command="name a precision here, and use auto on the device",
        )
    if asked in (None, AUTO):
        return
    if asked not in engine.precisions():
        raise UsageError(
            f"Backend {engine.backend} has no such precision on this machine",
            got=repr(asked),
            choices=[*engine.precisions(), AUTO],
        )


def verify_engine(
    bundle: Bundle, engine: type[Engine], asked: str | None, progress: Progress
) -> EngineRecord:
    """Verify the engine of a bundle in a precision, and write all that was found to its manifest.

    Args:
        bundle: the bundle.
        engine: class of the backend.
        asked: a precision for all graphs; ``auto`` tries all and keeps the fastest that passes;
            ``None`` repeats the bundle's own precision on this backend, float32 when it has none.
        progress: told about stages.

    Returns:
        The record of the engine that runs from now on, or of the one that failed.

    Raises:
        BundleError: the bundle was replaced meanwhile.
    """
    check_precision(engine, asked)
    tried: list[EngineRecord] = []
    if asked == AUTO:
        tried = _ladder(bundle, engine, progress)
        precision = fastest(tried).key.precision
    elif asked is None:
        own = [r.key for r in bundle.manifest.engines if r.key.backend == engine.backend]
        precision = own[-1].precision if own else complete_precision(None)
    else:
        precision = dict.fromkeys(RUNNING_GRAPHS, asked)
    record = _try(bundle, engine, precision, progress, keep=True)
    record_engines(bundle, (*tried, record))
    return record


def record_engines(bundle: Bundle, records: Iterable[EngineRecord]) -> None:
    """Write what was found to the manifest that the bundle has by now, which others write to too.

    Raises:
        BundleError: it is another bundle by now, or none; nothing is written.
    """
    try:
        with locked_folder(bundle.path):
            now, seen = read_bundle(bundle.path).manifest, bundle.manifest
            if any(getattr(now, part) != getattr(seen, part) for part in _VERIFIED):
                raise _replaced(bundle.path)
            engines = now.engines
            for record in records:
                engines = with_record(engines, record)
            write_manifest(bundle.path, msgspec.structs.replace(now, engines=engines))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise _replaced(bundle.path) from error


def _replaced(path: Path) -> BundleError:
    return BundleError(
        f"Bundle {path} was replaced while its engine was verified, so that the verdict is not "
        f"recorded",
        expected="the bundle that was verified",
        next_command=f"dvla-export {path} --verify",
    )


def passed_verification(record: EngineRecord) -> Verification | None:
    """Return the verification of a record; raise an ExportMismatch unless it passed.

    An engine that was compiled on a machine that cannot run it has none, and runs nowhere.
    """
    if record.verification is None:
        return None
    require_passed(record.verification, record.key.backend)
    return record.verification


def _ladder(bundle: Bundle, engine: type[Engine], progress: Progress) -> list[EngineRecord]:
    """Try float32, then each graph alone in each reduced precision, then the best together."""
    exact = _try(bundle, engine, complete_precision(None), progress)
    best = {graph: exact for graph in RUNNING_GRAPHS}
    tried = [exact]
    for graph in RUNNING_GRAPHS:
        alone = [
            _try(bundle, engine, complete_precision({graph: precision}), progress)
            for precision in engine.precisions()
            if precision != FP32
        ]
        tried += alone
        best[graph] = fastest([exact, *alone])
    together = {graph: record.key.precision[graph] for graph, record in best.items()}
    if together not in (record.key.precision for record in tried):
        tried.append(_try(bundle, engine, together, progress))
    return tried


def fastest(records: list[EngineRecord]) -> EngineRecord:
    """Return the fastest record that passed; the first, which is float32, unless it is beaten."""

    def latency_s(record: EngineRecord) -> float:
        return record.verification.latency_s if record.verification else float("inf")

    passed = [r for r in records[1:] if r.status == "verified"]
    best = min(passed, key=latency_s, default=records[0])
    if records[0].status != "verified":
        return best
    return best if latency_s(best) < _WORTHWHILE * latency_s(records[0]) else records[0]


def _try(
    bundle: Bundle,
    engine: type[Engine],
    precision: Mapping[str, str],
    progress: Progress,
    keep: bool = False,
) -> EngineRecord:
    """Run the gate in one precision.

    With ``keep`` the compiled graphs are stored first and the stored ones are judged, because
    those are what a robot will load. What fails is not kept. Where the backend cannot run, its
    graphs are compiled and the record says that they were not run.
    """
    manifest = bundle.manifest
    if engine.compiled_by_export:
        compile_engine(bundle, engine, precision, progress)
    if not engine.can_run():
        return EngineRecord(key=key_here(bundle, engine, precision), status="compiled, not run")
    reference = load_reference(bundle.path / REFERENCE_NAME)
    pipeline = ActionPipeline.of_bundle(bundle, engine, precision=precision)
    name = " ".join((engine.backend, *(f"{g} {p}" for g, p in precision.items() if p != FP32)))
    try:
        with progress.stage(f"loading {name}"):
            pipeline.load()
        if keep and pipeline.save_compiled():
            pipeline.close()
            with progress.stage(f"loading {name} as it was stored"):
                pipeline.load()
        pipeline.warm_up()
        with progress.stage(f"verification on {name}"):
            verification = verify(
                pipeline,
                reference,
                manifest.policy,
                manifest.normalisation,
                reduced=any(p != FP32 for p in precision.values()),
            )
    finally:
        pipeline.close()
    if (keep and not verification.passed) or (engine.compiled_by_export and not keep):
        pipeline.forget_compiled()
    return EngineRecord(
        key=key_here(bundle, engine, precision),
        status="verified" if verification.passed else "failed",
        verification=verification,
    )


def compile_engine(
    bundle: Bundle, engine: type[Engine], precision: Mapping[str, str], progress: Progress
) -> None:
    """Compile and store what an engine only loads."""
    if engine.backend == "torch":
        from dvla.export.torch_packages import compile_packages

        compile_packages(bundle, engine, precision, progress)
        return
    from dvla.export.tensorrt_plans import compile_plans

    compile_plans(bundle, engine, precision, progress)
