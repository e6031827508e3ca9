"""The report of a run: one self-contained HTML page that explains a fitted flow.

    from mflows import report
    report.write("run/report.html", report.Content(title="Polynomial surface", ...))

The report takes arrays and results; it trains nothing, knows no flow, and the page it writes asks
nothing of the network. ``content`` says what may be shown, ``checks`` what looks wrong; one file
per kind of figure returns plain Plotly specifications, and ``page`` sets them into HTML.
"""

from mflows.report.checks import Warn, warnings_of
from mflows.report.content import Conditioning, Content, Curve, Points, Surface, Table, View
from mflows.report.corner import corner
from mflows.report.page import html, write

__all__ = [
    "Conditioning",
    "Content",
    "Curve",
    "Points",
    "Surface",
    "Table",
    "View",
    "Warn",
    "corner",
    "html",
    "warnings_of",
    "write",
]
