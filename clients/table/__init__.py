"""The table: every client, in the order in which they are run."""

from __future__ import annotations

from clients.table import libraries, servers, suites, tools

__all__ = ["TABLE"]

TABLE = (*servers.CLIENTS, *tools.CLIENTS, *libraries.CLIENTS, *suites.CLIENTS)
