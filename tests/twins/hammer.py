"""A writer that publishes as fast as it can, in a process of its own.

Every field of a publication is its own sequence number, so that any mixture of two shows.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np

from dvla.bindings import ActionStream


def stamped_count(sequence: int) -> int:
    """Return how many knots publication ``sequence`` has."""
    return 1 + sequence % ActionStream.CAPACITY


def publish_stamped(stream: ActionStream, sequence: int) -> int:
    """Publish a timeline that says ``sequence`` everywhere; return the sequence it got."""
    count = stamped_count(sequence)
    knots = np.zeros((count, 8))
    knots[:, :3], knots[:, 3], knots[:, 7] = sequence, 1, sequence
    stamp = np.full(count, sequence, np.int64)
    return stream.publish(
        sequence + np.arange(count, dtype=np.int64), knots, stamp, stamp,
        start_ns=sequence, end_ns=sequence + count, generation=sequence,
    )  # fmt: skip


def start_writer(stream: ActionStream, last: int) -> subprocess.Popen[str]:
    """Start a process that publishes up to sequence ``last``; return it once it has attached."""
    process = subprocess.Popen(
        [sys.executable, "-c", "from twins.hammer import main; main()", str(stream.fd), str(last)],
        pass_fds=[stream.fd], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def main() -> None:
    """Publish from the sequence found up to the one asked for."""
    stream = ActionStream.attach(int(sys.argv[1]))
    last = int(sys.argv[2])
    sequence = stream.refresh()
    print("ready", flush=True)
    while sequence < last:
        sequence = publish_stamped(stream, sequence + 1)
