"""Which engine of a bundle may run here: only one that was verified on just this backend."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from dvla.engines.base import Engine
from dvla.engines.bundle import Bundle
from dvla.engines.cache import EngineKey, complete_precision, engine_key, refuse_foreign
from dvla.engines.compiled import CompiledStore
from dvla.engines.errors import EngineMismatch
from dvla.engines.manifest import EngineRecord
from dvla.engines.registry import engine_class


class EngineChoice(msgspec.Struct, frozen=True, kw_only=True):
    """The engine class that runs a bundle, and its precision per graph."""

    engine: type[Engine]
    precision: dict[str, str]


def key_here(
    bundle: Bundle, engine: type[Engine], precision: Mapping[str, str] | None = None
) -> EngineKey:
    """Return the key that an engine of this bundle has on this machine, float32 by default."""
    return engine_key(
        bundle.manifest.graphs,
        bundle.onnx_hashes(),
        engine.identity(),
        complete_precision(precision),
    )


def compiled_store(
    bundle: Bundle, engine: type[Engine], precision: Mapping[str, str] | None = None
) -> CompiledStore:
    """Return where an engine's compiled graphs lie in a bundle, if they were compiled for here."""
    key = engine_key(
        bundle.manifest.graphs,
        bundle.onnx_hashes(),
        engine.compiled_identity(),
        complete_precision(precision),
    )
    return CompiledStore(bundle.path, key)


def verify_command(bundle: Bundle, backend: str) -> str:
    """Return the command that verifies a bundle on this machine, without torch."""
    return f"dvla-export {bundle.path} --verify --backend {backend}"


def runnable_engine(bundle: Bundle, backend: str) -> type[Engine]:
    """Return the engine class of a backend that this bundle may run on; see ``chosen_engine``."""
    return chosen_engine(bundle, backend).engine


def chosen_engine(bundle: Bundle, backend: str) -> EngineChoice:
    """Return the engine of a backend that this bundle runs on, here.

    A bundle may hold one backend in several precisions. The one that was verified last is the one
    that was asked for last, and runs; ``--precision auto`` puts the one that it chose there.

    Raises:
        UsageError, MissingDependency: the backend is unknown, or not installed.
        EngineMismatch: no engine of this key was verified; the message has the command for it.
    """
    engine = engine_class(backend)
    command = verify_command(bundle, backend)
    records = [r for r in bundle.manifest.engines if r.key.backend == backend]
    if not records:
        raise EngineMismatch(
            f"Bundle {bundle.path} was never verified on backend {backend}",
            choices=sorted({r.key.backend for r in bundle.manifest.engines}),
            next_command=command,
        )
    same = [r for r in records if r.key == key_here(bundle, engine, r.key.precision)]
    if not same:
        last = records[-1].key
        refuse_foreign(last, key_here(bundle, engine, last.precision), command)
    runnable = [r for r in same if is_runnable(r)]
    if not runnable:
        raise EngineMismatch(
            f"The {backend} engine of bundle {bundle.path} has not passed its verification",
            got=f"status '{same[-1].status}'",
            expected="status 'verified'",
            next_command=command,
        )
    return EngineChoice(engine=engine, precision=runnable[-1].key.precision)


def is_runnable(record: EngineRecord) -> bool:
    """Whether an engine ran on its device, and its actions were the model's."""
    verification = record.verification
    return record.status == "verified" and verification is not None and verification.passed


def with_record(
    records: tuple[EngineRecord, ...], record: EngineRecord
) -> tuple[EngineRecord, ...]:
    """Return the records with one added; it replaces the record of the same key."""
    return (*(r for r in records if r.key != record.key), record)
