"""Architectures that ``dvla-train`` can start from nothing: the dims and the config of each."""

from __future__ import annotations

import json
from typing import Any

import msgspec

from dvla.export.arch import WHOLE, Arch, TextArch, VisionArch
from dvla.export.facts import MOTION_DIM
from dvla.export.synthetic import ARCHS, synthetic_config
from dvla.training.collect.frames import CROPS, IMAGE_HEIGHT, IMAGE_WIDTH
from dvla.training.lerobot.schema import CAMERA_KEYS

HISTORY = (-4, 0)
"""Frames of an observation relative to now [control steps]."""
TOKENS = 24
"""Longest instruction of the nano policy [tokens]."""
NANO_VOCAB = 512

NANO = Arch(
    vision=VisionArch(
        in_channels=6,
        dims=(32, 64, 64),
        n_blocks=(1, 1, 2),
        mlp_dims=(96, 192, 192),
        out_dim=256,
        squeeze_dim=16,
        head_dim=32,
    ),
    text=TextArch(
        hidden=128, mlp=256, n_layers=5, n_heads=4, n_kv_heads=2, head_dim=32, rms_norm_eps=1e-5
    ),
    expert=TextArch(
        hidden=64, mlp=160, n_layers=5, n_heads=4, n_kv_heads=2, head_dim=32, rms_norm_eps=1e-5
    ),
    vocab=NANO_VOCAB,
    self_attn_every=2,
    crops={name: crop for name, crop in zip(CAMERA_KEYS, CROPS, strict=True) if crop != WHOLE},
)
PRESETS = {"nano": NANO, "full": ARCHS["full"]}


def preset_config(name: str) -> dict[str, Any]:
    """Return the config of a preset, as plain data in the official layout."""
    if name == "full":
        return synthetic_config("full")
    camera = {"type": "VISUAL", "shape": [3, IMAGE_HEIGHT, IMAGE_WIDTH]}
    features = {key: camera for key in CAMERA_KEYS}
    features["observation.state"] = {"type": "STATE", "shape": [MOTION_DIM]}
    return synthetic_config("tiny") | {
        "input_features": features,
        "max_state_dim": MOTION_DIM,
        "delta_timestamps": {"observation": list(HISTORY)},
        "max_action_dim": 7,
        "resize_imgs_with_padding": [IMAGE_HEIGHT, IMAGE_WIDTH],
        "tokenizer_max_length": TOKENS,
        "num_vlm_layers": NANO.text.n_layers,
        "expert_width_multiplier": NANO.expert.hidden / NANO.text.hidden,
        "vlm_model_name": "dvla/nano",
    }


def arch_json(arch: Arch) -> bytes:
    """Return what the shapes of the tensors do not tell, for ``arch.json``."""
    extra = {
        "text": {"head_dim": arch.text.head_dim, "rms_norm_eps": arch.text.rms_norm_eps},
        "vision": {"head_dim": arch.vision.head_dim},
    }
    if arch.crops:
        extra["crops"] = msgspec.to_builtins(arch.crops)
    return json.dumps(extra, indent=4).encode()
