"""The duration of a stop, inlined: the gate judges by it, and the servo slows down by it."""

from libc.math cimport fmax, fmin, sqrt


cdef inline double stop_s(
    double speed, double change, double bound, double jerk
) noexcept nogil:
    """Return the duration of a stop; see ``dvla.runtime.stopping.stop_duration``."""
    cdef double steepest, root
    change = fmin(change, bound)
    steepest = 2.0 * (bound - change) + 2.0 * sqrt(bound * (bound + change))
    root = sqrt(16.0 * change * change + 24.0 * speed * jerk)
    return fmax(6.0 * speed / fmax(steepest, 1e-9), (4.0 * change + root) / (2.0 * jerk))
