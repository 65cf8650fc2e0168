"""Synthetic weights and their bundle, made where they are measured.

python -m dvla.benchmarks.latency.gpu.prepare SIZE FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec


def main() -> int:
    """Make what is not there yet."""
    from dvla.engines.bundle import MANIFEST_NAME
    from dvla.export.build import ExportOptions, export_bundle
    from dvla.export.progress import Progress
    from dvla.export.synthetic import Size, synthetic_checkpoint

    size, folder = msgspec.convert(sys.argv[1], Size), Path(sys.argv[2])
    if not (folder / "bundle" / MANIFEST_NAME).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        synthetic_checkpoint(size, folder / "checkpoint")
        options = ExportOptions(overwrite=True)
        export_bundle(folder / "checkpoint", folder / "bundle", options, Progress())
    return 0


if __name__ == "__main__":
    from dvla.engines.cli_errors import run_main

    sys.exit(run_main(main))
