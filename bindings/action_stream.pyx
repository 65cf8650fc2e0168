"""The double buffer between policy and servo: whole timelines in three slots of a memfd."""

import enum

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport calloc, free

from dvla.bindings.interpolation cimport check_knots, interpolate_knots
from dvla.bindings.interpolation cimport knot_in_force as nearest_knot
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

cdef uint64_t MAGIC = 0x4D52545341564C44  # "DLVASTRM", little-endian
cdef uint64_t VERSION = 1
cdef size_t STREAM_BYTES = sizeof(StreamHeader) + SLOT_COUNT * sizeof(StreamSlot)
cdef size_t FIXED_BYTES = sizeof(Timeline) - KNOT_CAPACITY * sizeof(Knot)

if sizeof(Timeline) != 8 * TIMELINE_WORDS:
    raise ImportError("action_stream: the compiler laid Timeline out with holes")


class SampleStatus(enum.IntEnum):
    """What a timeline says of an instant."""

    EMPTY = STATUS_EMPTY
    ACTIVE = STATUS_ACTIVE
    BEFORE = STATUS_BEFORE
    UNDERRUN = STATUS_UNDERRUN
    HOLD = STATUS_HOLD


cdef tuple STATUSES = tuple(SampleStatus)


cdef size_t timeline_bytes(const Timeline *timeline) noexcept nogil:
    """Bytes in use: the fixed fields and ``count`` knots."""
    return FIXED_BYTES + timeline.count * sizeof(Knot)


