"""The report: one page that needs nothing else, and the command that makes it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from synthetic_run import START_NS, make_run, manifest

from dvla.runtime.cli.report import main, write_report
from dvla.runtime.report.svg import Axes, decimate, nice_ticks, value_range
from dvla.runtime.run_folder import RunFolder
from dvla.runtime.summary_text import sections, verdict

LINKS = {"src", "href", "data", "srcset", "poster"}
VOID = {"meta", "br", "link", "img", "input", "hr"}


class Page(HTMLParser):
    """Checks that tags close, collects text, links and drawings."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [
            v or "" for k, v in attrs if k in ("src", "href", "data", "srcset", "poster")
        ]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("style", "script"):
            self.text.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    return make_run(tmp_path_factory.mktemp("runs"), 8.0)


def page_of(folder: RunFolder) -> Page:
    write_report(folder.path)
    return Page(folder.report.read_text())


def test_the_page_is_whole_and_loads_nothing(folder: RunFolder) -> None:
    page = page_of(folder)
    html = folder.report.read_text()
    assert not page.open
    assert all(link.startswith("data:video/mp4;base64,") for link in page.links)
    assert not re.search(r"(https?:)?//[a-z]|url\(|@import", html.split("base64,")[0])
    for svg in re.findall(r"<svg class=\"plot.*?</svg>(?:</svg>)?", html, flags=re.S):
        ElementTree.fromstring(svg)


def test_the_numbers_are_the_summary_s(folder: RunFolder) -> None:
    summary = write_report(folder.path)
    text = " ".join(page_of(folder).text)
    assert verdict(summary) in text
    for _, rows in sections(summary):
        for label, value in rows:
            assert label in text and value in text, label
    saved = json.loads(folder.summary.read_bytes())
    assert saved["chunks"] == summary.chunks and saved["replan_hz"] == summary.replan_hz


def test_the_timeline_shows_every_fate(folder: RunFolder) -> None:
    page_of(folder)
    html = folder.report.read_text()
    for fate in ("stale", "executed", "overridden"):
        assert re.search(rf"<title>chunk \d+, actions \d+ to \d+: {fate}</title>", html), fate
    assert "underrun from 3.360 to 3.912 s" in html
    assert "discarded: stale" in html


def test_what_people_wrote_is_text_and_not_markup(folder: RunFolder) -> None:
    page_of(folder)
    html = folder.report.read_text()
    assert "pick up the &lt;red&gt; can" in html and "<red>" not in html
    assert "&lt;b&gt;&amp;amp;&lt;/b&gt;" in html, "the configuration is not escaped"


def test_a_run_with_nothing_in_it(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.write_manifest(manifest())
    text = " ".join(page_of(run).text)
    assert "No chunk arrived" in text and "No video was recorded" in text
    assert "before the policy began" in text


def test_long_runs_are_thinned_out(tmp_path: Path) -> None:
    x = np.linspace(0, 1, 100_000)
    y = np.sin(x)
    y[77_777] = 9.0
    thin_x, thin_y = decimate(x, y)
    assert len(thin_x) <= 1200 and thin_y.max() == 9.0
    assert np.all(np.diff(thin_x) > 0)
    run = make_run(tmp_path, 120.0, video=False)
    write_report(run.path)
    assert run.report.stat().st_size < 2_000_000


def test_axes_bear_strange_values() -> None:
    axes = Axes("t", x_label="x", y_label="y", x_range=(1.0, 1.0), y_range=value_range([np.nan]))
    axes.curve(np.array([1.0, np.nan]), np.array([np.inf, 2.0]), "#000", "<label>")
    axes.dots(np.array([1.0]), np.array([np.nan]), "#000")
    ElementTree.fromstring(axes.render())
    assert nice_ticks(0.0, 1.0, 5) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert nice_ticks(3.0, 3.0) == [3.0]


def test_the_command_prints_and_rebuilds(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder.report.unlink(missing_ok=True)
    monkeypatch.setattr(sys, "argv", ["dvla-report", str(folder.path), str(folder.path), "--json"])
    assert main() == 0
    lines = capsys.readouterr().out.splitlines()
    assert [json.loads(line)["caught"] for line in lines] == [1, 1]
    assert folder.report.exists()


@pytest.mark.parametrize("wrong", ["absent", "empty", "file", "corrupt"])
def test_wrong_folders_are_one_paragraph(
    tmp_path: Path, wrong: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    if wrong == "empty":
        run.mkdir()
    elif wrong == "file":
        run.write_text("x")
    elif wrong == "corrupt":
        run = make_run(tmp_path, 2.0, video=False).path
        (run / "events.jsonl").write_bytes(b"{]\n")
    monkeypatch.setattr(sys, "argv", ["dvla-report", str(run)])
    assert main() == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("dvla-report:")
    assert "Traceback" not in captured.err and str(START_NS) not in captured.err


def test_the_report_needs_no_extras(folder: RunFolder) -> None:
    """Neither plotting nor video libraries are imported to make the page."""
    script = (
        "import sys; from dvla.runtime.cli.report import write_report; "
        f"write_report(__import__('pathlib').Path({str(folder.path)!r})); "
        "print([m for m in ('matplotlib', 'av', 'torch', 'mujoco') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "[]"


def test_a_full_disk_costs_the_report_and_not_the_summary(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = make_run(tmp_path, 2.0, video=False)
    for path in (run.summary, run.report):
        path.mkdir()  # nothing can be moved onto a folder, not even by root
    assert write_report(run.path).chunks > 0
    assert "The report could not be written" in caplog.text
    with pytest.raises(OSError):
        write_report(run.path, must_write=True)
    assert not [path for path in run.path.iterdir() if path.name.startswith(".")]
