"""One sealed memfd, mapped: the memory under the action stream and the shared rings.

A memfd has no name: nothing to unlink, nothing left behind by a killed process, and only processes
that were given the descriptor (``pass_fds``) can map it. Size seals make a truncation, which would
turn a reader's next load into SIGBUS, impossible.
"""

import fcntl
import os

from libc.stddef cimport size_t


cdef extern from "sys/mman.h" nogil:
    int PROT_READ, PROT_WRITE, MAP_SHARED
    void *MAP_FAILED
    void *mmap(void *address, size_t length, int prot, int flags, int fd, long offset)
    int munmap(void *address, size_t length)


cdef class SharedMemory:
    """A mapped memfd; it owns its descriptor and its mapping."""

    def __cinit__(self):
        self._fd = -1
        self.base = NULL

    @staticmethod
    def create(str name, size_t size_bytes):
        """Make a zero-filled memfd that can neither shrink nor grow, and map it."""
        fd = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, size_bytes)
            fcntl.fcntl(
                fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
            )
            return SharedMemory.attach(fd, name)
        finally:
            os.close(fd)

    @staticmethod
    def attach(int fd, str name):
        """Map a memfd made elsewhere; keeps a descriptor of its own, the caller keeps ``fd``."""
        cdef SharedMemory memory = SharedMemory()
        try:
            seals = fcntl.fcntl(fd, fcntl.F_GET_SEALS)
        except OSError as error:
            raise ValueError(f"{name}: descriptor {fd} is no memfd ({error.strerror})") from error
        if not seals & fcntl.F_SEAL_SHRINK:
            raise ValueError(f"{name}: the size of descriptor {fd} is not sealed")
        memory._bytes = os.fstat(fd).st_size
        if memory._bytes == 0:
            raise ValueError(f"{name}: descriptor {fd} is empty")
        memory._fd = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
        cdef void *base = mmap(
            NULL, memory._bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory._fd, 0
        )
        if base == MAP_FAILED:
            raise OSError(f"{name}: mapping {memory._bytes} bytes failed")
        memory.base = <unsigned char *> base
        return memory

    @property
    def fd(self):
        """The descriptor to hand to a child through ``pass_fds``."""
        return self._fd

    @property
    def size_bytes(self):
        """Bytes mapped."""
        return self._bytes

    cpdef void release(self):
        """Unmap and close; safe to call again."""
        if self.base != NULL:
            munmap(self.base, self._bytes)
            self.base = NULL
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __dealloc__(self):
        if self.base != NULL:
            munmap(self.base, self._bytes)
        if self._fd >= 0:
            os.close(self._fd)
