"""Off-screen OpenGL for the twin: EGL or OSMesa, whichever works here.

MuJoCo binds its OpenGL loader to one platform when a context class is first imported, and a failed
attempt cannot be undone within a process. So the choice is tried in a child first.
"""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from typing import Any, Protocol

from dvla.engines.errors import MissingDependency
from dvla.runtime.twin.dependencies import import_mujoco

PLATFORMS = ("egl", "osmesa")
_PROBE_TIMEOUT_S = 120.0
"""A starved host took 31 s for 0.7 s of work; only a driver that hangs for good takes longer."""
_PROBE = """
import importlib, sys
context = importlib.import_module(f"mujoco.{sys.argv[1]}").GLContext(16, 16)
context.make_current()
import mujoco
mujoco.MjrContext(mujoco.MjModel.from_xml_string("<mujoco/>"), 100)
"""


class GlContext(Protocol):
    """An OpenGL context of MuJoCo."""

    def make_current(self) -> None:
        """Make it the context of the calling thread."""

    def free(self) -> None:
        """Let go of it."""


def open_gl(width: int, height: int) -> tuple[str, GlContext]:
    """Open an off-screen OpenGL context on the first platform that works.

    ``MUJOCO_GL`` (egl or osmesa), where it is set, is the only platform tried.

    Args:
        width: of the buffer [px].
        height: of the buffer [px].

    Returns:
        The platform's name and the context.

    Raises:
        MissingDependency: when none works, with what to install.
    """
    import_mujoco()
    # A software renderer spreads over all cores unless told otherwise, next to a 250 Hz loop.
    os.environ.setdefault("LP_NUM_THREADS", "1")
    platform = _working_platform(os.environ.get("MUJOCO_GL", "").strip().lower())
    os.environ["PYOPENGL_PLATFORM"] = platform
    module: Any = __import__(f"mujoco.{platform}", fromlist=["GLContext"])
    context: GlContext = module.GLContext(width, height)
    return platform, context


@functools.cache
def _working_platform(wanted: str) -> str:
    """Return the first platform on which a child process gets a context."""
    candidates = (wanted,) if wanted else PLATFORMS
    reasons: list[str] = []
    for platform in candidates:
        if platform not in PLATFORMS:
            reasons.append(f"MUJOCO_GL={platform} does not render off-screen")
            continue
        reason = _probe(platform)
        if not reason:
            return platform
        reasons.append(f"{platform}: {reason}")
    raise MissingDependency(
        "No off-screen OpenGL works here, so the simulated cameras cannot render",
        got="; ".join(reasons),
        expected="one of the valid values of MUJOCO_GL, or none to choose automatically",
        choices=PLATFORMS,
        next_command="apt-get install libegl1 libegl-mesa0 libgl1 (EGL), or libosmesa6 libgl1",
    )


def _probe(platform: str) -> str:
    """Try a platform in a child; return nothing, or the last line of what it said."""
    environment = {**os.environ, "MUJOCO_GL": platform, "PYOPENGL_PLATFORM": platform}
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, platform],
            env=environment,
            capture_output=True,
            text=True,
            timeout=_PROBE_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_PROBE_TIMEOUT_S:.0f} s"
    if done.returncode == 0:
        return ""
    errors = [line for line in done.stderr.splitlines() if line and not line.startswith(" ")]
    named = [line for line in errors if "Error" in line and "Exception ignored" not in line]
    return (named or errors or [f"exit status {done.returncode}"])[-1]
