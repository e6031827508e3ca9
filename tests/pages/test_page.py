"""The file as text: complete in itself, escaped, small, written whole or not at all."""

import base64
import dataclasses
import io
import json
import os
import re

import numpy as np
import pytest

from mflows import pages
from mflows.pages.figures import density_range, thin
from mflows.pages.images import image_figures
from mflows.pages.learning import learning_figures
from mflows.pages.manifold import manifold_figure


def specs(page: str) -> list[list[dict]]:
    found = re.search(r'<script type="application/json" id="specs">(.*?)</script>', page, re.S)
    assert found
    return json.loads(found[1])["figures"]


def without_library(page: str) -> str:
    from plotly.offline import get_plotlyjs

    assert page.count(get_plotlyjs()[:2000]) == 1
    return page.replace(get_plotlyjs(), "")


def test_page_is_complete_and_small(content):
    page = pages.html(content)
    own = without_library(page)
    assert len(page) < 12e6
    assert len(own) < 3e6
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", own)
    assert "default-src 'none'" in own
    assert own.count("<script") == 3


def test_every_figure_has_title_and_caption(content):
    own = without_library(pages.html(content))
    count = len(specs(own))
    assert own.count("<figure") == own.count("<figcaption>") == own.count('role="img"') == count
    assert not re.search(r"<figcaption>\s*</figcaption>", own)


def test_figures_are_valid_plotly_in_single_precision_without_templates_of_their_own(content):
    import plotly.graph_objects as go

    page = pages.html(content)
    assert '"f8"' not in page
    for figure in specs(page):
        for variant in figure:
            assert "template" not in variant["layout"]
            go.Figure({k: variant[k] for k in ("data", "layout")})


def test_text_from_outside_is_escaped():
    hostile = "</script><script>alert(1)</script>"
    table = pages.Table(hostile, [hostile], [[hostile]], hostile)
    x = np.random.default_rng(0).normal(size=(50, 2))
    content = pages.Content(
        title=hostile, lead=hostile, summary={hostile: hostile}, settings={hostile: hostile},
        provenance={hostile: hostile}, history=[{"phase": hostile, "epoch": 1, "train": 1.0}],
        train=pages.Points(x), samples=x, names=[hostile, "b"], tables=[table],
    )  # fmt: skip
    page = without_library(pages.html(content))
    assert "<script>alert" not in page
    assert page.count("<script") == 3


def test_write_replaces_the_file_whole(tmp_path):
    path = tmp_path / "pages.html"
    path.write_text("old")
    assert pages.write(path, pages.Content(title="new title")) == path
    assert "new title" in path.read_text("utf-8")
    assert os.listdir(tmp_path) == ["pages.html"]


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "pages.html"
    path.write_text("old")

    def refuse(*_):
        raise OSError("disk full")

    monkeypatch.setattr("mflows.pages.page.os.replace", refuse)
    with pytest.raises(OSError, match="disk full"):
        pages.write(path, pages.Content(title="new"))
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["pages.html"]


def test_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        pages.write(tmp_path / "missing" / "pages.html", pages.Content(title="t"))


def test_model_and_truth_share_one_colour_scale(all_contents):
    figure = specs(pages.html(all_contents["surface"]()))[0]
    scales = {(v["layout"]["coloraxis"]["cmin"], v["layout"]["coloraxis"]["cmax"]) for v in figure}
    assert len(figure) == 3
    assert len(scales) == 1
    surfaces = [t for t in figure[0]["data"] if t["type"] == "mesh3d"]
    assert [t["coloraxis"] for t in surfaces] == ["coloraxis"] * 2
    ranges = [
        [figure[0]["layout"][s][f"{a}axis"]["range"] for a in "xyz"] for s in ("scene", "scene2")
    ]
    assert ranges[0] == ranges[1]


def test_only_columns_of_most_variance_are_paired():
    x = np.random.default_rng(0).normal(size=(100, 9)) * [1, 9, 2, 8, 3, 7, 4, 6, 5]
    content = pages.Content(title="t", train=pages.Points(x), samples=x)
    page = pages.html(content)
    assert "the 6 of 9 columns with most variance" in page
    (((variant,)),) = specs(page)
    axes = [value for key, value in variant["layout"].items() if key.startswith("xaxis")]
    titles = [axis["title"]["text"] for axis in axes if "title" in axis]
    assert titles == ["x2", "x4", "x6", "x7", "x8", "x9"]


def test_condition_numbers_are_drawn_beside_their_limit():
    from mflows.pages.distributions import conditioning_figure

    numbers = np.append(np.geomspace(1, 1e9, 10), [np.inf, np.nan])
    figure = conditioning_figure(pages.Conditioning(numbers, limit=84_000.0))
    assert figure is not None
    (variant,) = figure.variants
    low, high = variant.plot.layout.xaxis.range
    (mark,) = variant.plot.layout.shapes
    assert low < np.log10(mark.x0) < high
    assert "largest 1e+09; 7 of 12 held-out points are at the limit of 84,000" in figure.caption
    assert "2 numbers are not finite" in figure.caption


def test_condition_numbers_that_are_all_the_same_are_not_drawn(all_contents):
    assert "Condition number" not in without_library(pages.html(all_contents["curve"]()))
    assert "Condition number" in without_library(pages.html(all_contents["surface"]()))


def test_parts_not_given_are_left_out():
    x = np.zeros((5, 2)) + np.arange(5)[:, None]
    page = pages.html(pages.Content(title="t", held_out=pages.Points(x), latent=x))
    assert len(specs(page)) == 1
    assert "Training" not in without_library(page)


def test_thin_is_even_and_bounded():
    assert thin(5, 10).tolist() == [0, 1, 2, 3, 4]
    assert thin(1001, 11).tolist() == list(range(0, 1001, 100))


