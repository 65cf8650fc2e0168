"""The checks between an observation and a policy: names, shapes, dtypes and finite numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import UsageError
from dvla.engines.manifest import MAX_NOISE_SCALE, PolicyFacts
from dvla.runtime.observation import Observation
from dvla.runtime.pose import state_input
from dvla.runtime.robots import ROBOTS


def checked_frames(
    facts: PolicyFacts, observation: Observation, out: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Check the images of an observation and copy them, in camera order, into ``out``.

    Args:
        facts: what the policy takes.
        observation: its images are (n_obs, h, w, 3) uint8 RGB each.
        out: (cameras, n_obs, h, w, 3) uint8, overwritten.

    Returns:
        ``out``.
    """
    if set(observation.images) != set(facts.cameras):
        raise UsageError(
            "The observation does not have the policy's cameras",
            got=sorted(observation.images),
            choices=facts.cameras,
        )
    for index, name in enumerate(facts.cameras):
        image = observation.images[name]
        if image.shape != out.shape[1:] or image.dtype != np.uint8:
            raise UsageError(
                f"{name} does not have the shape and dtype that the bundle was exported for",
                got=f"{image.dtype}{list(image.shape)}",
                expected=f"uint8{list(out.shape[1:])} (history, height, width, RGB)",
                next_command="export again with --camera-size WIDTHxHEIGHT, or resize the camera",
            )
        out[index] = image
    return out


def graph_state(facts: PolicyFacts, observation: Observation) -> NDArray[np.float32]:
    """Check the states of an observation and return what the graphs take of them.

    Returns:
        The newest, (S,) float32 [m, rad], followed by its change since the oldest where the policy
        takes that too.
    """
    state = np.asarray(observation.state)
    wanted = (len(facts.history_steps), facts.state_width)
    if state.shape != wanted or not np.issubdtype(state.dtype, np.floating):
        raise UsageError(
            "The observation's state does not have the policy's shape and dtype",
            got=f"{state.dtype}{list(state.shape)}",
            expected=f"float32{list(wanted)} (history, state)",
        )
    if not np.isfinite(state).all():
        raise UsageError("The observation's state is not finite", got=state.tolist())
    return state_input(state, facts.state_input_width)


def check_arm(robot_type: str, robot: str) -> None:
    """Raise a UsageError where a policy was trained for another arm than it is to move.

    Args:
        robot_type: what the checkpoint says: an arm of ours, or anything else, which is no reason.
        robot: name of the robot; a replay moves none.
    """
    arms = {name for name, each in ROBOTS.items() if each.driver}
    if {robot_type, robot} <= arms and robot_type != robot:
        raise UsageError(
            "The policy was trained for another arm: it would see and move this one wrongly",
            got=f"a policy for the {robot_type}, and --robot {robot}",
            next_command=f"--robot {robot_type}, or dvla-train --init on episodes of the {robot}",
        )


def check_noise(noise: NDArray[np.float32], shape: tuple[int, int]) -> None:
    """Raise a UsageError unless the noise is finite float32 of the policy's shape."""
    if noise.shape != shape or noise.dtype != np.float32:
        raise UsageError(
            "The noise does not have the policy's shape and dtype",
            got=f"{noise.dtype}{list(noise.shape)}",
            expected=f"float32{list(shape)} (chunk_size, max_action_dim)",
        )
    if not np.isfinite(noise).all():
        raise UsageError("The noise is not finite")


def check_noise_scale(scale: float | None) -> None:
    """Raise a UsageError unless the scale can be one; None is a bundle's own."""
    if scale is not None and not 0.0 <= scale <= MAX_NOISE_SCALE:
        raise UsageError(
            "--noise-scale is out of bounds", got=scale, expected=f"0 to {MAX_NOISE_SCALE:g}"
        )


def check_guide(
    prev_actions: NDArray[np.floating], prev_weight: NDArray[np.floating], facts: PolicyFacts
) -> None:
    """Raise a UsageError unless the guide is finite, of the policy's shape, its weights in [0, 1].

    Args:
        prev_actions: (H, A) absolute [m, rad, -].
        prev_weight: (H,).
        facts: what the policy gives.
    """
    shapes = {
        "prev_actions": (facts.chunk_size, len(facts.action_names)),
        "prev_weight": (facts.chunk_size,),
    }
    for array, (name, shape) in zip((prev_actions, prev_weight), shapes.items(), strict=True):
        if array.shape != shape or not np.issubdtype(array.dtype, np.floating):
            raise UsageError(
                f"{name} does not have the policy's shape and dtype",
                got=f"{array.dtype}{list(array.shape)}",
                expected=f"float32{list(shape)}",
            )
        if not np.isfinite(array).all():
            raise UsageError(f"{name} is not finite")
    if prev_weight.min() < 0.0 or prev_weight.max() > 1.0:
        raise UsageError(
            "prev_weight is out of bounds",
            got=f"{prev_weight.min():g} to {prev_weight.max():g}",
            expected="0 (free) to 1 (kept)",
        )
