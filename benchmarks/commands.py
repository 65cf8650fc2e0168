"""The measuring commands of ``dvla-bench``, one function each; flags come from their types."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import msgspec
import tyro

from dvla.benchmarks.report.schema import BenchReport
from dvla.benchmarks.session import (
    Session,
    deliver,
    deliver_files,
    positive,
    say,
    threads_of,
    write_page,
)
from dvla.engines.errors import UsageError

if TYPE_CHECKING:
    from dvla.benchmarks.fixtures import Subject
    from dvla.benchmarks.latency.measure import LatencyOptions

Size = Literal["tiny", "full"]
Flag = tyro.conf.FlagCreatePairsOff[bool]
Name = TypeVar("Name", int, str)


def latency(
    bundle: Annotated[Path | None, tyro.conf.Positional] = None,
    synthetic: Size | None = None,
    backend: tuple[str, ...] = ("onnxruntime",),
    peer: tuple[str, ...] = (),
    checkpoint: Path | None = None,
    rounds: int = 30,
    warm_up: int = 3,
    cold_starts: int = 3,
    threads: int | None = None,
    out: Path | None = None,
    json: Flag = False,
    debug: Flag = False,
) -> None:
    """Measure inference at batch 1: per part, end to end, cold start and memory.

    All subjects run in alternation in one process, so that they share whatever slows the machine.

    Args:
        bundle: folder of a bundle.
        synthetic: measure seeded weights instead: tiny (1.2 M parameters) or full (430 M).
        backend: engines, one or more.
        peer: reference peers: eager, the fp32 torch model.
        checkpoint: that the bundle was made of, for the eager peer.
        rounds: each runs every subject once.
        warm_up: rounds before those, which are not counted.
        cold_starts: fresh processes per backend; 0 for none.
        threads: of every subject; all cores when not given.
        out: the report (JSON); a page is written beside it.
        json: print the report as JSON.
        debug: show tracebacks.
    """
    from dvla.benchmarks.latency.measure import LatencyOptions

    del debug
    positive("--rounds", rounds)
    positive("--warm-up", warm_up, 0)
    positive("--cold-starts", cold_starts, 0, 100)
    options = LatencyOptions(
        backends=_distinct("--backend", backend),
        peers=_distinct("--peer", peer),
        rounds=rounds,
        warm_up_rounds=warm_up,
        cold_starts=cold_starts,
        threads=threads_of(threads),
    )
    deliver(_run_latency(bundle, synthetic, checkpoint, options), out, json)


def servo(
    bundle: Annotated[Path | None, tyro.conf.Positional] = None,
    synthetic: Size | None = None,
    backend: str = "onnxruntime",
    rate_hz: tuple[int, ...] = (250, 1000),
    load: tuple[Literal["idle", "engine"], ...] = ("idle", "engine"),
    segments: int = 10,
    segment_s: float = 1.0,
    threads: int | None = None,
    out: Path | None = None,
    json: Flag = False,
    debug: Flag = False,
) -> None:
    """Measure jitter and overruns of the servo loop, beside a bare loop in C.

    Both loops run in alternation, with the same priority where the kernel grants one.

    Args:
        bundle: whose engine makes the load; the tiny synthetic one when neither is given.
        synthetic: the load's engine runs seeded weights: tiny or full.
        backend: of the load's engine.
        rate_hz: rates, 60 to 1000 Hz.
        load: idle, or engine: inference without pause on all cores.
        segments: of each loop at each rate under each load.
        segment_s: duration of a segment [s].
        threads: of the load's engine; all cores when not given.
        out: the report (JSON); a page is written beside it.
        json: print the report as JSON.
        debug: show tracebacks.
    """
    from dvla.benchmarks.fixtures import find_subject
    from dvla.benchmarks.servo.bare_loop import find_compiler
    from dvla.benchmarks.servo.load import LoadJob
    from dvla.benchmarks.servo.measure import ServoOptions, measure_servo

    del debug
    for rate in rate_hz:
        positive("--rate-hz", rate, 60, 1000)
    positive("--segments", segments)
    positive("--segment-s", segment_s, 0.1, 600)
    cores = threads_of(threads)
    find_compiler()
    size = synthetic or (None if bundle else "tiny")
    parts = ["dvla-bench servo", bundle.name if bundle else f"--synthetic {size}"]
    parts += [f"--backend {backend} --rate-hz {' '.join(map(str, rate_hz))}"]
    parts += [f"--load {' '.join(load)} --segments {segments} --segment-s {segment_s:g}"]
    session = Session(" ".join([*parts, f"--threads {cores}"]))
    engine = None
    if "engine" in load:
        subject = find_subject(bundle, size, (backend,), say)
        engine = LoadJob(bundle=str(subject.bundle), backend=backend, threads=cores)
    options = ServoOptions(
        rates_hz=_distinct("--rate-hz", rate_hz),
        loads=_distinct("--load", load),
        segments=segments,
        segment_s=segment_s,
        engine=engine,
    )
    session.restart_meter()
    found = measure_servo(options, say)
    deliver(session.finish(lambda head: msgspec.structs.replace(head, servo=found)), out, json)


def stream(
    rounds: int = 50,
    batch: int = 200,
    out: Path | None = None,
    json: Flag = False,
    debug: Flag = False,
) -> None:
    """Measure what publishing and sampling cost, beside a lock + deque and a Manager's queue.

    Args:
        rounds: one batch of every channel each.
        batch: calls per batch.
        out: the report (JSON); a page is written beside it.
        json: print the report as JSON.
        debug: show tracebacks.
    """
    from dvla.benchmarks.stream.measure import measure_stream

    del debug
    positive("--rounds", rounds)
    positive("--batch", batch)
    session = Session(f"dvla-bench stream --rounds {rounds} --batch {batch}")
    found = measure_stream(rounds, batch, say)
    deliver(session.finish(lambda head: msgspec.structs.replace(head, stream=found)), out, json)


def compare(
    a: Annotated[str, tyro.conf.Positional],
    b: Annotated[str, tyro.conf.Positional],
    bundle: Path | None = None,
    synthetic: Size | None = None,
    checkpoint: Path | None = None,
    rounds: int = 30,
    warm_up: int = 3,
    threads: int | None = None,
    out: Path | None = None,
    json: Flag = False,
    debug: Flag = False,
) -> None:
    """Compare two reports, or two backends paired in alternation, and say what noise allows.

    ``compare a.json b.json`` reads two reports. ``compare onnxruntime eager --synthetic tiny`` runs
    both subjects in alternation. A speed-up is that of B over A, with a 95 % interval; where the
    interval holds 1, no difference is shown.

    Args:
        a: a report (JSON), or a backend or peer.
        b: the other one.
        bundle: that both subjects run.
        synthetic: run seeded weights instead: tiny or full.
        checkpoint: that the bundle was made of, for the eager peer.
        rounds: each runs both subjects once.
        warm_up: rounds before those, which are not counted.
        threads: of both subjects; all cores when not given.
        out: the report (JSON) of the alternation.
        json: print the comparison as JSON.
        debug: show tracebacks.
    """
    from dvla.benchmarks.compare import compare_reports, compare_subjects_of, comparison_lines
    from dvla.benchmarks.latency.measure import PEERS, LatencyOptions
    from dvla.benchmarks.report.store import read_report

    del debug
    files = [_names_a_file(name) for name in (a, b)]
    if all(files):
        names = _report_names(Path(a), Path(b))
        found = compare_reports((names[0], read_report(Path(a))), (names[1], read_report(Path(b))))
    elif any(files):
        raise UsageError(
            "A report can be compared with a report, and a backend with a backend",
            got=f"{a} and {b}",
        )
    else:
        _distinct("compare", (a, b))
        positive("--rounds", rounds)
        positive("--warm-up", warm_up, 0)
        options = LatencyOptions(
            backends=tuple(name for name in (a, b) if name not in PEERS),
            peers=tuple(name for name in (a, b) if name in PEERS),
            rounds=rounds,
            warm_up_rounds=warm_up,
            cold_starts=0,
            threads=threads_of(threads),
        )
        report = _run_latency(bundle, synthetic, checkpoint, options)
        if out is not None:
            deliver_files(report, out)
        found = compare_subjects_of(report, a, b)
    if json:
        print(msgspec.json.encode(found).decode())
    else:
        print("\n".join(comparison_lines(found)))


def report(
    files: Annotated[tuple[Path, ...], tyro.conf.Positional],
    out: Annotated[Path | None, tyro.conf.arg(aliases=["-o"])] = None,
    debug: Flag = False,
) -> None:
    """Make one self-contained page (HTML) of one report or several.

    Args:
        files: reports (JSON) that dvla-bench wrote.
        out: the page; beside the first report when not given.
        debug: show tracebacks.
    """
    from dvla.benchmarks.report.store import read_report

    del debug
    if not files:
        raise UsageError("No report is given", next_command="dvla-bench report FILE.json")
    target = out or files[0].with_suffix(".html")
    if target.suffix == ".json":
        raise UsageError("The page would replace a report", got=f"-o {target}", expected="*.html")
    write_page(target, *[read_report(path) for path in files])
    print(target)


def everything(
    bundle: Annotated[Path | None, tyro.conf.Positional] = None,
    synthetic: Size | None = None,
    backend: tuple[str, ...] = ("onnxruntime",),
    peer: tuple[str, ...] = (),
    checkpoint: Path | None = None,
    rounds: int = 20,
    segments: int = 10,
    segment_s: float = 1.0,
    threads: int | None = None,
    out: Path = Path("bench.json"),
    json: Flag = False,
    debug: Flag = False,
) -> None:
    """Run latency, servo and stream, and write one report and one page.

    Args:
        bundle: folder of a bundle.
        synthetic: measure seeded weights instead: tiny or full.
        backend: engines, one or more; the first one makes the servo's load.
        peer: reference peers: eager.
        checkpoint: that the bundle was made of, for the eager peer.
        rounds: of the latency benchmark.
        segments: of the servo benchmark.
        segment_s: duration of a segment [s].
        threads: of every subject; all cores when not given.
        out: the report (JSON); a page is written beside it.
        json: print the report as JSON.
        debug: show tracebacks.
    """
    from dvla.benchmarks.latency.measure import LatencyOptions
    from dvla.benchmarks.servo.bare_loop import find_compiler
    from dvla.benchmarks.servo.load import LoadJob
    from dvla.benchmarks.servo.measure import LOADS, ServoOptions, measure_servo
    from dvla.benchmarks.stream.measure import measure_stream

    del debug
    positive("--rounds", rounds)
    positive("--segments", segments)
    positive("--segment-s", segment_s, 0.1, 600)
    find_compiler()
    options = LatencyOptions(
        backends=_distinct("--backend", backend),
        peers=_distinct("--peer", peer),
        rounds=rounds,
        threads=threads_of(threads),
    )
    command = _latency_command(bundle, synthetic, options).replace("latency", "all", 1)
    command = command.split(" --warm-up")[0] + f" --segments {segments} --segment-s {segment_s:g}"
    session = Session(f"{command} --threads {options.threads}")
    subject = _prepared(bundle, synthetic, checkpoint, options)
    session.restart_meter()
    measured = _measured_latency(subject, options)
    engine = LoadJob(
        bundle=str(subject.bundle), backend=options.backends[0], threads=options.threads
    )
    loops = measure_servo(
        ServoOptions(
            rates_hz=(250, 1000), loads=LOADS, segments=segments, segment_s=segment_s, engine=engine
        ),
        say,
    )
    channels = measure_stream(50, 200, say)
    found = session.finish(
        lambda head: msgspec.structs.replace(measured(head), servo=loops, stream=channels)
    )
    deliver(found, out, json)


def _run_latency(
    bundle: Path | None,
    synthetic: str | None,
    checkpoint: Path | None,
    options: LatencyOptions,
) -> BenchReport:
    """Measure latency and return the report."""
    session = Session(_latency_command(bundle, synthetic, options))
    subject = _prepared(bundle, synthetic, checkpoint, options)
    session.restart_meter()
    return session.finish(_measured_latency(subject, options))


def _prepared(
    bundle: Path | None,
    synthetic: str | None,
    checkpoint: Path | None,
    options: LatencyOptions,
) -> Subject:
    """Return what is measured; everything that the user can have got wrong is found here."""
    from dvla.benchmarks.fixtures import find_subject
    from dvla.benchmarks.latency.measure import check_peers

    subject = find_subject(bundle, synthetic, options.backends, say)
    if checkpoint is not None:
        subject = msgspec.structs.replace(subject, checkpoint=checkpoint)
    check_peers(options.peers, subject)
    return subject


def _measured_latency(
    subject: Subject, options: LatencyOptions
) -> Callable[[BenchReport], BenchReport]:
    """Probe the device, measure, and return what adds the results to a report."""
    from dvla.benchmarks.latency.measure import measure_latency
    from dvla.benchmarks.report.device import probe_device

    device = probe_device(options.threads)
    fixture, found = measure_latency(subject, options, say)
    return lambda head: msgspec.structs.replace(head, fixture=fixture, device=device, latency=found)


def _names_a_file(name: str) -> bool:
    return name.endswith(".json") or "/" in name or Path(name).exists()


def _report_names(a: Path, b: Path) -> tuple[str, str]:
    """Return names that tell two reports apart, as short as possible."""
    return (a.stem, b.stem) if a.stem != b.stem else (str(a), str(b))


def _latency_command(bundle: Path | None, synthetic: str | None, options: LatencyOptions) -> str:
    """Return the command that measures the same again, without paths of this machine."""
    what = f"--synthetic {synthetic}" if bundle is None else bundle.name
    parts = [f"dvla-bench latency {what} --backend {' '.join(options.backends)}"]
    if options.peers:
        parts.append(f"--peer {' '.join(options.peers)}")
    parts.append(f"--rounds {options.rounds} --warm-up {options.warm_up_rounds}")
    parts.append(f"--cold-starts {options.cold_starts} --threads {options.threads}")
    return " ".join(parts)


def _distinct(flag: str, names: tuple[Name, ...]) -> tuple[Name, ...]:
    """Return the names; raise a UsageError when one is given twice."""
    if len(set(names)) != len(names):
        raise UsageError(f"{flag} names something twice", got=" ".join(map(str, names)))
    return names
