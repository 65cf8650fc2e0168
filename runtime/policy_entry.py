"""Policies that installed packages offer: the entry points of the group ``dvla.policies``.

A package names a function in its metadata::

    [project.entry-points."dvla.policies"]
    my-policy = "my_package.adapter:open_policy"

``open_policy(argument: str)`` returns a ``ChunkPolicy``: ``argument`` is what the user writes
behind a colon, as in ``--policy my-policy:/path/to/weights``, and empty without one. The motion
that set-ups are measured by comes with this package.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dvla.engines.errors import DvlaError, UsageError
from dvla.runtime.chunk import Chunk
from dvla.runtime.observation import Observation
from dvla.runtime.policy_api import ChunkPolicy, history_of

GROUP = "dvla.policies"
ACTION_WIDTH = 7
PICTURE_SIZE = (360, 480)
"""Height and width of the pictures of a policy that does not say what it wants."""
MAX_SIDE = 8192
OLDEST_STEP = -8
"""Farthest that an observation may reach back [control steps]: cameras keep 16 frames."""
NO_PICTURES = (0, 0)
"""That of a policy that looks at none: only where the simulator tells it the truth."""
OWN = (
    EntryPoint("stop-and-go", "dvla.runtime.stop_and_go:open_policy", GROUP),
    EntryPoint("blurred-oracle", "dvla.runtime.oracle.blurred:open_policy", GROUP),
)


class PolicyError(DvlaError):
    """An installed policy cannot be imported, or does not keep to the protocol."""


def installed_policies() -> dict[str, EntryPoint]:
    """Return our own policies and those that installed packages offer, by name."""
    return {point.name: point for point in (*OWN, *entry_points(group=GROUP))}


def find_policy(name: str, others: tuple[str, ...] = ("expert", "oracle")) -> EntryPoint:
    """Return an installed policy's entry point; a ``:argument`` behind the name is left out.

    Args:
        name: of the entry point.
        others: what may be named instead, for the message.

    Raises:
        UsageError: no installed package offers it.
    """
    found = installed_policies()
    wanted = name.partition(":")[0]
    if wanted not in found:
        raise UsageError(
            "--policy is neither a bundle's folder nor a policy that is installed",
            got=repr(name),
            choices=(*others, *sorted(found)),
            next_command="dvla-export MODEL -o BUNDLE, or install the package that offers it",
        )
    return found[wanted]


def versioned(name: str) -> str:
    """Return the name of a policy with the version of the package that offers it, if one does."""
    point = installed_policies().get(name.partition(":")[0])
    return name if point is None or point.dist is None else f"{name} ({point.dist.version})"


def open_installed(name: str) -> CheckedPolicy:
    """Import an installed policy and open it, checked at every chunk.

    Args:
        name: of the entry point, with ``:argument`` where the policy takes one.

    Raises:
        UsageError: no installed package offers it.
        PolicyError: it cannot be imported, or what it returns is no ``ChunkPolicy``.
    """
    point = find_policy(name)
    argument = name.partition(":")[2]
    try:
        policy: Any = point.load()(argument)
    except DvlaError:
        raise
    except Exception as error:
        raise PolicyError(
            f"The installed policy {point.name!r} cannot be opened",
            got=f"{type(error).__name__}: {error}",
            expected=f"{point.value} to be importable and to take one string",
            next_command=f"python -c 'import {point.module}'",
        ) from error
    return CheckedPolicy(point.name, policy)


def open_warmed_up(name: str, cameras: Mapping[str, tuple[int, int]], frames: int) -> ChunkPolicy:
    """Open an installed policy and let it infer once, before an arm waits for it.

    Args:
        name: see ``open_installed``.
        cameras: (height, width) by image feature.
        frames: of each camera in an observation.

    Raises:
        PolicyError: it cannot be opened, or fails at an observation with black pictures.
    """
    policy = open_installed(name)
    black = Observation(
        images={key: np.zeros((frames, *size, 3), np.uint8) for key, size in cameras.items()},
        state=np.zeros((frames, 6), np.float32),
        instruction="",
    )
    try:
        policy.predict(black)
    except DvlaError:
        raise
    except Exception as error:
        raise PolicyError(
            f"The installed policy {name!r} fails at its first observation",
            got=f"{type(error).__name__}: {error}",
            expected="a chunk; the observation has black pictures and nothing privileged",
        ) from error
    policy.reset()
    return policy


class CheckedPolicy:
    """A ``ChunkPolicy`` of others, whose chunks are looked at before anything executes them.

    Args:
        name: of the entry point, for messages.
        policy: what it returned.

    Raises:
        PolicyError: it lacks something of the protocol.
    """

    def __init__(self, name: str, policy: Any) -> None:
        self._name, self._policy = name, policy
        missing = [
            member
            for member in ("chunk_size", "control_period_s", "predict", "reset")
            if not hasattr(policy, member)
        ]
        if missing:
            raise self._error(f"no {', '.join(missing)}", "a ChunkPolicy")
        self.chunk_size = int(policy.chunk_size)
        """H, the number of actions of a chunk."""
        self.control_period_s = float(policy.control_period_s)
        """T, the spacing of the actions [s]."""
        self.picture_size = self._size_of(policy)
        """(height, width) of the pictures that it wants."""
        self.history_steps = self._history_of(policy)
        """Which control steps it observes, oldest first, relative to now."""

    def predict(
        self,
        observation: Observation,
        noise: NDArray[np.float32] | None = None,
        seed: int | None = None,
    ) -> Chunk:
        """Return the policy's chunk for an observation.

        Raises:
            PolicyError: it is no chunk of (H, 7) finite numbers for this observation.
        """
        chunk = self._policy.predict(observation, noise=noise, seed=seed)
        shape = (self.chunk_size, ACTION_WIDTH)
        if not isinstance(chunk, Chunk):
            raise self._error(type(chunk).__name__, "a dvla.runtime.chunk.Chunk")
        actions = np.asarray(chunk.actions)
        if actions.shape != shape or not np.issubdtype(actions.dtype, np.floating):
            got = f"actions of shape {actions.shape}, {actions.dtype}"
            raise self._error(got, f"{shape}, float32: x, y, z [m], rx, ry, rz [rad], gripper")
        if not np.isfinite(actions).all():
            raise self._error("actions that are not finite", "finite numbers")
        if chunk.t_obs_ns != observation.t_obs_ns:
            raise self._error(
                f"a chunk for the observation at {chunk.t_obs_ns} ns",
                f"t_obs_ns of the observation, {observation.t_obs_ns}",
            )
        if abs(chunk.control_period_s - self.control_period_s) > 1e-6:
            raise self._error(
                f"a chunk of {chunk.control_period_s} s steps", f"{self.control_period_s} s"
            )
        return chunk

    def reset(self) -> None:
        """Tell the policy that an episode begins."""
        self._policy.reset()

    def _size_of(self, policy: Any) -> tuple[int, int]:
        size = getattr(policy, "picture_size", PICTURE_SIZE)
        try:
            height, width = map(int, size)
        except (TypeError, ValueError):
            height = width = -1
        sides = (height, width)
        if sides != NO_PICTURES and not all(1 <= side <= MAX_SIDE for side in sides):
            raise self._error(
                f"picture_size = {size!r}", f"(height, width) of 1 to {MAX_SIDE}, or {NO_PICTURES}"
            )
        return sides

    def _history_of(self, policy: Any) -> tuple[int, ...]:
        steps = history_of(policy)
        try:
            known = [int(step) for step in steps if int(step) == step]
        except (TypeError, ValueError):
            known = []
        rises = known == sorted(set(known)) and known[-1:] == [0]
        if not rises or len(known) != len(steps) or known[0] < OLDEST_STEP:
            raise self._error(
                f"history_steps = {steps!r}",
                f"whole control steps from {OLDEST_STEP} on, rising, the last one 0",
            )
        return tuple(known)

    def _error(self, got: str, expected: str) -> PolicyError:
        return PolicyError(
            f"The installed policy {self._name!r} does not keep to the protocol",
            got=got,
            expected=expected,
            next_command="see docs/policies.md",
        )
