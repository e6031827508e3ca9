"""The table of systems, and the map in docs/systems.md, cell by cell, against what they do."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
import pytest
from paramax import unwrap
from tests.registry import FLOWS

import mflows as mf
from mflows import systems
from mflows.charts import BijectionChart, Inverted, Unavailable
from mflows.latents import Thickened
from mflows.training.epoch import trainable
from mflows.volume import Intractable

PAGE = Path(__file__).resolve().parents[1] / "docs" / "systems.md"
WORDS = {"ambient": "in space", "on manifold": "on the manifold", "no": "none"}
REGISTERED = {
    "af": "ambient flow of a plane",
    "fom": "density on a sphere",
    "pie": "pseudo-invertible encoder",
    "m-flow": "curve",
    "me-flow": "curve with an encoder",
    "pae": "autoencoder",
    "ripf": "relaxed injective flow",
    "vae": "variational autoencoder",
    "gan": "generative adversarial network",
}


def documented() -> dict[str, dict[str, str]]:
    """System -> column -> the first word of the cell, without its link."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    table = [row for row in rows if len(row) == len(rows[0])]
    headers, *body = table
    return {
        row[0].strip("`"): {
            header: re.sub(r"\[(.*?)\]\(.*?\)", r"\1", cell)
            for header, cell in zip(headers[1:], row[1:], strict=True)
        }
        for row in body
    }


@pytest.fixture(scope="module", params=list(REGISTERED))
def case(request):
    flow = FLOWS[REGISTERED[request.param]]()
    x = flow.sample(jr.key(0), (5,)) + 0.3
    return flow, x, documented()[request.param]


def test_every_system_has_a_row_that_says_what_the_table_says():
    said = {name: (row["manifold"], WORDS[row["density"]]) for name, row in documented().items()}
    of_x = [row for row in systems.SYSTEMS.values() if row.of == "x"]
    assert said == {row.name: (row.manifold, row.density) for row in of_x}
    assert set(said) == set(REGISTERED)
    readme = (PAGE.parents[1] / "README.md").read_text()
    assert all(f"`{name}`" in readme for name in systems.SYSTEMS)


def test_every_recipe_trains_a_system_and_every_row_can_be_used():
    named = {name for row in systems.SYSTEMS.values() for name in row.recipes}
    assert named == set(systems.RECIPES)
    for row in systems.SYSTEMS.values():
        if row.of == "x":
            assert FLOWS[REGISTERED[row.name]]().built[0] == row.build.__name__
        assert row.takes_latent_dim == (row.name not in ("af", "fom", "posterior-flow"))
        row.check_settings({name: 1 for name in ("width", "bins") if name in row.settings})


def test_the_table_needs_no_jax():
    code = "import sys, mflows.systems; assert not {'jax', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_name_with_settings_and_recipe():
    pie = systems.parse("pie+conditional_chart+linear")
    assert pie == (systems.SYSTEMS["pie"], None, {"conditional_chart": True, "linear": True})
    assert systems.parse("af:denoising").recipe == "denoising"
    sized = systems.parse("pae+network=transformer+width=32").settings
    assert sized == {"network": "transformer", "width": 32}
    for text, message in {
        "van": "Expected a model out of m-flow, .*; got 'van'",
        "af:scandal": "Expected a recipe of 'af' out of maximum-likelihood, .*, denoising; got",
        "af+depth": "Expected settings of 'af' out of layers, .*; got 'depth'",
        "af+width": "Expected width to be of type int; got True",
        "af+width=wide": "Expected width to be of type int; got 'wide'",
        "posterior-flow": "Expected a density of x; got 'posterior-flow', one of theta given x",
    }.items():
        with pytest.raises(ValueError, match=message):
            systems.parse(text)


@patch.dict(systems.SYSTEMS)
@patch.dict(systems.RECIPES)
def test_a_system_of_one_s_own():
    mine = replace(systems.SYSTEMS["m-flow"], name="mine", recipes=("slow",))
    with pytest.raises(ValueError, match="Expected a recipe out of .*; got 'slow'"):
        systems.register(mine)
    systems.RECIPES["slow"] = mf.recipes.simultaneous
    systems.register(mine)
    assert systems.parse("mine:slow").system.build is mf.models.m_flow
    with pytest.raises(ValueError, match="settings of the recipe 'slow' to be none; got 'weight'"):
        systems.check_recipe_settings("slow", {"weight": 1.0})
    assert mf.models.BUILDERS["m_flow"] is not mf.models.m_flow  # but that of flows of old, too


def test_manifold(case):
    flow, _, cells = case
    learns_chart = any(
        eqx.is_array(leaf) for leaf in jax.tree.leaves(trainable(flow, ("chart",))[0])
    )
    none = flow.latent_dim == flow.shape[0]
    assert cells["manifold"] == ("none" if none else "learned" if learns_chart else "prescribed")


def test_generative(case):
    flow, _, cells = case
    assert cells["samples"] == "yes"
    assert flow.sample(jr.key(1), (3,)).shape == (3, *flow.shape)


def test_density(case):
    flow, x, cells = case
    if cells["density"] == "no":
        with pytest.raises(Unavailable):
            flow.log_prob(x)
        return
    assert np.isfinite(flow.log_prob(x)).all()
    whole = isinstance(flow.chart, BijectionChart)
    assert cells["density"] == ("ambient" if whole else "on manifold")


def test_restricted_to_the_manifold(case):
    """Samples are decoded from n numbers; unless the density spreads beside them, that is all."""
    flow, _, cells = case
    ambient = flow.latent_dim == flow.shape[0] or isinstance(flow.volume, Intractable)
    assert cells["restricted"] == ("no" if ambient else "yes")


def test_representation(case):
    flow, x, cells = case
    u = flow.encode(x)
    thin = isinstance(flow.latent, Thickened)
    assert cells["representation"] == ("n" if u.shape[-1] < flow.shape[0] or thin else "D")
    if thin:
        assert mf.models.on_manifold(flow).encode(x).shape[-1] < flow.shape[0]


def test_projection_and_reconstruction_error(case):
    flow, x, cells = case
    sheet = mf.models.on_manifold(flow) if isinstance(flow.latent, Thickened) else flow
    moved = np.linalg.norm(np.asarray(sheet.project(x) - x), axis=-1)
    np.testing.assert_allclose(sheet.distance(x), moved, atol=1e-10)
    there = "yes" if moved.max() > 1e-3 else "no"
    assert cells["projection"] == cells["reconstruction error"] == there


def test_likelihood_after_projection(case):
    """Exactly that of the projection where the encoder inverts the decoder."""
    flow, x, cells = case
    sheet = mf.models.on_manifold(flow) if isinstance(flow.latent, Thickened) else flow
    if cells["likelihood after projection"] == "no":
        assert cells["density"] == "no" or sheet.latent_dim == sheet.shape[0]
        return
    u = sheet.encode(x)
    one = eqx.filter_jit(lambda flow, u: jax.vmap(_density_at, (None, 0))(flow, u))
    np.testing.assert_allclose(sheet.log_prob(x), one(sheet, u), rtol=1e-8)
    if cells["likelihood after projection"] == "yes" and not isinstance(flow.chart, Inverted):
        at_projection = sheet.log_prob(sheet.project(x))
        np.testing.assert_allclose(sheet.log_prob(x), at_projection, atol=1e-3)


def _density_at(flow, u):
    flow = unwrap(flow)
    return flow.latent_log_prob(u) - flow.volume.log_volume(flow.chart, u)
