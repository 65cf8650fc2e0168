"""How fast the joints of one serial arm may go: towards an end, a posture, or a pose that they owe."""

from libc.math cimport INFINITY, fabs, fmax, fmin

from dvla.bindings.braking cimport change_towards, nearing
from dvla.bindings.kinematics cimport Kinematics

__all__ = ["Pacing"]

cdef double BRAKE_SHARE = 0.8  # of a joint's acceleration before an end: the path has the rest
cdef double ELBOW_SHARE = 0.5  # of the brakes: the path of the TCP has the rest
cdef double CATCH_UP_SHARE = 0.5  # of the brakes, for what the pose lags by
cdef double CALM = 5.0  # times that brakes take to be reached: in less it would swing


cdef class Pacing(Kinematics):
    """The kinematics of one serial arm, with the limits of its joints."""

    cdef int _limit(
        self, const double[::1] lower, const double[::1] upper, const double[::1] accelerations,
        const double[::1] jerks,
    ) except -1:
        """Take the limits of the joints, each (n,)."""
        cdef int i, n = self.joints
        if lower.shape[0] != n or upper.shape[0] != n:
            raise ValueError(f"lower and upper need {n} joints")
        if accelerations.shape[0] != n or jerks.shape[0] != n:
            raise ValueError(f"accelerations and jerks need {n} joints")
        for i in range(n):
            self._lower[i], self._upper[i] = lower[i], upper[i]
            self._accelerations[i], self._jerks[i] = accelerations[i], jerks[i]
            self._brakes[i] = BRAKE_SHARE * accelerations[i]
        return 0

    cdef void _keep_pace(
        self, const double *q, const Pace *pace, const double *speeds, double time_s,
        double *low, double *high,
    ) noexcept nogil:
        """Narrow low and high (n,) to what acceleration and jerk allow.

        Where not all can be kept, range and speed decide, then the acceleration. It falls in time
        before a speed that a joint may not exceed, and before an end.
        """
        cdef double least, most, change, down, up, now
        cdef int i
        for i in range(self.joints):
            now, change = pace.acceleration[i], self._jerks[i] * time_s
            up = fmax(0.0, speeds[i] - pace.velocity[i])
            up = fmin(self._accelerations[i], nearing(up, self._jerks[i], time_s))
            down = fmax(0.0, speeds[i] + pace.velocity[i])
            down = -fmin(self._accelerations[i], nearing(down, self._jerks[i], time_s))
            least = fmin(up, fmax(down, now - change))
            most = fmin(up, fmax(down, now + change))
            up = change_towards(
                self._upper[i] - q[i], pace.velocity[i], least, most,
                self._brakes[i], self._jerks[i], time_s,
            )
            down = -change_towards(
                q[i] - self._lower[i], -pace.velocity[i], -most, -least,
                self._brakes[i], self._jerks[i], time_s,
            )
            least, most = fmin(down, up), fmax(down, up)
            least = q[i] + (pace.velocity[i] + least * time_s) * time_s
            most = q[i] + (pace.velocity[i] + most * time_s) * time_s
            least, most = fmin(least, high[i]), fmax(most, low[i])
            low[i], high[i] = fmax(low[i], least), fmin(high[i], most)

    cdef double _calm_speed(
        self, int joint, double way, double share, double period_s
    ) noexcept nogil:
        """Return the speed for a way at whose end a share of the brakes is enough.

        They take a while to be reached.
        """
        cdef double delay_s = fmax(period_s, CALM * self._accelerations[joint] / self._jerks[joint])
        return nearing(way, share * self._brakes[joint], delay_s)

    cdef double _calm_share(
        self, const double *new, const double *step, double period_s
    ) noexcept nogil:
        """Return how much of the way from one goal (n,) to another may be gone in a time.

        From the speed of it all joints must be able to brake in what is left.
        """
        cdef double share = 1.0, way, most
        cdef int i
        for i in range(self.joints):
            way = fabs(step[i] - new[i])
            most = self._calm_speed(i, way, CATCH_UP_SHARE, period_s) * period_s
            if most < share * way:
                share = most / way
        return share

    cdef double _elbow_share(
        self, const double *way, double whole, double period_s
    ) noexcept nogil:
        """Return how much of its way (n,) the elbow may go, so that it can still brake after it.

        Its whole way is so many times as long.
        """
        cdef double share = 1.0, left, most
        cdef int i
        if self.joints <= 6 or period_s == INFINITY:
            return share
        for i in range(self.joints):
            left = whole * fabs(way[i])
            most = self._calm_speed(i, left, ELBOW_SHARE, period_s) * period_s
            if most < share * fabs(way[i]):
                share = most / fabs(way[i])
        return share
