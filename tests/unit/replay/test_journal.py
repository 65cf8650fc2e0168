"""The journal's texts: whatever is said fits into a row, and comes out of it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest
from arm_doubles import LIMITS, MS, EventList, LaggingDriver
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_run import record_run

from dvla.bindings import SharedRing
from dvla.runtime.messages import HoldRequest, LeaseRequest
from dvla.runtime.processes.recorder import RowReader
from dvla.runtime.replay import journal
from dvla.runtime.replay.exact import replay_exactly
from dvla.runtime.replay.text import exact_text
from dvla.runtime.replay.what_if import what_if
from dvla.runtime.run_data import load_run
from dvla.runtime.run_folder import RunFolder

NOW = 3_000_000 * MS
FARTHEST = -(2**63)
Journal = Callable[[HoldRequest | LeaseRequest], np.void]


def hold(reason: str) -> HoldRequest:
    return HoldRequest(session=FARTHEST, sequence=FARTHEST, reason=reason)


def lease(holder: str) -> LeaseRequest:
    return LeaseRequest(session=FARTHEST, sequence=FARTHEST, holder=holder)


@pytest.fixture(scope="module")
def journaled() -> Iterator[Journal]:
    """Return a function that lets an arm handle a request, and gives the row of it."""
    ring = SharedRing.create(journal.ARM_CALL.itemsize, 64)
    reader = RowReader(ring, journal.ARM_CALL)
    arm = journal.JournaledArmController(
        LaggingDriver(), LIMITS, EventList(), NOW, session=1, calls=ring
    )

    def row(request: HoldRequest | LeaseRequest) -> np.void:
        arm.handle(request, NOW)
        found: np.void = reader.take()[-1]
        return found

    yield row
    ring.close()


@pytest.mark.parametrize("letter", ["x", '"', "\\", "\x00", "é", "人", "🛑"])
@pytest.mark.parametrize("make", [hold, lease])
def test_long_words_are_cut_between_letters(
    make: Callable[[str], HoldRequest | LeaseRequest], letter: str, journaled: Journal
) -> None:
    row = journaled(make(letter * 200))
    found = journal.row_request(row)
    assert int(row["bytes"]) <= journal.MAX_TEXT
    kept = [make(letter * count) for count in range(25, 61)]
    assert found in (kept if letter.isprintable() else [make("")])


@settings(max_examples=100, deadline=None)
@given(words=st.text(max_size=300))
def test_any_words_come_out_again(words: str, journaled: Journal) -> None:
    for request in (hold(words), lease(words)):
        found = journal.row_request(journaled(request))
        assert (found.session, found.sequence) == (FARTHEST, FARTHEST)


def text_row(kind: int, text: bytes, t_ns: int) -> np.ndarray:
    """Return a row as older journals have it: cut anywhere."""
    row = np.zeros(1, journal.ARM_CALL)
    kept = text[: journal.MAX_TEXT]
    row["kind"], row["t_ns"], row["bytes"] = kind, t_ns, len(kept)
    row["reading"].view(np.uint8)[0, : len(kept)] = np.frombuffer(kept, np.uint8)
    return row


def with_row(folder: RunFolder, kind: int, text: bytes) -> None:
    """Put a row into the journal of a run, after its hold."""
    calls = np.load(folder.calls)
    place = 1 + next(
        place
        for place in np.flatnonzero(calls["kind"] == journal.REQUEST)
        if isinstance(journal.row_request(calls[place]), HoldRequest)
    )
    row = text_row(kind, text, int(calls["t_ns"][place - 1]))
    np.save(folder.calls, np.concatenate([calls[:place], row, calls[place:]]))


@pytest.mark.parametrize("reason", ["人" * 60, "x\x00" * 200], ids=["letter", "escape"])
def test_a_hold_that_an_older_journal_cut_is_a_hold(reason: str) -> None:
    text = msgspec.json.encode(hold(reason))
    assert len(text) > journal.MAX_TEXT
    found = journal.row_request(text_row(journal.REQUEST, text, NOW)[0])
    assert found == HoldRequest(session=0, sequence=0, reason="")


def test_older_recordings_with_texts_cut_in_a_letter_are_replayed(tmp_path: Path) -> None:
    folder = record_run(tmp_path, 2.6)
    with_row(folder, journal.REQUEST, msgspec.json.encode(hold("人" * 60)))
    with_row(folder, journal.FAULT, b"")
    with_row(folder, journal.FAULT, b"x" + "人".encode() * 80)
    replay = replay_exactly(folder.path)
    assert replay.equal, exact_text(replay)
    same = what_if(load_run(folder.path, calls=True), ["laas=true"])
    assert same.before == same.after and same.after.motion.accepted > 300


def test_a_request_that_is_not_known_any_more_is_told_and_not_guessed(tmp_path: Path) -> None:
    folder = record_run(tmp_path, 2.6)
    with_row(folder, journal.REQUEST, msgspec.json.encode(lease("x" * 300)))
    last = replay_exactly(folder.path).stages[-1]
    assert last.stage == "gate" and "cut off in its journal" in last.missing and not last.equal
    assert what_if(load_run(folder.path, calls=True), ["laas=true"]).after.motion.accepted > 300


def test_the_words_of_a_fault_end_in_a_letter() -> None:
    row = text_row(journal.FAULT, "人".encode() * 81, NOW)[0]
    assert journal.row_fault(row) == "人" * 80
    row = text_row(journal.FAULT, b"x" + "人".encode() * 81, NOW)[0]
    assert journal.row_fault(row) == "x" + "人" * 79 + "\N{REPLACEMENT CHARACTER}"
