"""Serves franka-sim's arm on the loopback alone; run by the Python of its virtual environment.

Its own command listens on every interface. Lost cycles and broken limits abort a motion here, as
they do on the arm; something 30 mm wide is between the fingers.
"""

from __future__ import annotations

import logging
import signal
import sys

from franka_sim import FrankaSimServer


def main() -> None:
    """Serve until a signal."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    server = FrankaSimServer(
        host="127.0.0.1",
        gripper_object_width=0.03,
        enforce_comm_constraints=True,
        enforce_motion_limits=True,
    )
    try:
        server.start()
    finally:
        server.stop()


if __name__ == "__main__":
    main()
