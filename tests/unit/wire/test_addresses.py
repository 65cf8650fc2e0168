"""Where an arm is found: endpoints, private folders, one controller, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dvla.runtime.addresses import ArmAddresses, arm_folder, check_endpoint
from dvla.runtime.errors import LeaseError, WireError
from dvla.runtime.lock import InstanceLock, lock_arm, lock_events
from dvla.runtime.wire import (
    CommandSubscriber,
    StatePublisher,
)
from dvla.runtime.wire_control import ControlServer

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://0.0.0.0:5555", "tcp://*:5555", "tcp://192.168.0.4:5555", "tcp://localhost:1"],
)
def test_tcp_beyond_the_loopback_is_refused(endpoint: str) -> None:
    with pytest.raises(WireError, match="CURVE"):
        check_endpoint(endpoint)


def test_loopback_and_ipc_are_accepted_and_the_rest_is_not(addresses: ArmAddresses) -> None:
    for endpoint in ("tcp://127.0.0.1:5555", "tcp://[::1]:5555", *addresses.endpoints):
        check_endpoint(endpoint)
    with pytest.raises(WireError, match="not an endpoint"):
        check_endpoint("udp://127.0.0.1:1")
    with pytest.raises(WireError, match="too long"):
        check_endpoint("ipc:///" + "x" * 107)


@pytest.mark.parametrize("name", ["", "../x", "A", "a/b", "a" * 33, "a\n"])
def test_an_arms_name_cannot_leave_its_folder(name: str) -> None:
    with pytest.raises(WireError, match="name is not valid"):
        arm_folder(name)


def test_a_folder_that_is_not_private_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    folder = arm_folder("arm")
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o755)
    with pytest.raises(WireError, match="open to others"):
        arm_folder("arm")
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(WireError, match="is not a folder"):
        arm_folder("arm")


# -- locks -------------------------------------------------------------------------------------


def test_a_second_controller_is_refused_with_the_holders_pid(addresses: ArmAddresses) -> None:
    with lock_arm(addresses, session=7):
        with pytest.raises(LeaseError, match=rf"process {os.getpid()} .*session 7") as caught:
            lock_arm(addresses, session=8)
        assert caught.value.exit_code == 2
        assert "kill" in str(caught.value)
        lock_events(addresses, session=8).release()
    lock_arm(addresses, session=8).release()
    assert list(Path(addresses.folder).iterdir()) == []


def test_closing_leaves_no_socket_and_no_lock(addresses, context) -> None:  # type: ignore[no-untyped-def]
    lock = lock_arm(addresses, session=7)
    links = [
        CommandSubscriber(addresses, context=context),
        StatePublisher(addresses, context=context),
    ]
    links.append(ControlServer(addresses, context=context))
    assert len(list(Path(addresses.folder).iterdir())) == 4
    for link in links:
        link.close()
    lock.release()
    lock.release()
    assert list(Path(addresses.folder).iterdir()) == []


def test_what_a_killed_controller_left_is_taken_over(
    addresses: ArmAddresses, tmp_path: Path
) -> None:
    code = (
        "import time\n"
        "from dvla.runtime.addresses import ArmAddresses\n"
        "from dvla.runtime.lock import lock_arm\n"
        "from dvla.runtime.wire import StatePublisher\n"
        "a = ArmAddresses.local('test')\n"
        "lock = lock_arm(a, session=3)\n"
        "state = StatePublisher(a)\n"
        "print('up', flush=True)\n"
        "time.sleep(60)\n"
    )
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    child = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment, cwd=ROOT
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        with pytest.raises(LeaseError, match=rf"process {child.pid} "):
            lock_arm(addresses, session=4)
    finally:
        child.kill()
        child.wait()
    left = {path.name for path in Path(addresses.folder).iterdir()}
    assert left == {"arm.lock", "state"}
    with lock_arm(addresses, session=4):
        assert {path.name for path in Path(addresses.folder).iterdir()} == {"arm.lock"}


def test_a_lock_on_an_unlinked_file_is_no_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between a second one's open and flock, the first unlinks the file."""
    import fcntl

    path = tmp_path / "x.lock"
    real, calls = fcntl.flock, []

    def flock(fd: int, operation: int) -> None:
        calls.append(fd)
        if len(calls) == 1:
            path.unlink()
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    lock = InstanceLock(path, "x", session=1)
    assert len(calls) == 2
    with pytest.raises(LeaseError):
        InstanceLock(path, "x", session=2)
    lock.release()
