"""The key of an engine: what makes it another engine, and the refusal of foreign ones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec

from dvla.engines.errors import EngineMismatch
from dvla.engines.tensors import GraphSpec

FP32 = "fp32"
# The graphs of an inference, in their order; a bundle holds others for parity.
RUNNING_GRAPHS = ("prefix", "denoise")
_DIGEST_CHARACTERS = 16


class BackendIdentity(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an engine runs on: backend and version, device and capability, build options."""

    backend: str
    version: str
    device: str
    capability: str
    options: dict[str, str] = {}


class EngineKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an engine was built from, by and for.

    Attributes:
        onnx: sha256 of every file of the graphs (ONNX and weights), by path in the bundle.
        shapes: every declared tensor of every graph, ``graph.name`` to ``dtype[shape]``.
        backend, version, device, capability, options: see ``BackendIdentity``.
        precision: number format of the arithmetic, by graph.
    """

    onnx: dict[str, str]
    shapes: dict[str, str]
    backend: str
    version: str
    device: str
    capability: str
    options: dict[str, str]
    precision: dict[str, str] = msgspec.field(
        default_factory=lambda: dict.fromkeys(RUNNING_GRAPHS, FP32)
    )

    @property
    def digest(self) -> str:
        """A short name of the key: the engine's folder, and its handle in messages."""
        encoded = msgspec.json.encode(self, order="deterministic")
        return hashlib.sha256(encoded).hexdigest()[:_DIGEST_CHARACTERS]


def engine_key(
    graphs: tuple[GraphSpec, ...],
    onnx: dict[str, str],
    identity: BackendIdentity,
    precision: dict[str, str],
) -> EngineKey:
    """Return the key of the engines that ``identity`` makes of these graphs in a precision."""
    shapes = {
        f"{graph.name}.{spec.name}": f"{spec.dtype}{list(spec.shape)}"
        for graph in graphs
        for spec in (*graph.inputs, *graph.outputs)
    }
    return EngineKey(
        onnx=onnx,
        shapes=shapes,
        backend=identity.backend,
        version=identity.version,
        device=identity.device,
        capability=identity.capability,
        options=identity.options,
        precision=precision,
    )


def complete_precision(precision: Mapping[str, str] | None) -> dict[str, str]:
    """Return the precision of every graph that runs; float32 where nothing else is said."""
    return dict.fromkeys(RUNNING_GRAPHS, FP32) | dict(precision or {})


def differences(found: EngineKey, wanted: EngineKey) -> list[str]:
    """Return, for people, each field in which two keys differ."""
    return [
        f"{field}: {getattr(found, field)} here: {getattr(wanted, field)}"
        if field not in ("onnx", "shapes")
        else f"{field}: of another export"
        for field in EngineKey.__struct_fields__
        if getattr(found, field) != getattr(wanted, field)
    ]


def refuse_foreign(found: EngineKey, wanted: EngineKey, rebuild_command: str) -> None:
    """Raise an EngineMismatch that names the differences, unless the keys are equal."""
    if found != wanted:
        raise EngineMismatch(
            f"The bundle's {wanted.backend} engine {found.digest} was not made for this machine",
            got="; ".join(differences(found, wanted)),
            next_command=rebuild_command,
        )
