"""The shared ring: agreement with its twin, overtaken reads, two processes, refusals."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twins.allocations import assert_allocation_free

from dvla.bindings import ActionStream, SharedRing

WRITER = """
import sys
import numpy as np
from dvla.bindings import SharedRing

ring = SharedRing.attach(int(sys.argv[1]))
print("ready", flush=True)
frame = np.empty(ring.slot_bytes, np.uint8)
for sequence in range(1, int(sys.argv[2]) + 1):
    frame[:] = sequence % 251
    ring.publish(frame, sequence)
"""


class RingTwin:
    """The last ``slots`` payloads, by sequence."""

    def __init__(self, slots: int) -> None:
        self.held: deque[tuple[int, int, bytes]] = deque(maxlen=slots)
        self.newest = 0

    def publish(self, payload: bytes, t_ns: int) -> int:
        self.newest += 1
        self.held.append((self.newest, t_ns, payload))
        return self.newest

    def read(self, sequence: int) -> tuple[int, bytes] | None:
        return next(((t, p) for s, t, p in self.held if s == sequence), None)


@given(
    st.integers(1, 40),
    st.integers(2, 5),
    st.lists(st.tuples(st.binary(min_size=0, max_size=40), st.integers(-(2**62), 2**62))),
)
def test_agrees_with_its_twin(slot_bytes, slots, publications):
    writer, twin = SharedRing.create(slot_bytes, slots), RingTwin(slots)
    reader = SharedRing.attach(writer.fd)
    assert (reader.slot_bytes, reader.slots, reader.newest) == (slot_bytes, slots, 0)
    for drawn, t_ns in publications:
        payload = drawn[:slot_bytes]
        assert writer.publish(payload, t_ns) == twin.publish(payload, t_ns)
        for sequence in range(twin.newest + 2):
            expected = twin.read(sequence)
            out = bytearray(len(expected[1]) if expected else slot_bytes)
            assert reader.read(sequence, out) == (expected[0] if expected else None)
            assert expected is None or bytes(out) == expected[1]
        assert reader.newest == twin.newest
        assert reader.times() == [(s, t) for s, t, _ in twin.held]
    writer.close()
    reader.close()


def test_a_hammering_writer_never_shows_torn_bytes():
    ring = SharedRing.create(40_001, 3)
    last, reads, sequence = 4_000, 0, 0
    out = np.empty(ring.slot_bytes, np.uint8)
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(ring.fd), str(last)],
        pass_fds=[ring.fd], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    ) as process:  # fmt: skip
        assert process.stdout.readline() == "ready\n"
        while sequence < last:
            done = process.poll() is not None
            sequence = ring.newest
            # The oldest slot is the one that the writer is about to overwrite.
            for wanted in (sequence, max(sequence - 2, 1)):
                if ring.read(wanted, out) is not None:
                    reads += 1
                    assert (out == wanted % 251).all()
            assert sequence == last or not done
    assert process.returncode == 0
    assert ring.read(last, out) == last
    assert (out == last % 251).all()
    assert reads > 0


def test_any_contiguous_buffer_goes_in_and_out():
    ring = SharedRing.create(24, 2)
    frame = np.arange(24, dtype=np.uint8)
    ring.publish(frame, 5)
    for out in (bytearray(24), np.empty(24, np.uint8), memoryview(bytearray(24))):
        assert ring.read(1, out) == 5
        assert bytes(out) == frame.tobytes()
    head = bytearray(3)
    assert ring.read(1, head) == 5
    assert bytes(head) == b"\x00\x01\x02"


def test_publishing_and_reading_allocate_nothing():
    ring = SharedRing.create(1000, 4)
    frame, out = np.zeros(1000, np.uint8), np.empty(1000, np.uint8)
    assert_allocation_free(lambda: ring.read(ring.publish(frame, 1), out))


def test_refuses():
    with pytest.raises(ValueError, match="at least 2"):
        SharedRing.create(10, 1)
    with pytest.raises(ValueError, match="at least 2"):
        SharedRing.create(0, 4)
    with pytest.raises(ValueError, match="bytes in all"):
        SharedRing.create(2**40, 4)
    stream = ActionStream.create()
    with pytest.raises(ValueError, match="something else"):
        SharedRing.attach(stream.fd)
    ring = SharedRing.create(8, 2)
    with pytest.raises(ValueError, match="at most 8"):
        ring.publish(bytes(9), 0)
    with pytest.raises(ValueError, match="at most 8"):
        ring.read(1, bytearray(9))
    with pytest.raises(BufferError):
        ring.read(1, bytes(8))
    with pytest.raises(ValueError):
        ring.publish(np.zeros((2, 2), np.uint8)[:, ::2], 0)
    ring.close()
    with pytest.raises(ValueError, match="not open"):
        ring.publish(bytes(8), 0)
