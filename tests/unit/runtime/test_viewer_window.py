"""The viewer's window: it hears this host alone, and what keeps it from opening is told."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dvla.engines.errors import MissingDependency
from dvla.runtime import viewer_window
from dvla.runtime.viewer_window import open_window

LISTENS = """
import argparse, pathlib, socket, sys
asked = argparse.ArgumentParser()
asked.add_argument("--bind"), asked.add_argument("--port", type=int)
given = asked.parse_args(sys.argv[2:])
with socket.create_server((given.bind, given.port)) as server:
    pathlib.Path(sys.argv[1]).write_text(f"{given.bind}:{given.port}")
    server.accept()[0].close()
    server.accept()
"""


class Recording:
    """What is asked of a recording stream."""

    def __init__(self) -> None:
        self.urls: list[str] = []

    def connect_grpc(self, url: str) -> None:
        self.urls.append(url)


@pytest.fixture(autouse=True)
def display(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("DISPLAY", ":0")
    yield


def test_it_listens_on_the_loopback_on_a_port_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, recording = tmp_path / "where", Recording()
    command = (sys.executable, "-c", LISTENS, str(told))
    monkeypatch.setattr(viewer_window, "COMMAND", command)
    window = open_window(recording)
    try:
        host, port = told.read_text().split(":")
        assert host == "127.0.0.1" and port != "9876"
        assert recording.urls == [f"rerun+http://127.0.0.1:{port}/proxy"]
        assert window.poll() is None
    finally:
        window.kill()
        window.wait()


def test_a_window_that_does_not_open_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    command = (sys.executable, "-c", "import sys; print('one'); sys.exit('no such display: :0')")
    monkeypatch.setattr(viewer_window, "COMMAND", command)
    recording = Recording()
    with pytest.raises(MissingDependency, match=r"no such display: :0.*--save"):
        open_window(recording)
    assert not recording.urls


def test_without_a_display_a_file_is_what_to_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY")
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    with pytest.raises(MissingDependency, match=r"neither DISPLAY.*--save run\.rrd"):
        open_window(Recording())


def test_rerun_knows_what_it_is_asked() -> None:
    pytest.importorskip("rerun")
    command = [*viewer_window.COMMAND, "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "--bind" in shown and "--port" in shown
