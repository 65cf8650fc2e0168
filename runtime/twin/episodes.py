"""What ends an episode of the twin, and how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from dvla.runtime.clock import NS_PER_S
from dvla.runtime.twin.layout import FRANKA_LAYOUT, TableLayout
from dvla.runtime.twin.objects import EpisodeSpec

Outcome = Literal["success", "dropped", "out_of_reach", "wrong_order", "timeout"]

GOAL_M = (0.30, 0.0, 0.30)
SUCCESS_DISTANCE_M = 0.07
EPISODE_S = 10.0
LIFTED_M = 0.05
LOST_DISTANCE_M = 0.12


class EpisodeJudge:
    """Watches one episode.

    Args:
        spec: the episode.
        start_ns: when it began.
        layout: of the arm's table.
    """

    def __init__(
        self, spec: EpisodeSpec, start_ns: int, layout: TableLayout = FRANKA_LAYOUT
    ) -> None:
        self.start_ns = start_ns
        self._layout = layout
        self._rest_z = spec.radius_m
        self._lifted = False

    def look(
        self, poses: Sequence[NDArray[np.float64]], tcp_at: NDArray[np.float64], now_ns: int
    ) -> Outcome | None:
        """Say how the episode ended, or None while it goes on.

        Success: the object is within 7 cm of the TCP and the TCP within 7 cm of the goal, with the
        object off the table. Dropped: it was lifted and got away. Out of reach: it left the part
        of the table that the arm can serve.

        Args:
            poses: of the one object; its first three numbers are its centre [m].
            tcp_at: (3,) [m].
            now_ns: when.
        """
        object_at = poses[0][:3]
        apart_m = float(np.linalg.norm(object_at - tcp_at))
        height_m = float(object_at[2]) - self._rest_z
        at_goal = float(np.linalg.norm(tcp_at - np.array(GOAL_M))) < SUCCESS_DISTANCE_M
        if at_goal and apart_m < SUCCESS_DISTANCE_M and height_m > LIFTED_M:
            return "success"
        if apart_m < SUCCESS_DISTANCE_M and height_m > LIFTED_M:
            self._lifted = True
        elif self._lifted and apart_m > LOST_DISTANCE_M:
            return "dropped"
        in_x = self._layout.served_x[0] < object_at[0] < self._layout.served_x[1]
        if not in_x or abs(object_at[1]) > self._layout.served_y:
            return "out_of_reach"
        if now_ns - self.start_ns >= EPISODE_S * NS_PER_S:
            return "timeout"
        return None
