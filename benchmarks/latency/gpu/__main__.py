"""``python -m dvla.benchmarks.latency.gpu``: measure a GPU host that has no network."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Literal

import tyro

from dvla.benchmarks.session import positive, say
from dvla.engines.cli_errors import run_main
from dvla.engines.errors import UsageError


def command(
    out: Path = Path("gpu.json"),
    synthetic: Literal["tiny", "full"] = "full",
    device: Literal["auto", "cuda", "cpu"] = "auto",
    subjects: tuple[str, ...] = (),
    rounds: int = 100,
    warm_up: int = 10,
    budget_s: float = 530.0,
    subject_limit_s: float = 170.0,
    work: Path | None = None,
) -> None:
    """Measure every way to run the model on this host, and write one JSON file.

    Weights are made here, so nothing is fetched. Each subject has a process and a time limit of its
    own; what is finished is on the disk when the time is up.

    Args:
        out: the report; it is written again after every subject.
        synthetic: size of the seeded weights.
        device: auto takes the GPU where torch has one; cpu hides it from every subject.
        subjects: only these, in this order; all when not given.
        rounds: inferences of each subject that count.
        warm_up: inferences before them.
        budget_s: of everything [s].
        subject_limit_s: of one subject [s].
        work: folder for weights and bundles, one per size, which is kept; a temporary one when not
            given.
    """
    from dvla.benchmarks.latency.gpu.run import Plan, run_plan, summary
    from dvla.benchmarks.latency.gpu.subjects import SUBJECTS
    from dvla.engines.torch_library import on_gpu

    positive("--rounds", rounds)
    positive("--warm-up", warm_up, 0)
    for name in subjects:
        if name not in SUBJECTS:
            raise UsageError("Unknown subject", got=repr(name), choices=SUBJECTS)
    if not out.absolute().parent.is_dir():
        raise UsageError(f"There is no folder for {out}", next_command=f"mkdir -p {out.parent}")
    found_device = ("cuda" if on_gpu() else "cpu") if device == "auto" else device
    words = [f"python -m dvla.benchmarks.latency.gpu --synthetic {synthetic}"]
    words += [f"--device {found_device} --rounds {rounds} --warm-up {warm_up}"]
    words += [f"--subjects {' '.join(subjects)}"] if subjects else []
    with tempfile.TemporaryDirectory(prefix="dvla-gpu-") as temporary:
        plan = Plan(
            size=synthetic,
            subjects=subjects or tuple(SUBJECTS),
            device=found_device,
            rounds=rounds,
            warm_up=warm_up,
            budget_s=budget_s,
            subject_limit_s=subject_limit_s,
            work=work or Path(temporary),
            command=" ".join(words),
        )
        report = run_plan(plan, out, say)
    print(f"{report.device}: {report.command}")
    for subject in report.subjects:
        ratio = report.times_as_fast.get(subject.name)
        print(f"  {subject.name}: {summary(subject)}" + (f"; {ratio:.2f} x" if ratio else ""))
    if report.activity is not None:
        print(report.activity.text)
    print(f"Written: {out}")


if __name__ == "__main__":
    sys.exit(run_main(lambda: tyro.cli(command, prog="python -m dvla.benchmarks.latency.gpu")))
