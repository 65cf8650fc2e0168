"""One servo tick without the GIL: refresh, sample, shape, and roll the future forward."""

import enum

from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memmove

from dvla.bindings.action_stream cimport (
    STATUS_ACTIVE,
    STATUS_HOLD,
    STATUS_UNDERRUN,
    ActionStream,
    Status,
)
from dvla.bindings.interpolation cimport Knot
from dvla.bindings.shaper cimport PoseShaper, ShaperState
from dvla.bindings.workspace_guard cimport BRAKE_BIT, WORKSPACE_BIT, WorkspaceGuard

REMEMBERED = SENT_PLANS  # plans that were sent, at most

cdef int64_t NEVER = -(1 << 62)
cdef size_t ROW_BYTES = 8 * sizeof(double)
cdef size_t STATE_BYTES = sizeof(ShaperState)


class PlanStatus(enum.IntEnum):
    """What the tick's setpoint came from."""

    IDLE = PLAN_IDLE
    FOLLOWING = PLAN_FOLLOWING
    STOPPING = PLAN_STOPPING


cdef tuple STATUSES = tuple(PlanStatus)


cdef class ServoPlanner:
    """One servo tick without the GIL: refresh, sample, shape, and roll the future forward.

    Plans that were sent can be remembered, and the motion taken back onto one of them.

    Args:
        stream: the reader's end.
        shaper: the state that moves; the planner alone steps it from here on.
        horizon: setpoints per plan, one shaper period apart.
        guard: keeps the plan, and every stop from it, inside a box, whatever the stream says.
    """

    SATURATED_WORKSPACE = WORKSPACE_BIT
    SATURATED_BRAKE = BRAKE_BIT

    def __init__(
        self,
        ActionStream stream not None,
        PoseShaper shaper not None,
        int horizon,
        WorkspaceGuard guard=None,
    ):
        if not 1 <= horizon <= 1000:
            raise ValueError(f"horizon: got {horizon}, expected 1 to 1000")
        self._stream = stream
        self._shaper = shaper
        self.horizon = horizon
        self._period_ns = round(shaper.period_s * 1e9)
        free(self._states)
        free(self._sent)
        self._states = <ShaperState *> malloc(horizon * STATE_BYTES)
        self._sent = <ShaperState *> malloc(SENT_PLANS * horizon * STATE_BYTES)
        if self._states == NULL or self._sent == NULL:
            raise MemoryError()
        self._guard = guard
        self._forget()

    def __dealloc__(self):
        free(self._states)
        free(self._sent)

    def _forget(self):
        self._last_ns = NEVER
        self._sequence = 0
        self._continues = False
        self._braking = False
        for slot in range(SENT_PLANS):
            self._sent_number[slot] = -1
        self._status = PLAN_IDLE
        self._t_obs_ns = 0
        self._chunk_id = -1
        self._saturation = 0

    def reset(self, setpoint):
        """Rest at a setpoint (8,), with all of the shaper's bounds; counters stay."""
        self._shaper.reset(setpoint)
        self._shaper.take(1.0)
        self._forget()

    cdef Status _step(self, ShaperState *state, int64_t t_ns, bint *at_rest) noexcept nogil:
        """Advance a state to ``t_ns``: follow what is in force then, else stop."""
        cdef double target[8]
        cdef double twist[6]
        cdef Status status = STATUS_HOLD
        if not self._braking:
            status = self._stream.sample_nogil(t_ns, target, twist)
        if status == STATUS_ACTIVE:
            at_rest[0] = False
            self._saturation = 0
            if self._guard is not None:
                self._saturation = self._guard.lead_inside(
                    state.setpoint, &state.linear, target, twist
                )
            if self._saturation & BRAKE_BIT:
                self._shaper.stop_nogil(state)
            else:
                self._saturation |= self._shaper.step_nogil(state, target, twist)
        else:
            self._saturation = 0
            at_rest[0] = self._shaper.stop_nogil(state)
        return status

    cdef Plan _tick(self, int64_t now_ns) noexcept nogil:
        """Advance the real state to ``now_ns`` and keep the books."""
        cdef const Knot *knot
        cdef bint at_rest = False
        cdef Status status = self._step(&self._shaper.state, now_ns, &at_rest)
        self._saturated_ticks += self._saturation != 0
        if status == STATUS_ACTIVE:
            knot = self._stream.knot_in_force(now_ns)
            self._chunk_id = knot.chunk_id
            self._t_obs_ns = knot.t_obs_ns
            self._status = PLAN_FOLLOWING
            return self._status
        if status == STATUS_UNDERRUN and self._status == PLAN_FOLLOWING:
            self._underruns += 1
        self._status = PLAN_IDLE if at_rest else PLAN_STOPPING
        if at_rest:
            self._chunk_id = -1
            self._t_obs_ns = 0
        return self._status

    cdef Plan plan_nogil(self, int64_t now_ns, double *rows) noexcept nogil:
        """Plan ``horizon`` rows of 8; see ``plan``.

        Between publications a plan costs two steps of the shaper, not one per row.
        """
        cdef Plan status
        cdef int64_t ticks = NEVER
        cdef int64_t tick
        cdef Py_ssize_t row
        cdef Py_ssize_t kept = 0
        cdef uint64_t sequence = self._stream.refresh_nogil()
        if self._last_ns != NEVER:
            ticks = (now_ns - self._last_ns + self._period_ns // 2) // self._period_ns
            # The future is a function of the timeline and of the state, and the state has gone
            # where the last plan said: what that plan says of the times still ahead holds.
            if (
                self._continues
                and sequence == self._sequence
                and 0 < ticks < self.horizon
                and now_ns == self._last_ns + ticks * self._period_ns
            ):
                kept = self.horizon - ticks
        # Ticks that the loop skipped were played from the last plan: the state went through them.
        # After a longer silence the arm has stopped; then one step is all that may be assumed.
        if 1 < ticks <= self.horizon:
            for tick in range(1, ticks):
                self._tick(now_ns - (ticks - tick) * self._period_ns)
        status = self._tick(now_ns)
        self._last_ns = now_ns
        self._sequence = sequence
        self._continues = True
        self._roll_forward(now_ns, kept)
        for row in range(self.horizon):
            memcpy(rows + 8 * row, self._states[row].setpoint, ROW_BYTES)
        return status

    cdef void _roll_forward(self, int64_t now_ns, Py_ssize_t kept) noexcept nogil:
        """Plan the rows from ``now_ns`` on; the last ``kept`` of the last plan become the first."""
        cdef bint at_rest = False
        cdef int saturation = self._saturation
        cdef Py_ssize_t row
        if kept:
            memmove(self._states, self._states + (self.horizon - kept), kept * STATE_BYTES)
        else:
            self._states[0] = self._shaper.state
            kept = 1
        for row in range(kept, self.horizon):
            self._states[row] = self._states[row - 1]
            self._step(&self._states[row], now_ns + row * self._period_ns, &at_rest)
        self._saturation = saturation

    def plan(self, int64_t now_ns, double[:, ::1] setpoints_out not None):
        """Advance to ``now_ns`` and write what is due then and after.

        Args:
            now_ns: time the first setpoint is due; ticks are one shaper period apart, skipped ones
                are made up for as the arm played them from the previous plan.
            setpoints_out: (horizon, 8) is written. Where the stream runs dry within the horizon,
                the rest of the plan is the jerk-limited stop.

        Returns:
            FOLLOWING while an action is in force, STOPPING until at rest, then IDLE.
        """
        cdef Plan status
        if setpoints_out.shape[0] != self.horizon or setpoints_out.shape[1] != 8:
            raise ValueError(
                f"setpoints_out: got shape ({setpoints_out.shape[0]}, {setpoints_out.shape[1]}), "
                f"expected ({self.horizon}, 8)"
            )
        self._stream._require_open()
        with nogil:
            status = self.plan_nogil(now_ns, &setpoints_out[0, 0])
        return STATUSES[<int> status]

    def remember(self, int64_t number):
        """Keep the newest plan under a number above 0, in place of the oldest."""
        cdef Py_ssize_t slot = number % SENT_PLANS
        if number <= 0 or self._last_ns == NEVER:
            raise ValueError(f"number: got {number}, expected one above 0, and a plan before it")
        memcpy(self._sent + slot * self.horizon, self._states, self.horizon * STATE_BYTES)
        self._sent_ns[slot] = self._last_ns
        self._sent_number[slot] = number
        self._sent_share[slot] = self._shaper.share

    def take_back(self, int64_t number):
        """Go on from where a remembered plan is by now, with its share of the bounds.

        Args:
            number: that it was remembered under.

        Returns:
            How many of its rows have passed; None where the plan is unknown, or over by now.
        """
        cdef Py_ssize_t slot = number % SENT_PLANS
        cdef int64_t row
        if number <= 0 or self._sent_number[slot] != number:
            return None
        row = (self._last_ns - self._sent_ns[slot]) // self._period_ns
        if not 0 <= row < self.horizon:
            return None
        self._shaper.state = self._sent[slot * self.horizon + row]
        self._shaper.take(self._sent_share[slot])
        self._continues = False
        return row

    @property
    def braking(self):
        """Whether plans stop, the shortest way that the shaper knows, whatever the stream says."""
        return self._braking

    @braking.setter
    def braking(self, bint braking):
        if braking != self._braking:
            self._braking = braking
            self._continues = False

    @property
    def share(self):
        """What plans take of the shaper's bounds; to take less the plan has to rest."""
        return self._shaper.share

    @share.setter
    def share(self, double share):
        if share != self._shaper.share:
            self._shaper.take(share)
            self._continues = False

    @property
    def t_obs_ns(self):
        """Capture time behind the setpoint [ns]; 0 when idle."""
        return self._t_obs_ns

    @property
    def chunk_id(self):
        """Sequence of the chunk behind the setpoint; -1 when idle."""
        return self._chunk_id

    @property
    def saturation(self):
        """SATURATED_* bits of the last plan's first setpoint."""
        return self._saturation

    @property
    def saturated_ticks(self):
        """Ticks whose first setpoint could not reach its target."""
        return self._saturated_ticks

    @property
    def underruns(self):
        """Transitions from FOLLOWING into underrun."""
        return self._underruns

    @property
    def timeline_sequence(self):
        """Sequence of the timeline that the reader holds; 0 before the first."""
        return self._stream._good.sequence

    @property
    def generation(self):
        """Generation of that timeline."""
        return self._stream.generation
