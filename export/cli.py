"""``dvla-export``: a checkpoint becomes a verified bundle; a bundle is verified on this machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
import tyro

from dvla.engines.bundle import MANIFEST_NAME
from dvla.engines.cache import FP32
from dvla.engines.cli_errors import run_main
from dvla.engines.errors import UsageError
from dvla.engines.registry import check_backend_name
from dvla.export.progress import Progress, folder_bytes, size_text

if TYPE_CHECKING:
    from dvla.engines.manifest import StepsCost, Verification
    from dvla.export.build import ExportReport

Flag = tyro.conf.FlagCreatePairsOff[bool]
TRAINED_NOISE_SCALE = 1.0
EXPORT_AGAIN = "dvla-export MODEL -o {bundle} --overwrite"
_OF_EVERY_EXPORT = ("-o", "--overwrite")


def command(
    model: Annotated[Path, tyro.conf.Positional],
    output: Annotated[Path | None, tyro.conf.arg(aliases=["-o"], metavar="BUNDLE")] = None,
    backend: str = "onnxruntime",
    precision: str | None = None,
    tokenizer: Path | None = None,
    camera_size: str | None = None,
    observations: Path | None = None,
    calibration: Path | None = None,
    steps: int | None = None,
    noise_scale: float = TRAINED_NOISE_SCALE,
    overwrite: Flag = False,
    verify: Flag = False,
    json: Flag = False,
    plain: Flag = False,
    debug: Flag = False,
) -> None:
    """Export a checkpoint to a verified bundle, or verify a bundle on this machine.

    ``dvla-export MODEL`` writes the graphs, runs them, and compares their actions with those of the
    fp32 torch model. Only a bundle that passes is written. ``dvla-export BUNDLE --verify`` repeats
    the comparison on this machine, without torch; do it wherever a bundle is copied to.

    Exit codes: 0 done, 1 the actions differ, 2 wrong input, 3 something is not installed.

    Args:
        model: a checkpoint (folder, .safetensors or .pt), or with --verify a bundle.
        output: folder of the new bundle; MODEL's name with .bundle, here, when not given.
        backend: engine to verify on.
        precision: of the engine: fp32 (the default), bf16 where backend and processor have it, or
            auto: try both, graph by graph, and keep the fastest whose actions pass the gate. With
            --verify: the bundle's own when not given.
        tokenizer: tokenizer.json, or a folder with one, when it is not beside the checkpoint nor in
            the Hugging Face cache.
        camera_size: WIDTHxHEIGHT of the frames in pixels; the checkpoint's own when not given.
        observations: .npz of recorded observations to compare on; synthetic ones when not given.
        calibration: folder to take recorded observations from: a LeRobot dataset (v2.1 or v3.0), or
            a run folder of dvla-run.
        steps: Euler steps of the denoising; the checkpoint's own number when not given. Fewer are
            faster; what that costs in accuracy is measured and reported.
        noise_scale: what the noise that chunks are sampled from is multiplied with when the bundle
            is run, unless the run says otherwise. Less makes successive chunks more alike.
        overwrite: replace the bundle when it exists.
        verify: of a bundle: verify it here. Of a checkpoint: after the export, verify the finished
            bundle once more from the disk, as a robot will load it.
        json: print the result as JSON on standard output.
        plain: print no colours and no frames; NO_COLOR does the same.
        debug: print a traceback with an error.
    """
    # Imported here, because it brings torch, which --help must not wait for.
    from dvla.export.build import ExportOptions, export_bundle, verify_bundle

    del debug  # Read by run_main, before arguments are parsed.
    check_backend_name(backend)
    if calibration is not None and observations is not None:
        raise UsageError("--calibration and --observations both say what to compare on; give one")
    progress = Progress(lambda line: print(line, file=sys.stderr, flush=True))
    if (model / MANIFEST_NAME).is_file():
        if not verify:
            raise UsageError(
                f"{model} is a bundle already", next_command=f"dvla-export {model} --verify"
            )
        refuse_export_flags(
            output or model,
            {
                "-o": output,
                "--overwrite": overwrite or None,
                "--tokenizer": tokenizer,
                "--camera-size": camera_size,
                "--observations": observations,
                "--calibration": calibration,
                "--steps": steps,
                "--noise-scale": None if noise_scale == TRAINED_NOISE_SCALE else noise_scale,
            },
        )
        report = verify_bundle(model, backend, progress, precision)
    else:
        options = ExportOptions(
            backend=backend,
            precision=precision or FP32,
            tokenizer=tokenizer,
            camera_size=camera_size,
            observations=observations,
            calibration=calibration,
            overwrite=overwrite,
            steps=steps,
            noise_scale=noise_scale,
        )
        target = output or Path(f"{model.resolve().name}.bundle")
        report = export_bundle(model, target, options, progress)
        if verify:
            again = verify_bundle(target, backend, progress)
            report = msgspec.structs.replace(report, verification=again.verification)
    if json:
        print_json(report, progress)
    elif plain or "NO_COLOR" in os.environ or not sys.stdout.isatty():
        print_plain(report)
    else:
        print_table(report)


def refuse_export_flags(bundle: Path, flags: Mapping[str, object]) -> None:
    """Raise a UsageError where a verification was given what only an export can do.

    Args:
        bundle: where an export would write to.
        flags: those of an export, with their values; None where one was not given.
    """
    given = {flag: value for flag, value in flags.items() if value is not None}
    if not given:
        return
    again = (f"{flag} {value}" for flag, value in given.items() if flag not in _OF_EVERY_EXPORT)
    raise UsageError(
        f"{', '.join(given)} {'has' if len(given) == 1 else 'have'} no meaning when a bundle is "
        "verified: its graphs, its observations and the model's actions for them are those of its "
        "export",
        next_command=" ".join((EXPORT_AGAIN.format(bundle=bundle), *again)),
    )


def print_json(report: ExportReport, progress: Progress) -> None:
    """Print the report and the stages as one JSON document."""
    document = {
        **msgspec.to_builtins(report, enc_hook=str),
        "size_bytes": folder_bytes(report.bundle),
        "stages": msgspec.to_builtins(progress.stages),
    }
    print(msgspec.json.format(msgspec.json.encode(document), indent=2).decode())


def column_rows(report: ExportReport) -> list[tuple[str, str, str, str]]:
    """Return name, units, largest and 99th-percentile error of every action column."""
    if report.verification is None:
        return []
    return [
        (column.name, column.units, f"{column.max_error:.2e}", f"{column.p99_error:.2e}")
        for column in report.verification.columns
    ]


def precision_text(precision: dict[str, str]) -> str:
    """Return the precision of an engine for people: ``prefix bf16, denoise fp32``."""
    return ", ".join(f"{graph} {name}" for graph, name in precision.items())


def limit_text(found: Verification) -> str:
    """Return what a verification was asked to meet."""
    if found.gate == "fp32":
        return f"limit {found.limit:g}"
    if found.frames == "recorded":
        return "within the limits of an arm in position, rotation and gripper"
    return f"p99 within {found.limit:.0%} of every column's standard deviation"


def summary_lines(report: ExportReport) -> list[str]:
    """Return the verdict for people, line by line."""
    found = report.verification
    if found is None:
        return not_run_lines(report)
    lines = [
        f"Compared {found.cases} {found.frames} observations on {report.backend} "
        f"({precision_text(report.precision)}): relative error {found.relative_error:.1e}, in the "
        f"network's units {found.normalised_error:.1e}; {limit_text(found)}.",
    ]
    lines += [
        f"Tried {precision_text(record.key.precision)}: {record.status}, "
        f"{record.verification.latency_s:.3f} s"
        + "".join(f"; {finding}" for finding in record.verification.findings)
        for record in report.tried
        if record.verification is not None and len(report.tried) > 1
    ]
    if found.frames == "synthetic":
        command = f"{EXPORT_AGAIN.format(bundle=report.bundle)} --calibration DIR"
        lines.append(f"The frames were synthetic; to compare on recorded ones: {command}")
    elif found.origin:
        lines.append(f"Recorded in: {found.origin}.")
    speed = f"One inference takes {found.latency_s:.3f} s"
    if report.eager_s is not None:
        speed += f" ({report.eager_s / found.latency_s:.2f} x as fast as torch)"
    if report.steps_cost is not None:
        lines.append(steps_line(report.steps_cost))
    size = size_text(folder_bytes(report.bundle))
    lines += [f"{speed}.", f"Verified: {report.bundle} ({size})"]
    return lines


def not_run_lines(report: ExportReport) -> list[str]:
    """Return, for people, that an engine was compiled on a machine that cannot run it."""
    size = size_text(folder_bytes(report.bundle))
    return [
        f"Engine {report.backend} ({precision_text(report.precision)}): compiled, not run. Its "
        f"actions were compared with nothing, and no robot runs it before they were.",
        f"Next, on the device: dvla-export {report.bundle.name} --verify --backend "
        f"{report.backend}",
        f"Written: {report.bundle} ({size})",
    ]


def steps_line(cost: StepsCost) -> str:
    """Return what another number of Euler steps costs, column by column."""
    columns = ", ".join(
        f"{column.name} {column.max_error:.2g}{'' if column.units == '-' else ' ' + column.units}"
        for column in cost.columns
    )
    return (
        f"{cost.num_steps} steps instead of the checkpoint's {cost.checkpoint_steps} change the "
        f"actions by up to: {columns}."
    )


def print_plain(report: ExportReport) -> None:
    """Print the verification as lines of text."""
    rows = column_rows(report)
    for row in (("column", "units", "max error", "p99 error"), *rows) if rows else ():
        print(f"{row[0]:<8} {row[1]:<5} {row[2]:>10} {row[3]:>10}")
    print("\n".join(summary_lines(report)))


def print_table(report: ExportReport) -> None:
    """Print the verification as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Actions of {report.backend} against torch fp32")
    for heading in ("column", "units", "max error", "p99 error"):
        table.add_column(heading, justify="right" if "error" in heading else "left")
    for row in column_rows(report):
        table.add_row(*row)
    console = Console()
    if report.verification is not None:
        console.print(table)
    for line in summary_lines(report):
        console.print(line, highlight=False)


def main() -> None:
    """Run the command line."""
    # Threads that spin at every barrier make torch ten times slower where another program runs.
    # OpenMP reads this when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(run_main(lambda: tyro.cli(command, prog="dvla-export")))


if __name__ == "__main__":
    main()
