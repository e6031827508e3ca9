"""The registry is complete: nothing public escapes the invariants."""

import inspect

import equinox as eqx
import jax
import pytest
from flowjax.bijections import AbstractBijection
from tests.registry import CHARTS, FLOWS, FREE_CHARTS, LAYERS, VOLUMES

import mflows as mf
from mflows.charts import Chart
from mflows.volume import GradientOnly, Volume


def _classes(package):
    return [
        thing
        for name in package.__all__
        if inspect.isclass(thing := getattr(package, name)) and issubclass(thing, eqx.Module)
    ]


def _contains(tree, kind) -> bool:
    found = []

    def look(node):
        found.append(isinstance(node, kind))
        return False

    jax.tree.flatten(tree, is_leaf=look)
    return any(found)


@pytest.fixture(scope="module")
def built():
    """Everything, by its table."""
    tables = {
        "charts": CHARTS | FREE_CHARTS,
        "flows": FLOWS,
        "layers": LAYERS,
        "volumes": VOLUMES,
    }
    return {name: [build() for build in table.values()] for name, table in tables.items()}


def test_every_public_chart_and_layer_is_registered(built):
    kinds = set(_classes(mf.charts)) - {Chart}
    everything = [thing for things in built.values() for thing in things]
    # The spline that a coupling layer applies lives in its constructor, not in the tree.
    constructed = [
        layer.transformer_constructor(0.0)
        for layer in everything
        if hasattr(layer, "transformer_constructor")
    ]
    missing = {
        kind.__name__
        for kind in kinds
        if not any(_contains(thing, kind) for thing in [*everything, *constructed])
    }
    assert not missing


def test_every_public_volume_is_registered(built):
    abstract = {Volume, GradientOnly}
    assert set(_classes(mf.volume)) - abstract == set(map(type, built["volumes"]))


def test_every_public_latent_density_is_registered(built):
    latents = [flow.latent for flow in built["flows"]]
    missing = [k for k in _classes(mf.latents) if not any(_contains(it, k) for it in latents)]
    assert not missing


def test_every_builder_of_models_is_registered(built):
    registered = {flow.built[0] for flow in built["flows"] if flow.built}
    assert registered == set(mf.models.BUILDERS)


def test_entries_are_what_their_table_says(built):
    kinds = {"charts": Chart, "flows": mf.Flow, "layers": AbstractBijection, "volumes": Volume}
    for name, kind in kinds.items():
        assert all(isinstance(thing, kind) for thing in built[name])
