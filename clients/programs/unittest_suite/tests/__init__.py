"""A suite for unittest."""

from __future__ import annotations
