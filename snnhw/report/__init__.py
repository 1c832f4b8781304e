"""Renderers of a comparison: terminal, Markdown, one HTML file."""

from snnhw.report.html import html, write_html
from snnhw.report.markdown import markdown, write_markdown
from snnhw.report.terminal import show

__all__ = ["html", "markdown", "show", "write_html", "write_markdown"]
