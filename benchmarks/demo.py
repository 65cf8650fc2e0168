"""``make demo``: a small network catches rolling balls on the digital twin; no PyTorch, no GPU.

First the nano policy, which sees the pictures of two cameras, the measured pose and the instruction
and nothing else. Then, for comparison, the oracle: an expert that sees the twin's true state and
whose chunks arrive 200 ms late, which judges streaming, servo, wire and arm rather than a network.
Both runs take the same seeds in order, whatever comes of them.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

SHIPPED = Path("policies", "nano.bundle")
BUNDLE = Path("bundles", "nano.bundle")
TASK = "pick up the ball"
RULE = "─" * 78


def step(title: str, module: str, *arguments: str) -> None:
    """Announce a command and do it; a failure ends the demo with its exit code."""
    name = {"dvla.runtime.cli.run": "dvla-run", "dvla.export.cli": "dvla-export"}[module]
    shown = " ".join(f'"{word}"' if " " in word else word for word in arguments)
    print(f"\n{RULE}\n{title}\n{RULE}\n$ {name} {shown}\n", flush=True)
    done = subprocess.run([sys.executable, "-m", module, *arguments], check=False)
    if done.returncode:
        sys.exit(done.returncode)


def run(title: str, *arguments: str) -> None:
    """Announce a run on the twin and do it."""
    common = ("--robot", "franka", "--sim", "--task", TASK, "--out", "runs")
    step(title, "dvla.runtime.cli.run", *common, *arguments)


def main() -> None:
    """Run the demo."""
    if not SHIPPED.is_dir():
        sys.exit(f"{SHIPPED} is not here: run the demo in the root of a checkout")
    shutil.copytree(SHIPPED, BUNDLE, dirs_exist_ok=True)
    step(
        "1/3  Is the engine on THIS machine the model that was trained? The actions decide.",
        *("dvla.export.cli", str(BUNDLE), "--verify"),
    )
    run(
        "2/3  The NANO policy: two cameras, the measured pose and an instruction in,\n"
        "     20 actions out; a network of 1.2 million parameters, trained on the twin.",
        *("--bundle", str(BUNDLE), "--duration", "25"),
    )
    run(
        "3/3  The ORACLE (privileged: it sees the true state), for comparison;\n"
        "     every chunk arrives 200 ms late, and streaming makes up for it.",
        *("--policy", "oracle", "--inject-latency-ms", "200", "--duration", "25"),
    )
    print(
        f"\n{RULE}\nThe reports of both runs, with their film, are in runs/*/report.html:\n"
        "open them in a browser. How the policy was trained, and what it misses:\n"
        "docs/nano.md. A checkpoint of your own: dvla-export --help."
    )


if __name__ == "__main__":
    main()
