"""Declares the servo tick: refresh, sample, shape, roll forward."""

from libc.stdint cimport int64_t, uint64_t

from dvla.bindings.action_stream cimport ActionStream, Status
from dvla.bindings.shaper cimport PoseShaper, ShaperState
from dvla.bindings.workspace_guard cimport WorkspaceGuard

cdef enum:
    SENT_PLANS = 32


cdef enum Plan:
    PLAN_IDLE
    PLAN_FOLLOWING
    PLAN_STOPPING


cdef class ServoPlanner:
    cdef ActionStream _stream
    cdef PoseShaper _shaper
    cdef readonly Py_ssize_t horizon
    cdef int64_t _period_ns
    cdef int64_t _last_ns
    cdef uint64_t _sequence
    cdef bint _continues  # the newest plan says what the next one will
    cdef bint _braking
    cdef ShaperState *_states  # (horizon,): the newest plan
    cdef ShaperState *_sent  # (SENT_PLANS, horizon): those that were remembered
    cdef int64_t _sent_ns[SENT_PLANS]
    cdef int64_t _sent_number[SENT_PLANS]
    cdef double _sent_share[SENT_PLANS]
    cdef WorkspaceGuard _guard
    cdef Plan _status
    cdef int64_t _t_obs_ns
    cdef int64_t _chunk_id
    cdef int _saturation
    cdef int64_t _saturated_ticks
    cdef int64_t _underruns

    cdef Status _step(self, ShaperState *state, int64_t t_ns, bint *at_rest) noexcept nogil
    cdef Plan _tick(self, int64_t now_ns) noexcept nogil
    cdef void _roll_forward(self, int64_t now_ns, Py_ssize_t kept) noexcept nogil
    cdef Plan plan_nogil(self, int64_t now_ns, double *rows) noexcept nogil
