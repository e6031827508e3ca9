"""The page: figures, tables and words set into one HTML file.

Everything is inline: style, script, the Plotly library once, and all numbers. A content security
policy in the page forbids the browser any request. Text that came from outside is escaped.
"""

import json
import os
from collections.abc import Iterable, Mapping
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from mflows.files import write_atomically
from mflows.pages.content import Content, Table
from mflows.pages.distributions import (
    conditioning_figure,
    density_figure,
    distance_figure,
    scatter_figure,
)
from mflows.pages.figures import TEMPLATE, Figure
from mflows.pages.images import image_figures
from mflows.pages.latent import latent_figure
from mflows.pages.learning import learning_figures
from mflows.pages.manifold import manifold_figure
from mflows.pages.pairs import pair_figure
from mflows.verdict import checked, warnings_of
from mflows.version import __version__


def write(path: str | os.PathLike[str], content: Content) -> Path:
    """Write the report to ``path`` and return it.

    The file appears complete or not at all: it is written beside its place and moved there.

    Raises:
        FileNotFoundError: If the folder of ``path`` does not exist.
    """
    path = Path(path)
    write_atomically(path, html(content).encode(errors="backslashreplace"))
    return path


def html(content: Content) -> str:
    """Return the report as a string."""
    from plotly.offline import get_plotlyjs  # large: only when a page is made

    sections = {name: figures for name, figures in _figures(content).items() if figures}
    numbered = list(enumerate(figure for figures in sections.values() for figure in figures))
    blocks = iter([_figure(i, figure) for i, figure in numbered])
    parts = {name: _grid(next(blocks) for _ in figures) for name, figures in sections.items()}
    if content.tables:
        parts["Results"] = _grid(_table(table) for table in content.tables)
    facts = {"How it was fitted": content.settings, "Where it comes from": content.provenance}
    if any(facts.values()):
        known = {title: rows for title, rows in facts.items() if rows}
        parts["Settings and provenance"] = _grid(
            _facts(title, rows, wide=len(known) == 1) for title, rows in known.items()
        )
    here = files(__package__ or "mflows.pages")
    return Template(here.joinpath("template.html").read_text("utf-8")).substitute(
        title=escape(content.title),
        lead=f'<p class="lead">{escape(content.lead)}</p>' if content.lead else "",
        cards=_cards(content.summary),
        warnings=_warnings(content),
        contents=_contents(parts),
        sections="\n".join(_section(name, body) for name, body in parts.items()),
        version=escape(__version__),
        style=here.joinpath("style.css").read_text("utf-8"),
        script="".join(here.joinpath(name).read_text("utf-8") for name in ("plots.js", "page.js")),
        specs=_specs([figure for _, figure in numbered]),
        plotly=get_plotlyjs().replace("</script", "<\\/script"),
    )


def _figures(content: Content) -> dict[str, list[Figure]]:
    """Figures by section, in the order of the page."""
    train, held_out = content.train, content.held_out
    data = held_out or train
    found: dict[str, list[Figure | None]] = {
        "Manifold": [
            manifold_figure(content.views, held_out, content.column_names(v.model.x.shape[-1]))
            for v in content.views[:1]
        ],
        "Images": image_figures(content),
        "Training": [*learning_figures(content.history)],
        "Distance and density": [
            distance_figure(train, held_out),
            density_figure(train, held_out),
            scatter_figure(held_out),
        ],
        "Samples": [],
        **{name: [*figures] for name, figures in content.figures.items()},
    }
    if content.latent is not None and held_out is not None:
        found["Distance and density"].append(latent_figure(content.latent, held_out.log_prob))
    found["Distance and density"].append(conditioning_figure(content.conditioning))
    if content.samples is not None and data is not None and data.x.ndim == 2:
        names = content.column_names(data.x.shape[1])
        found["Samples"].append(pair_figure(data.x, content.samples, names))
    return {name: [f for f in figures if f is not None] for name, figures in found.items()}


