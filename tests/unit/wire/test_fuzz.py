"""Malformed bytes into the decoders, and what decodes into the arm: no exception, no motion."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from arm_doubles import HOME, LIMITS, MS, EventList, LaggingDriver, assert_inside
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dvla.bindings import SharedRing
from dvla.runtime.arm import ArmController
from dvla.runtime.arm_samples import arm_sample
from dvla.runtime.messages import ArmState, Command, LeaseRequest, Reply, Request
from dvla.runtime.replay.journal import ARM_CALL, JournaledArmController
from dvla.runtime.wire_link import Plug, Receiver

NOW = 3_000_000 * MS
EDITS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "cut", "insert", "swap"]),
        st.integers(0, 4096),
        st.binary(max_size=9),
    ),
    min_size=1,
    max_size=6,
)


class Decoder(Receiver[object]):
    """A receiver without a socket."""

    plug = Plug(0, "", bind=False, max_bytes=65536, options={})

    def __init__(self, kind: object) -> None:
        self._decoder = msgspec.msgpack.Decoder(kind)
        self.malformed = 0

    def decode(self, frame: bytes) -> object | None:
        return self._decode(frame)


def command(rows: np.ndarray | None = None) -> Command:
    rows = np.repeat(HOME[None], 28, axis=0) if rows is None else rows
    return Command(
        session=7, sequence=1, generation=0, t_obs_ns=NOW - 100 * MS, t_due_ns=NOW,
        valid_until_ns=NOW + 80 * MS, arm_epoch=1, period_ns=4 * MS, setpoints=rows.tobytes(),
    )  # fmt: skip


def edited(payload: bytes, edits: list[tuple[str, int, bytes]]) -> bytes:
    data = bytearray(payload)
    for what, place, noise in edits:
        at = place % max(1, len(data))
        if what == "flip":
            data[at : at + len(noise)] = noise
        elif what == "cut":
            del data[at : at + 1 + len(noise)]
        elif what == "insert":
            data[at:at] = noise
        else:
            data[at:], data[:at] = data[:at], data[at:]
    return bytes(data)


@pytest.mark.parametrize(
    "kind",
    [Command, ArmState, Request, Reply],
    ids=["command", "state", "request", "reply"],
)
@settings(max_examples=150, deadline=None)
@given(frame=st.binary(max_size=300))
@example(frame=b"")
@example(frame=b"\xdf\xff\xff\xff\xff")
@example(frame=b"\xc1")
@example(frame=b"\x81" * 250)
def test_bytes_without_meaning_are_counted(kind: object, frame: bytes) -> None:
    decoder = Decoder(kind)
    if decoder.decode(frame) is None:
        assert decoder.malformed == 1


@settings(max_examples=200, deadline=None)
@given(edits=EDITS)
def test_a_command_with_other_bytes_moves_nothing_beyond_a_limit(
    edits: list[tuple[str, int, bytes]],
) -> None:
    driver = LaggingDriver()
    arm = ArmController(driver, LIMITS, EventList(), NOW, session=1)
    assert arm.handle(LeaseRequest(session=7, sequence=0, holder="fuzz"), NOW).ok
    found = Decoder(Command).decode(edited(msgspec.msgpack.encode(command()), edits))
    if isinstance(found, Command):
        arm.on_command(found, NOW)
    for t_ms in range(0, 60, 2):
        arm.tick(NOW + t_ms * MS)
    assert_inside(driver)


INTEGERS = [field.name for field in msgspec.structs.fields(Command) if field.name != "setpoints"]
JUDGED = [name for name in INTEGERS if name != "schema"]
EXTREMES = [-(2**63), -1, 0, 2**62, 2**63 - 1]


@pytest.mark.parametrize("field", INTEGERS)
@pytest.mark.parametrize("value", [2**63, 2**64 - 1])
def test_integers_that_no_recording_holds_are_no_message(field: str, value: int) -> None:
    decoder = Decoder(Command)
    assert decoder.decode(msgspec.msgpack.encode(command())) is not None
    forged = msgspec.structs.replace(command(), **{field: value})
    assert decoder.decode(msgspec.msgpack.encode(forged)) is None and decoder.malformed == 1


@settings(max_examples=200, deadline=None)
@given(changes=st.dictionaries(st.sampled_from(JUDGED), st.sampled_from(EXTREMES), min_size=1))
def test_the_largest_integers_are_judged_and_written_down(changes: dict[str, int]) -> None:
    """Session, order and times of a frame reach the journal, whoever sent it."""
    ring = SharedRing.create(ARM_CALL.itemsize, 64)
    driver = LaggingDriver()
    arm = JournaledArmController(driver, LIMITS, EventList(), NOW, session=1, calls=ring)
    assert arm.handle(LeaseRequest(session=7, sequence=0, holder="fuzz"), NOW).ok
    sent = msgspec.structs.replace(command(), **changes)
    received = Decoder(Command).decode(msgspec.msgpack.encode(sent))
    assert isinstance(received, Command)
    arm.on_command(received, NOW)
    for t_ms in (0, 4, 8):
        arm.tick(NOW + t_ms * MS)
        arm_sample(arm.state(NOW + t_ms * MS))
    assert_inside(driver)


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.floats(width=64), min_size=1, max_size=8),
    rows=st.integers(0, 300),
    extra=st.binary(max_size=7),
)
def test_any_floats_are_judged_and_never_raise(
    values: list[float], rows: int, extra: bytes
) -> None:
    setpoints = np.repeat(HOME[None], rows, axis=0)
    setpoints[:, : len(values)] = values
    arm = ArmController(LaggingDriver(), LIMITS, EventList(), NOW, session=1)
    arm.handle(LeaseRequest(session=7, sequence=0, holder="fuzz"), NOW)
    base = command(setpoints) if rows else command()
    sent = msgspec.structs.replace(base, setpoints=base.setpoints + extra)
    verdict = arm.on_command(sent, NOW)
    expected_fine = rows >= 4 and not extra and np.allclose(setpoints, HOME, atol=1e-9)
    assert not verdict.ok or expected_fine or not rows
