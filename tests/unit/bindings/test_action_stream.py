"""The action stream: laws against its twin, two processes, killed writers, allocations."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from twins import interpolation as interpolation_twin
from twins.allocations import assert_allocation_free
from twins.hammer import publish_stamped, stamped_count, start_writer
from twins.stream import StreamTwin, TwinTimeline

from dvla.bindings import ActionStream, SampleStatus

T = 40_000_000


def make_timeline(seed, *, hold=False, count=None, generation=1):
    """Draw a timeline of 40 ms knots."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 45)) if count is None else count
    start = int(rng.integers(10**12, 10**12 + 10**9))
    rows = np.zeros((count, 8))
    rows[:, :3] = np.cumsum(rng.normal(0, 0.01, (count, 3)), 0)
    rows[:, 3:7] = rng.normal((1, 0, 0, 0), 0.1, (count, 4))
    rows[:, 3:7] /= np.linalg.norm(rows[:, 3:7], axis=1, keepdims=True)
    rows[:, 7] = rng.choice([-1, 1], count)
    t_ns = start + T // 2 + T * np.arange(count, dtype=np.int64)
    ids = rng.integers(0, 100, count).astype(np.int64)
    return TwinTimeline(
        0, start, start + count * T, generation, hold, t_ns, rows, ids, t_ns - 5 * T
    )


def publish(stream, timeline):
    return stream.publish(
        timeline.t_ns, timeline.setpoints, timeline.chunk_ids, timeline.t_obs_ns,
        start_ns=timeline.start_ns, end_ns=timeline.end_ns,
        generation=timeline.generation, hold=timeline.hold,
    )  # fmt: skip


def check_sample(stream, timeline, now_ns):
    """Assert that the compiled reader says of an instant what the twin says."""
    setpoint, twist = np.empty(8), np.empty(6)
    status = stream.sample(now_ns, setpoint, twist)
    assert status is SampleStatus[timeline.status(now_ns)]
    if len(timeline.t_ns):
        expected, expected_twist = interpolation_twin.interpolate(
            timeline.t_ns, timeline.setpoints, now_ns
        )
        np.testing.assert_allclose(setpoint, expected, atol=1e-9)
        if status != SampleStatus.ACTIVE:
            expected_twist = np.zeros(6)
        np.testing.assert_allclose(twist, expected_twist, atol=1e-7)


@given(st.integers(0, 2**32), st.booleans(), st.floats(-0.3, 1.3))
def test_samples_agree_with_the_twin(seed, hold, where):
    stream = ActionStream.create()
    timeline = make_timeline(seed, hold=hold)
    assert publish(stream, timeline) == 1
    twin = StreamTwin(stream.fd)
    assert stream.refresh() == twin.refresh() == 1
    for name, expected in timeline._asdict().items():
        if name != "sequence":
            np.testing.assert_array_equal(getattr(twin.held, name), expected)
    check_sample(stream, timeline, int(timeline.start_ns + where * len(timeline.t_ns) * T))
    stream.close()


@pytest.mark.parametrize(
    ("offset", "status"),
    [(-1, "BEFORE"), (0, "ACTIVE"), (3 * T - 1, "ACTIVE"), (3 * T, "UNDERRUN")],
)
def test_an_action_is_in_force_from_start_to_end(offset, status):
    stream = ActionStream.create()
    timeline = make_timeline(3, count=3)
    publish(stream, timeline)
    stream.refresh()
    out = np.empty(8), np.empty(6)
    assert stream.sample(timeline.start_ns + offset, *out) is SampleStatus[status]


def test_nothing_published_is_empty_and_a_hold_needs_no_knots():
    stream = ActionStream.create()
    out = np.full(8, 7.0), np.full(6, 7.0)
    assert stream.refresh() == 0
    assert stream.sample(0, *out) is SampleStatus.EMPTY
    assert (out[0] == 7).all() and not out[1].any()
    publish(stream, make_timeline(0, count=0, hold=True))
    stream.refresh()
    assert stream.sample(0, *out) is SampleStatus.HOLD


class WriterAndReader(RuleBasedStateMachine):
    """Writers come, publish, die half way and come back; the reader looks when it likes."""

    def __init__(self):
        super().__init__()
        self.reader = ActionStream.create()
        self.writer = ActionStream.attach(self.reader.fd)
        self.twin = StreamTwin(self.reader.fd)
        self.newest = 0
        self.published = {}
        self.held = 0

    @rule(seed=st.integers(0, 1000), by_twin=st.booleans())
    def publish(self, seed, by_twin):
        timeline = make_timeline(seed, generation=seed)
        self.newest += 1
        self.published[self.newest] = timeline
        write = self.twin.publish if by_twin else lambda line: publish(self.writer, line)
        assert write(timeline) == self.newest

    @rule(
        seed=st.integers(0, 1000),
        crash=st.sampled_from(["opened", "half written", "written", "closed"]),
    )
    def die_while_publishing(self, seed, crash):
        self.twin.publish(make_timeline(seed), crash)
        self.writer.close()
        self.writer = ActionStream.attach(self.reader.fd)

    @rule()
    def refresh(self):
        self.held = self.newest
        assert self.reader.refresh() == self.newest

    @precondition(lambda self: self.held)
    @rule(where=st.floats(-0.2, 1.2))
    def sample(self, where):
        timeline = self.published[self.held]
        check_sample(self.reader, timeline, int(timeline.start_ns + where * len(timeline.t_ns) * T))

    @invariant()
    def the_copy_is_what_was_taken(self):
        expected = self.published[self.held].generation if self.held else 0
        assert self.reader.generation == expected
        assert self.reader.retries == 0

    def teardown(self):
        self.reader.close()
        self.writer.close()


