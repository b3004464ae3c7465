"""An application with one model."""

from __future__ import annotations
