"""Declares the owner of one sealed, mapped memfd."""

from libc.stddef cimport size_t


cdef class SharedMemory:
    cdef int _fd
    cdef size_t _bytes
    cdef unsigned char *base

    cpdef void release(self)
