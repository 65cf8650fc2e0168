"""``dvla-view``: look at a run in rerun, recorded or while it goes on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import tyro

from dvla.engines.cli_errors import run_main


def view(
    run: Annotated[Path, tyro.conf.Positional],
    /,
    live: bool = False,
    save: Path | None = None,
    debug: bool = False,
) -> None:
    """Show cameras, arm, streams and ages of a run on one time line.

    Args:
        run: Run folder, such as runs/20260102T030405Z-franka-sim.
        live: Follow a run that is going on, until it ends; pictures need dvla-run --mcap or --viz.
        save: Write a .rrd file, to be opened with rerun FILE, instead of opening the viewer.
        debug: Show tracebacks.
    """
    del debug  # read from the command line where the errors are told
    from dvla.runtime.output_path import check_output
    from dvla.runtime.run_data import load_run
    from dvla.runtime.run_folder import RunFolder
    from dvla.runtime.viewer import Scene, import_rerun, show_run
    from dvla.runtime.viewer_live import follow
    from dvla.runtime.viewer_window import open_window

    folder = RunFolder(run)
    manifest = folder.read_manifest()
    if save is not None:
        check_output("--save", save)
    rr = import_rerun()
    recording = rr.RecordingStream("dvla", recording_id=run.resolve().name)
    if save is not None:
        recording.save(str(save))
    else:
        open_window(recording)
    scene = Scene(rr, recording, manifest.started_ns)
    if live:
        follow(folder, scene)
    else:
        show_run(load_run(run), scene)
    recording.flush()
    recording.disconnect()
    if save is not None:
        print(f"written: {save}; rerun {save} opens it")


def main() -> int:
    """Entry point of ``dvla-view``."""
    return run_main(lambda: tyro.cli(view, prog="dvla-view"))


if __name__ == "__main__":
    sys.exit(main())
