"""Sizes of networks that are left to choose, and what earlier versions remember of them."""

import json

import equinox as eqx
import jax.random as jr
import pytest

import mflows as mf
from mflows.models import rebuild
from mflows.models.building import by_size, directions


def arguments(build, dim: int, **settings) -> dict:
    flow = eqx.filter_eval_shape(build, jr.key(0), (dim,), 2, **settings)
    return json.loads(flow.built[1])


@pytest.mark.parametrize("build", [mf.models.m_flow, mf.models.me_flow, mf.models.pae])
def test_sizes_are_chosen_by_the_number_of_features_and_remembered(build):
    few, many = arguments(build, 7), arguments(build, 8)
    assert (few["latent_layers"], few["bins"]) == (3, 10)
    assert (many["latent_layers"], many["bins"]) == (6, 6)
    assert "affine" not in few or not few["affine"]
    assert "affine" not in many or many["affine"]
    own = arguments(build, 8, bins=12, latent_layers=1)
    assert (own["bins"], own["latent_layers"]) == (12, 1)


@pytest.mark.parametrize(
    ("settings", "affine"),
    [({}, False), ({"rank": 4}, True), ({"rank": 4, "affine": False}, False)],
)
def test_ambient_layers_are_affine_where_data_are_turned(settings, affine):
    """Principal directions reach beyond the interval of splines."""
    small = {"width": 4, **settings}
    assert arguments(mf.models.pie, 8, **small)["affine"] == affine
    flow = eqx.filter_eval_shape(mf.models.ambient_flow, jr.key(0), (8,), layers=1, **small)
    assert json.loads(flow.built[1])["affine"] == affine


def test_many_features_are_not_mixed_by_a_matrix_of_all():
    sizes = {"linear": None, "rank": None}
    assert by_size({"shape": (100,), **sizes})["linear"]
    assert not by_size({"shape": (101,), **sizes})["linear"]
    assert by_size({"shape": (5000,), "linear": None, "rank": 40})["linear"]
    assert not by_size({"shape": (8,), "linear": False, "rank": None})["linear"]


@pytest.mark.parametrize(
    ("network", "shape", "n", "bent"),
    [
        ("dense", (1000,), 2, 1000),
        ("dense", (1001,), 2, 256),
        ("dense", (32, 32, 3), 100, 400),
        ("dense", (1001,), 900, 1001),
        ("convolutional", (32, 32, 3), 2, 64),
        ("convolutional", (6, 6, 1), 2, 36),
        ("transformer", (32, 32, 3), 20, 80),
    ],
)
def test_runs_of_many_features_bend_in_some_directions(network, shape, n, bent):
    assert directions(network, shape, n) == bent


def test_a_flow_of_an_earlier_version_has_splines():
    flow = eqx.filter_eval_shape(mf.models.m_flow, jr.key(0), (8,), 2, chart_layers=1)
    name, known = flow.built
    before = json.loads(known)
    assert before.pop("affine")
    before |= {"linear": False}
    again = eqx.filter_eval_shape(rebuild, jr.key(0), (name, json.dumps(before)))
    assert json.loads(again.built[1]) == {**before, "affine": False}
