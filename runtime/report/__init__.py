"""The report of a run: one self-contained HTML page."""

from __future__ import annotations

from dvla.runtime.report.page import report_html

__all__ = ["report_html"]
