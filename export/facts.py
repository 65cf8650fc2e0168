"""What the manifest says about a checkpoint: sizes, names, units and statistics."""

from __future__ import annotations

from dvla.engines.errors import CheckpointError, UsageError
from dvla.engines.manifest import Normalisation, PolicyFacts
from dvla.export.arch import Arch
from dvla.export.config import PolicyConfig
from dvla.export.model.policy import POSE_DIM, DynamicVla
from dvla.export.resize import Size

CONTROL_PERIOD_S = 0.04
MOTION_DIM = 2 * POSE_DIM
"""Width of a state that is the pose and its change since the oldest frame."""
ACTION_NAMES = ("x", "y", "z", "rx", "ry", "rz", "gripper")
ACTION_UNITS = ("m", "m", "m", "rad", "rad", "rad", "-")
_CAMERA_SIDE_PIXELS = (16, 4096)


def parse_camera_size(text: str) -> Size:
    """Return (height, width) [pixel] of ``WIDTHxHEIGHT``."""
    low, high = _CAMERA_SIDE_PIXELS
    sides = text.lower().split("x")
    if len(sides) == 2 and all(side.isascii() and side.isdigit() for side in sides):
        width, height = map(int, sides)
        if low <= width <= high and low <= height <= high:
            return height, width
    raise UsageError(
        "--camera-size is not a size",
        got=repr(text),
        expected=f"WIDTHxHEIGHT in pixels, {low} to {high} each, as in 480x360",
    )


def default_camera_size(config: PolicyConfig) -> Size:
    """Return the (height, width) that the checkpoint was trained with [pixel]."""
    sizes = {config.image_size(key) for key in config.image_keys}
    if len(sizes) > 1:
        raise UsageError(
            "The checkpoint's cameras have different sizes",
            got=", ".join(f"{width}x{height}" for height, width in sorted(sizes)),
            next_command="say what size the frames will have: --camera-size WIDTHxHEIGHT",
        )
    return sizes.pop()


def policy_facts(
    config: PolicyConfig, arch: Arch, camera: Size, noise_scale: float = 1.0
) -> PolicyFacts:
    """Return what the runtime must know of a checkpoint.

    Raises:
        CheckpointError: its actions or states are not poses.
    """
    if config.action_dim != len(ACTION_NAMES) or config.state_dim < POSE_DIM:
        raise CheckpointError(
            "The checkpoint does not act on poses",
            got=f"actions of width {config.action_dim}, states of width {config.state_dim}",
            expected=f"actions ({', '.join(ACTION_NAMES)}) and states that begin with a pose",
        )
    motion = config.state_dim == MOTION_DIM
    return PolicyFacts(
        cameras=config.image_keys,
        camera_width=camera[1],
        camera_height=camera[0],
        history_steps=config.delta_timestamps.observation,
        state_width=POSE_DIM if motion else config.state_dim,
        chunk_size=config.chunk_size,
        action_names=ACTION_NAMES,
        action_units=ACTION_UNITS,
        delta_columns=POSE_DIM if config.use_delta_action else 0,
        max_action_dim=config.max_action_dim,
        num_steps=config.num_steps,
        control_period_s=CONTROL_PERIOD_S,
        tokenizer_max_length=config.tokenizer_max_length,
        vocab_size=arch.vocab,
        vlm_model_name=config.vlm_model_name,
        noise_scale=noise_scale,
        state_motion=motion,
        robot_type=config.robot_type,
    )


def normalisation(policy: DynamicVla) -> Normalisation:
    """Return the statistics that the graphs have inside."""
    state = policy.normalize_inputs.buffer_observation_state
    action = policy.unnormalize_outputs.buffer_action
    return Normalisation(
        state_mean=tuple(state.mean.tolist()),
        state_std=tuple(state.std.tolist()),
        action_mean=tuple(action.mean.tolist()),
        action_std=tuple(action.std.tolist()),
        provenance="the checkpoint's buffers normalize_inputs.* and unnormalize_outputs.*",
    )
