"""Which engine of a bundle may run here: only one that was verified on just this backend."""

from __future__ import annotations

from dvla.engines.base import Engine
from dvla.engines.bundle import Bundle
from dvla.engines.cache import EngineKey, engine_key, refuse_foreign
from dvla.engines.errors import EngineMismatch
from dvla.engines.manifest import EngineRecord
from dvla.engines.registry import engine_class


def key_here(bundle: Bundle, engine: type[Engine]) -> EngineKey:
    """Return the key that an engine of this bundle has on this machine."""
    return engine_key(bundle.manifest.graphs, bundle.onnx_hashes(), engine.identity())


def verify_command(bundle: Bundle, backend: str) -> str:
    """Return the command that verifies a bundle on this machine, without torch."""
    return f"dvla-export {bundle.path} --verify --backend {backend}"


def runnable_engine(bundle: Bundle, backend: str) -> type[Engine]:
    """Return the engine class of a backend that this bundle may run on, here.

    Raises:
        UsageError, MissingDependency: the backend is unknown, or not installed.
        EngineMismatch: no engine of this key was verified; the message has the command for it.
    """
    engine = engine_class(backend)
    wanted = key_here(bundle, engine)
    command = verify_command(bundle, backend)
    records = [r for r in bundle.manifest.engines if r.key.backend == backend]
    if not records:
        raise EngineMismatch(
            f"Bundle {bundle.path} was never verified on backend {backend}",
            choices=sorted({r.key.backend for r in bundle.manifest.engines}),
            next_command=command,
        )
    same = [r for r in records if r.key == wanted]
    if not same:
        refuse_foreign(records[-1].key, wanted, command)
    if not is_runnable(same[0]):
        raise EngineMismatch(
            f"The {backend} engine of bundle {bundle.path} has not passed its verification",
            got=f"status '{same[0].status}'",
            expected="status 'verified'",
            next_command=command,
        )
    return engine


def is_runnable(record: EngineRecord) -> bool:
    """Whether an engine ran on its device, and its actions were the model's."""
    verification = record.verification
    return record.status == "verified" and verification is not None and verification.passed


def with_record(
    records: tuple[EngineRecord, ...], record: EngineRecord
) -> tuple[EngineRecord, ...]:
    """Return the records with one added; it replaces the record of the same key."""
    return (*(r for r in records if r.key != record.key), record)
