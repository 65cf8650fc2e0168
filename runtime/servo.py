"""The servo's core: at every tick, one command with the next 100 ms of setpoints.

It takes ``now_ns``: the pacer, the sockets and the ring are the servo process's. Commands are
planned a little ahead of time (``lead_s``) and repeat the last few setpoints before the newest,
because the arm already uses knots up to two periods ahead of what it plays: so a late or lost
command costs nothing, as long as the next one arrives within ``lead_s`` less two periods. Stamps
say when each setpoint is due; the lead is no lag of the motion.

A start is a handshake. While the arm does not follow its newest epoch, the servo offers commands
that stand still at the pose the arm commands; the plan starts from rest there once the arm's state
says that it follows. So the first command that moves continues exactly what the arm is playing.

When the arm refuses a command it goes on playing the newest that it accepted, and so must the plan
(``dvla.runtime.way_back``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.runtime.config import ServoConfig
from dvla.runtime.errors import ConfigError
from dvla.runtime.limits import ArmLimits
from dvla.runtime.messages import MAX_SETPOINTS, ArmState, Command
from dvla.runtime.pose import SETPOINT_WIDTH
from dvla.runtime.way_back import WayBack

if TYPE_CHECKING:
    from dvla.bindings import ActionStream

DEFAULT_LEAD_S = 0.02
MIN_LEAD_STEPS = 3
"""The arm's spline uses knots up to two periods ahead."""
MIN_HORIZON_STEPS = 6
"""A shorter command has run out before its successor can be joined to it."""
MAX_STATE_AGE_S = 0.2
"""Without an arm state younger than this the servo falls silent, and the arm stops by itself."""
WORKSPACE_MARGIN_M = 0.005
"""Actions that lead nearer to a side of the workspace, or out of it, are led along it instead: the
arm refuses, and then stops at, what it could not brake inside. A table is such a side, and a policy
that grasps low is always a millimetre wrong."""
STATUS_IDLE = 0


class Planner(Protocol):
    """What the core needs of ``dvla.bindings.ServoPlanner``."""

    @property
    def t_obs_ns(self) -> int:
        """Capture time behind the setpoint [ns]; 0 when idle."""

    @property
    def chunk_id(self) -> int:
        """Chunk behind the setpoint; -1 when idle."""

    @property
    def saturation(self) -> int:
        """Bits of what saturated in the last plan."""

    @property
    def saturated_ticks(self) -> int:
        """Plans that saturated, counted."""

    @property
    def underruns(self) -> int:
        """Times that the stream ran out, counted."""

    @property
    def timeline_sequence(self) -> int:
        """Publication that the plan follows."""

    @property
    def generation(self) -> int:
        """Episode generation of the plan."""

    braking: bool
    """Whether plans stop, whatever the stream says."""
    share: float
    """What plans take of their bounds; to take less the plan has to rest."""

    def reset(self, setpoint: NDArray[np.float64]) -> None:
        """Start again from rest at a setpoint (8,), not braking, with no plan remembered."""

    def remember(self, number: int) -> None:
        """Keep the newest plan under a number above 0."""

    def take_back(self, number: int) -> int | None:
        """Go on from where a remembered plan is by now; return how many of its rows have passed."""

    def plan(self, now_ns: int, setpoints_out: NDArray[np.float64]) -> int:
        """Write the plan (horizon, 8) whose first row is due at ``now_ns``; return its status."""


