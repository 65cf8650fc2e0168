"""AOTInductor itself: a graph becomes a package in a process of its own, loads, and is right."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from dvla.engines.compile_process import Request, compile_in_child
from dvla.engines.errors import BundleError, MissingDependency
from dvla.engines.torch_library import load_program
from dvla.export import torch_process
from dvla.export.torch_packages import COMMAND
from dvla.export.torch_process import build, reason_of

FACTOR = np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4)


def graph(folder: Path, operator: str = "MatMul") -> Path:
    """Return an ONNX file with one product and one softmax, by the name of the prefix."""
    nodes = [
        helper.make_node(operator, ["x", "w"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["y"], axis=-1),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])
    weights = [numpy_helper.from_array(FACTOR, "w")]
    path = folder / "prefix.onnx"
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x], [y], weights)), str(path))
    return path


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler")
def test_a_package_computes_its_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its path is relative and has a space in it, as a bundle's may be and have."""
    (tmp_path / "my bundle").mkdir()
    monkeypatch.chdir(tmp_path)
    package = Path("my bundle") / "prefix.pt2"
    answer = compile_in_child(graph(package.parent), package, command=COMMAND)
    assert {each.name for each in package.parent.iterdir()} == {"prefix.onnx", "prefix.pt2"}
    assert answer.size_bytes == package.stat().st_size > 0
    x = torch.tensor([[1.0, -2.0, 0.5], [0.0, 3.0, 1.0]])
    (found,) = load_program(package, single_threaded=False).run([x])
    wanted = torch.softmax(x @ torch.from_numpy(FACTOR), -1)
    torch.testing.assert_close(found, wanted)
    names = zipfile.ZipFile(package).namelist()
    assert any(name.endswith(".so") for name in names)
    assert not any(name.endswith((".pkl", ".pickle", ".pt")) for name in names)


def test_a_compiler_that_fails_is_told_by_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._inductor.exc import CppCompileError

    def fail(*_: object, **__: object) -> None:
        output = "In file included from x.cpp:1:\nx.cpp:3:10: fatal error: cuda.h: No such file\n"
        raise CppCompileError(["g++", "-Werror:none", "x.cpp"], output + "compilation terminated.")

    monkeypatch.setattr(torch._inductor, "aoti_compile_and_package", fail)
    request = Request(onnx=str(graph(tmp_path)), plan=str(tmp_path / "prefix.pt2"))
    with pytest.raises(
        BundleError, match=r"not compile prefix\. Got x\.cpp:3:10: fatal error: cud"
    ):
        build(request)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("C++ compile error\n\nCommand:\ng++\n\nOutput:\nld: cannot find -lcuda\nmore", "ld: can"),
        ("C++ compile error\n\nCommand:\ng++\n\nOutput:\na\nb\nc\n\nd", "b; c; d"),
        ("\nNo kernel of that name\nmore", "No kernel of that name"),
        ("", "no reason"),
    ],
)
def test_the_reason_is_found_behind_the_command(said: str, reason: str) -> None:
    assert reason_of(said).startswith(reason) and "more" not in reason_of(said)


def test_a_gpu_without_the_toolkit_is_a_missing_dependency(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_process, "on_gpu", lambda: True)
    monkeypatch.setattr(torch_process, "cuda_home", lambda: None)
    request = Request(onnx=str(graph(tmp_path)), plan=str(tmp_path / "prefix.pt2"))
    with pytest.raises(MissingDependency, match=r"CUDA toolkit: nvcc on PATH or CUDA_HOME"):
        build(request)


def test_an_unknown_operator_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"No operator Hardmax.*Valid: Add"):
        from dvla.export.onnx_module import Graph

        Graph(graph(tmp_path, "Hardmax")).module()
