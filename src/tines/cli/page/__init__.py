"""The report as a page: one HTML file that holds everything it shows, and asks nothing of anybody.

No scripts, no fonts, no addresses: charts are SVG in the page, and a policy in its head has the browser
refuse anything else, whatever a task may be called. Every text of the trace passes :func:`html.text`.

::

    trace ──▶ series (what is drawn, few numbers) ──▶ charts (SVG)  ┐
          └─▶ tracing.analysis (figures, advice)  ──▶ tables        ┴─▶ document
"""

from __future__ import annotations

from tines.cli.page.document import write

__all__ = ["write"]
