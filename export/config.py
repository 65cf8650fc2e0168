"""``config.json`` of a checkpoint: the keys that decide what the model computes.

The official file holds many more keys (optimiser, hub, training). They are tolerated here and kept
for write-back by keeping the file's bytes beside this struct (``Checkpoint.config_json``).
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import msgspec

from dvla.engines.errors import CheckpointError

VISUAL, STATE, ACTION = "VISUAL", "STATE", "ACTION"
STATE_KEY = "observation.state"
ACTION_KEY = "action"


class Feature(msgspec.Struct, frozen=True, kw_only=True):
    """One input or output: its kind and its shape, images as (3, H, W) [pixel]."""

    type: str
    shape: tuple[int, ...]


class DeltaTimestamps(msgspec.Struct, frozen=True, kw_only=True):
    """Offsets of the observation frames relative to the newest one [control steps]."""

    observation: tuple[int, ...] = (-2, 0)


def _default_normalization() -> dict[str, str]:
    return {VISUAL: "IDENTITY", STATE: "MEAN_STD", ACTION: "MEAN_STD"}


class PolicyConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The keys of ``config.json`` that matter for inference; other keys are ignored.

    ``min_period`` and ``max_period`` are flow-time periods of the sinusoidal embedding [-].
    ``robot_type`` is the arm that ``dvla-train`` trained it for; official files do not say.
    """

    type: str
    input_features: dict[str, Feature]
    output_features: dict[str, Feature]
    vlm_model_name: str
    n_obs_steps: int = 2
    delta_timestamps: DeltaTimestamps = DeltaTimestamps()
    normalization_mapping: dict[str, str] = msgspec.field(default_factory=_default_normalization)
    chunk_size: int = 20
    num_steps: int = 10
    max_state_dim: int = 32
    max_action_dim: int = 32
    resize_imgs_with_padding: tuple[int, int] = (384, 384)
    use_delta_action: bool = True
    adapt_to_pi_aloha: bool = False
    use_delta_joint_actions_aloha: bool = False
    empty_cameras: int = 0
    temporal_fusion: str = "attn"
    attention_mode: str = "cross_attn"
    self_attn_every_n_layers: int = 2
    num_vlm_layers: int = 16
    num_expert_layers: int = -1
    num_expert_skip_layers: int = 0
    expert_width_multiplier: float = 0.75
    fastvlm_inference_mode: bool = True
    tokenizer_max_length: int = 48
    min_period: float = 4e-3
    max_period: float = 4.0
    robot_type: str = ""

    @property
    def image_keys(self) -> tuple[str, ...]:
        """Names of the cameras, in the order of the prefix."""
        return tuple(key for key, f in self.input_features.items() if f.type == VISUAL)

    @property
    def state_dim(self) -> int:
        """Width S of the state."""
        return self.input_features[STATE_KEY].shape[0]

    @property
    def action_dim(self) -> int:
        """Width A of an action."""
        return self.output_features[ACTION_KEY].shape[0]

    def image_size(self, key: str) -> tuple[int, int]:
        """Return the (H, W) [pixel] that frames of a camera are brought to first."""
        height, width = self.input_features[key].shape[1:]
        return height, width


def parse_config(text: bytes, source: str | Path) -> PolicyConfig:
    """Return the config that a JSON text holds.

    Raises:
        CheckpointError: when it is not JSON, a key is missing or of the wrong type, or it asks for
            a variant that is not supported.
    """
    try:
        # json, unlike msgspec.json, accepts the NaN and Infinity that Python programs write.
        data: Any = json.loads(text)
    except ValueError as error:
        raise CheckpointError(f"{source} is not JSON", got=str(error)) from error
    return convert_config(data, source)


def plain_config(text: bytes) -> dict[str, Any]:
    """Return everything that a config file holds, as any JSON reader can take it.

    What Python programs write and JSON does not have becomes the word that they write for it.
    """
    data: dict[str, Any] = _plain(json.loads(text))
    return data


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return json.dumps(value)
    return value