class ServoCore:
    """Plans, stamps and records one command per tick.

    Args:
        stream: what the plan follows.
        limits: the arm's; their shaper bounds what is planned, their ages what is sent.
        config: rate and horizon.
        session: of the commander; it must hold the arm's lease.
        lead_s: how far ahead of time setpoints are planned [s].
        planner: plans in place of the compiled planner on ``stream``.
    """

    def __init__(
        self,
        stream: ActionStream,
        limits: ArmLimits,
        config: ServoConfig,
        *,
        session: int,
        lead_s: float = DEFAULT_LEAD_S,
        planner: Planner | None = None,
    ) -> None:
        self._planner = planner or compiled_planner(stream, limits, config)
        self._session = session
        self._period_ns = config.period_ns
        self._horizon = config.horizon_steps
        lead_steps = max(MIN_LEAD_STEPS, round(lead_s * 1e9 / config.period_ns))
        self._lead_ns = lead_steps * config.period_ns
        self._history = lead_steps - 2
        rows = self._history + self._horizon
        if self._horizon < MIN_HORIZON_STEPS or rows > MAX_SETPOINTS:
            raise ConfigError(
                "the servo's horizon does not fit its rate",
                got=f"{self._horizon} setpoints of {config.period_ns / 1e6:g} ms",
                expected=f"{MIN_HORIZON_STEPS} to {MAX_SETPOINTS - self._history} setpoints",
                next_command="change rate_hz or horizon_s",
            )
        self._validity_ns = int(limits.max_command_age_s * 1e9)
        # Rows: the newest setpoints of earlier plans, then this plan.
        self._rows = np.zeros((rows, SETPOINT_WIDTH))
        self._plan = self._rows[self._history :]
        self._way_back = WayBack(self._planner, self._rows, self._horizon)
        self._due_ns = 0
        self._epoch = 0
        self._planning = False
        self._grid_ns = 0
        self._sequence = 0
        self._still = 0
        self._t_obs_ns = 0
        self._status = STATUS_IDLE

    @property
    def synchronised(self) -> bool:
        """Whether the arm follows, and the plan moves it."""
        return self._planning

    @property
    def status(self) -> int:
        """``dvla.bindings.PlanStatus`` of the last plan."""
        return self._status

    def tick(self, now_ns: int, arm_state: ArmState | None) -> Command | None:
        """Plan the command of this tick; None when there is nothing that the arm could accept.

        Args:
            now_ns: the tick's deadline.
            arm_state: the newest one, or None before the first.
        """
        command = None
        if arm_state is None or now_ns - arm_state.t_ns > MAX_STATE_AGE_S * 1e9:
            pass  # the plan stays: if the arm still plays it when states come again, it goes on
        elif arm_state.mode in ("hold", "follow") and arm_state.lease_session == self._session:
            command = self._tick(now_ns, arm_state)
        else:
            self._planning = False
        self._due_ns = now_ns if command is None else self._grid_ns + self._lead_ns
        return command

    def _tick(self, now_ns: int, state: ArmState) -> Command | None:
        if not (self._planning and state.arm_epoch == self._epoch):
            self._synchronise(now_ns, state)
            return self._command()
        self._way_back.heed(state, self._plan_number, self._status == STATUS_IDLE)
        if not self._advance(now_ns):
            return None
        command = self._command()
        self._way_back.sent(command.sequence)
        return command

    def _synchronise(self, now_ns: int, state: ArmState) -> None:
        """Offer to stand still; start the plan when the arm follows this epoch."""
        if state.arm_epoch != self._epoch or self._grid_ns == 0:
            self._epoch = state.arm_epoch
            self._grid_ns = now_ns
        else:
            self._grid_ns += max(0, now_ns - self._grid_ns) // self._period_ns * self._period_ns
        pose = np.asarray(state.commanded, np.float64)
        self._rows[:] = pose
        self._t_obs_ns = 0
        self._still = self._history
        self._status = STATUS_IDLE
        # A stop may be over before its state is seen: the old plan is void all the same.
        self._planning = state.mode == "follow"
        if self._planning:
            self._planner.reset(pose)
            self._way_back.reset(pose)

    @property
    def _plan_number(self) -> int:
        """Periods to the newest plan from the start of the clock's grid."""
        return self._grid_ns // self._period_ns

    def _advance(self, now_ns: int) -> bool:
        """Plan every period since the last tick; the plan's own steps must not skip any."""
        # A quarter of a period absorbs the jitter of a waking time given instead of a deadline.
        steps = (now_ns - self._grid_ns + self._period_ns // 4) // self._period_ns
        if steps <= 0:
            return False
        for _ in range(min(steps, self._horizon)):
            self._grid_ns += self._period_ns
            # The oldest row of the history falls out, the last plan's first row joins it.
            self._rows[: self._history] = self._rows[1 : self._history + 1]
            self._status = int(self._planner.plan(self._grid_ns + self._lead_ns, self._plan))
            self._observe()
        # After a longer gap the arm has stopped by itself and this plan is void.
        self._grid_ns += max(0, steps - self._horizon) * self._period_ns
        return True

    def _observe(self) -> None:
        """Track the observation behind what moves, until the last of it has left the history."""
        if self._planner.t_obs_ns:
            self._t_obs_ns = self._planner.t_obs_ns
        if self._status == STATUS_IDLE:
            self._still += 1
            if self._still > self._history:
                self._t_obs_ns = 0
        else:
            self._still = 0

    def _command(self) -> Command:
        self._sequence += 1
        t_due_ns = self._grid_ns + self._lead_ns - self._history * self._period_ns
        return Command(
            session=self._session,
            sequence=self._sequence,
            generation=self._planner.generation,
            t_obs_ns=self._t_obs_ns,
            t_due_ns=t_due_ns,
            valid_until_ns=t_due_ns + self._validity_ns,
            arm_epoch=self._epoch,
            period_ns=self._period_ns,
            setpoints=self._rows.tobytes(),
        )

    def fill(self, row: np.void) -> None:
        """Fill the core's part of a ``SERVO_TICK`` row; the loop adds its own times and counts."""
        planner = self._planner
        row["t_ns"] = self._due_ns
        row["t_obs_ns"] = self._t_obs_ns
        row["chunk_id"] = planner.chunk_id if self._planning else -1
        row["timeline"] = planner.timeline_sequence
        row["underruns"] = planner.underruns
        row["saturated"] = planner.saturated_ticks
        row["saturation"] = planner.saturation if self._planning else 0
        row["sent"] = self._sequence
        row["taken_back"] = self._way_back.taken_back
        row["status"] = self._status
        row["setpoint"] = self._plan[0]


def compiled_planner(stream: ActionStream, limits: ArmLimits, config: ServoConfig) -> Planner:
    """Return the planner on a stream, without the GIL and without allocation."""
    from dvla.bindings import PoseShaper, ServoPlanner, ShaperLimits, WorkspaceGuard

    bounds = ShaperLimits(**msgspec.structs.asdict(limits.shaper))
    shaper = PoseShaper(bounds, config.period_ns * 1e-9)
    lower, upper = np.array(limits.workspace.lower), np.array(limits.workspace.upper)
    margin = np.minimum(WORKSPACE_MARGIN_M, (upper - lower) / 2.0)
    guard = WorkspaceGuard(
        lower + margin,
        upper - margin,
        reserve=WORKSPACE_MARGIN_M / 2.0,
        acceleration=limits.envelope.linear_acceleration,
        jerk=limits.envelope.linear_jerk,
        hardest=limits.shaper.linear_acceleration,
        plan_jerk=limits.shaper.linear_jerk,
    )
    return ServoPlanner(stream, shaper, config.horizon_steps, guard)
