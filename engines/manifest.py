"""The manifest of a bundle: everything that is known about it, as frozen structs."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Any, Literal

import msgspec

from dvla.engines.cache import EngineKey
from dvla.engines.tensors import GraphSpec

SCHEMA_VERSION = 2
MAX_NOISE_SCALE = 2.0
EngineStatus = Literal["verified", "compiled, not run", "failed"]


class FileRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file of the bundle: its path inside the folder, its size and its sha256."""

    path: str
    size_bytes: int
    sha256: str

    def __post_init__(self) -> None:
        parts = PurePosixPath(self.path).parts
        if not parts or self.path.startswith("/") or ".." in parts:
            raise ValueError(f"file path {self.path!r} leaves the bundle")


class Source(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The checkpoint that the bundle was made from.

    Attributes:
        name: file or folder name of the checkpoint.
        sha256: of its weights file.
        config: its ``config.json``, as it was; numbers that are not finite are words.
    """

    name: str
    sha256: str
    config: dict[str, Any]


class Normalisation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The statistics baked into the graphs, in physical units, and where they come from."""

    state_mean: tuple[float, ...]
    state_std: tuple[float, ...]
    action_mean: tuple[float, ...]
    action_std: tuple[float, ...]
    provenance: str


class PolicyFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the runtime must know to feed the graphs and to read their actions.

    Attributes:
        cameras: image features in graph order (camera 0 first).
        camera_width, camera_height: size of the frames that the graphs take [pixels].
        history_steps: observed control steps relative to now, oldest first ([-2, 0]).
        state_width: S, numbers of one observed state.
        chunk_size: H, actions of one chunk.
        action_names, action_units: the A columns of an action.
        delta_columns: leading columns that are offsets from the newest state (0: absolute).
        max_action_dim: width of the noise.
        num_steps: Euler steps unrolled in the denoise graph.
        control_period_s: spacing of the actions [s].
        tokenizer_max_length: fixed length that prompts are padded to.
        vocab_size: token ids are below this.
        vlm_model_name: whose tokenizer it is.
        noise_scale: what normal noise is multiplied with before a chunk is sampled from it; 1 is
            what flow matching is trained with, less makes chunks more alike, and 0 leaves one.
        state_motion: whether the graphs take the newest state and its change since the oldest, 2 S
            numbers (``dvla.runtime.pose.state_input``), instead of the newest alone.
        robot_type: arm that it was trained for; empty where the checkpoint does not say.
    """

    cameras: tuple[str, ...]
    camera_width: int
    camera_height: int
    history_steps: tuple[int, ...]
    state_width: int
    chunk_size: int
    action_names: tuple[str, ...]
    action_units: tuple[str, ...]
    delta_columns: int
    max_action_dim: int
    num_steps: int
    control_period_s: float
    tokenizer_max_length: int
    vocab_size: int
    vlm_model_name: str
    noise_scale: float = 1.0
    state_motion: bool = False
    robot_type: str = ""

    @property
    def state_input_width(self) -> int:
        """Numbers of the state as the graphs take it."""
        return 2 * self.state_width if self.state_motion else self.state_width

    def __post_init__(self) -> None:
        if not 0.0 <= self.noise_scale <= MAX_NOISE_SCALE:
            raise ValueError(f"noise_scale {self.noise_scale!r} is not in [0, {MAX_NOISE_SCALE}]")


class ColumnError(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The largest and the 99th-percentile error of one action column, in its own units."""

    name: str
    units: str
    max_error: float
    p99_error: float


class Verification(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The result of one gate: an engine's actions against the fp32 torch model's.

    Attributes:
        frames: ``synthetic`` or ``recorded``: what the observations were.
        cases: how many observations were compared.
        relative_error: worst max|a - b| / max|b| over the cases, physical units.
        normalised_error: the same in the network's units, where every column counts alike.
        limit: the largest relative error that passes.
        columns: errors per action column.
        passed: whether both errors are within the limit.
        latency_s: median duration of one inference of the engine [s].
        gate: which limits were asked: ``fp32`` or ``reduced`` (see ``dvla.export.reduced_gate``).
        findings: what is over its limit, for people.
        origin: what recorded observations were taken from; empty of synthetic ones.
    """

    frames: Literal["synthetic", "recorded"]
    cases: int
    relative_error: float
    normalised_error: float
    limit: float
    columns: tuple[ColumnError, ...]
    passed: bool
    latency_s: float
    gate: Literal["fp32", "reduced"] = "fp32"
    findings: tuple[str, ...] = ()
    origin: str = ""


class StepsCost(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How far another number of Euler steps leads from the checkpoint's own actions.

    Both are the fp32 torch model's, so that it is the error of the sampler alone.

    Attributes:
        num_steps: of this bundle; ``checkpoint_steps`` of the checkpoint.
        columns: difference per action column over all cases of the verification.
    """

    num_steps: int
    checkpoint_steps: int
    columns: tuple[ColumnError, ...]


class EngineRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One engine that the bundle offers, and whether it ever ran and was right."""

    key: EngineKey
    status: EngineStatus
    verification: Verification | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything known about a bundle.

    Attributes:
        schema_version: version of this very format.
        dvla_version: what wrote it.
        source: the checkpoint.
        policy: sizes, names and units.
        normalisation: statistics and their provenance.
        tokenizer_sha256: of ``tokenizer.json``.
        precision: number format per part (``vision``, ``prefix``, ``denoise``).
        graphs: the declared tensors of every graph, ``onnx/<name>.onnx``.
        files: every file that is checked when the bundle is loaded.
        engines: what may run it.
        steps_cost: what ``--steps`` costs; absent with the checkpoint's own number of steps.
    """

    schema_version: int
    dvla_version: str
    source: Source
    policy: PolicyFacts
    normalisation: Normalisation
    tokenizer_sha256: str
    precision: dict[str, str]
    graphs: tuple[GraphSpec, ...]
    files: tuple[FileRecord, ...]
    engines: tuple[EngineRecord, ...] = ()
    steps_cost: StepsCost | None = None
