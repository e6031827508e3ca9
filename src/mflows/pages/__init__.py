"""The report of a run: one self-contained HTML page that explains a fitted flow.

    from mflows import pages
    pages.write("run/report.html", pages.Content(title="Polynomial surface", ...))

The report takes arrays and results; it trains nothing, knows no flow, and the page it writes asks
nothing of the network. ``content`` says what may be shown, ``mflows.verdict`` what looks wrong; one
file per kind of figure returns plain Plotly specifications, and ``page`` sets them into HTML.
"""

from mflows.pages.content import Content, Decoded, Manifold, Projected, Table, View
from mflows.pages.page import html, write
from mflows.verdict import Conditioning, Points, Warn, warnings_of

__all__ = [
    "Conditioning",
    "Content",
    "Decoded",
    "Manifold",
    "Points",
    "Projected",
    "Table",
    "View",
    "Warn",
    "html",
    "warnings_of",
    "write",
]
