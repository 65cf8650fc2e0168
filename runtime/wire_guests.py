"""Who knocks at a controller's sockets and is not let in, counted for people.

The allow-list says who had a key that is not on it. Who had the wrong key of the controller fails
in the handshake already, which only a monitor of the socket tells.
"""

from __future__ import annotations

from typing import Any

import zmq

from dvla.runtime.wire_link import Link
from dvla.runtime.zap import refused_by

MAX_PER_LOOK = 64


class Guests:
    """Counts refused connections of CURVE servers; others let in whoever reaches them.

    Args:
        links: sockets that are bound.
    """

    def __init__(self, *links: Link) -> None:
        self._links = [link for link in links if link.guarded]
        self._broken = 0
        self._monitors: list[zmq.Socket[Any]] = [
            link.socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
            for link in self._links
        ]

    @property
    def refused(self) -> int:
        """Connections that were not let in."""
        listed = refused_by(self._links[0].socket.context) if self._links else 0
        return listed + self._broken

    def look(self) -> None:
        """Take what the monitors have said; never wait."""
        for monitor in self._monitors:
            for _ in range(MAX_PER_LOOK):
                try:
                    monitor.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    break
                self._broken += 1  # it reports nothing else

    def close(self) -> None:
        """Close the monitors."""
        for link in self._links:
            link.socket.disable_monitor()
        for monitor in self._monitors:  # a context that ends would wait for them for ever
            monitor.close(linger=0)
        self._monitors = []
