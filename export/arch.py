"""The dims of a model: inferred from the shapes of its tensors.

``config.json`` does not hold them (the official code wires the full size into itself). Every dim is
the most frequent one among all the tensors that imply it, so that one mis-shaped or missing tensor
is reported as such instead of bending the whole architecture. Only the width of a text head leaves
no trace in the shapes: it follows from ``vlm_model_name``, or from an ``arch.json`` beside the
checkpoint.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from dvla.engines.errors import CheckpointError
from dvla.export.config import PolicyConfig

Shape = tuple[int, ...]

VISION = "model.vlm_with_expert.vlm.model.vision_model."
TEXT = "model.vlm_with_expert.vlm.model.text_model."
EXPERT = "model.vlm_with_expert.lm_expert."

# Where the stages sit in ``vision_model.layers``; between them are the down-samplings (1, 3, 5, 8)
# and, before the two attention stages, the conditional position encodings (6, 9). The published
# encoder has all five; one for small pictures may end after the third or the fourth.
STAGE_INDEX = (0, 2, 4, 7, 10)
HEAD_DIM = {"SmolLM2-135M": 64, "SmolLM2-360M": 64, "SmolLM2-1.7B": 64}
RMS_NORM_EPS = 1e-5


class VisionArch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """FastViT-HD: channels, blocks and MLP width per stage (three to five), the last expansion."""

    in_channels: int
    dims: tuple[int, ...]
    n_blocks: tuple[int, ...]
    mlp_dims: tuple[int, ...]
    out_dim: int
    squeeze_dim: int
    head_dim: int


class TextArch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stack of Llama layers; the expert has the heads of the VLM and its own widths."""

    hidden: int
    mlp: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    rms_norm_eps: float

    @property
    def q_dim(self) -> int:
        """Width of all query heads together."""
        return self.n_heads * self.head_dim

    @property
    def kv_dim(self) -> int:
        """Width of all key (or value) heads together."""
        return self.n_kv_heads * self.head_dim


