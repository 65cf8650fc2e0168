"""How to reach an arm controller: on this host, or on another one with keys."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import msgspec

from dvla.runtime.addresses import PORTS, ArmAddresses, check_arm_name
from dvla.runtime.curve import client_curve, keys_folder, public_of, server_curve
from dvla.runtime.errors import WireError

LOCAL = "local"
ARM_KEY = "arm"
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "*": "127.0.0.1", "::": "::1"}


class ArmLink(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The way to an arm controller. It names keys and holds none: it may be sent and written.

    Attributes:
        name: of the arm.
        address: ``local``: in the private folder of this user; or ``tcp://HOST:PORT``.
        keys: name of this host's own key; empty for none, which the loopback alone permits.
        arm_key: public key of the controller, its file, or its name in the folder of keys.
        folder: of the keys; this user's own when empty.
    """

    name: str
    address: str = LOCAL
    keys: str = ""
    arm_key: str = ARM_KEY
    folder: str = ""

    @property
    def remote(self) -> bool:
        """Whether the controller is reached over TCP."""
        return self.address != LOCAL

    def check(self) -> None:
        """Raise a WireError unless the link could be opened, as far as this host can tell.

        Raises:
            WireError: the name or the address is none, or keys are missing.
        """
        check_arm_name(self.name)
        self.connecting()

    def serving(self) -> ArmAddresses:
        """Return the endpoints for the controller itself.

        Raises:
            WireError: the address is none, or keys or the allow-list are missing.
        """
        if not self.remote:
            return ArmAddresses.local(self.name)
        host, port = split_address(self.address)
        curve = server_curve(self._keys_folder(), self.keys) if self.keys else None
        if curve is not None:
            # Whoever holds the controller's own secret may look at it from its own host.
            curve = msgspec.structs.replace(curve, allowed=(*curve.allowed, curve.public))
        return ArmAddresses.tcp(self.name, host, port, curve=curve)

    def connecting(self) -> ArmAddresses:
        """Return the endpoints for everybody else.

        Raises:
            WireError: the address is none, or keys are missing.
        """
        if not self.remote:
            return ArmAddresses.local(self.name)
        host, port = split_address(self.address)
        curve = None
        if self.keys:
            folder = self._keys_folder()
            curve = client_curve(folder, self.keys, public_of(folder, self.arm_key))
        host = _WILDCARDS.get(host, host)  # who binds everywhere is also here
        return ArmAddresses.tcp(self.name, host, port, curve=curve)

    def _keys_folder(self) -> Path:
        return Path(self.folder) if self.folder else keys_folder()


def split_address(address: str) -> tuple[str, int]:
    """Return host and first port of ``tcp://HOST:PORT``.

    Raises:
        WireError: it is no such address.
    """
    try:
        parts = urlsplit(address)
        host, port = parts.hostname or "", parts.port
        extra = parts.path or parts.query or parts.username
    except ValueError:
        host, port, extra = "", None, ""
    high = 65535 - PORTS + 1
    if not address.startswith("tcp://") or not host or port is None or extra:
        raise WireError(
            "the address of the arm controller is none",
            got=repr(address),
            choices=(LOCAL, "tcp://HOST:PORT"),
        )
    if not 1 <= port <= high:
        raise WireError(
            "the port of the arm controller is out of bounds",
            got=port,
            expected=f"1 to {high}: the controller takes {PORTS} ports from there on",
        )
    return host, port
