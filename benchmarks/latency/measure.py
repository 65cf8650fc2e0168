"""The latency benchmark: engines and peers in alternation, their work, and their cold starts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from dvla.benchmarks.fixtures import Case, Subject, fixture_of, make_case
from dvla.benchmarks.latency.alternation import Runnable, alternate
from dvla.benchmarks.latency.cold_start import measure_cold_start
from dvla.benchmarks.report.schema import (
    END_TO_END,
    PARTS,
    ColdStart,
    Fixture,
    LatencyResult,
    SubjectResult,
    Timing,
    Work,
)
from dvla.benchmarks.report.statistics import Comparison, compare_samples
from dvla.engines.bundle import Bundle, read_bundle
from dvla.engines.errors import UsageError
from dvla.engines.integrity import sha256_file
from dvla.runtime.percentiles import percentiles
from dvla.runtime.policy import Policy

PEERS = ("eager",)


class LatencyOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What is run, and how often.

    Attributes:
        backends: engines of the bundle.
        peers: reference peers, of ``PEERS``.
        rounds / warm_up_rounds: each runs every subject once; the latter are not counted.
        cold_starts: fresh processes per backend.
        threads: of every subject.
    """

    backends: tuple[str, ...]
    peers: tuple[str, ...] = ()
    rounds: int = 30
    warm_up_rounds: int = 3
    cold_starts: int = 3
    threads: int = 1


class Measurable(Runnable, Protocol):
    """A subject of the latency benchmark."""

    is_peer: bool
    threads: int
    actions: NDArray[np.float32] | None

    @property
    def description(self) -> str:
        """Library, version, precision and settings."""

    @property
    def precision(self) -> str:
        """Of its weights."""

    def close(self) -> None:
        """Free what it holds."""


def measure_latency(
    subject: Subject, options: LatencyOptions, say: Callable[[str], None]
) -> tuple[Fixture, LatencyResult]:
    """Measure a bundle on its backends, beside the peers."""
    bundle = read_bundle(subject.bundle)
    facts = bundle.manifest.policy
    case = make_case(facts)
    fixture = msgspec.structs.replace(
        fixture_of(bundle, case, subject.name), num_steps=facts.num_steps
    )
    cold_starts = {
        backend: tuple(_cold_starts(subject.bundle, backend, fixture.tokens, options, say))
        for backend in options.backends
    }
    loaded: list[Measurable] = []
    try:
        loaded, work = _load(subject, bundle, case, options, say)
        say(f"alternating {', '.join(s.name for s in loaded)}: {options.rounds} rounds ...")
        found = alternate(loaded, options.rounds, options.warm_up_rounds, _every_tenth(say))
        results = tuple(
            subject_result(
                each,
                found.samples_s[each.name],
                work[each.name],
                facts.chunk_size,
                _reference_actions(loaded),
                cold_starts.get(each.name, ()),
            )
            for each in loaded
        )
    finally:
        for each in loaded:
            each.close()
    return fixture, LatencyResult(
        rounds=options.rounds,
        warm_up_rounds=options.warm_up_rounds,
        order=found.order,
        subjects=results,
        comparisons=tuple(compare_subjects(results)),
    )


def subject_result(
    subject: Measurable,
    samples_s: dict[str, tuple[float, ...]],
    work: dict[str, Work],
    chunk_size: int,
    reference: NDArray[np.float32] | None,
    cold_starts: tuple[ColdStart, ...],
) -> SubjectResult:
    """Put together what was found of one subject."""
    timings = {}
    for part in PARTS:
        spread_s = percentiles(samples_s.get(part, ()))
        if spread_s is not None:
            timings[part] = Timing(samples_s=samples_s[part], spread_s=spread_s)
    replan_hz = 1.0 / timings[END_TO_END].spread_s.p50
    return SubjectResult(
        name=subject.name,
        is_peer=subject.is_peer,
        description=subject.description,
        precision=subject.precision,
        threads=subject.threads,
        timings=timings,
        work=work,
        chunk_size=chunk_size,
        replan_hz=replan_hz,
        action_hz=chunk_size * replan_hz,
        action_error=action_error(subject.actions, reference),
        cold_starts=cold_starts,
    )


