"""Renderers of a comparison: terminal, Markdown, one HTML file; pictures are drawn where a page asks for them."""
