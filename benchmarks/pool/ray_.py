"""Seeds over a Ray cluster: the same work and the same answers as over processes of this host."""

from __future__ import annotations

import socket
from collections.abc import Iterable
from importlib import import_module
from typing import Any

import msgspec

from dvla.benchmarks.pool.local import SeedQueue, Take
from dvla.benchmarks.pool.work import Answer, Work, answered, failure
from dvla.engines.errors import DvlaError, MissingDependency

_CONNECT_S = 5.0
LOCAL = "local"


class ClusterUnreachable(DvlaError):
    """No Ray cluster answers at an address."""

    exit_code = 3


class _Worker:
    """An actor: one seed runner in a process somewhere in the cluster."""

    def __init__(self, work: bytes) -> None:
        self._work = msgspec.json.decode(work, type=Work)
        self._runner: Any = None

    def answer(self, seed: int) -> bytes:
        """Return what became of a seed."""
        try:
            self._runner = self._runner or self._work.open()
        except Exception as error:
            return msgspec.json.encode(failure(seed, error))
        return msgspec.json.encode(answered(self._runner, seed))


def run_seeds_on_ray(
    work: Work, seeds: Iterable[int], workers: int, take: Take, address: str
) -> None:
    """Run seeds over a cluster, one core each, and take the results as they come.

    Every node needs this version of dvla installed, and sees the files of the job (a bundle, an
    output folder) under the same paths.

    Args:
        work: of every process.
        seeds: which may be drawn lazily.
        workers: processes at most; fewer run at a time where the cluster has fewer free cores.
        take: called with every result.
        address: of the cluster: ``HOST:PORT``, ``ray://HOST:PORT``, ``auto``, or ``local`` to start
            one on this host.

    Raises:
        MissingDependency: Ray is not installed.
        ClusterUnreachable: no cluster answers.
        WorkerFailed: the work raised an error.
        WorkerDied: a seed ended its process again and again.
    """
    ray = _connect(address)
    queue = SeedQueue(seeds, take)
    actor = ray.remote(num_cpus=1, max_restarts=0)(_Worker)
    encoded = msgspec.json.encode(work)
    asked: dict[Any, tuple[int, Any]] = {}

    def ask(worker: Any) -> bool:
        seed = queue.next()
        if seed is not None:
            asked[worker.answer.remote(seed)] = (seed, worker)
        return seed is not None

    try:
        for _ in range(workers):
            if not ask(actor.remote(encoded)):
                break
        while asked:
            (done, *_), _ = ray.wait(list(asked), num_returns=1)
            seed, worker = asked.pop(done)
            try:
                queue.took(msgspec.json.decode(ray.get(done), type=Answer))
            except ray.exceptions.RayActorError as error:
                queue.died(seed, str(error).splitlines()[0])
                worker = actor.remote(encoded)
            ask(worker)
    finally:
        ray.shutdown()
    if queue.error is not None:
        raise queue.error


def _connect(address: str) -> Any:
    """Return the ray module, connected."""
    try:
        ray = import_module("ray")
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "--ray needs Ray", got=str(error), next_command="pip install 'dvla[ray]'"
        ) from error
    _knock(address)
    try:
        ray.init(
            address=None if address == LOCAL else address,
            log_to_driver=False,
            logging_level="ERROR",
            include_dashboard=False if address == LOCAL else None,
        )
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        raise _unreachable(address, error) from error
    return ray


def _knock(address: str) -> None:
    """Raise at once where nothing listens: Ray itself would try for a minute."""
    if address in (LOCAL, "auto"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdecimal():
        raise _unreachable(address, ValueError("no HOST:PORT"))
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S).close()
    except (OSError, OverflowError) as error:
        raise _unreachable(address, error) from error


def _unreachable(address: str, error: Exception) -> ClusterUnreachable:
    return ClusterUnreachable(
        f"No Ray cluster answers at {address}",
        got=(str(error).splitlines() or [type(error).__name__])[0],
        expected="HOST:PORT of a head node, ray://HOST:PORT, auto, or local",
        next_command="ray status --address ADDRESS; without --ray, this host's processes do it",
    )
