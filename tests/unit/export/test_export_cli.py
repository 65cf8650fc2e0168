"""``dvla-export`` as a user meets it: exit codes, messages, JSON, and what is left on the disk."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundle_tools import copy_of_tiny_bundle, tiny_bundle, tiny_graphs, tokenizer
from golden_model import TINY_CHECKPOINT

from dvla.engines.bundle import read_bundle
from dvla.export import build, cli
from dvla.export.reference import load_reference
from dvla.runtime.policy import Policy

ROOT = Path(__file__).resolve().parents[3]

BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == {block!r}:
            raise ModuleNotFoundError("No module named " + name, name=name)
sys.meta_path.insert(0, Blocked())
"""


def run(*arguments: object, block: str = "") -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, where an import may be blocked."""
    code = BLOCK.format(block=block) + "from dvla.export.cli import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def run_here(*arguments: object, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the command in this process, which has imported torch already."""
    monkeypatch.setattr(sys, "argv", ["dvla-export", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return int(caught.value.code or 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--backend", "abacus"], "Unknown backend. Got 'abacus'. Valid: onnxruntime"),
        (["--camera-size", "480"], "--camera-size is not a size. Got '480'"),
        (["--camera-size", "480x-3"], "WIDTHxHEIGHT"),
        (["--camera-size", "9000x9000"], "16 to 4096"),
        (["--tokenizer", "/nowhere.json"], "--tokenizer names no file"),
        (["--observations", "/nowhere.npz"], "does not hold recorded observations"),
        (["--observations", __file__], "does not hold recorded observations"),
    ],
)
def test_wrong_options_are_one_paragraph(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    base = [TINY_CHECKPOINT, "-o", tmp_path / "b", "--tokenizer", tokenizer()]
    assert run_here(*base, *arguments, monkeypatch=monkeypatch) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_checkpoint_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"not safetensors")
    for model in (tmp_path / "none", tmp_path / "model.safetensors", tmp_path):
        assert run_here(model, "-o", tmp_path / "b", monkeypatch=monkeypatch) == 2
        assert "Traceback" not in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_a_checkpoint_without_a_tokenizer_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    assert run_here(TINY_CHECKPOINT, "-o", tmp_path / "b", monkeypatch=monkeypatch) == 2
    assert "hf download HuggingFaceTB/SmolLM2-360M tokenizer.json" in capsys.readouterr().err


def test_an_existing_bundle_is_not_replaced_unasked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (TINY_CHECKPOINT, "-o", tiny_bundle(), "--tokenizer", tokenizer())
    assert run_here(*arguments, monkeypatch=monkeypatch) == 2
    assert "add --overwrite" in capsys.readouterr().err


def test_a_bundle_is_not_exported_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_here(tiny_bundle(), monkeypatch=monkeypatch) == 2
    assert "--verify" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        "--observations seen.npz",
        "--calibration recorded",
        "--steps 4",
        "--noise-scale 0.5",
        "--camera-size 70x50",
        "--tokenizer tokenizer.json",
        "--tokenizer tokenizer.json --steps 4",
    ],
)
def test_a_verification_refuses_what_only_an_export_can_do(
    flags: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tiny_bundle()
    assert run_here(bundle, "--verify", *flags.split(), monkeypatch=monkeypatch) == 2
    told = capsys.readouterr().err
    assert ", ".join(word for word in flags.split() if word.startswith("--")) in told
    assert "no meaning when a bundle is verified" in told
    assert told.endswith(f"Next: dvla-export MODEL -o {bundle} --overwrite {flags}\n")


@pytest.mark.parametrize("flags", [("--overwrite",), ("-o", "other.bundle")])
def test_a_verification_writes_no_bundle(
    flags: tuple[str, ...], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tiny_bundle()
    assert run_here(bundle, "--verify", *flags, monkeypatch=monkeypatch) == 2
    told = capsys.readouterr().err
    assert f"{flags[0]} has no meaning when a bundle is verified" in told
    target = "other.bundle" if "-o" in flags else bundle
    assert told.endswith(f"Next: dvla-export MODEL -o {target} --overwrite\n")


def test_a_config_may_hold_numbers_that_json_does_not_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Path(shutil.copytree(TINY_CHECKPOINT, tmp_path / "model"))
    config = json.loads((model / "config.json").read_text())
    added = {"clip": float("inf"), "losses": [{"low": -float("inf")}, float("nan"), 0.5]}
    (model / "config.json").write_text(json.dumps(config | added))
    monkeypatch.setattr(build, "write_graphs", tiny_graphs)
    arguments = (model, "-o", tmp_path / "b", "--tokenizer", tokenizer())
    assert run_here(*arguments, monkeypatch=monkeypatch) == 0
    source = read_bundle(tmp_path / "b").manifest.source
    wanted = {"clip": "Infinity", "losses": [{"low": "-Infinity"}, "NaN", 0.5]}
    assert source.config == config | wanted


def test_a_camera_size_and_recorded_observations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One export with everything else than by default: size, observations, overwrite, --verify."""
    reference = load_reference(tiny_bundle() / "reference.npz")
    frames = np.zeros((2, 2, 2, 50, 70, 3), np.uint8)
    frames[..., ::3, :, 0] = 255
    np.savez(
        tmp_path / "seen.npz",
        frames=frames,
        **{n: getattr(reference, n)[:2] for n in ("token_ids", "token_mask", "state", "noise")},
    )
    bundle = copy_of_tiny_bundle(tmp_path)
    options: list[Any] = ["--camera-size", "70x50", "--observations", tmp_path / "seen.npz"]
    options += ["--overwrite", "--verify", "--json", "--tokenizer", tokenizer()]
    assert run_here(TINY_CHECKPOINT, "-o", bundle, *options, monkeypatch=monkeypatch) == 0
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["verification"]["frames"] == "recorded"
    assert report["verification"]["cases"] == 2 + 1  # One of them again, with a guide.
    assert report["verification"]["passed"]
    assert report["size_bytes"] > 4e6
    stages = [stage["name"] for stage in report["stages"]]
    assert stages[:4] == ["checkpoint", "observations", "prefix graph", "step graph"]
    assert "prefix graph: " in captured.err
    manifest = read_bundle(bundle).manifest
    assert (manifest.policy.camera_width, manifest.policy.camera_height) == (70, 50)
    assert manifest.policy.history_steps == (-2, 0)
    assert manifest.normalisation.provenance
    assert manifest.source.config["type"] == "dynamicvla"
    Policy.load(bundle).close()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


def test_a_bundle_verifies_itself_without_torch(tmp_path: Path) -> None:
    bundle = copy_of_tiny_bundle(tmp_path)
    result = run(bundle, "--verify", "--plain", block="torch")
    assert result.returncode == 0, result.stderr
    assert f"Verified: {bundle}" in result.stdout
    assert f"dvla-export MODEL -o {bundle} --overwrite --calibration DIR" in result.stdout
    assert "\x1b" not in result.stdout
    assert "gripper" in result.stdout


def test_an_export_without_torch_says_what_to_install(tmp_path: Path) -> None:
    result = run(TINY_CHECKPOINT, "-o", tmp_path / "b", "--tokenizer", tokenizer(), block="torch")
    assert result.returncode == 3
    assert "pip install 'dvla[export]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_help_names_every_option() -> None:
    result = run("--help", block="torch")
    assert result.returncode == 0
    for option in ("-o", "--backend", "--tokenizer", "--camera-size", "--overwrite", "--verify"):
        assert option in result.stdout
    assert run("--nonsense").returncode == 2


@pytest.mark.usefixtures("control_c")
def test_control_c_leaves_nothing(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "dvla.export.cli", TINY_CHECKPOINT, "-o", tmp_path / "b",
         "--tokenizer", tokenizer()],
        cwd=ROOT, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    with contextlib.closing(process.stderr):
        for line in process.stderr:
            if line.startswith("prefix graph ..."):
                break
        time.sleep(0.2)  # Into the middle of the stage; any moment must do.
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
    assert process.wait(60) == 130
    assert "Interrupted." in rest
    assert list(tmp_path.iterdir()) == []