def _figure(index: int, figure: Figure) -> str:
    menu = ""
    if len(figure.variants) > 1:
        options = "".join(f"<option>{escape(v.label)}</option>" for v in figure.variants)
        menu = f'<label>{escape(figure.menu)} <select id="menu-{index}">{options}</select></label>'
    size = f"min-height:{figure.variants[0].plot.layout['height']}px"
    if figure.min_width:
        size += f";min-width:{figure.min_width}px"
    title = escape(figure.title)
    return (
        f"<figure{' class=wide' if figure.wide else ''}>"
        f'<div class="head"><h3>{title}</h3>{menu}</div>'
        f'<div class="scroll"><div class="plot" id="plot-{index}" role="img" '
        f'aria-label="{title}" style="{size}"></div></div>'
        f"<figcaption>{escape(figure.caption)}</figcaption></figure>"
    )


def _cards(summary: Mapping[str, str]) -> str:
    cards = "".join(
        f"<div><dt>{escape(str(k))}</dt><dd>{escape(str(v))}</dd></div>" for k, v in summary.items()
    )
    return f'<dl class="cards">{cards}</dl>' if cards else ""


def _warnings(content: Content) -> str:
    found = warnings_of(content)
    if not found and content.figures and content.held_out is None:
        return ""  # figures of something else than a run: nothing was checked
    if not found:
        names = escape(", ".join(checked(content)))
        return f'<p class="passed"><b>No warnings.</b> Checked: {names}.</p>'
    items = "".join(f"<li><b>{escape(w.title)}.</b> {escape(w.detail)}</li>" for w in found)
    heading = "One thing to look at" if len(found) == 1 else f"{len(found)} things to look at"
    return f'<div class="warnings" role="note"><h2>{heading}</h2><ul>{items}</ul></div>'


def _contents(names: Iterable[str]) -> str:
    links = "".join(f'<li><a href="#{_slug(n)}">{escape(n)}</a></li>' for n in names)
    return f'<nav aria-label="Contents"><ul>{links}</ul></nav>' if links else ""


def _section(name: str, body: str) -> str:
    return f'<section id="{_slug(name)}"><h2>{escape(name)}</h2>{body}</section>'


def _grid(blocks: Iterable[str]) -> str:
    return f'<div class="grid">{"".join(blocks)}</div>'


def _facts(title: str, facts: Mapping[str, str], *, wide: bool) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(str(k))}</th><td>{escape(str(v))}</td></tr>'
        for k, v in facts.items()
    )
    return (
        f'<div class="box{" wide" if wide else ""}"><h3>{title}</h3>'
        f'<table class="facts"><tbody>{rows}</tbody></table></div>'
    )


def _table(table: Table) -> str:
    numeric = [
        bool(table.rows) and all(_is_number(row[j]) for row in table.rows)
        for j in range(len(table.columns))
    ]
    mark = [' class="number"' if n else "" for n in numeric]
    head = "".join(
        f'<th scope="col"{m}>{escape(str(c))}</th>'
        for c, m in zip(table.columns, mark, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(f"<td{m}>{escape(_cell(v))}</td>" for v, m in zip(row, mark, strict=True))
        + "</tr>"
        for row in table.rows
    )
    note = f'<p class="note">{escape(table.caption)}</p>' if table.caption else ""
    return (
        f'<div class="box wide"><h3>{escape(table.title)}</h3><div class="scroll" tabindex="0">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}</div>"
    )


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _is_number(value: object) -> bool:
    """Whether a cell reads as a number, perhaps with an uncertainty or a dash for none."""
    words = _cell(value).replace("±", " ").replace("(", " ").replace(")", " ").split() or ["-"]
    try:
        [float(w.replace(",", "")) for w in words if w not in ("-", "–", "—")]
    except ValueError:
        return False
    return True


def _slug(name: str) -> str:
    return name.lower().replace(" ", "-")


def _specs(figures: Iterable[Figure]) -> str:
    """All figures as JSON that may stand inside a script element; the template stands once."""
    from plotly.utils import PlotlyJSONEncoder

    specs = [
        [{**v.plot.to_plotly_json(), "narrow": v.narrow} for v in figure.variants]
        for figure in figures
    ]
    for variant in (variant for variants in specs for variant in variants):
        variant["layout"].pop("template", None)
    page = {"figures": specs, "template": TEMPLATE.to_plotly_json()}
    dumped = json.dumps(page, cls=PlotlyJSONEncoder, separators=(",", ":"))
    return dumped.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