def action_error(
    actions: NDArray[np.float32] | None, reference: NDArray[np.float32] | None
) -> float | None:
    """Return max|a - b| / max|b|, or None where there is nothing to compare."""
    if actions is None or reference is None or actions is reference:
        return None
    return float(np.abs(actions - reference).max() / np.abs(reference).max())


def compare_subjects(results: Sequence[SubjectResult]) -> list[Comparison]:
    """Compare every engine with every peer; without a peer, the later engines with the first."""
    engines = [result for result in results if not result.is_peer]
    peers = [result for result in results if result.is_peer]
    if not peers:
        engines, peers = engines[1:], engines[:1]
    return [
        compare_samples(
            (ours.name, ours.timings[part].samples_s),
            (peer.name, peer.timings[part].samples_s),
            part,
            paired=True,
        )
        for ours in engines
        for peer in peers
        for part in PARTS
        if part in ours.timings and part in peer.timings
    ]


def check_peers(peers: Sequence[str], subject: Subject) -> None:
    """Raise a UsageError unless the peers exist and can be made of what is measured."""
    for peer in peers:
        if peer not in PEERS:
            raise UsageError("Unknown peer", got=repr(peer), choices=PEERS)
    if peers and subject.checkpoint is None:
        raise UsageError(
            "The eager peer needs the checkpoint that the bundle was made of",
            got="a bundle alone, which holds graphs and no model",
            next_command="add --checkpoint MODEL, or measure --synthetic full",
        )


def check_source(subject: Subject) -> None:
    """Raise a UsageError unless the bundle was made of the checkpoint.

    Raises:
        CheckpointError: there is none, or it cannot be read.
    """
    from dvla.export.checkpoint_io import read_raw

    assert subject.checkpoint is not None
    source = read_bundle(subject.bundle).manifest.source
    found = sha256_file(read_raw(subject.checkpoint).source)
    if found != source.sha256:
        raise UsageError(
            f"{subject.name} was not made of {subject.checkpoint}: the peer would compute "
            "something else",
            got=f"weights of sha256 {found[:16]}",
            expected=f"{source.name}, weights of sha256 {source.sha256[:16]}",
            next_command="name the checkpoint that the bundle was exported from, or export this one"
            f": dvla-export {subject.checkpoint} -o BUNDLE",
        )


def _load(
    subject: Subject,
    bundle: Bundle,
    case: Case,
    options: LatencyOptions,
    say: Callable[[str], None],
) -> tuple[list[Measurable], dict[str, dict[str, Work]]]:
    """Load all subjects; when one fails, none stays loaded."""
    from dvla.benchmarks.latency.engine import EngineSubject
    from dvla.benchmarks.latency.work import bundle_work, model_work

    loaded: list[Measurable] = []
    work: dict[str, dict[str, Work]] = {}
    try:
        for backend in options.backends:
            say(f"loading {backend} ...")
            policy = Policy.load(subject.bundle, backend, threads=options.threads)
            engine = EngineSubject(policy, backend, case, options.threads)
            loaded.append(engine)
            work[backend] = bundle_work(bundle, engine.precisions)
        if options.peers and subject.checkpoint is not None:
            from dvla.benchmarks.latency.eager import EagerSubject

            say("loading eager ...")
            steps = bundle.manifest.policy.num_steps
            eager = EagerSubject(subject.checkpoint, case, options.threads, steps)
            loaded.append(eager)
            work[eager.name] = model_work(eager.model, case)
    except BaseException:
        for each in loaded:
            each.close()
        raise
    return loaded, work


def _cold_starts(
    bundle: Path, backend: str, tokens: int, options: LatencyOptions, say: Callable[[str], None]
) -> list[ColdStart]:
    found = []
    for index in range(options.cold_starts):
        say(f"cold start {index + 1} of {options.cold_starts} on {backend} ...")
        found.append(measure_cold_start(bundle, backend, options.threads, tokens))
    return found


def _reference_actions(loaded: Sequence[Measurable]) -> NDArray[np.float32] | None:
    """Return the actions of the first peer, or of the first subject without one."""
    peers = [each for each in loaded if each.is_peer] or list(loaded)
    return peers[0].actions


def _every_tenth(say: Callable[[str], None]) -> Callable[[int], None]:
    def progress(done: int) -> None:
        if done % 10 == 0:
            say(f"  {done} rounds")

    return progress
