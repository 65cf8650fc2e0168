"""``make demo``: the whole path in a few minutes, on a machine with nothing but a CPU.

First the oracle, an expert that sees the twin's true state, catches rolling objects although its
chunks arrive 200 ms late: that judges streaming, servo, wire and arm. Then a network takes the same
path: a synthetic checkpoint in the official format is exported, verified, and drives the twin. Its
weights are noise, so that it catches nothing; its action scale is set to 5 mm and 0.02 rad, so that
it moves sanely.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

RUN = ("dvla.runtime.cli.run", "--robot", "franka", "--sim", "--out", "runs")
RULE = "─" * 78


def step(title: str, *commands: tuple[str, ...]) -> None:
    """Announce a step and run its commands; a failure ends the demo with its exit code."""
    print(f"\n{RULE}\n{title}\n{RULE}", flush=True)
    for module, *arguments in commands:
        name = {"dvla.runtime.cli.run": "dvla-run", "dvla.export.cli": "dvla-export"}.get(
            module, f"python -m {module}"
        )
        print(f"$ {name} {' '.join(arguments)}\n", flush=True)
        done = subprocess.run([sys.executable, "-m", module, *arguments], check=False)
        if done.returncode:
            sys.exit(done.returncode)


def main() -> None:
    """Run the demo."""
    step(
        "1/3  The ORACLE (privileged: it sees the true state) catches rolling objects.\n"
        "     Every chunk arrives 200 ms late; streaming makes up for it.",
        (*RUN, "--policy", "oracle", "--inject-latency-ms", "200", "--duration", "25"),
    )
    with tempfile.TemporaryDirectory(prefix="dvla-demo-") as folder:
        checkpoint, bundle = Path(folder, "synthetic"), Path(folder, "synthetic.bundle")
        scale = ("--action-std-m", "0.005", "--action-std-rad", "0.02")
        step(
            "2/3  A SYNTHETIC checkpoint in the official format is exported and verified.\n"
            "     Its weights are noise; its actions have a scale of 5 mm and 0.02 rad.",
            ("dvla.export.synthetic", "--size", "tiny", "--out", str(checkpoint), *scale),
            ("dvla.export.cli", str(checkpoint), "-o", str(bundle), "--camera-size", "480x360"),
        )
        step(
            "3/3  The SYNTHETIC NETWORK drives the twin: cameras, engine, stream, servo, arm.\n"
            "     It has learned nothing and catches nothing; the path is what is shown.",
            (*RUN, "--bundle", str(bundle), "--duration", "10"),
        )
    print(f"\n{RULE}\nThe reports of both runs are in runs/*/report.html: open them in a browser.")


if __name__ == "__main__":
    main()