class Crop(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The part of a camera's picture that a policy sees, as shares of its height and width."""

    top: float = 0.0
    bottom: float = 1.0
    left: float = 0.0
    right: float = 1.0

    def __post_init__(self) -> None:
        if not (0.0 <= self.top < self.bottom <= 1.0 and 0.0 <= self.left < self.right <= 1.0):
            raise ValueError("a crop lies within the picture: 0 <= top < bottom <= 1, left, right")

    def slices(self, height: int, width: int) -> tuple[slice, slice]:
        """Return its rows and columns in a picture of a size [pixel], at least one of each."""
        top = min(int(self.top * height + 0.5), height - 1)
        left = min(int(self.left * width + 0.5), width - 1)
        bottom, right = int(self.bottom * height + 0.5), int(self.right * width + 0.5)
        return slice(top, max(bottom, top + 1)), slice(left, max(right, left + 1))


WHOLE = Crop()


class Arch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every dim that the tensors of a checkpoint imply, and what only ``arch.json`` says.

    Attributes:
        crops: of the cameras whose picture is not seen whole, by feature name.
    """

    vision: VisionArch
    text: TextArch
    expert: TextArch
    vocab: int
    self_attn_every: int
    crops: dict[str, Crop] = {}


def infer_arch(shapes: Mapping[str, Shape], config: PolicyConfig, extra: Any = None) -> Arch:
    """Return the architecture that the tensors' shapes imply.

    Args:
        shapes: shape of every tensor by official name.
        config: the checkpoint's config.
        extra: the decoded ``arch.json``, where there is one.

    Raises:
        CheckpointError: when no tensor tells a dim, or the head width is not known.
    """
    head_dim, eps, vision_head_dim = _head_dims(config, extra)
    vote = _Vote(shapes)
    q_dim = vote(re.escape(TEXT) + r"layers\.\d+\.self_attn\.q_proj\.weight", 0)
    kv_dim = vote(re.escape(TEXT) + r"layers\.\d+\.self_attn\.[kv]_proj\.weight", 0)
    _check_layers(vote, config)
    if (
        head_dim <= 0
        or head_dim % 2
        or q_dim % head_dim
        or kv_dim % head_dim
        or (q_dim // head_dim) % (kv_dim // head_dim)
    ):
        raise CheckpointError(
            "The head width does not divide the attention",
            got=f"head_dim {head_dim}, {q_dim} query and {kv_dim} key channels",
            next_command="put the right head_dim into arch.json beside the checkpoint",
        )

    vision = _vision_arch(vote, vision_head_dim, config.n_obs_steps)
    if vision_head_dim <= 0 or any(dim % vision_head_dim for dim in vision.dims[3:]):
        raise CheckpointError(
            "The vision head width does not divide the attention",
            got=f"head_dim {vision_head_dim}, {vision.dims[3:]} channels",
        )

    def stack(prefix: str) -> TextArch:
        root = re.escape(prefix)
        return TextArch(
            hidden=vote(root + r"layers\.\d+\.(input|post_attention)_layernorm\.weight", 0),
            mlp=vote(root + r"layers\.\d+\.mlp\.(gate|up)_proj\.weight", 0),
            n_layers=config.num_vlm_layers,
            n_heads=q_dim // head_dim,
            n_kv_heads=kv_dim // head_dim,
            head_dim=head_dim,
            rms_norm_eps=eps,
        )

    return Arch(
        vision=vision,
        text=stack(TEXT),
        expert=stack(EXPERT),
        vocab=vote(re.escape(TEXT) + r"embed_tokens\.weight", 0),
        self_attn_every=config.self_attn_every_n_layers,
        crops=_crops(config, extra),
    )


def _crops(config: PolicyConfig, extra: Any) -> dict[str, Crop]:
    """Return the crops that ``arch.json`` asks for."""
    asked = extra.get("crops", {}) if isinstance(extra, dict) else {}
    try:
        crops = msgspec.convert(asked, dict[str, Crop])
    except msgspec.ValidationError as error:
        raise CheckpointError(
            "The crops of arch.json cannot be read",
            got=str(error),
            expected='{"crops": {CAMERA: {"top": 0.3, "bottom": 1.0, "left": 0.0, "right": 1.0}}}',
        ) from error
    for name in crops:
        if name not in config.image_keys:
            raise CheckpointError(
                "arch.json crops a camera that the policy does not have",
                got=name,
                choices=config.image_keys,
            )
    return crops


def _check_layers(vote: _Vote, config: PolicyConfig) -> None:
    """Refuse a number of layers far from what the file holds, before a model is laid out for it."""
    held = vote.count(re.escape(TEXT) + r"layers\.(\d+)\.")
    if not held <= 2 * config.num_vlm_layers or not config.num_vlm_layers <= 2 * held:
        raise CheckpointError(
            "config.json and the tensors disagree on the number of language layers",
            got=f"num_vlm_layers {config.num_vlm_layers}",
            expected=f"{held}, as many as the tensors hold",
        )


def _vision_arch(vote: _Vote, head_dim: int, n_obs_steps: int) -> VisionArch:
    root = re.escape(VISION)
    layers = vote.count(root + r"layers\.(\d+)\.")
    stages = [index for place, index in enumerate(STAGE_INDEX) if place < 3 or index < layers]
    blocks = [root + rf"layers\.{index}\.(\d+)\." for index in stages]
    return VisionArch(
        in_channels=3 * n_obs_steps,
        dims=tuple(vote(block + r"convffn\.fc2\.(weight|bias)", 0) for block in blocks),
        n_blocks=tuple(vote.count(block) for block in blocks),
        mlp_dims=tuple(vote(block + r"convffn\.fc1\.(weight|bias)", 0) for block in blocks),
        out_dim=vote(root + r"conv_exp\.(se\.expand|reparam_conv)\.(weight|bias)", 0),
        squeeze_dim=vote(root + r"conv_exp\.se\.reduce\.(weight|bias)", 0),
        head_dim=head_dim,
    )


class _Vote:
    """Asks all tensors whose name matches for one dim, and takes the most frequent answer."""

    def __init__(self, shapes: Mapping[str, Shape]) -> None:
        self._shapes = shapes

    def __call__(self, pattern: str, axis: int) -> int:
        names = re.compile(pattern)
        dims = Counter(
            shape[axis]
            for name, shape in self._shapes.items()
            if len(shape) > axis and shape[axis] > 0 and names.fullmatch(name)
        )
        if not dims:
            raise CheckpointError(
                "The tensors are not those of a DynamicVLA policy",
                got=f"{len(self._shapes)} tensors, none of them named {_readable(pattern)}",
            )
        return dims.most_common(1)[0][0]

    def count(self, pattern: str) -> int:
        """Return how many indices there are where the pattern's first group stands.

        A gap in the middle counts, as something is missing there; a far-off index does not.
        """
        names = re.compile(pattern)
        found = {int(match[1]) for name in self._shapes if (match := names.match(name))}
        up_to_last = max(found, default=-1) + 1
        return up_to_last if up_to_last <= 2 * len(found) else len(found)


def _readable(pattern: str) -> str:
    return pattern.replace("\\.", ".").replace("\\d+", "*").replace("\\", "")


def _head_dims(config: PolicyConfig, extra: Any) -> tuple[int, float, int]:
    """Return the head width of the text model, its RMSNorm epsilon and vision's head width."""
    if "qwen" in config.vlm_model_name.lower():
        raise CheckpointError(
            "Qwen2 text models are not supported", got=repr(config.vlm_model_name), choices=HEAD_DIM
        )
    if extra is not None:
        try:
            text, vision = extra["text"], extra.get("vision", {})
            eps = float(text.get("rms_norm_eps", RMS_NORM_EPS))
            return int(text["head_dim"]), eps, int(vision.get("head_dim", 32))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                "arch.json does not say the head width",
                got=json.dumps(extra)[:200],
                expected='{"text": {"head_dim": 64}}',
            ) from error
    name = config.vlm_model_name.rstrip("/").rsplit("/", 1)[-1].removesuffix("-Instruct")
    if name not in HEAD_DIM:
        raise CheckpointError(
            "The text model vlm_model_name is not supported",
            got=repr(config.vlm_model_name),
            choices=HEAD_DIM,
            next_command='for another Llama text model put {"text": {"head_dim": 64}} into '
            "arch.json beside the checkpoint",
        )
    return HEAD_DIM[name], RMS_NORM_EPS, 32
