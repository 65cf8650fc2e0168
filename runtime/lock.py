"""One controller per arm: an flock that is taken before any socket is bound.

Binding a live ipc path succeeds and steals its traffic, so the lock decides and not the bind. The
kernel frees an flock with its process: what a killed one leaves behind is taken over and removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import sys
from pathlib import Path

import msgspec

from dvla.runtime.addresses import ArmAddresses
from dvla.runtime.errors import LeaseError


class LockHolder(msgspec.Struct, frozen=True, kw_only=True):
    """Who holds a lock; written into its file for the message that the second one gets."""

    pid: int
    session: int
    command: str


class InstanceLock:
    """An exclusive lock on a file, with its holder's name inside.

    Args:
        path: of the lock file; its folder must be private.
        what: the thing that is locked, for the message.
        session: of the holder.
        sockets: ipc endpoints that belong to the holder; leftovers are removed.

    Raises:
        LeaseError: another process holds the lock.
    """

    def __init__(
        self, path: Path, what: str, *, session: int, sockets: tuple[str, ...] = ()
    ) -> None:
        self._path = path
        self._sockets = [Path(s[len("ipc://") :]) for s in sockets if s.startswith("ipc://")]
        self._pid = os.getpid()
        self._fd = _take(path, what)
        holder = LockHolder(pid=self._pid, session=session, command=" ".join(sys.argv)[:500])
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, msgspec.json.encode(holder), 0)
        self._remove_sockets()

    def release(self) -> None:
        """Remove the sockets and the lock file, then let go; twice is once."""
        if self._fd < 0:
            return
        if os.getpid() == self._pid:
            # ZeroMQ leaves the files of its ipc sockets behind.
            self._remove_sockets()
            # Unlinked while still locked: whoever opened this file meanwhile finds, once it has
            # the lock, that the path is another file, and tries again.
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
        os.close(self._fd)
        self._fd = -1

    def __enter__(self) -> InstanceLock:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _remove_sockets(self) -> None:
        for path in self._sockets:
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISSOCK(path.lstat().st_mode):
                    path.unlink()


def lock_arm(addresses: ArmAddresses, *, session: int) -> InstanceLock:
    """Become the one controller of an arm; sockets of a killed one are removed.

    Raises:
        LeaseError: another controller runs this arm.
    """
    return InstanceLock(
        Path(addresses.folder, "arm.lock"),
        f"arm {addresses.name!r}",
        session=session,
        sockets=tuple(one for one in addresses.endpoints if one != addresses.events),
    )


def lock_events(addresses: ArmAddresses, *, session: int) -> InstanceLock:
    """Become the one recorder of an arm's events.

    Raises:
        LeaseError: another recorder listens.
    """
    return InstanceLock(
        Path(addresses.folder, "events.lock"),
        f"the recorder of arm {addresses.name!r}",
        session=session,
        sockets=(addresses.events,),
    )


def _take(path: Path, what: str) -> int:
    """Return a locked descriptor of the file that is at ``path`` now."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(fd, 4096, 0)
            os.close(fd)
            raise _in_use(what, text) from None
        if _is_at(fd, path):
            return fd
        os.close(fd)


def _is_at(fd: int, path: Path) -> bool:
    """Return whether ``path`` still names the open file; its last holder may have unlinked it."""
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    here = os.fstat(fd)
    return (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev)


def _in_use(what: str, text: bytes) -> LeaseError:
    try:
        holder = msgspec.json.decode(text, type=LockHolder)
    except msgspec.MsgspecError:  # locked, but not signed yet
        return LeaseError(f"{what} is in use by another process", next_command="try again")
    return LeaseError(
        f"{what} is in use by process {holder.pid} ({holder.command}), session {holder.session}",
        next_command=f"end that run first (Ctrl-C, or: kill {holder.pid})",
    )
