"""Markdown tables and SVG charts from the JSON results; nothing here is typed by hand."""