def test_density_range_spans_ten_nats():
    a = np.array([-1000.0, -3.0, 2.0, np.nan, -np.inf])
    low, high = density_range(a)
    assert high == pytest.approx(2.0, abs=0.02)
    assert high - low == pytest.approx(10)


def test_rounds_of_a_phase_are_joined():
    rows = [
        {"phase": p, "epoch": e, "train": 1.0 + e, "validation": None}
        for p in ("a", "b", "a", "b")
        for e in (1, 2, 3)
    ]
    figures = learning_figures(rows)
    assert [f.title for f in figures] == ["Phase: a", "Phase: b"]
    (variant,) = figures[0].variants
    assert [s.x0 for s in variant.plot.layout.shapes] == [3.5]
    assert [t.name for t in variant.plot.data] == ["train", "lowest train"]
    assert "Lowest train loss: 2 in epoch 1" in figures[0].caption


def test_surface_with_gaps_is_drawn(all_contents):
    view = all_contents["surface"]().views[0]
    log_prob = view.model.log_prob.copy()
    log_prob[0, 0] = np.nan
    bad = dataclasses.replace(view, model=dataclasses.replace(view.model, log_prob=log_prob))
    page = pages.html(pages.Content(title="t", views=[bad]))
    assert "1 of 1,600 vertices of the learned manifold" in page
    drawn = bad.model.x[np.isfinite(log_prob)]
    (trace,) = manifold_figure([bad], None, ["x", "y", "z"]).variants[0].plot.data[:1]
    corners = np.stack([trace.i, trace.j, trace.k], -1)
    assert len(corners) == 2 * (39**2 - 1)
    assert len(np.unique(corners)) == len(drawn)


def picture(drawing: dict) -> np.ndarray:
    """The pixels of a figure of pictures, shape (height, width, 4)."""
    from PIL import Image

    kind, _, text = drawing["data"][0]["source"].partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(text))))


def test_images_are_shown_in_place_of_columns(all_contents):
    content = all_contents["images"]()
    page = pages.html(content)
    titles = re.findall(r"<h3>(.*?)</h3>", without_library(page))
    pictured = ["Data", "Samples", "Projections", "Worst reconstructions", "Latent space in images"]
    assert titles[: len(pictured)] == pictured
    assert "Data and model samples" not in page
    drawings = [variant for (variant,) in specs(page)[: len(pictured)]]
    projected, worst, decoded = drawings[2:]
    assert projected["layout"]["yaxis"]["ticktext"] == ["image", "projection", "difference"]
    assert content.worst is not None
    first = f"x[{content.worst.rows[0]:.0f}]<br>distance {content.worst.distance[0]:.3g}"
    assert worst["layout"]["xaxis"]["ticktext"][0] == first
    assert decoded["layout"]["yaxis"]["ticktext"] == list("edcba")
    assert pages.warnings_of(content) == []
    # Eight pixels become 32, and two lie between.
    cells = [picture(drawing)[::34, ::34] for drawing in drawings]
    assert [each.shape[:2] for each in cells] == [(4, 8), (4, 8), (3, 10), (3, 10), (5, 6)]
    shown = picture(worst)[:32:4, :32:4, :3] / 255
    x = content.held_out.x
    low, high = np.quantile(x, [0.001, 0.999])
    np.testing.assert_allclose(
        shown, ((content.worst.x[0] - low) / (high - low)).clip(0, 1), atol=0.002
    )


def test_images_without_a_manifold_have_no_empty_panels(all_contents):
    whole = all_contents["images"]()
    points = pages.Points(whole.held_out.x, whole.held_out.log_prob)
    content = pages.Content(title="t", held_out=points, samples=whole.samples)
    page = without_library(pages.html(content))
    (section,) = re.findall(r'<section id="images">(.*?)</section>', page, re.S)
    assert re.findall(r"<h3>(.*?)</h3>", section) == ["Data", "Samples"]


def test_a_picture_does_not_depend_on_the_unit(all_contents):
    x = all_contents["images"]().samples
    figures = [
        image_figures(pages.Content(title="t", train=pages.Points(each)))[0]
        for each in (3 * x - 1, 255 * x - 30, x)
    ]
    one, other, plain = (picture(each.variants[0].plot.to_plotly_json()) for each in figures)
    np.testing.assert_allclose(one.astype(int), other, atol=1)
    assert (one.min(), one.max()) == (0, 255)
    # Brightness from 0 to 1 is taken as it is.
    np.testing.assert_allclose(plain[:32:4, :32:4, :3], 255 * x[0], atol=0.5)


@pytest.mark.parametrize("shape", [(8, 6), (8, 6, 1), (8, 6, 2), (40, 200, 3)])
def test_images_of_any_size_and_number_of_channels_make_pictures(shape):
    x = np.random.default_rng(0).normal(size=(4, *shape))
    content = pages.Content(title="t", train=pages.Points(x), samples=np.full((12, *shape), np.nan))
    data, samples = image_figures(content)[:2]
    assert ("mean of 2 channels" in data.caption) == (shape == (8, 6, 2))
    high, wide = (32, 24) if shape[0] == 8 else (19, 96)
    drawn = picture(data.variants[0].plot.to_plotly_json())
    assert drawn.shape == (high, 4 * (wide + 2) - 2, 4)
    dark = picture(samples.variants[0].plot.to_plotly_json())
    assert dark[0, 0].tolist() == [0, 0, 0, 255]
    assert dark[-1, -1].tolist() == [0, 0, 0, 0]  # 12 in rows of 8: the last row is half empty
    assert image_figures(pages.Content(title="t", train=pages.Points(x.reshape(4, -1)))) == []
