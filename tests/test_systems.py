"""The map of systems in docs/systems.md, cell by cell, against what the systems do."""

import re
from pathlib import Path

import equinox as eqx
import jax
import jax.random as jr
import numpy as np
import pytest
from paramax import unwrap
from tests.registry import FLOWS

import mflows as mf
from mflows import runs
from mflows.charts import BijectionChart, Inverted, Unavailable
from mflows.latents import Thickened
from mflows.training.epoch import trainable
from mflows.volume import Intractable

PAGE = Path(__file__).resolve().parents[1] / "docs" / "systems.md"
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


def test_every_model_has_a_row():
    assert set(documented()) == set(runs.MODELS) == set(REGISTERED)


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
