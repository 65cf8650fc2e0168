"""``dvla-bench dom``: a campaign of episodes under the virtual clock, or two compared."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import tyro

from dvla.benchmarks.dom.schedules import SCHEDULES, ScheduleName, name_of
from dvla.benchmarks.session import Flag, positive, say
from dvla.engines.errors import DvlaError, UsageError
from dvla.runtime.config import GuideFade, SchedulerConfig, SeamMode
from dvla.runtime.twin.scenes.choice import TaskKind, TrainingFamily, parse_dimensions

if TYPE_CHECKING:
    from dvla.benchmarks.dom.campaign import CampaignReport

EXPERT, ORACLE = "expert", "oracle"


def dom(
    policy: str = ORACLE,
    robot: str = "franka",
    task: str = "",
    latency: Annotated[str, tyro.conf.arg(aliases=("--latency-ms",))] = "200",
    latency_spread: float = 0.0,
    schedule: ScheduleName | None = None,
    ci: bool = True,
    laas: bool = True,
    seam: SeamMode = "switch",
    guide: GuideFade = "published",
    noise_scale: float | None = None,
    dims: str = "",
    scenes: TrainingFamily | None = None,
    task_kind: TaskKind | None = None,
    trials: int = 100,
    first_seed: int = 20_000,
    workers: int = 2,
    ray: str | None = None,
    out: Path = Path("dom.json"),
    clips: int = 3,
    paired: tuple[Path, Path] | None = None,
    plain: Flag = False,
    json: Flag = False,
    debug: Flag = False,
) -> None:
    """Catch moving objects on the simulated arm, under a virtual clock with injected latency.

    The same seeds give the same report on any machine, over any number of processes.

    Args:
        policy: "oracle" (the expert's chunk from the true state), "expert" (the same, never late),
            the folder of a bundle, or a policy that an installed package offers: NAME or
            NAME:ARGUMENT.
        robot: Whose twin, and whose limits the gate enforces: franka or piper.
        task: Draw only the objects that it names, as in "pick up the red can".
        latency: Injected inference latency: milliseconds, "measured" (the policy is timed on this
            machine first), or a .json file with samples.
        latency_spread: Standard deviation of the logarithm of a latency in milliseconds.
        schedule: How chunks are scheduled, by name; it sets --ci, --laas, --seam and --guide.
        ci: Continuous inference.
        laas: Latency-aware action streaming.
        seam: How one chunk takes over from another; rtc guides a network by the previous chunk.
        guide: How the guide of --seam rtc fades: as published; aged, faster the older what it saw
            is.
        noise_scale: What the noise that a bundle's chunks are sampled from is multiplied with; the
            bundle's own when not given.
        dims: Dimensions of the benchmark, with commas between them, or "all": --trials of each
            one's frozen episodes (at most 200). --out is then the folder of their reports.
        scenes: Scenes as training draws them, no part of the benchmark: one object in varied
            surroundings ("training-one"), everything ("training"), that in more colours and
            forms ("training-wide"), or from the second of two objects on ("training-second").
        task_kind: What is done with the objects of a dimension, its own task by default, or of
            --scenes, picking by default.
        trials: Episodes.
        first_seed: Seed of the first episode; the others follow.
        workers: Processes.
        ray: Address of a Ray cluster that plays the episodes: HOST:PORT, auto, or local.
        out: The report (JSON); a page is written beside it. An interrupted run goes on from the
            episodes beside it.
        clips: Films of failures on the page, the first by seed.
        paired: Run nothing: compare two reports of the same seeds, episode by episode.
        plain: Lines instead of a progress bar.
        json: Print the report's summary (or the comparison) as JSON.
        debug: Show tracebacks.
    """
    from dvla.benchmarks.dom.campaign import Cell, partial_path, read_campaign, run_campaign
    from dvla.benchmarks.dom.dimensions import dimensions_table, run_dimensions
    from dvla.benchmarks.dom.paired import compare_paired, paired_text
    from dvla.benchmarks.dom.progress import shown
    from dvla.benchmarks.dom.table import campaign_table

    del debug  # read from the command line where the errors are told
    if paired is not None:
        compared = compare_paired(*(read_campaign(path) for path in paired))
        print(msgspec.json.encode(compared).decode() if json else paired_text(compared))
        return
    positive("--trials", trials)
    positive("--workers", workers, 1, 10_000)
    positive("--clips", clips, 0, 20)
    positive("--first-seed", first_seed, 0, 1e12)
    if policy == EXPERT and latency not in ("200", "0"):
        raise UsageError(
            "--policy expert is never late: that is what tells it from the oracle",
            got=f"--latency {latency}",
            next_command=f"dvla-bench dom --policy oracle --latency {latency}",
        )
    from dvla.benchmarks.dom.cell import cell_config

    asked = parse_dimensions(dims) if dims or (task_kind is not None and scenes is None) else ()
    out = _place(out, folder=bool(asked))
    if asked and (task or scenes or first_seed != 20_000):
        raise UsageError(
            "--dims has its own objects and its own frozen seeds",
            expected="none of --task, --scenes and --first-seed with --dims",
        )
    reports_of = [out / f"{name}.json" for name in asked]
    config = cell_config(
        policy=policy,
        robot=robot,
        task=task,
        latency="0" if policy == EXPERT else latency,
        spread=latency_spread,
        schedule=schedule,
        ci=ci,
        laas=laas,
        seam=seam,
        guide=guide,
        noise_scale=noise_scale,
        scenes=scenes,
        task_kind=task_kind,
        kept=[partial_path(path) for path in reports_of or [out]] + reports_of,
    )
    if asked:
        with shown(trials * len(asked), plain=plain, quiet=json) as progress:
            reports = run_dimensions(
                asked,
                config,
                out,
                task=task_kind,
                trials=trials,
                workers=workers,
                command=command_of,
                progress=progress,
                ray=ray,
            )
        for name, each in reports.items():
            _write_page(out / f"{name}.json", each, clips)
        if json:
            rates = {name: _summary(each) for name, each in reports.items()}
            print(msgspec.json.encode(rates).decode())
        else:
            print(dimensions_table(reports))
            print(f"reports: {out}")
        return
    cell = Cell(config=config, first_seed=first_seed, trials=trials)
    with shown(trials, plain=plain, quiet=json) as progress:
        report = run_campaign(
            cell, out, workers=workers, command=command_of(cell), progress=progress, ray=ray
        )
    page = _write_page(out, report, clips)
    if json:
        print(msgspec.json.encode(_summary(report)).decode())
    else:
        print(campaign_table(report))
        print(f"report: {out} and {page}")


def _place(out: Path, *, folder: bool) -> Path:
    """Return where the report, or the folder of reports, goes.

    Raises:
        UsageError: it cannot go there.
    """
    if folder:
        found = out.with_suffix("") if out.suffix == ".json" else out
        if found.exists() and not found.is_dir():
            raise UsageError(
                "--out is the folder of the dimensions' reports", got=f"{found}, a file"
            )
        return found
    if out.suffix != ".json" or out.is_dir():
        raise UsageError(
            "--out is the report, and its page lies beside it",
            got=f"{out}, a folder" if out.is_dir() else str(out),
            expected="a file that ends in .json",
            next_command=f"--out {out.with_suffix('.json')}",
        )
    return out


def _summary(report: CampaignReport) -> dict[str, object]:
    """Return a report without its episodes."""
    summary: dict[str, object] = msgspec.to_builtins(report)
    del summary["episodes"]
    return summary


def _write_page(out: Path, report: object, clips: int) -> Path:
    """Film the first failures and write the page; a host that cannot film gets it without."""
    from dvla.benchmarks.dom.campaign import CampaignReport
    from dvla.benchmarks.dom.clips import Clip, ClipMaker
    from dvla.benchmarks.dom.page import campaign_page, page_path
    from dvla.benchmarks.pool.local import run_seeds
    from dvla.benchmarks.pool.work import Work
    from dvla.benchmarks.report.store import write_whole

    assert isinstance(report, CampaignReport)
    failed = [e.seed for e in report.episodes if not e.success]
    note = "" if failed else "Every episode succeeded."
    films: dict[int, Clip] = {}
    if failed[:clips]:
        say(f"filming the first {len(failed[:clips])} of {len(failed)} failures")

        def take(seed: int, encoded: bytes) -> None:
            films[seed] = msgspec.json.decode(encoded, type=Clip)

        try:
            work = Work.of(ClipMaker, report.cell.config)
            run_seeds(work, failed[:clips], 1, take)
        except DvlaError as error:
            note = f"Not all films could be made: {error}"
        else:
            note = f"The first {len(films)} of {len(failed)} by seed, not by what they show."
    page = page_path(out)
    content = campaign_page(report, [films[seed] for seed in sorted(films)], note)
    write_whole(page, content.encode())
    return page


def command_of(cell: object) -> str:
    """Return the command that makes the same report again, without paths of this machine."""
    from dvla.benchmarks.dom.campaign import Cell

    assert isinstance(cell, Cell)
    config = cell.config
    name = config.policy if ":" in config.policy else Path(config.policy).name
    parts = [f"dvla-bench dom --policy {name} --robot {config.robot}"]
    if config.task:
        parts.append(f'--task "{config.task}"')
    if config.dimension:
        parts.append(f"--dims {config.dimension} --task-kind {config.task_kind}")
    if config.scenes:
        parts.append(f"--scenes {config.scenes} --task-kind {config.task_kind}")
    latency = config.latency
    if latency.samples_ms:
        measured = latency.source.startswith("measured")
        parts.append("--latency measured" if measured else "--latency latency.json")
    elif config.policy != EXPERT:
        parts.append(f"--latency {latency.median_ms:g}")
    if latency.spread:
        parts.append(f"--latency-spread {latency.spread:g}")
    known = name_of(config.scheduler)
    if config.scheduler == SchedulerConfig():
        pass
    elif known in SCHEDULES:
        parts.append(f"--schedule {known}")
    else:
        parts.append("--ci" if config.scheduler.ci else "--no-ci")
        parts.append("--laas" if config.scheduler.laas else "--no-laas")
        parts.append(f"--seam {config.scheduler.seam}")
        if config.scheduler.guide != "published":
            parts.append(f"--guide {config.scheduler.guide}")
    if config.noise_scale is not None:
        parts.append(f"--noise-scale {config.noise_scale:g}")
    parts.append(f"--trials {cell.trials}")
    if not config.dimension:
        parts.append(f"--first-seed {cell.first_seed}")
    return " ".join(parts)
