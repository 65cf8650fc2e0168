"""CURVE keys: who this host is on the wire, whom it speaks to, and whom it lets in.

A key is a file of two lines in a folder of mode 0700: ``NAME.secret`` (mode 0600, never leaves the
host) and ``NAME.public`` (for the other host). ``allowed/`` holds the public keys of the clients
that may connect; without an allow-list CURVE lets in everybody who knows the server's public key.
Its mode is 0700 too: whoever could write into one of the two folders could let anybody in.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

import msgspec
import zmq

from dvla.runtime.errors import WireError

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,31}")
_Z85 = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


class Curve(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a socket needs to be a CURVE server or client.

    Attributes:
        public / secret: of this host, Z85.
        server: public key of the host that binds.
        allowed: public keys that a server lets in.
    """

    public: str
    secret: str
    server: str
    allowed: tuple[str, ...] = ()

    def __repr__(self) -> str:  # a secret must not reach a log
        return f"Curve(public={self.public!r}, server={self.server!r})"


def keys_folder() -> Path:
    """Return the folder of this user's keys: ``$XDG_CONFIG_HOME/dvla/keys``."""
    base = os.environ.get("XDG_CONFIG_HOME", "")
    root = Path(base) if base and os.path.isabs(base) else Path.home() / ".config"
    return root / "dvla" / "keys"


def make_key(folder: Path, name: str) -> str:
    """Make a pair of keys; returns the public one.

    Raises:
        WireError: the name is not one, the folder is open to others, or there is such a key, be it
            another host's.
    """
    if not _NAME.fullmatch(name):
        raise WireError(
            "the key's name is not valid",
            got=repr(name),
            expected="1 to 32 of a-z, 0-9, '.', '-' and '_', beginning with a letter or digit",
        )
    _make_private(folder)
    public, secret = (key.decode() for key in zmq.curve_keypair())
    place, shown = folder / f"{name}.secret", folder / f"{name}.public"
    if shown.exists() and not place.exists():
        raise WireError(
            f"there is a public key {name!r} without its secret: it is another host's",
            got=str(shown),
            expected="a name that no other host has",
            next_command=f"choose another name, or remove {shown} first if nobody uses it",
        )
    try:
        fd = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except FileExistsError:
        raise WireError(
            f"there is a key {name!r} already; a new one would lock its users out",
            got=str(place),
            next_command=f"choose another name, or remove {place} and {shown} first",
        ) from None
    with os.fdopen(fd, "w") as file:
        file.write(f"{public}\n{secret}\n")
    shown.write_text(f"{public}\n")
    return public


def allow_key(folder: Path, name: str, public: str) -> None:
    """Put a client's public key onto the allow-list.

    Raises:
        WireError: it is not a public key, or a folder is open to others.
    """
    if not _NAME.fullmatch(name):
        raise WireError("the client's name is not valid", got=repr(name))
    line = f"{_checked(public, 'the public key')}\n"
    _make_private(folder)
    _make_private(folder / "allowed")
    (folder / "allowed" / f"{name}.public").write_text(line)


def read_public(path: Path) -> str:
    """Return the public key in a file.

    Raises:
        WireError: there is none.
    """
    try:
        return _checked(path.read_text().strip(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise WireError(f"{path} cannot be read: {error}", next_command="dvla-keys make") from error


def public_of(folder: Path, key: str) -> str:
    """Return a public key from itself, from its file, or from its name in the folder of keys.

    Raises:
        WireError: there is none.
    """
    if _Z85.fullmatch(key):
        return key
    file = Path(key)
    return read_public(file if file.is_file() else folder / f"{file.name}.public")


def server_curve(folder: Path, name: str) -> Curve:
    """Return the keys of a host that binds, with its allow-list.

    Raises:
        WireError: a key or a folder is missing or open to others, or nobody is allowed.
    """
    public, secret = _read_secret(folder, name)
    place = folder / "allowed"
    allowed = tuple(read_public(path) for path in sorted(place.glob("*.public")))
    if not allowed:
        raise WireError(
            "nobody is on the allow-list, so nobody could ever connect",
            got=str(place),
            next_command="dvla-keys allow --name jetson --public jetson.public",
        )
    _require_private_folder(place)
    return Curve(public=public, secret=secret, server=public, allowed=allowed)


def client_curve(folder: Path, name: str, server_public: str) -> Curve:
    """Return the keys of a host that connects.

    Raises:
        WireError: a key or its folder is missing or open to others.
    """
    public, secret = _read_secret(folder, name)
    return Curve(
        public=public, secret=secret, server=_checked(server_public, "the server's public key")
    )


def _read_secret(folder: Path, name: str) -> tuple[str, str]:
    place = folder / f"{name}.secret"
    try:
        _require_private_folder(folder)
        _require_private(place)
        lines = place.read_text().split()
    except OSError as error:
        raise WireError(
            f"there is no key {name!r}",
            got=f"{place}: {error.strerror}",
            next_command=f"dvla-keys make --name {name}",
        ) from error
    if len(lines) != 2:
        raise WireError(f"{place} is not a key", expected="a public and a secret key")
    return _checked(lines[0], str(place)), _checked(lines[1], str(place))


def _checked(key: str, what: str) -> str:
    if not _Z85.fullmatch(key):
        raise WireError(f"{what} holds no key", expected="40 letters of Z85, made by dvla-keys")
    return key


def _make_private(folder: Path) -> None:
    """Make a folder for this user alone; one that is there already has to be so."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _require_private_folder(folder)


def _require_private_folder(folder: Path) -> None:
    if found := _open_to_others(folder):
        raise WireError(
            f"{folder} is open to others, so the keys in it may be theirs",
            got=found,
            expected=f"mode 700, user {os.getuid()}",
            next_command=f"look whose keys are in it: dvla-keys list; then: chmod go= {folder}",
        )


def _require_private(secret: Path) -> None:
    if found := _open_to_others(secret):
        raise WireError(
            f"{secret} is open to others, so the key in it is no secret",
            got=found,
            expected=f"mode 600, user {os.getuid()}",
            next_command=f"make new keys; then: chmod go= {secret}",
        )


def _open_to_others(path: Path) -> str:
    """Return the mode and the owner of what is not private, nothing otherwise."""
    found = path.stat() if path.is_dir() else path.lstat()  # a folder may be a link to one
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid == os.getuid() and not mode & 0o077:
        return ""
    return f"mode {mode:o}, user {found.st_uid}"
