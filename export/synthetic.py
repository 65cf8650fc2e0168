"""Make an official checkpoint of synthetic weights, for tests, demos and timing.

    python -m dvla.export.synthetic --size tiny --out DIR --action-std-m 0.005 --action-std-rad 0.02

Its actions mean nothing; its sizes, and therefore its speed, are those of a trained policy.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import UsageError
from dvla.export.arch import Arch, TextArch, VisionArch
from dvla.export.config import ACTION_KEY, STATE_KEY, PolicyConfig, convert_config, encode_config
from dvla.export.synthetic_statistics import action_statistics
from dvla.export.synthetic_tokenizer import write_byte_tokenizer
from dvla.export.synthetic_weights import synthetic_tensors

Size = Literal["tiny", "full"]
Array = NDArray[np.float32] | NDArray[np.int64]

ARCHS: dict[str, Arch] = {
    "full": Arch(
        vision=VisionArch(
            in_channels=6,
            dims=(96, 192, 384, 768, 1536),
            n_blocks=(2, 12, 24, 4, 2),
            mlp_dims=(384, 768, 1536, 3072, 6144),
            out_dim=3072,
            squeeze_dim=192,
            head_dim=32,
        ),
        text=TextArch(
            hidden=960, mlp=2560, n_layers=16, n_heads=15, n_kv_heads=5, head_dim=64,
            rms_norm_eps=1e-5,
        ),
        expert=TextArch(
            hidden=720, mlp=2048, n_layers=16, n_heads=15, n_kv_heads=5, head_dim=64,
            rms_norm_eps=1e-5,
        ),
        vocab=49152,
        self_attn_every=2,
    ),
    "tiny": Arch(
        vision=VisionArch(
            in_channels=6,
            dims=(16, 32, 64, 64, 128),
            n_blocks=(1, 2, 2, 1, 1),
            mlp_dims=(64, 128, 256, 256, 512),
            out_dim=256,
            squeeze_dim=16,
            head_dim=32,
        ),
        text=TextArch(
            hidden=96, mlp=256, n_layers=4, n_heads=6, n_kv_heads=2, head_dim=16,
            rms_norm_eps=1e-5,
        ),
        expert=TextArch(
            hidden=72, mlp=256, n_layers=4, n_heads=6, n_kv_heads=2, head_dim=16,
            rms_norm_eps=1e-5,
        ),
        vocab=512,
        self_attn_every=2,
    ),
}  # fmt: skip

CAMERA_SIZE = {"full": (360, 480), "tiny": (90, 120)}
SQUARE = {"full": 384, "tiny": 128}


def synthetic_config(size: Size) -> dict[str, Any]:
    """Return the config of a size, as plain data in the official layout."""
    height, width = CAMERA_SIZE[size]
    camera = {"type": "VISUAL", "shape": [3, height, width]}
    return {
        "type": "dynamicvla",
        "n_obs_steps": 2,
        "normalization_mapping": {"VISUAL": "IDENTITY", "STATE": "MEAN_STD", "ACTION": "MEAN_STD"},
        "input_features": {
            "observation.images.opst_cam": camera,
            "observation.images.wrist_cam": camera,
            STATE_KEY: {"type": "STATE", "shape": [6]},
        },
        "output_features": {ACTION_KEY: {"type": "ACTION", "shape": [7]}},
        "chunk_size": 20,
        "n_action_steps": 20,
        "max_state_dim": 32,
        "max_action_dim": 32,
        "resize_imgs_with_padding": [SQUARE[size], SQUARE[size]],
        "empty_cameras": 0,
        "use_delta_action": True,
        "temporal_fusion": "attn",
        "tokenizer_max_length": 48,
        "num_steps": 10,
        "attention_mode": "cross_attn",
        "num_expert_layers": -1,
        "num_expert_skip_layers": 0,
        "vlm_model_name": "HuggingFaceTB/SmolLM2-360M",
        "num_vlm_layers": ARCHS[size].text.n_layers,
        "fastvlm_inference_mode": True,
        "self_attn_every_n_layers": 2,
        "expert_width_multiplier": 0.75,
        "min_period": 0.004,
        "max_period": 4.0,
        "delta_timestamps": {"observation": [-2, 0]},
    }


def synthetic_policy_config(size: Size) -> PolicyConfig:
    """Return the config of a size as the loader reads it."""
    return convert_config(synthetic_config(size), f"the synthetic config {size!r}")


def tensor_shapes(size: Size) -> dict[str, tuple[tuple[int, ...], bool]]:
    """Return by official name, in official order, (shape, whether it holds integers)."""
    from dvla.export.checkpoint import expected_tensors

    expected = expected_tensors(synthetic_policy_config(size), ARCHS[size])
    return {
        name: (tuple(tensor.shape), not tensor.is_floating_point())
        for name, tensor in expected.items()
    }


def synthetic_state_dict(size: Size) -> Iterator[tuple[str, Array]]:
    """Yield every tensor of a size by name, in official order."""
    yield from synthetic_tensors(tensor_shapes(size))


def state_dict_sha256(tensors: Mapping[str, Array] | Iterator[tuple[str, Array]]) -> str:
    """Return the SHA-256 of all names and values, in their order."""
    digest = hashlib.sha256()
    for name, tensor in tensors.items() if isinstance(tensors, Mapping) else tensors:
        digest.update(name.encode())
        digest.update(tensor.tobytes())
    return digest.hexdigest()


def synthetic_checkpoint(
    size: Size, out_dir: str | Path, action_scale: tuple[float, float] | None = None
) -> Path:
    """Write an official checkpoint folder of synthetic weights, with a byte-level tokenizer.

    Args:
        size: ``tiny`` (1.2 M parameters) or ``full`` (430 M, 1.7 GB).
        out_dir: the folder to write into; made if missing.
        action_scale: standard deviation of position [m] and rotation [rad] that the actions are
            to have, around zero, with a gripper of unit deviation. By default the statistics are
            synthetic like the weights, as the golden vectors have them.

    Returns:
        The folder.
    """
    if size not in ARCHS:
        raise UsageError("There is no such synthetic checkpoint", got=repr(size), choices=ARCHS)
    from dvla.export.checkpoint_io import write_raw
    from dvla.export.torch_ import torch

    folder = Path(out_dir)
    weights = dict(synthetic_state_dict(size))
    if action_scale is not None:
        config = synthetic_policy_config(size)
        weights |= action_statistics(config, ARCHS[size], weights, action_scale)
    tensors = {name: torch.from_numpy(tensor) for name, tensor in weights.items()}
    files = {"config.json": encode_config(synthetic_config(size))}
    if size != "full":
        files["arch.json"] = json.dumps(_arch_json(ARCHS[size]), indent=4).encode()
    write_raw(folder, tensors, files, metadata=None)
    write_byte_tokenizer(folder / "tokenizer.json", ARCHS[size].vocab)
    return folder


def _arch_json(arch: Arch) -> dict[str, Any]:
    """Return what the shapes do not tell."""
    return {
        "text": {"head_dim": arch.text.head_dim, "rms_norm_eps": arch.text.rms_norm_eps},
        "vision": {"head_dim": arch.vision.head_dim},
    }


def _command(
    out: Path,
    size: Size = "tiny",
    action_std_m: float | None = None,
    action_std_rad: float | None = None,
) -> None:
    """Write a checkpoint of synthetic weights in the official format.

    Args:
        out: folder to write into.
        size: tiny (1.2 M parameters) or full (430 M, 1.7 GB).
        action_std_m: standard deviation of the position actions [m]; needs --action-std-rad.
        action_std_rad: standard deviation of the rotation actions [rad]; needs --action-std-m.
    """
    if (action_std_m is None) != (action_std_rad is None):
        raise UsageError("--action-std-m and --action-std-rad are given together or not at all")
    scale = None
    if action_std_m is not None and action_std_rad is not None:
        scale = (action_std_m, action_std_rad)
    print(synthetic_checkpoint(size, out, scale))


def main() -> None:
    """Run the command line."""
    import sys

    import tyro

    from dvla.engines.errors import DvlaError

    try:
        tyro.cli(_command)
    except DvlaError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
