"""Where the joints of one serial arm go for a path of setpoints.

Differential inverse kinematics as the drivers solve it: per setpoint one Gauss-Newton step from the
last solution, with a weak pull to a posture that decides the elbow. No joint leaves its range, nor
goes further than it may in the time: the step is the best of those that keep both, so that the
elbow lags first, and then the pose. Where the motion so far is known, the speed of a joint changes
by no more than it may either, nor does its acceleration, so that it brakes in time before an end;
and what the pose lags by is caught up at a speed from which all can brake.
"""

from libc.math cimport INFINITY, exp2, fabs, fmax, fmin

from dvla.bindings.braking cimport nearing
from dvla.bindings.frames cimport Frame
from dvla.bindings.kinematics cimport MAX_JOINTS
from dvla.bindings.least_squares cimport factorise, solve_between, substitute
from dvla.bindings.pacing cimport Pace, Pacing
from dvla.bindings.rotations cimport norm3

from dvla.bindings.kinematics import FACTS

__all__ = ["FACTS", "Follower"]

cdef double POSTURE_WEIGHT = 1e-6
cdef double ELBOW_HALF_S = 0.05  # in which the elbow goes half of its way to the posture
cdef double MUCH = 1e-3  # bends that are far smaller are the elbow's pull, not what bounds leave
cdef double AT_ONCE = 1e-5  # [m, rad] that are caught up without ado
cdef double LEVER_M = 1.0  # more than the TCP's distance to any axis: what its path bends by


