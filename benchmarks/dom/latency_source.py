"""Where an injected latency comes from: a number, a file of samples, or the policy timed here."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.benchmarks.dom.latency import Latency
from dvla.benchmarks.dom.result import CellConfig
from dvla.engines.errors import UsageError
from dvla.runtime.chunk import Chunk
from dvla.runtime.observation import Observation
from dvla.runtime.policy_api import ChunkPolicy, WrappedPolicy

MAX_MS = 10_000.0
MEASURED = "measured"
_WARM_UP, _SAMPLES = 3, 40
_MEASURE_SEED = 40_000
"""Of the validation episodes: nothing is measured on the tests' before the tests."""


class _Samples(msgspec.Struct, forbid_unknown_fields=True):
    """A file of latencies [ms]."""

    samples_ms: tuple[float, ...]
    source: str = ""


def parse_latency(text: str, spread: float, config: CellConfig) -> Latency:
    """Return the latency that a user asked for.

    Args:
        text: ``measured``, milliseconds, or a file: ``{"samples_ms": [...]}``, or a report of
            ``dvla-bench latency``, whose first subject's end-to-end durations are drawn from.
        spread: of the logarithm, for a number alone.
        config: whose policy is timed.

    Raises:
        UsageError: it is none of these, or out of bounds.
    """
    if text != MEASURED and not text.endswith(".json"):
        try:
            median_ms = float(text)
        except ValueError:
            raise UsageError(
                "--latency is not understood",
                got=repr(text),
                expected="milliseconds, 'measured', or a .json file of samples",
            ) from None
        if not 0.0 <= median_ms <= MAX_MS:
            raise UsageError(
                "--latency is out of bounds", got=text, expected=f"0 to {MAX_MS:.0f} ms"
            )
        if not 0.0 <= spread <= 2.0:
            raise UsageError("--latency-spread is out of bounds", got=spread, expected="0 to 2")
        return Latency(median_ms=median_ms, spread=spread)
    if spread:
        raise UsageError(
            f"--latency-spread has no meaning with --latency {text}, which spreads by itself",
            expected="--latency MS --latency-spread SPREAD",
        )
    if text == MEASURED:
        return _of_samples(measure(config), f"{MEASURED} on this machine")
    return _read(Path(text))


def _read(path: Path) -> Latency:
    """Return the latencies of a file."""
    from dvla.benchmarks.report.schema import END_TO_END, SCHEMA

    try:
        raw: Any = msgspec.json.decode(path.read_bytes())
        if isinstance(raw, dict) and raw.get("schema") == SCHEMA:
            from dvla.benchmarks.report.store import read_report

            measured = read_report(path).latency
            if measured is None or not measured.subjects:
                raise UsageError(
                    f"{path} has no inference latencies", expected="dvla-bench latency"
                )
            subject = measured.subjects[0]
            samples = tuple(1e3 * s for s in subject.timings[END_TO_END].samples_s)
            return _of_samples(samples, f"{subject.name}, {path.name}")
        found = msgspec.convert(raw, type=_Samples)
    except (OSError, msgspec.MsgspecError, KeyError) as error:
        raise UsageError(
            f"{path} holds no latencies",
            got=error.strerror if isinstance(error, OSError) else str(error),
            expected='{"samples_ms": [180.0, 212.5, ...]}, or a report of dvla-bench latency',
            next_command="dvla-bench latency BUNDLE --out latency.json",
        ) from error
    return _of_samples(found.samples_ms, found.source or path.name)


def _of_samples(samples_ms: tuple[float, ...], source: str) -> Latency:
    """Return a distribution, at most a thousand samples of it, spread over all."""
    values = np.sort(np.array(samples_ms, np.float64))
    if not len(values) or not np.isfinite(values).all() or values[0] < 0 or values[-1] > MAX_MS:
        raise UsageError(
            f"The latencies of {source} are out of bounds",
            got=f"{len(values)} samples"
            + (f", {values[0]} to {values[-1]}" if len(values) else ""),
            expected=f"at least one, each 0 to {MAX_MS:.0f} ms",
        )
    if len(values) > 1000:
        values = values[np.linspace(0, len(values) - 1, 1000).round().astype(int)]
    kept = tuple(round(float(value), 3) for value in values)
    return Latency(median_ms=round(float(np.median(values)), 3), samples_ms=kept, source=source)


class _Timed(WrappedPolicy):
    """A policy that notes how long each inference took [ms]."""

    def __init__(self, policy: ChunkPolicy) -> None:
        super().__init__(policy)
        self.took_ms: list[float] = []

    def predict(
        self,
        observation: Observation,
        noise: NDArray[np.float32] | None = None,
        seed: int | None = None,
    ) -> Chunk:
        """Return the policy's chunk."""
        started_s = time.perf_counter()
        chunk = super().predict(observation, noise, seed)
        self.took_ms.append(1e3 * (time.perf_counter() - started_s))
        return chunk


def measure(config: CellConfig, samples: int = _SAMPLES) -> tuple[float, ...]:
    """Time a policy's inferences [ms] on this machine, on the pictures of validation episodes."""
    from dvla.benchmarks.dom.episode import ClosedLoop
    from dvla.benchmarks.dom.worker import open_policy, world_of

    policy, render = open_policy(config)
    timed, world = _Timed(policy), world_of(config)
    alone = msgspec.structs.replace(config, latency=Latency(median_ms=0.0))
    seed = _MEASURE_SEED
    while len(timed.took_ms) < _WARM_UP + samples:
        loop = ClosedLoop(alone, timed, world, seed, render)
        try:
            loop.run(max_s=2.0)
        finally:
            loop.close()
        seed += 1
    return tuple(timed.took_ms[_WARM_UP : _WARM_UP + samples])
