"""Where the sockets of an arm are: a private folder of the user, or TCP on the loopback."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from dvla.runtime.curve import Curve
from dvla.runtime.errors import WireError

MAX_IPC_PATH_BYTES = 107
"""sockaddr_un holds 108 bytes, the last one zero."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_BOUND_BY_ARM = ("commands", "state", "control", "news", "snapshots")
PORTS = len(_BOUND_BY_ARM)
"""TCP ports that one arm controller takes."""


class ArmAddresses(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The endpoints of one arm; the arm controller binds all but ``events``, the recorder that.

    Attributes:
        name: of the arm.
        folder: holds locks and ipc sockets.
        commands / state / control: ZeroMQ endpoints.
        events: of the recorder; always on the run's own host.
        news / snapshots: events of a controller of its own, and its twin's world.
        curve: keys; TCP beyond the loopback needs them.
    """

    name: str
    folder: str
    commands: str
    state: str
    control: str
    events: str
    news: str = ""
    snapshots: str = ""
    curve: Curve | None = None

    @classmethod
    def local(cls, name: str) -> ArmAddresses:
        """Return the ipc endpoints of an arm on this host; its folder is made if need be.

        Raises:
            WireError: the name is not one, or the folder is not private.
        """
        folder = arm_folder(name)
        addresses = cls(
            name=name,
            folder=str(folder),
            curve=None,
            **{part: f"ipc://{folder / part}" for part in (*_BOUND_BY_ARM, "events")},
        )
        for endpoint in addresses.endpoints:
            check_endpoint(endpoint)
        return addresses

    @classmethod
    def tcp(cls, name: str, host: str, port: int, *, curve: Curve | None = None) -> ArmAddresses:
        """Return TCP endpoints from ``port`` on; locks and events stay on this host.

        Raises:
            WireError: the host is not the loopback, and there are no keys.
        """
        shown = f"[{host}]" if ":" in host else host
        folder = arm_folder(name)
        addresses = cls(
            name=name,
            folder=str(folder),
            events=f"ipc://{folder / 'events'}",
            **{part: f"tcp://{shown}:{port + i}" for i, part in enumerate(_BOUND_BY_ARM)},
            curve=curve,
        )
        for endpoint in addresses.endpoints:
            check_endpoint(endpoint, curve)
        return addresses

    @property
    def endpoints(self) -> tuple[str, ...]:
        """All endpoints."""
        return tuple(getattr(self, part) for part in (*_BOUND_BY_ARM, "events"))


def check_endpoint(endpoint: str, curve: Curve | None = None) -> None:
    """Raise a WireError unless an endpoint keeps everybody else away from the arm.

    Raises:
        WireError: TCP beyond the loopback, another transport, or a path that is too long.
    """
    if endpoint.startswith("ipc://"):
        size = len(os.fsencode(endpoint[len("ipc://") :]))
        if size > MAX_IPC_PATH_BYTES:
            raise WireError(
                f"the socket path of {endpoint} is too long",
                got=f"{size} bytes",
                expected=f"at most {MAX_IPC_PATH_BYTES} bytes",
                next_command="set XDG_RUNTIME_DIR to a shorter folder, or shorten the arm's name",
            )
        return
    if endpoint.startswith("tcp://"):
        if curve is not None or _is_loopback(urlsplit(endpoint).hostname or ""):
            return
        raise WireError(
            f"{endpoint} can be reached from other hosts, and no keys were given",
            expected="ipc, or TCP on 127.0.0.1 or ::1; beyond it CURVE with an allow-list of "
            "client keys is required",
            next_command="dvla-keys make on both hosts, or run the arm controller on this one",
        )
    raise WireError(
        f"{endpoint} is not an endpoint", choices=("ipc://PATH", "tcp://127.0.0.1:PORT")
    )


def _is_loopback(host: str) -> bool:
    # Host names are not resolved: what they mean may change between this check and the bind.
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_arm_name(name: str) -> None:
    """Raise a WireError unless a string can name an arm."""
    if not _NAME.fullmatch(name):
        raise WireError(
            "the arm's name is not valid",
            got=repr(name),
            expected="1 to 32 of a-z, 0-9, '-' and '_', beginning with a letter or digit",
        )


def arm_folder(name: str) -> Path:
    """Return the private folder of an arm, made if need be.

    It lies in ``XDG_RUNTIME_DIR``, or in ``/tmp/dvla-<uid>`` where there is none. Every folder on
    the way that others could have put there must be a real one, ours, and closed to others.

    Raises:
        WireError: the name is not one, or a folder is not private.
    """
    check_arm_name(name)
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and os.path.isabs(runtime) and os.path.isdir(runtime):
        root = Path(runtime) / "dvla"
    else:
        root = Path("/tmp") / f"dvla-{os.getuid()}"
    for folder in (root, root / name):
        _make_private(folder)
    return root / name


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        # lstat: a symbolic link that somebody else put there must not lead us elsewhere.
        found = folder.lstat()
    except OSError as error:
        raise WireError(f"{folder} cannot be made: {error}") from error
    if not stat.S_ISDIR(found.st_mode):
        problem = "is not a folder"
    elif found.st_uid != os.getuid():
        problem = f"belongs to user {found.st_uid}"
    elif found.st_mode & 0o077:
        problem = f"is open to others (mode {stat.S_IMODE(found.st_mode):o})"
    else:
        return
    raise WireError(
        f"{folder} {problem}",
        expected=f"a folder of user {os.getuid()} with mode 700",
        next_command=f"remove it, or: chmod 700 {folder}",
    )
