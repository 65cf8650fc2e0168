"""Another number of Euler steps than the checkpoint's own: fewer are faster, and cost accuracy."""

from __future__ import annotations

import msgspec
import numpy as np

from dvla.engines.errors import UsageError
from dvla.engines.manifest import PolicyFacts, StepsCost
from dvla.export.checkpoint import Checkpoint
from dvla.export.gate import column_errors
from dvla.export.model.policy import DynamicVla
from dvla.export.reference import Reference, with_actions

MAX_STEPS = 100
"""More only repeat what the flow does between two of them; the graph grows with each."""


def check_steps(num_steps: int | None) -> None:
    """Raise a UsageError when the number of Euler steps cannot be exported."""
    if num_steps is not None and not 1 <= num_steps <= MAX_STEPS:
        raise UsageError("--steps is out of bounds", got=num_steps, expected=f"1 to {MAX_STEPS}")


def with_steps(checkpoint: Checkpoint, num_steps: int | None) -> Checkpoint:
    """Return the checkpoint as if it had been made for a number of Euler steps."""
    if num_steps is None:
        return checkpoint
    config = msgspec.structs.replace(checkpoint.config, num_steps=num_steps)
    return msgspec.structs.replace(checkpoint, config=config)


def steps_cost(
    reference: Reference, policy: DynamicVla, checkpoint_steps: int, facts: PolicyFacts
) -> StepsCost | None:
    """Return how far the policy's number of steps leads from the checkpoint's own actions.

    Args:
        reference: the model's actions at the policy's number of steps.
        policy: the model.
        checkpoint_steps: the checkpoint's own number.
        facts: names and units of the columns.

    Returns:
        The cost, or None where the two numbers are the same.
    """
    if facts.num_steps == checkpoint_steps:
        return None
    own, _ = with_actions(reference, policy, checkpoint_steps)
    error = np.abs(reference.actions.astype(np.float64) - own.actions)
    return StepsCost(
        num_steps=facts.num_steps,
        checkpoint_steps=checkpoint_steps,
        columns=column_errors(error, facts),
    )
