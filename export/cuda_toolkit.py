"""What compiling and linking for a GPU needs from its host: the CUDA toolkit, and the driver."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from dvla.engines.errors import MissingDependency

# Where containers of GPU hosts find the driver.
DRIVER_FOLDER = Path("/usr/local/nvidia/lib64")
_STUBS = ("lib64/stubs", "lib/stubs", "targets/*/lib/stubs")
_DRIVER = "libcuda.so.1"
_MAPPED = Path("/proc/self/maps")


def prepare_to_link(home: str | None, scratch: Path) -> None:
    """Let AOTInductor's compiler find the toolkit and the driver: it is told ``-lcuda`` alone.

    Args:
        home: the toolkit's folder, as torch found it.
        scratch: folder for a link to the driver.

    Raises:
        MissingDependency: there is no toolkit.
    """
    if home is None:
        raise MissingDependency(
            "AOTInductor needs the CUDA toolkit to compile for a GPU",
            got="no nvcc on PATH, no CUDA_HOME, no /usr/local/cuda",
            expected="the CUDA toolkit: nvcc on PATH or CUDA_HOME",
            next_command=(
                "install the toolkit of torch's CUDA version, then export CUDA_HOME=FOLDER"
            ),
        )
    os.environ.update(linking(Path(home), driver_path(), scratch, os.environ))


def linking(
    home: Path,
    driver: Path | None,
    scratch: Path,
    environ: Mapping[str, str],
) -> dict[str, str]:
    """Return the variables with which a linker finds ``-lcuda``.

    Args:
        home: the toolkit's folder.
        driver: its library, which has no name that a linker looks for: it gets one in ``scratch``.
        scratch: a folder that lives as long as the linker runs.
        environ: the variables as they are.
    """
    folders = [stubs for each in _STUBS for stubs in sorted(home.glob(each))]
    folders.append(DRIVER_FOLDER)
    if driver is not None:
        named = scratch / "driver"
        named.mkdir()
        (named / "libcuda.so").symlink_to(driver)
        folders += [driver.parent, named]
    before = environ.get("LIBRARY_PATH")
    paths = [*map(str, folders), *([before] if before else [])]
    return {
        "CUDA_HOME": environ.get("CUDA_HOME") or str(home),
        "LIBRARY_PATH": os.pathsep.join(paths),
    }


def driver_path(folders: Iterable[Path] = (DRIVER_FOLDER,)) -> Path | None:
    """Return the driver's library: the one that this process uses, or one that lies in a folder."""
    for line in _MAPPED.read_text(errors="replace").splitlines():
        path = line.split(maxsplit=5)[-1]
        if path.startswith("/") and Path(path).name.startswith("libcuda.so"):
            return Path(path)
    return next((found for each in folders if (found := each / _DRIVER).is_file()), None)
