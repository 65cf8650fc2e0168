"""The pieces that every page of a benchmark is made of."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from dvla.runtime.report.assets import STYLE

_EXTRA_STYLE = (
    ".wide{overflow-x:auto}th.num{text-align:right}td.num{text-align:right}"
    "td.word{white-space:nowrap}h1+.meta{margin-bottom:14px}"
    "section h3{font-size:14px;margin:14px 0 6px}"
    ".clips{display:grid;grid-template-columns:repeat(auto-fit,minmax(320px,1fr));gap:14px}"
)


def document(title: str, body: str) -> str:
    """Return a whole page; it loads nothing from anywhere."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}{_EXTRA_STYLE}</style></head><body><main>"
        f"{body}</main></body></html>"
    )


def section(title: str, content: str) -> str:
    """Return a section of a page."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def two(*parts: str) -> str:
    """Return the parts that are not empty, two in a row."""
    present = "".join(f"<div>{part}</div>" for part in parts if part)
    return f'<div class="two">{present}</div>' if present else ""


def cards(values: Iterable[tuple[str, str, str, str]]) -> str:
    """Return key numbers: name, value, unit and what else is to be said of each."""
    return (
        '<div class="cards">'
        + "".join(
            f'<div class="card"><div class="name">{escape(name)}</div><div class="value">'
            f'{escape(value)} <span class="unit">{escape(unit)}</span></div>'
            f'<div class="more">{escape(more) or "&nbsp;"}</div></div>'
            for name, value, unit, more in values
        )
        + "</div>"
    )


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of plain text, its first column of words and the others of numbers."""
    names = "".join(
        f'<th class="{"num" if index else "word"}">{escape(name)}</th>'
        for index, name in enumerate(head)
    )
    lines = "".join(
        "<tr>"
        + "".join(
            f'<td class="{"num" if index else "word"}">{escape(cell)}</td>'
            for index, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><tr>{names}</tr>{lines}</table></div>'
