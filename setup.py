"""Build the Cython extensions; everything else is declared in pyproject.toml."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, setup

ROOMS = ("runtime", "export", "engines", "bindings", "benchmarks", "training")
# A compiler of these needs half a gigabyte; small boards have more cores than that allows.
JOBS = min(4, os.cpu_count() or 1)
DEBUG = os.environ.get("DVLA_BOUNDS_CHECKED") == "1"


def require_rooms() -> None:
    """Stop with one line when a room is missing (links in git, real folders in sdists)."""
    for room in ROOMS:
        if not Path("dvla", room).is_dir():
            sys.exit(
                f"setup.py: dvla/{room} is not a folder or a link to one; "
                f"in a checkout run: ln -sfn ../{room} dvla/{room}"
            )


def extensions() -> list[Extension]:
    """Return one extension per ``dvla/bindings/*.pyx``."""
    return [
        Extension(
            f"dvla.bindings.{source.stem}",
            [str(source)],
            extra_compile_args=["-O1" if DEBUG else "-O2", "-std=c11"],
            libraries=["m"],
        )
        for source in sorted(Path("dvla", "bindings").glob("*.pyx"))
    ]


require_rooms()
setup(
    ext_modules=cythonize(
        extensions(),
        build_dir="build/cython",
        nthreads=JOBS,
        quiet=True,
        language_level=3,
        compiler_directives={
            "boundscheck": DEBUG,
            "wraparound": False,
            "initializedcheck": DEBUG,
            "cdivision": not DEBUG,
            "show_performance_hints": False,
            "embedsignature": True,
        },
    ),
    options={"build_ext": {"parallel": JOBS}},
)
