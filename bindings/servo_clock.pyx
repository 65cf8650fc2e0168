"""An absolute-deadline pacer: sleeps to the grid, counts what it missed and how late it woke."""

import numpy as np

from libc.math cimport ceil
from libc.stdint cimport int64_t


cdef extern from "<errno.h>" nogil:
    int EINTR


cdef extern from "<time.h>" nogil:
    ctypedef int clockid_t
    clockid_t CLOCK_MONOTONIC
    int TIMER_ABSTIME
    cdef struct timespec:
        long tv_sec
        long tv_nsec
    int clock_gettime(clockid_t clock, timespec *time)
    int clock_nanosleep(clockid_t clock, int flags, const timespec *until, timespec *left)


cdef int64_t NS_PER_S = 1_000_000_000


cdef int64_t monotonic_ns() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t> now.tv_sec * NS_PER_S + now.tv_nsec


cdef class ServoClock:
    """Absolute-deadline pacer (clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME).

    The first ``wait`` fixes the grid one period from its call; later deadlines are whole periods
    from there. A deadline that has passed when ``wait`` is called is skipped and counted, so that a
    slow tick is followed by the next one on the grid and never by a burst.

    Args:
        period_ns: spacing of the deadlines.
    """

    def __cinit__(self, int64_t period_ns):
        if not 1000 <= period_ns <= 60 * NS_PER_S:
            raise ValueError(f"period_ns: got {period_ns}, expected 1000 to {60 * NS_PER_S}")
        self._period_ns = period_ns
        # Edges 0, 1 us, then sqrt(sqrt(2)) apart: 19 % wide, up to 11 s; the last bin is open.
        self._edges[0] = 0
        for i in range(BIN_COUNT):
            self._edges[i + 1] = <int64_t> (1000.0 * 2.0 ** (i / 4.0))

    cdef void _count(self, int64_t lateness_ns) noexcept nogil:
        cdef int low = 0
        cdef int high = BIN_COUNT
        cdef int middle
        while high - low > 1:
            middle = (low + high) // 2
            if self._edges[middle] <= lateness_ns:
                low = middle
            else:
                high = middle
        self._counts[low] += 1
        self._ticks += 1
        if lateness_ns > self._worst_ns:
            self._worst_ns = lateness_ns

    cdef int64_t wait_nogil(self) noexcept nogil:
        cdef timespec until
        cdef int64_t now = monotonic_ns()
        cdef int64_t missed
        if self._deadline_ns == 0:
            self._deadline_ns = now
        self._deadline_ns += self._period_ns
        if self._deadline_ns < now:
            missed = (now - self._deadline_ns + self._period_ns - 1) // self._period_ns
            self._overruns += missed
            self._deadline_ns += missed * self._period_ns
        until.tv_sec = self._deadline_ns // NS_PER_S
        until.tv_nsec = self._deadline_ns % NS_PER_S
        while clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR:
            pass
        now = monotonic_ns()
        self._lateness_ns = now - self._deadline_ns
        self._count(self._lateness_ns)
        return now

    def wait(self):
        """Sleep to the next deadline; return the time of waking [ns].

        A signal's Python handler runs after the wait, at most one period late.
        """
        cdef int64_t now
        with nogil:
            now = self.wait_nogil()
        return now

    @property
    def period_ns(self):
        """Spacing of the deadlines [ns]."""
        return self._period_ns

    @property
    def deadline_ns(self):
        """The deadline that the last ``wait`` served; 0 before the first."""
        return self._deadline_ns

    @property
    def lateness_ns(self):
        """Waking minus deadline, last tick [ns]."""
        return self._lateness_ns

    @property
    def ticks(self):
        """Deadlines served since the last reset of the statistics."""
        return self._ticks

    @property
    def overruns(self):
        """Deadlines that had passed when ``wait`` was called; skipped."""
        return self._overruns

    @property
    def histogram(self):
        """Lateness counts (96,), read-only copy."""
        counts = np.array([self._counts[i] for i in range(BIN_COUNT)], dtype=np.int64)
        counts.flags.writeable = False
        return counts

    @property
    def histogram_edges_ns(self):
        """Bin edges (97,) [ns]; bin i counts edges[i] <= lateness < edges[i + 1], the last all above."""
        edges = np.array([self._edges[i] for i in range(BIN_COUNT + 1)], dtype=np.int64)
        edges.flags.writeable = False
        return edges

    def lateness_percentile_ns(self, double percent):
        """Return an upper bound of a lateness percentile: its bin's edge, or the worst if less.

        Args:
            percent: 0 to 100; 100 is the exact maximum.
        """
        if not 0.0 <= percent <= 100.0:
            raise ValueError(f"percent: got {percent}, expected 0 to 100")
        cdef int64_t rank = max(<int64_t> ceil(self._ticks * percent / 100.0), 1)
        cdef int64_t seen = 0
        if self._ticks == 0:
            return 0
        for i in range(BIN_COUNT - 1):
            seen += self._counts[i]
            if seen >= rank:
                return min(self._edges[i + 1], self._worst_ns)
        return self._worst_ns

    def reset_statistics(self):
        """Forget counts, overruns and the histogram; the grid stays."""
        self._ticks = self._overruns = self._worst_ns = self._lateness_ns = 0
        for i in range(BIN_COUNT):
            self._counts[i] = 0
