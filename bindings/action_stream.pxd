"""Declares the double buffer between policy and servo."""

from libc.stdint cimport int64_t, uint64_t

from dvla.bindings.interpolation cimport Knot
from dvla.bindings.shared_memory cimport SharedMemory
from dvla.bindings.slots cimport dvla_stamp, dvla_word

cdef enum:
    KNOT_CAPACITY = 128
    SLOT_COUNT = 3
    READ_ATTEMPTS = 4
    TIMELINE_WORDS = 6 + 11 * KNOT_CAPACITY  # checked against sizeof(Timeline) at import

cdef enum Status:
    STATUS_EMPTY
    STATUS_ACTIVE
    STATUS_BEFORE
    STATUS_UNDERRUN
    STATUS_HOLD


cdef struct Timeline:
    uint64_t sequence
    int64_t start_ns
    int64_t end_ns
    int64_t generation
    int64_t hold
    int64_t count
    Knot knots[KNOT_CAPACITY]


cdef struct StreamHeader:
    uint64_t magic
    uint64_t version
    uint64_t size_bytes
    uint64_t capacity
    dvla_word newest
    uint64_t padding[3]


cdef struct StreamSlot:
    dvla_stamp stamp
    dvla_word words[TIMELINE_WORDS]


cdef class ActionStream:
    cdef SharedMemory _memory
    cdef StreamHeader *_header
    cdef StreamSlot *_slots
    cdef Timeline *_good
    cdef Timeline *_spare
    cdef Timeline *_draft
    cdef uint64_t _retries

    cdef uint64_t refresh_nogil(self) noexcept nogil
    cdef bint _read_slot(self, uint64_t sequence) noexcept nogil
    cdef Status sample_nogil(self, int64_t now_ns, double *setpoint, double *twist) noexcept nogil
    cdef const Knot *knot_in_force(self, int64_t now_ns) noexcept nogil
    cdef int _require_open(self) except -1
