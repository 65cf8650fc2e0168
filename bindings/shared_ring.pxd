"""Declares the ring of byte slots."""

from libc.stdint cimport int64_t, uint64_t

from dvla.bindings.shared_memory cimport SharedMemory
from dvla.bindings.slots cimport dvla_stamp, dvla_word


cdef struct RingHeader:
    uint64_t magic
    uint64_t version
    uint64_t slot_bytes
    uint64_t slots
    dvla_word newest
    uint64_t padding[3]


cdef struct RingSlot:  # followed by the payload, padded to whole words
    dvla_stamp stamp
    dvla_word t_ns
    dvla_word payload_bytes


cdef class SharedRing:
    cdef SharedMemory _memory
    cdef RingHeader *_header
    cdef uint64_t _slot_bytes
    cdef uint64_t _slots
    cdef uint64_t _stride

    cdef RingSlot *slot_of(self, uint64_t sequence) noexcept nogil
    cdef bint read_nogil(
        self, uint64_t sequence, unsigned char *out, uint64_t out_bytes, int64_t *t_ns
    ) noexcept nogil
    cdef int _require_open(self) except -1
