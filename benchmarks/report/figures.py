"""Numbers as people read them."""

from __future__ import annotations

__all__ = ["number", "ratio", "spread"]

DIGITS = 3


def number(value: float) -> str:
    """Three significant digits, with k and M for large counts: ``1.24 M``, ``203 k``, ``0.052``."""
    for size, letter in ((1e6, " M"), (1e3, " k")):
        if abs(value) >= size * 10 or (letter == " M" and abs(value) >= size):
            return _significant(value / size) + letter
    return _significant(value)


def _significant(value: float) -> str:
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (DIGITS - 1):
        return f"{value:,.0f}"
    text = f"{value:.{DIGITS}g}"
    return f"{float(text):f}".rstrip("0").rstrip(".") if "e" in text else text


def ratio(value: float | None) -> str:
    """``7.1x``; empty if there is none."""
    if value is None:
        return ""
    if value < 0.1:
        return f"{value:.2g}x"
    return f"{value:.2f}x" if value < 2 else f"{value:.1f}x" if value < 20 else f"{value:.0f}x"


def spread(part: float) -> str:
    """``±4 %``."""
    return f"±{part * 100:.0f} %"