cdef class Follower(Pacing):
    """The kinematics of one serial arm, and the joints that it goes to for a path."""

    def __init__(
        self, const double[:, ::1] rows, const double[:, ::1] tool, const double[::1] lower,
        const double[::1] upper, const double[::1] accelerations, const double[::1] jerks,
        const double[::1] posture, double turn_weight, const double[:, ::1] capsules,
        const long[:, ::1] pairs, const double[:, ::1] planes,
    ):
        cdef int i, n = rows.shape[0]
        Pacing.__init__(self, rows, tool, capsules, pairs, planes)
        self._limit(lower, upper, accelerations, jerks)
        if posture.shape[0] != n:
            raise ValueError(f"posture needs {n} joints")
        self._turn_weight = turn_weight
        for i in range(n):
            self._posture[i] = posture[i]

    def follow(
        self, const double[::1] q, const double[:, ::1] setpoints, double[:, ::1] q_out,
        double[:, ::1] facts_out, int turns=1, double period_s=INFINITY,
        const double[::1] speeds=None,
    ):
        """Write the joints (m, n) and facts (m, FACTS) for a path (m, 8) that begins at q (n,)."""
        cdef Frame frames[MAX_JOINTS + 2]
        cdef double at[MAX_JOINTS]
        cdef Py_ssize_t row, m = setpoints.shape[0]
        cdef double most[MAX_JOINTS]
        cdef int i, n = self.joints
        if q.shape[0] != n or q_out.shape[0] < m or q_out.shape[1] != n:
            raise ValueError(f"follow: expected q ({n},) and q_out ({m}, {n})")
        if setpoints.shape[1] != 8 or facts_out.shape[0] < m or facts_out.shape[1] != 5:
            raise ValueError(f"follow: expected setpoints ({m}, 8) and facts_out ({m}, 5)")
        if not period_s > 0.0 or (speeds is not None and speeds.shape[0] != n):
            raise ValueError(f"follow: expected period_s above 0 and speeds ({n},)")
        for i in range(n):
            most[i] = speeds[i] if speeds is not None else INFINITY
        with nogil:
            for i in range(n):
                at[i] = q[i]
            self._forward(at, frames)
            for row in range(m):
                self._go(at, frames, &setpoints[row, 0], turns, period_s, most, NULL)
                self._facts(frames, &setpoints[row, 0], &facts_out[row, 0])
                for i in range(n):
                    q_out[row, i] = at[i]

    def track(
        self, double[::1] q, double[:, ::1] rates, double[::1] owed, const double[::1] setpoint,
        double time_s, const double[::1] speeds, double[::1] facts_out,
    ):
        """Go on towards a setpoint (8,) for a time, and write the facts (FACTS,) of where it is."""
        cdef Frame frames[MAX_JOINTS + 2]
        cdef double most[MAX_JOINTS]
        cdef Pace pace
        cdef int i, k, n = self.joints
        if q.shape[0] != n or speeds.shape[0] != n:
            raise ValueError(f"track: expected q and speeds ({n},)")
        if rates.shape[0] != 2 or rates.shape[1] != n:
            raise ValueError(f"track: expected rates (2, {n})")
        if owed.shape[0] != 6 or setpoint.shape[0] != 8 or facts_out.shape[0] != FACTS:
            raise ValueError(f"track: expected owed (6,), setpoint (8,) and facts_out ({FACTS},)")
        if not 0.0 < time_s < INFINITY:
            raise ValueError(f"track: got {time_s} s, expected a time above 0")
        for i in range(n):
            most[i] = speeds[i]
            pace.velocity[i], pace.acceleration[i] = rates[0, i], rates[1, i]
        for k in range(6):
            pace.owed[k] = owed[k]
        with nogil:
            self._forward(&q[0], frames)
            self._go(&q[0], frames, &setpoint[0], 1, time_s, most, &pace)
            self._facts(frames, &setpoint[0], &facts_out[0])
        for i in range(n):
            rates[0, i], rates[1, i] = pace.velocity[i], pace.acceleration[i]
        for k in range(6):
            owed[k] = pace.owed[k]

    cdef void _go(
        self, double *q, Frame *frames, const double *setpoint, int turns, double time_s,
        double *speeds, Pace *pace,
    ) noexcept nogil:
        """Move q (n,) towards a setpoint in turns, by what its speeds allow in the time.

        Where its pace so far is known and not NULL, acceleration and jerk count too.
        """
        cdef double low[MAX_JOINTS]
        cdef double high[MAX_JOINTS]
        cdef double before[MAX_JOINTS]
        cdef double miss[6]
        cdef double down, up, most
        cdef int i, turn
        for i in range(self.joints):
            low[i], high[i] = self._lower[i], self._upper[i]
            if time_s < INFINITY:
                # A joint that was found beyond its range goes no further out, and back in time.
                down, up = fmax(0.0, q[i] - low[i]), fmax(0.0, high[i] - q[i])
                most = fmin(speeds[i], nearing(down, self._brakes[i], time_s))
                low[i] = fmin(q[i], fmax(low[i], q[i] - most * time_s))
                most = fmin(speeds[i], nearing(up, self._brakes[i], time_s))
                high[i] = fmax(q[i], fmin(high[i], q[i] + most * time_s))
            before[i] = q[i]
        if pace != NULL:
            self._keep_pace(q, pace, speeds, time_s, low, high)
        for turn in range(turns):
            self._miss(frames, setpoint, miss)
            self._step(q, frames, miss, time_s / turns, low, high, pace)
            self._forward(q, frames)
        if pace != NULL:
            for i in range(self.joints):
                most = (q[i] - before[i]) / time_s
                pace.acceleration[i] = (most - pace.velocity[i]) / time_s
                pace.velocity[i] = most
            self._miss(frames, setpoint, pace.owed)

    cdef void _step(
        self, double *q, const Frame *frames, const double *miss, double period_s,
        const double *low, const double *high, const Pace *pace,
    ) noexcept nogil:
        """Move q (n,) by one Gauss-Newton step of a time that ends between low and high (n,).

        Of the miss (6,), what was owed before it is caught up as fast as joints can brake again;
        all at once where the pace is NULL.
        """
        cdef double jacobian[6 * MAX_JOINTS]
        cdef double h[MAX_JOINTS * MAX_JOINTS]
        cdef double factor[MAX_JOINTS * MAX_JOINTS]
        cdef double pull[MAX_JOINTS]  # of the posture
        cdef double way[MAX_JOINTS]  # of the elbow alone
        cdef double step[MAX_JOINTS]
        cdef double new[MAX_JOINTS]  # the step without what is owed
        cdef double least[MAX_JOINTS]
        cdef double most[MAX_JOINTS]
        cdef double left[6]
        cdef double due[6]
        cdef double damping, share
        cdef int i, j, k, n = self.joints
        damping = POSTURE_WEIGHT / (exp2(fmin(period_s / ELBOW_HALF_S, 1.0)) - 1.0)
        self._jacobian(frames, jacobian)
        for k in range(3, 6):
            for i in range(n):
                jacobian[k * n + i] *= self._turn_weight
        for i in range(n):
            for j in range(i + 1):
                h[i * n + j] = POSTURE_WEIGHT + damping if i == j else 0.0
                for k in range(6):
                    h[i * n + j] += jacobian[k * n + i] * jacobian[k * n + j]
                h[j * n + i] = h[i * n + j]
            way[i] = POSTURE_WEIGHT * (self._posture[i] - q[i])
        for i in range(n * n):
            factor[i] = h[i]
        if not factorise(factor, n):
            return
        substitute(factor, way, n)
        share = self._elbow_share(way, 1.0 + damping / POSTURE_WEIGHT, period_s)
        for i in range(n):
            pull[i] = share * POSTURE_WEIGHT * (self._posture[i] - q[i])
        for k in range(6):
            left[k] = miss[k] * (self._turn_weight if k >= 3 else 1.0)
        if pace != NULL and norm3(pace.owed) + norm3(&pace.owed[3]) > AT_ONCE:
            for i in range(n):
                least[i], most[i] = fmin(q[i], self._lower[i]), fmax(q[i], self._upper[i])
            self._solve(jacobian, h, factor, pull, left, q, least, most, step)
            for k in range(6):
                due[k] = pace.owed[k] * (self._turn_weight if k >= 3 else 1.0)
                left[k] -= due[k]
            self._solve(jacobian, h, factor, pull, left, q, least, most, new)
            share = self._calm_share(new, step, period_s)
            for k in range(6):
                left[k] += share * due[k]
        self._solve(jacobian, h, factor, pull, left, q, low, high, step)
        for i in range(n):
            q[i] += step[i]

    cdef void _solve(
        self, const double *jacobian, const double *h, const double *factor, const double *pull,
        const double *left, const double *q, const double *low, const double *high, double *step,
    ) noexcept nogil:
        """step (n,) = the best one for what is left (6,) that ends between low and high (n,)."""
        cdef double g[MAX_JOINTS]
        cdef double rest[6]
        cdef double used[MAX_JOINTS * MAX_JOINTS]
        cdef int i, k, n = self.joints
        cdef bint inside = True
        for i in range(n):
            g[i] = pull[i]
            for k in range(6):
                g[i] += jacobian[k * n + i] * left[k]
            step[i] = g[i]
        substitute(factor, step, n)
        for i in range(n):
            if q[i] + step[i] < low[i] or q[i] + step[i] > high[i]:
                inside = False
        if not inside:
            for i in range(n * n):
                used[i] = h[i]
            for k in range(6):
                rest[k] = left[k]
            self._step_between(jacobian, used, g, rest, q, low, high, step)

    cdef void _step_between(
        self, const double *jacobian, double *h, double *g, double *left, const double *q,
        const double *low, const double *high, double *step,
    ) noexcept nogil:
        """step (n,) = the best one that ends between low and high (n,); h and left are used up."""
        cdef double least[MAX_JOINTS]
        cdef double most[MAX_JOINTS]
        cdef double bend
        cdef int i, k, n = self.joints
        for i in range(n):
            least[i], most[i] = low[i] - q[i], high[i] - q[i]
        solve_between(h, g, least, most, step, n)
        # Where bounds leave a miss, the path bends within the step by as much as it is long:
        # undamped, steps overshoot and swing about what they aim for.
        for k in range(6):
            for i in range(n):
                left[k] -= jacobian[k * n + i] * step[i]
        bend = norm3(left) * LEVER_M + norm3(&left[3]) * self._turn_weight
        bend *= bend / (bend + MUCH)
        for i in range(n):
            h[i * n + i] += bend
        solve_between(h, g, least, most, step, n)