def convert_config(data: Any, source: str | Path) -> PolicyConfig:
    """Return the config that a decoded mapping holds; raise ``CheckpointError`` as above."""
    kind = data.get("type") if isinstance(data, dict) else None
    if kind != "dynamicvla":
        raise CheckpointError(
            f"{source} is not the config of a DynamicVLA policy",
            got=f"type {kind!r}",
            expected="type 'dynamicvla'",
        )
    try:
        config = msgspec.convert(data, PolicyConfig)
    except msgspec.ValidationError as error:
        raise CheckpointError(f"{source} does not describe a policy", got=str(error)) from error
    _check_supported(config, source)
    _check_sizes(config, source)
    return config


def encode_config(data: dict[str, Any]) -> bytes:
    """Return the text of a config file in the official layout: four spaces, no newline at end."""
    return json.dumps(data, indent=4).encode()


def _check_supported(config: PolicyConfig, source: str | Path) -> None:
    """Refuse the variants whose mathematics this model does not implement."""
    modes = {**_default_normalization(), **config.normalization_mapping}
    supported: dict[str, tuple[object, tuple[object, ...]]] = {
        "temporal_fusion": (config.temporal_fusion, ("attn",)),
        "attention_mode": (config.attention_mode, ("cross_attn",)),
        "num_expert_layers": (config.num_expert_layers, (-1, 0, config.num_vlm_layers)),
        "num_expert_skip_layers": (config.num_expert_skip_layers, (0,)),
        "fastvlm_inference_mode": (config.fastvlm_inference_mode, (True,)),
        "empty_cameras": (config.empty_cameras, (0,)),
        "adapt_to_pi_aloha": (config.adapt_to_pi_aloha, (False,)),
        "use_delta_joint_actions_aloha": (config.use_delta_joint_actions_aloha, (False,)),
        "normalization_mapping.VISUAL": (modes[VISUAL], ("IDENTITY",)),
        "normalization_mapping.STATE": (modes[STATE], ("MEAN_STD",)),
        "normalization_mapping.ACTION": (modes[ACTION], ("MEAN_STD",)),
    }
    for key, (got, valid) in supported.items():
        if got not in valid:
            raise CheckpointError(
                f"{key} of {source} is not supported",
                got=repr(got),
                choices=dict.fromkeys(repr(value) for value in valid),
            )


def _check_sizes(config: PolicyConfig, source: str | Path) -> None:
    """Refuse features and sizes that contradict each other."""

    def require(ok: bool, what: str, got: object, expected: str) -> None:
        if not ok:
            raise CheckpointError(f"{what} of {source} is wrong", got=got, expected=expected)

    features, n_obs = config.input_features, config.n_obs_steps
    require(bool(config.image_keys), "input_features", sorted(features), "a VISUAL feature")
    for key in config.image_keys:
        shape = features[key].shape
        ok = len(shape) == 3 and shape[0] == 3 and min(shape) > 0
        require(ok, f"the shape of {key}", shape, "(3, H, W)")
    for name, group, limit in (
        (STATE_KEY, features, config.max_state_dim),
        (ACTION_KEY, config.output_features, config.max_action_dim),
    ):
        require(name in group, "the list of features", sorted(group), f"a feature {name!r}")
        shape = group[name].shape
        ok = len(shape) == 1 and 0 < shape[0] <= limit
        require(ok, f"the shape of {name}", shape, f"(n,) with 0 < n <= {limit}")
    offsets = config.delta_timestamps.observation
    ok = len(offsets) == n_obs and offsets[-1:] == (0,) and list(offsets) == sorted(set(offsets))
    require(ok, "delta_timestamps.observation", offsets, f"{n_obs} rising offsets that end at 0")
    for name in ("chunk_size", "num_steps", "num_vlm_layers", "tokenizer_max_length"):
        value = getattr(config, name)
        require(value > 0, name, value, "a positive number")
    require(
        min(config.resize_imgs_with_padding) > 0,
        "resize_imgs_with_padding",
        config.resize_imgs_with_padding,
        "a positive height and width",
    )
    require(
        0 < config.min_period < config.max_period,
        "min_period",
        config.min_period,
        f"a value in (0, max_period = {config.max_period})",
    )
