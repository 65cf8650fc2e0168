"""A cable between two network namespaces: ``python -m dvla.benchmarks.faults.cable A B``.

It owns a TUN device in each and carries packets between them, late and not all of them: what the
kernel's netem does, where the kernel has none. A line on standard input, ``DELAY_MS JITTER_MS
LOSS_SHARE``, changes how; the order of packets is kept, as cables keep it.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import random
import select
import struct
import sys
import time
from collections import deque

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000
CLONE_NEWNET = 0x40000000
DEVICE = "cable"


def open_end(namespace: str) -> int:
    """Make the device of one end; this process then stays in that namespace."""
    fd = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    if ctypes.CDLL(None, use_errno=True).setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"setns {namespace}")
    os.close(fd)
    end = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(end, TUNSETIFF, struct.pack("16sH", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
    return end


def carry(ends: list[int]) -> None:
    """Carry packets until standard input ends."""
    luck = random.Random(1)
    delay_s, jitter_s, loss = 0.0, 0.0, 0.0
    under_way: list[deque[tuple[float, bytes]]] = [deque(), deque()]
    while True:
        due = min((queue[0][0] for queue in under_way if queue), default=time.monotonic() + 1.0)
        wait_s = max(0.0, due - time.monotonic())
        ready = select.select([*ends, sys.stdin], [], [], wait_s)[0]
        if sys.stdin in ready:
            line = sys.stdin.readline()
            if not line:
                return
            delay_ms, jitter_ms, loss = (float(word) for word in line.split())
            delay_s, jitter_s = delay_ms * 1e-3, jitter_ms * 1e-3
        now = time.monotonic()
        for end, queue in zip(ends, under_way, strict=True):
            while end in ready:
                try:
                    packet = os.read(end, 65536)
                except BlockingIOError:
                    break
                if luck.random() < loss:
                    continue
                arrives = now + max(0.0, delay_s + luck.uniform(-jitter_s, jitter_s))
                queue.append((max(arrives, queue[-1][0] if queue else 0.0), packet))
        for other, queue in zip(reversed(ends), under_way, strict=True):
            while queue and queue[0][0] <= now:
                try:
                    os.write(other, queue.popleft()[1])
                except OSError:  # the far device is down: the packet is lost
                    continue


def main() -> None:
    """Be a cable until standard input ends."""
    ends = [open_end(namespace) for namespace in sys.argv[1:3]]
    print("ready", flush=True)
    carry(ends)


if __name__ == "__main__":
    main()