cdef class ActionStream:
    """The double buffer between policy and servo: one writer, one reader, two processes.

    Make one with ``create`` and give its ``fd`` to the other process, which calls ``attach``.
    Either end may die at any point: a timeline that was not finished is never seen.
    """

    CAPACITY = KNOT_CAPACITY

    def __cinit__(self):
        self._good = <Timeline *> calloc(1, sizeof(Timeline))
        self._spare = <Timeline *> calloc(1, sizeof(Timeline))
        self._draft = <Timeline *> calloc(1, sizeof(Timeline))
        if self._good == NULL or self._spare == NULL or self._draft == NULL:
            raise MemoryError()

    def __dealloc__(self):
        free(self._good)
        free(self._spare)
        free(self._draft)

    @staticmethod
    def create():
        """Make the shared memory and return the stream over it."""
        cdef ActionStream stream = ActionStream()
        stream._memory = SharedMemory.create("dvla-action-stream", STREAM_BYTES)
        stream._header = <StreamHeader *> stream._memory.base
        stream._slots = <StreamSlot *> (stream._memory.base + sizeof(StreamHeader))
        stream._header.version = VERSION
        stream._header.size_bytes = STREAM_BYTES
        stream._header.capacity = KNOT_CAPACITY
        stream._header.magic = MAGIC
        return stream

    @staticmethod
    def attach(int fd):
        """Open the stream behind a descriptor that ``create`` made in another process.

        Raises:
            ValueError: the descriptor is no action stream of this version.
        """
        cdef ActionStream stream = ActionStream()
        stream._memory = SharedMemory.attach(fd, "action stream")
        size = stream._memory.size_bytes
        stream._header = <StreamHeader *> stream._memory.base
        if size < sizeof(StreamHeader) or stream._header.magic != MAGIC:
            raise ValueError(f"action stream: descriptor {fd} holds something else")
        if stream._header.version != VERSION:
            raise ValueError(
                f"action stream: got version {stream._header.version}, expected {VERSION}; "
                "both processes must run the same release"
            )
        if size != STREAM_BYTES or stream._header.size_bytes != STREAM_BYTES:
            raise ValueError(f"action stream: got {size} bytes, expected {STREAM_BYTES}")
        stream._slots = <StreamSlot *> (stream._memory.base + sizeof(StreamHeader))
        return stream

    cdef int _require_open(self) except -1:
        if self._memory is None or self._memory.base == NULL:
            raise ValueError("action stream: not open; use ActionStream.create() or attach(fd)")
        return 0

    @property
    def fd(self):
        """The descriptor to hand to a child through ``pass_fds``; -1 once closed."""
        return -1 if self._memory is None else self._memory.fd

    def publish(
        self,
        const int64_t[::1] t_ns not None,
        const double[:, ::1] setpoints not None,
        const int64_t[::1] chunk_ids not None,
        const int64_t[::1] t_obs_ns not None,
        *,
        int64_t start_ns,
        int64_t end_ns,
        int64_t generation,
        bint hold=False,
    ):
        """Publish a whole timeline, replacing all that came before.

        Args:
            t_ns: (n,) knot times, strictly rising; n may be 0 only with ``hold``.
            setpoints: (n, 8).
            chunk_ids: (n,) sequence of the chunk behind each knot.
            t_obs_ns: (n,) capture time behind each knot.
            start_ns: when the first action comes into force.
            end_ns: when the last action's time ends; underrun from here on.
            generation: the episode's generation.
            hold: ask the servo to stop and hold.

        Returns:
            The publication's sequence number, from 1.

        Raises:
            ValueError: wrong shapes, times that do not rise, values that are not finite.
        """
        self._require_open()
        cdef Py_ssize_t count = check_knots(t_ns, setpoints, KNOT_CAPACITY)
        if chunk_ids.shape[0] != count or t_obs_ns.shape[0] != count:
            raise ValueError(
                f"chunk_ids and t_obs_ns: got {chunk_ids.shape[0]} and {t_obs_ns.shape[0]} "
                f"entries, expected {count} to match t_ns"
            )
        if count == 0 and not hold:
            raise ValueError("t_ns: got no knots, expected at least one (or hold=True)")
        if end_ns < start_ns:
            raise ValueError(f"end_ns: got {end_ns}, expected at least start_ns = {start_ns}")
        cdef Timeline *draft = self._draft
        draft.start_ns = start_ns
        draft.end_ns = end_ns
        draft.generation = generation
        draft.hold = hold
        draft.count = count
        for i in range(count):
            draft.knots[i].t_ns = t_ns[i]
            for k in range(8):
                draft.knots[i].setpoint[k] = setpoints[i, k]
            draft.knots[i].chunk_id = chunk_ids[i]
            draft.knots[i].t_obs_ns = t_obs_ns[i]
        # The sequence lives in the shared memory, so a writer that re-attaches continues it.
        draft.sequence = dvla_newest(&self._header.newest) + 1
        cdef StreamSlot *slot = &self._slots[draft.sequence % SLOT_COUNT]
        dvla_write_open(&slot.stamp, draft.sequence)
        dvla_store_bytes(slot.words, draft, timeline_bytes(draft))
        dvla_write_close(&slot.stamp, draft.sequence)
        dvla_announce(&self._header.newest, draft.sequence)
        return draft.sequence

    cdef bint _read_slot(self, uint64_t sequence) noexcept nogil:
        """Copy one slot into the spare timeline; False when a writer was in the way."""
        cdef StreamSlot *slot = &self._slots[sequence % SLOT_COUNT]
        cdef Timeline *spare = self._spare
        if dvla_read_open(&slot.stamp) != sequence:
            return False
        dvla_load_bytes(spare, slot.words, FIXED_BYTES)
        # A torn count must not steer the copy out of the slot; it is refused below anyway.
        if not 0 <= spare.count <= KNOT_CAPACITY:
            return False
        dvla_load_bytes(spare, slot.words, timeline_bytes(spare))
        if not 0 <= spare.count <= KNOT_CAPACITY:
            return False
        return dvla_read_close(&slot.stamp, sequence) and spare.sequence == sequence

    cdef uint64_t refresh_nogil(self) noexcept nogil:
        """Take the newest complete timeline if there is a newer one; return the sequence held."""
        cdef uint64_t newest
        for _ in range(READ_ATTEMPTS):
            newest = dvla_newest(&self._header.newest)
            if newest == self._good.sequence:
                break
            if self._read_slot(newest):
                self._good, self._spare = self._spare, self._good
                break
            self._retries += 1
        return self._good.sequence

    def refresh(self):
        """Take the newest complete timeline; return the sequence now held, or 0."""
        self._require_open()
        return self.refresh_nogil()

    cdef Status sample_nogil(self, int64_t now_ns, double *setpoint, double *twist) noexcept nogil:
        """Sample the reader's copy; see ``sample``."""
        cdef const Timeline *timeline = self._good
        if timeline.sequence == 0:
            return STATUS_EMPTY
        if timeline.count > 0:
            interpolate_knots(timeline.knots, timeline.count, now_ns, setpoint, twist)
        if timeline.hold:
            return STATUS_HOLD
        if now_ns < timeline.start_ns:
            return STATUS_BEFORE
        return STATUS_ACTIVE if now_ns < timeline.end_ns else STATUS_UNDERRUN

    def sample(
        self, int64_t now_ns, double[::1] setpoint_out not None, double[::1] twist_out not None
    ):
        """Say what the reader's copy holds for an instant.

        Args:
            now_ns: the instant.
            setpoint_out: (8,) is written when the timeline has knots.
            twist_out: (6,) feed-forward velocity [m/s, rad/s]; 0 unless ACTIVE.

        Returns:
            ACTIVE on [start_ns, end_ns), BEFORE and UNDERRUN outside, HOLD or EMPTY.
        """
        if setpoint_out.shape[0] != 8 or twist_out.shape[0] != 6:
            raise ValueError(
                f"outputs: got shapes ({setpoint_out.shape[0]},) and ({twist_out.shape[0]},), "
                "expected (8,) and (6,)"
            )
        cdef Status status = self.sample_nogil(now_ns, &setpoint_out[0], &twist_out[0])
        if status != STATUS_ACTIVE:
            for k in range(6):
                twist_out[k] = 0.0
        return STATUSES[<int> status]

    cdef const Knot *knot_in_force(self, int64_t now_ns) noexcept nogil:
        """Return the knot behind an instant; NULL when the reader's copy has none."""
        if self._good.count == 0:
            return NULL
        return &self._good.knots[nearest_knot(self._good.knots, self._good.count, now_ns)]

    @property
    def generation(self):
        """Generation of the reader's copy; 0 while EMPTY."""
        return self._good.generation

    @property
    def retries(self):
        """Reads that met a writer, in total."""
        return self._retries

    def close(self):
        """Unmap and close; the other process keeps its own mapping."""
        if self._memory is not None:
            self._memory.release()
