"""An sdist builds a wheel, and the wheel works without the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str, cwd: Path) -> str:
    """Run a command, show what it said when it fails, return its output."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_an_sdist_builds_a_working_wheel(tmp_path: Path) -> None:
    build = (sys.executable, "-m", "build", "--no-isolation")
    run(*build, "--sdist", "--outdir", str(tmp_path), cwd=ROOT)
    (sdist,) = tmp_path.glob("*.tar.gz")
    run("tar", "xzf", str(sdist), cwd=tmp_path)
    source = tmp_path / sdist.name.removesuffix(".tar.gz")
    assert (source / "dvla" / "bindings").is_dir()
    run(*build, "--wheel", "--outdir", str(tmp_path), cwd=source)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert all(name.startswith("dvla") for name in names)
    assert any(name.startswith("dvla/bindings/action_stream") and ".so" in name for name in names)
    site = tmp_path / "site"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site))
    run(*pip, str(wheel), cwd=tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(site)!r}); import dvla, dvla.bindings as b; "
        "assert dvla.__file__.startswith(sys.path[0]); b.ActionStream.create(); print('works')"
    )
    assert run(sys.executable, "-c", code, cwd=tmp_path).strip() == "works"
