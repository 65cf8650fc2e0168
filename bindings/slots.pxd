"""Declares the slot protocol of slots.h."""

from libc.stddef cimport size_t
from libc.stdint cimport uint64_t


cdef extern from "slots.h" nogil:
    ctypedef struct dvla_word:
        pass
    ctypedef struct dvla_stamp:
        pass
    void dvla_write_open(dvla_stamp *stamp, uint64_t sequence) noexcept
    void dvla_write_close(dvla_stamp *stamp, uint64_t sequence) noexcept
    uint64_t dvla_read_open(dvla_stamp *stamp) noexcept
    int dvla_read_close(dvla_stamp *stamp, uint64_t sequence) noexcept
    uint64_t dvla_newest(dvla_word *newest) noexcept
    void dvla_announce(dvla_word *newest, uint64_t sequence) noexcept
    void dvla_store_bytes(dvla_word *to, const void *source, size_t bytes) noexcept
    void dvla_load_bytes(void *to, dvla_word *source, size_t bytes) noexcept
