"""CURVE: who is on the list comes in, nobody else does, and secrets stay secret."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zmq

from dvla.runtime.addresses import ArmAddresses, check_endpoint
from dvla.runtime.curve import (
    Curve,
    allow_key,
    client_curve,
    make_key,
    read_public,
    server_curve,
)
from dvla.runtime.errors import WireError
from dvla.runtime.messages import HoldRequest, Reply, Request
from dvla.runtime.wire_control import ControlClient, ControlServer
from dvla.runtime.zap import AllowList


def free_port() -> int:
    """Return the first of four free ports."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(autouse=True)
def private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    for name in ("arm", "jetson", "stranger"):
        make_key(folder, name)
    allow_key(folder, "jetson", read_public(folder / "jetson.public"))
    return folder


class Host:
    """A control server with an allow-list, in a context of its own."""

    def __init__(self, keys: Path) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.curve = server_curve(keys, "arm")
        self.guard = AllowList(self.context, self.curve.allowed)
        self.port = free_port()
        # The server's own list would be made by ``guard``; here the test holds it.
        from dvla.runtime import zap

        zap._lists[id(self.context)] = self.guard
        self.server = ControlServer(self.addresses(self.curve), context=self.context)
        self.handled = 0

    def addresses(self, curve: Curve | None) -> ArmAddresses:
        return ArmAddresses.tcp("test", "127.0.0.1", self.port, curve=curve)

    def answer(self, request: Request, now_ns: int) -> Reply:
        self.handled += 1
        return Reply(session=request.session, sequence=request.sequence, ok=True)

    def asks(self, curve: Curve | None, patience_s: float) -> bool:
        """Return whether a client with these keys gets an answer."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        client = ControlClient(self.addresses(curve), context=context)
        request = HoldRequest(session=1, sequence=1, reason="")
        client.socket.send(msgspec.msgpack.encode(request))
        end = time.monotonic() + patience_s
        answered = False
        while not answered and time.monotonic() < end:
            self.server.serve(self.answer, 0)
            answered = bool(client.drain())
            time.sleep(0.002)
        client.close()
        context.term()
        return answered

    def close(self) -> None:
        self.server.close()
        self.guard.close()
        self.context.term()


@pytest.fixture
def host(keys: Path) -> Iterator[Host]:
    with contextlib.closing(Host(keys)) as made:
        yield made


def test_a_listed_client_is_let_in(host: Host, keys: Path) -> None:
    assert host.asks(client_curve(keys, "jetson", host.curve.public), 10.0)
    assert host.guard.refused == 0


def test_a_client_that_is_not_listed_stays_outside(host: Host, keys: Path) -> None:
    assert not host.asks(client_curve(keys, "stranger", host.curve.public), 0.6)
    assert host.guard.refused > 0 and host.handled == 0


def test_without_keys_nobody_comes_in(host: Host) -> None:
    assert not host.asks(None, 0.4)
    assert host.handled == 0


def test_a_client_does_not_speak_to_another_server(host: Host, keys: Path) -> None:
    wrong = read_public(keys / "stranger.public")
    assert not host.asks(client_curve(keys, "jetson", wrong), 0.4)
    assert host.handled == 0


def test_bytes_that_are_no_handshake_do_no_harm(host: Host, keys: Path) -> None:
    for payload in (b"GET / HTTP/1.0\r\n\r\n", b"\xff" * 4096, b""):
        with socket.create_connection(("127.0.0.1", host.port + 2)) as raw:
            raw.sendall(payload)
    assert host.asks(client_curve(keys, "jetson", host.curve.public), 10.0)
    assert host.handled == 1


def test_tcp_beyond_the_loopback_needs_keys(keys: Path) -> None:
    with pytest.raises(WireError, match="no keys"):
        check_endpoint("tcp://192.168.1.7:5555")
    check_endpoint("tcp://192.168.1.7:5555", server_curve(keys, "arm"))


def test_a_secret_is_for_its_owner_alone(keys: Path) -> None:
    assert stat.S_IMODE((keys / "arm.secret").stat().st_mode) == 0o600
    secret = (keys / "arm.secret").read_text().split()[1]
    assert secret not in repr(server_curve(keys, "arm"))
    assert secret not in (keys / "arm.public").read_text()
    (keys / "arm.secret").chmod(0o644)
    with pytest.raises(WireError, match="open to others"):
        server_curve(keys, "arm")


def test_a_key_is_never_overwritten(keys: Path) -> None:
    before = (keys / "arm.secret").read_text()
    with pytest.raises(WireError, match="already"):
        make_key(keys, "arm")
    assert (keys / "arm.secret").read_text() == before


def test_the_key_of_another_host_is_never_replaced(keys: Path) -> None:
    theirs = keys / "other.public"
    theirs.write_text((keys / "stranger.public").read_text())
    with pytest.raises(WireError, match=r"another host's.*choose another name"):
        make_key(keys, "other")
    assert theirs.read_text() == (keys / "stranger.public").read_text()
    assert not (keys / "other.secret").exists()


def test_a_key_that_was_removed_as_told_is_made_anew(keys: Path) -> None:
    with pytest.raises(WireError) as refused:
        make_key(keys, "arm")
    for place in (keys / "arm.secret", keys / "arm.public"):
        assert str(place) in str(refused.value)
        place.unlink()
    assert make_key(keys, "arm") == read_public(keys / "arm.public")


@pytest.fixture
def group_umask() -> Iterator[None]:
    before = os.umask(0o002)
    yield
    os.umask(before)


@pytest.mark.usefixtures("group_umask")
def test_a_client_may_be_allowed_before_there_is_a_key(keys: Path, tmp_path: Path) -> None:
    folder = tmp_path / "config" / "keys"
    allow_key(folder, "jetson", read_public(keys / "jetson.public"))
    for place in (folder, folder / "allowed"):
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
    make_key(folder, "arm")
    assert server_curve(folder, "arm").allowed == (read_public(keys / "jetson.public"),)


@pytest.mark.parametrize("mode", [0o770, 0o750, 0o702])
def test_keys_in_a_folder_that_is_open_to_others_are_not_read(keys: Path, mode: int) -> None:
    public = read_public(keys / "jetson.public")
    keys.chmod(mode)
    for read in (
        lambda: server_curve(keys, "arm"),
        lambda: client_curve(keys, "arm", public),
        lambda: allow_key(keys, "stranger", public),
    ):
        with pytest.raises(WireError, match=rf"open to others.*mode {mode:o}.*chmod go= {keys}$"):
            read()
    keys.chmod(0o700)
    (keys / "allowed").chmod(mode)
    with pytest.raises(WireError, match=r"open to others.*chmod go= .*/allowed$"):
        server_curve(keys, "arm")
    assert client_curve(keys, "arm", public).server == public, "it has no use for the list"


def test_the_folder_of_keys_may_be_a_link_to_one(keys: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(keys)
    assert server_curve(link, "arm").allowed
    keys.chmod(0o750)
    with pytest.raises(WireError, match=r"open to others.*mode 750"):
        server_curve(link, "arm")


def test_an_empty_allow_list_is_refused(keys: Path) -> None:
    (keys / "allowed" / "jetson.public").unlink()
    with pytest.raises(WireError, match="allow-list"):
        server_curve(keys, "arm")


@pytest.mark.parametrize("name", ["", "../x", "A b", "x" * 40])
def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(WireError, match="name"):
        make_key(tmp_path / "k", name)


@pytest.mark.parametrize("key", ["", "short", "x" * 41, "\x00" * 40])
def test_a_public_key_that_is_none_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(WireError, match="no key"):
        allow_key(tmp_path, "a", key)
