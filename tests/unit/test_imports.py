"""What the base install promises: every module imports, and imports only what its room may."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("bindings", "engines", "runtime", "export", "benchmarks", "training")
EXTRAS = (
    "torch", "onnx", "onnxscript", "safetensors", "mujoco", "av", "matplotlib",
    "tensorrt", "tensorrt_rtx", "pycuda", "cuda", "openvino", "PIL", "scipy", "ruckig", "can",
    "pyarrow", "gymnasium", "ray", "triton", "cv2", "pyrealsense2", "pyorbbecsdk", "rerun", "mcap",
    "franky", "franka_rs", "pylibfranka", "polygraphy", "lerobot", "tensorboard",
)  # fmt: skip
MAY_IMPORT = {
    "bindings": {"bindings"},
    "engines": {"bindings", "engines"},
    "runtime": {"bindings", "engines", "runtime"},
    "export": {"bindings", "engines", "runtime", "export"},
    "benchmarks": set(ROOMS) - {"training"},
    "training": set(ROOMS),
}
COMMANDS = (
    "dvla.export.cli",
    "dvla.runtime.cli.run",
    "dvla.runtime.cli.arm",
    "dvla.runtime.cli.report",
    "dvla.runtime.cli.replay",
    "dvla.runtime.cli.calibrate",
    "dvla.runtime.cli.view",
    "dvla.runtime.cli.keys",
    "dvla.runtime.cli.doctor",
    "dvla.benchmarks.cli",
    "dvla.training.cli_collect",
    "dvla.training.cli_train",
)

BLOCK = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {EXTRAS!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}} (blocked)", name=name)
sys.meta_path.insert(0, Blocked())
"""


def modules() -> list[str]:
    """Return the dotted name of every Python module of the package."""
    names = []
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            parts = ["dvla", *path.relative_to(ROOT).with_suffix("").parts]
            names.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return names


def run_blocked(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter in which no extra can be imported."""
    return subprocess.run(
        [sys.executable, "-c", BLOCK + code], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_every_module_imports_with_the_base_install() -> None:
    code = "\n".join(
        [
            "import importlib, traceback",
            "failed = []",
            f"for name in {modules()!r}:",
            "    try:",
            "        importlib.import_module(name)",
            "    except BaseException as error:",
            "        failed.append(f'{name}: {error!r}')",
            "print('\\n'.join(failed))",
            "sys.exit(bool(failed))",
        ]
    )
    done = run_blocked(code)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_works_with_the_base_install(command: str) -> None:
    done = run_blocked(
        f"sys.argv = ['{command}', '--help']\nimport importlib\n"
        f"importlib.import_module('{command}').main()"
    )
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


def test_importing_dvla_costs_nothing() -> None:
    done = run_blocked("import dvla; print([m for m in sys.modules if m in ('numpy', 'zmq')])")
    assert done.stdout.strip() == "[]"


def imported_rooms(path: Path) -> set[str]:
    """Return the rooms that a file imports, anywhere in it."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.append(node.module)
    return {name.split(".")[1] for name in names if name.startswith("dvla.")}


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_downwards_only(room: str) -> None:
    for path in sorted((ROOT / room).rglob("*.py")):
        assert imported_rooms(path) <= MAY_IMPORT[room], path


def test_the_runtime_never_imports_torch() -> None:
    for path in sorted([*(ROOT / "runtime").rglob("*.py"), *(ROOT / "engines").rglob("*.py")]):
        tree = ast.parse(path.read_text())
        names = {
            alias.name.split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.Import)
            for alias in node.names
        } | {
            (node.module or "").split(".")[0]
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
        }
        allowed = {"torch"} if path.name == "torch_.py" else set()
        assert not ({"torch"} & names) - allowed, path
