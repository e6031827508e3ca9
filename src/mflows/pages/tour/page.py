"""The page of a tour: one HTML file, whose script asks a server, or a grid within the page."""

import base64
import json
import math
import os
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from mflows.files import write_atomically
from mflows.pages.figures import TEMPLATE
from mflows.pages.tour.grid import grid
from mflows.pages.tour.guide import Guide
from mflows.version import __version__


def write(path: str | os.PathLike[str], guide: Guide) -> Path:
    """Write a tour that needs no server to ``path``, and return it.

    The file appears complete or not at all.

    Raises:
        ValueError: If the manifold has more dimensions than a grid can fill.
        FileNotFoundError: If the folder of ``path`` does not exist.
    """
    path = Path(path)
    write_atomically(path, html(guide, grid=grid(guide)).encode(errors="backslashreplace"))
    return path


def html(guide: Guide, grid: dict[str, Any] | None = None) -> str:
    """The page; without a grid its script asks the server that it comes from."""
    from plotly.offline import get_plotlyjs  # large: only when a page is made

    facts = guide.facts()
    folder = files("mflows.pages")
    style, plots = (folder.joinpath(name).read_text("utf-8") for name in ("style.css", "plots.js"))
    own = {name: folder.joinpath("tour", name).read_text("utf-8") for name in FILES}
    told = packed({"facts": facts, "grid": grid, "template": TEMPLATE.to_plotly_json()})
    return Template(own["tour.html"]).substitute(
        title=escape(facts["title"]),
        alive="" if grid else ALIVE,
        style=style + own["tour.css"],
        facts=told.replace("<", "\\u003c"),
        plotly=get_plotlyjs().replace("</script", "<\\/script"),
        script=plots + own["tour.js"],
        version=escape(__version__),
    )


ALIVE = """<script>
  // First, so that the server knows of the page while the rest is read.
  new EventSource("api/alive" + location.search);
</script>
"""
FILES = ("tour.html", "tour.css", "tour.js")


def packed(value: Any) -> str:
    """Plain values and arrays as JSON; single numbers that are not finite become null.

    An array becomes ``{"type": "float64" or "uint8", "shape": [...], "data": base64}``.
    """
    return json.dumps(_plain(value), allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, np.ndarray):
        array = value if value.dtype == np.uint8 else value.astype("<f8")
        data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode()
        return {"type": str(np.dtype(array.dtype).name), "shape": array.shape, "data": data}
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value