TestWriterAndReader = WriterAndReader.TestCase
TestWriterAndReader.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def check_copy_is_whole(stream):
    """Refresh and assert that every part of the copy comes from one publication."""
    sequence = stream.refresh()
    if sequence == 0:
        return 0
    assert stream.generation == sequence
    setpoint, twist = np.empty(8), np.empty(6)
    count = stamped_count(sequence)
    assert stream.sample(sequence - 1, setpoint, twist) is SampleStatus.BEFORE
    for now_ns in range(sequence, sequence + count, 1 + count // 5):
        assert stream.sample(now_ns, setpoint, twist) is SampleStatus.ACTIVE
        assert setpoint.tolist() == [sequence] * 3 + [1, 0, 0, 0, sequence]
        assert not twist.any()
    assert stream.sample(sequence + count, setpoint, twist) is SampleStatus.UNDERRUN
    return sequence


def test_a_hammering_writer_never_shows_a_torn_timeline():
    stream = ActionStream.create()
    last = 20_000
    held = 0
    with start_writer(stream, last) as process:
        while held < last:
            done = process.poll() is not None
            sequence = check_copy_is_whole(stream)
            assert sequence >= held
            held = sequence
            assert held == last or not done
    assert process.returncode == 0
    assert check_copy_is_whole(stream) == last


def test_a_killed_writer_neither_blocks_nor_corrupts_and_its_successor_continues():
    stream = ActionStream.create()
    held = 0
    for reads in (1, 10, 100, 500, 1000, 2000):
        process = start_writer(stream, 10**12)
        for _ in range(reads):
            check_copy_is_whole(stream)
        process.kill()
        process.wait()
        process.stdout.close()
        sequence = check_copy_is_whole(stream)
        assert sequence >= held
        held = publish_stamped(ActionStream.attach(stream.fd), sequence + 1)
        assert held == sequence + 1
        assert check_copy_is_whole(stream) == held


def test_reading_a_torn_slot_is_bounded_and_keeps_the_last_good_copy():
    """A newest number that points to a slot which is being rewritten: the reader gives up."""
    stream = ActionStream.create()
    publish(stream, make_timeline(1, generation=11))
    stream.refresh()
    publish(stream, make_timeline(2, generation=22))
    StreamTwin(stream.fd).memory[64 + 2 * 11328] = 99  # begin of the slot of sequence 2
    assert stream.refresh() == 1
    assert stream.generation == 11
    assert stream.retries == 4
    publish(stream, make_timeline(3, generation=33))
    assert stream.refresh() == 3


def test_a_torn_count_never_steers_the_copy_out_of_the_slot():
    stream = ActionStream.create()
    publish(stream, make_timeline(1))
    twin = StreamTwin(stream.fd)
    for count in (129, 2**40, 2**63 - 1, 2**64 - 1):
        at = 64 + 1 * 11328 + 16 + 40
        twin.memory[at : at + 8] = count.to_bytes(8, "little")
        assert stream.refresh() == 0


def test_the_hot_path_allocates_nothing():
    stream = ActionStream.create()
    timeline = make_timeline(5, count=20)
    publish(stream, timeline)
    setpoint, twist = np.empty(8), np.empty(6)
    now_ns = timeline.start_ns + T

    def turn():
        stream.refresh()
        stream.sample(now_ns, setpoint, twist)

    assert_allocation_free(turn)


def test_attach_refuses_what_is_no_stream_of_this_version():
    stream = ActionStream.create()
    twin = StreamTwin(stream.fd)
    with open(os.devnull) as null, pytest.raises(ValueError, match="no memfd"):
        ActionStream.attach(null.fileno())
    unsealed = os.memfd_create("unsealed")
    with pytest.raises(ValueError, match="not sealed"):
        ActionStream.attach(unsealed)
    os.close(unsealed)
    twin.memory[8] = 9
    with pytest.raises(ValueError, match="got version 9, expected 1"):
        ActionStream.attach(stream.fd)
    twin.memory[0] = 0
    with pytest.raises(ValueError, match="something else"):
        ActionStream.attach(stream.fd)


def test_the_memory_can_neither_shrink_nor_grow_and_dies_with_its_descriptors():
    stream = ActionStream.create()
    for size in (0, 10**6):
        with pytest.raises(PermissionError):
            os.ftruncate(stream.fd, size)
    assert not os.get_inheritable(stream.fd)
    fd = stream.fd
    stream.close()
    stream.close()
    assert stream.fd == -1
    with pytest.raises(OSError):
        os.fstat(fd)
    with pytest.raises(ValueError, match="not open"):
        stream.refresh()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"t_ns": np.array([2, 1])}, "rise strictly"),
        ({"setpoints": np.zeros((2, 7))}, r"expected \(2, 8\)"),
        ({"setpoints": np.full((2, 8), np.inf)}, "not finite"),
        ({"setpoints": np.zeros((2, 8))}, "quaternion"),
        ({"chunk_ids": np.array([1])}, "expected 2"),
        ({"end_ns": -1}, "at least start_ns"),
        ({"t_ns": np.arange(129), "setpoints": np.ones((129, 8))}, "at most 128"),
        ({"setpoints": np.zeros((2, 8), np.float32)}, "dtype mismatch"),
    ],
)
def test_publish_refuses(change, message):
    rows = np.zeros((2, 8))
    rows[:, 3] = 1
    given_ = {"t_ns": np.array([1, 2]), "setpoints": rows, "chunk_ids": np.array([1, 1])}
    given_ |= {"t_obs_ns": np.array([0, 0]), "start_ns": 0, "end_ns": 3, "generation": 1}
    stream = ActionStream.create()
    with pytest.raises(ValueError, match=message):
        stream.publish(**(given_ | change))
    assert stream.refresh() == 0
