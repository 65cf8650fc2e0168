"""A ring of fixed-size byte slots in a memfd: one writer, any number of readers."""

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint64_t

from dvla.bindings.slots cimport (
    dvla_announce,
    dvla_load_bytes,
    dvla_newest,
    dvla_read_close,
    dvla_read_open,
    dvla_store_bytes,
    dvla_write_close,
    dvla_write_open,
)

cdef uint64_t MAGIC = 0x474E495241564C44  # "DLVARING", little-endian
cdef uint64_t VERSION = 1
cdef uint64_t MAX_BYTES = 1 << 32


cdef uint64_t stride_bytes(uint64_t slot_bytes) noexcept nogil:
    """Distance between slots: stamp, time, length and whole words of payload, cache-aligned."""
    return (sizeof(RingSlot) + slot_bytes + 63) // 64 * 64


cdef class SharedRing:
    """A ring of fixed-size byte slots in a memfd: one writer, any number of readers.

    Readers never block the writer; a read that the writer overtook returns None instead of torn
    bytes. Each slot holds a payload of up to ``slot_bytes`` and the time it was published with.
    """

    @staticmethod
    def create(slot_bytes, slots):
        """Make the shared memory and return the ring over it.

        Args:
            slot_bytes: largest payload, at least 1.
            slots: how many payloads are kept, at least 2.
        """
        if slot_bytes < 1 or slots < 2 or slots * stride_bytes(slot_bytes) > MAX_BYTES:
            raise ValueError(
                f"shared ring: got {slots} slots of {slot_bytes} bytes, expected at least 2 of at "
                f"least 1, {MAX_BYTES} bytes in all"
            )
        cdef SharedRing ring = SharedRing()
        size = sizeof(RingHeader) + slots * stride_bytes(slot_bytes)
        ring._memory = SharedMemory.create("dvla-shared-ring", size)
        ring._header = <RingHeader *> ring._memory.base
        ring._header.version = VERSION
        ring._header.slot_bytes = ring._slot_bytes = slot_bytes
        ring._header.slots = ring._slots = slots
        ring._header.magic = MAGIC
        ring._stride = stride_bytes(slot_bytes)
        return ring

    @staticmethod
    def attach(int fd):
        """Open the ring behind a descriptor that ``create`` made in another process.

        Raises:
            ValueError: the descriptor is no shared ring of this version.
        """
        cdef SharedRing ring = SharedRing()
        ring._memory = SharedMemory.attach(fd, "shared ring")
        size = ring._memory.size_bytes
        ring._header = <RingHeader *> ring._memory.base
        if size < sizeof(RingHeader) or ring._header.magic != MAGIC:
            raise ValueError(f"shared ring: descriptor {fd} holds something else")
        if ring._header.version != VERSION:
            raise ValueError(
                f"shared ring: got version {ring._header.version}, expected {VERSION}; "
                "both processes must run the same release"
            )
        # Copied out and checked once: a later scribble on the header cannot move a read.
        slot_bytes = ring._header.slot_bytes
        slots = ring._header.slots
        if (
            not 1 <= slot_bytes <= MAX_BYTES
            or not 2 <= slots <= MAX_BYTES
            or size != sizeof(RingHeader) + slots * stride_bytes(slot_bytes)
        ):
            raise ValueError(f"shared ring: {size} bytes cannot hold {slots} x {slot_bytes}")
        ring._slot_bytes = slot_bytes
        ring._slots = slots
        ring._stride = stride_bytes(slot_bytes)
        return ring

    cdef int _require_open(self) except -1:
        if self._memory is None or self._memory.base == NULL:
            raise ValueError("shared ring: not open; use SharedRing.create() or attach(fd)")
        return 0

    cdef RingSlot *slot_of(self, uint64_t sequence) noexcept nogil:
        cdef unsigned char *first = <unsigned char *> self._header + sizeof(RingHeader)
        return <RingSlot *> (first + (sequence % self._slots) * self._stride)

    @property
    def fd(self):
        """The descriptor to hand to a child through ``pass_fds``; -1 once closed."""
        return -1 if self._memory is None else self._memory.fd

    @property
    def slot_bytes(self):
        """Largest payload [bytes]."""
        return self._slot_bytes

    @property
    def slots(self):
        """How many payloads are kept."""
        return self._slots

    @property
    def newest(self):
        """Sequence of the newest complete slot, from 1; 0 when empty."""
        self._require_open()
        return dvla_newest(&self._header.newest)

    def publish(self, const unsigned char[::1] payload not None, int64_t t_ns):
        """Publish a payload; overwrites the oldest one.

        Args:
            payload: up to ``slot_bytes`` contiguous bytes.
            t_ns: the time to publish it with.

        Returns:
            Its sequence number, from 1.
        """
        self._require_open()
        cdef size_t size = payload.shape[0]
        if size > self._slot_bytes:
            raise ValueError(f"payload: got {size} bytes, expected at most {self._slot_bytes}")
        cdef uint64_t sequence
        cdef RingSlot *slot
        with nogil:
            sequence = dvla_newest(&self._header.newest) + 1
            slot = self.slot_of(sequence)
            dvla_write_open(&slot.stamp, sequence)
            dvla_store_bytes(&slot.t_ns, &t_ns, sizeof(t_ns))
            dvla_store_bytes(&slot.payload_bytes, &size, sizeof(size))
            if size:
                dvla_store_bytes(<dvla_word *> (slot + 1), &payload[0], size)
            dvla_write_close(&slot.stamp, sequence)
            dvla_announce(&self._header.newest, sequence)
        return sequence

    cdef bint read_nogil(
        self, uint64_t sequence, unsigned char *out, uint64_t out_bytes, int64_t *t_ns
    ) noexcept nogil:
        """Copy one slot; False when it does not hold ``sequence`` (any more)."""
        cdef RingSlot *slot = self.slot_of(sequence)
        if dvla_read_open(&slot.stamp) != sequence:
            return False
        dvla_load_bytes(t_ns, &slot.t_ns, sizeof(int64_t))
        if out_bytes:
            dvla_load_bytes(out, <dvla_word *> (slot + 1), min(out_bytes, self._slot_bytes))
        return dvla_read_close(&slot.stamp, sequence)

    def read(self, uint64_t sequence, unsigned char[::1] out not None):
        """Copy the first ``len(out)`` bytes of a slot.

        Args:
            sequence: which publication, from 1.
            out: at most ``slot_bytes`` contiguous writable bytes; meaningless after None.

        Returns:
            The publication's ``t_ns``, or None when it was overwritten or does not exist yet.
        """
        self._require_open()
        if <size_t> out.shape[0] > self._slot_bytes:
            raise ValueError(f"out: got {out.shape[0]} bytes, expected at most {self._slot_bytes}")
        cdef int64_t t_ns = 0
        cdef bint whole
        cdef uint64_t size = out.shape[0]
        cdef unsigned char *target = &out[0] if size else NULL
        with nogil:
            whole = sequence > 0 and self.read_nogil(sequence, target, size, &t_ns)
        return t_ns if whole else None

    def times(self):
        """List (sequence, t_ns) of the publications still held, oldest first."""
        self._require_open()
        cdef uint64_t newest = dvla_newest(&self._header.newest)
        cdef uint64_t sequence = newest - self._slots + 1 if newest > self._slots else 1
        cdef int64_t t_ns
        held = []
        while sequence <= newest:
            if self.read_nogil(sequence, NULL, 0, &t_ns):
                held.append((sequence, t_ns))
            sequence += 1
        return held

    def close(self):
        """Unmap and close; other processes keep their own mappings."""
        if self._memory is not None:
            self._memory.release()
