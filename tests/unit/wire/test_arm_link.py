"""How an arm controller is named, and what is said of a wrong name."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from dvla.runtime.arm_link import ArmLink, split_address
from dvla.runtime.clock_board import ClockBoard
from dvla.runtime.clock_offset import (
    SAME_CLOCK,
    ClockOffset,
    event_from,
    require_for_execute,
    state_from,
)
from dvla.runtime.curve import allow_key, make_key, read_public
from dvla.runtime.errors import WireError
from dvla.runtime.events import Note


@pytest.mark.parametrize(
    "address", ["", "tcp://", "tcp://1.2.3.4", "udp://1.2.3.4:5", "tcp://1.2.3.4:x", "tcp://a:5/b"]
)
def test_an_address_that_is_none_is_named(address: str) -> None:
    with pytest.raises(WireError, match=r"address of the arm controller.*tcp://HOST:PORT"):
        split_address(address)


@pytest.mark.parametrize("port", [0, 65532])
def test_all_five_ports_have_to_exist(port: int) -> None:
    with pytest.raises(WireError, match="1 to 65531"):
        split_address(f"tcp://127.0.0.1:{port}")


def test_who_listens_everywhere_is_also_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    keys = tmp_path / "keys"
    for name in ("arm", "jetson"):
        make_key(keys, name)
    allow_key(keys, "jetson", read_public(keys / "jetson.public"))
    link = ArmLink(name="a", address="tcp://0.0.0.0:5600", keys="arm", folder=str(keys))
    serving, here = link.serving(), link.connecting()
    assert serving.commands == "tcp://0.0.0.0:5600" and here.commands == "tcp://127.0.0.1:5600"
    assert serving.events.startswith("ipc://"), "events stay on the host of the run"
    assert serving.curve is not None and here.curve is not None
    assert set(serving.curve.allowed) == {serving.curve.public, read_public(keys / "jetson.public")}
    assert serving.curve.secret not in msgspec.json.encode(link).decode()


def test_beyond_the_loopback_there_is_no_link_without_keys() -> None:
    with pytest.raises(WireError, match="no keys"):
        ArmLink(name="a", address="tcp://10.1.2.3:5600").check()
    with pytest.raises(WireError, match=r"arm\.public cannot be read.*dvla-keys"):
        ArmLink(name="a", address="tcp://10.1.2.3:5600", keys="nobody", folder="/none").check()


def test_the_board_holds_the_newest_offset_for_every_reader() -> None:
    board = ClockBoard.create()
    reader = ClockBoard(board.ring)
    assert reader.offset is SAME_CLOCK
    for bound_ns in (3_000_000, 2_000_000):
        offset = ClockOffset(offset_ns=-7_000_000_000, bound_ns=bound_ns, t_ns=5)
        board.publish(offset)
        assert reader.offset == offset


def test_stamps_of_the_arm_are_read_on_our_clock() -> None:
    offset = ClockOffset(offset_ns=1_000_000_000, bound_ns=2_000_000, t_ns=0)
    note = Note(t_ns=1_500_000_000, source="arm", text="")
    assert event_from(note, offset).t_ns == 500_000_000
    assert event_from(note, SAME_CLOCK) is note and state_from(note, SAME_CLOCK) is note  # type: ignore[arg-type]


def test_clocks_that_are_not_known_well_enough_move_nothing() -> None:
    require_for_execute(ClockOffset(offset_ns=0, bound_ns=3_100_000, t_ns=0), 0)
    with pytest.raises(WireError, match=r"6\.1 ms.*at most 5 ms"):
        require_for_execute(ClockOffset(offset_ns=0, bound_ns=3_100_000, t_ns=0), 1_000_000_000)
