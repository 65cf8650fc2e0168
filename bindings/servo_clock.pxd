"""Declares the absolute-deadline pacer."""

from libc.stdint cimport int64_t

cdef enum:
    BIN_COUNT = 96


cdef class ServoClock:
    cdef int64_t _period_ns
    cdef int64_t _deadline_ns
    cdef int64_t _lateness_ns
    cdef int64_t _ticks
    cdef int64_t _overruns
    cdef int64_t _worst_ns
    cdef int64_t _edges[BIN_COUNT + 1]
    cdef int64_t _counts[BIN_COUNT]

    cdef int64_t wait_nogil(self) noexcept nogil
    cdef void _count(self, int64_t lateness_ns) noexcept nogil
