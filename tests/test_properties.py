"""What holds for flows, tables and configs that Hypothesis draws."""

import inspect
import json
import tempfile
from functools import cache
from typing import get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays, mutually_broadcastable_shapes
from tests.registry import affine_flow, condition_of, disturbed, fom, key, m_flow

import mflows as mf
from mflows.data import Data
from mflows.models import BUILDERS
from mflows.runs import Config
from mflows.saving import arrays as arrays_of
from mflows.saving import fill
from mflows.systems import RECIPES, SYSTEMS

seeds = st.integers(0, 2**32 - 1)

# Flows -----------------------------------------------------------------------------------------


@cache
def affine() -> mf.Flow:
    """Chart and density depend on theta; quick to compile for batches of every size."""
    return affine_flow()


@cache
def undisturbed(name: str) -> mf.Flow:
    match name:
        case "surface":
            return m_flow(2, 3, cond_shape=(2,), chart_layers=2, latent_layers=1)
        case "surface in single precision":
            with jax.enable_x64(False):
                return m_flow(2, 4, chart_layers=2, latent_layers=1)
    return fom(4, "torus", cond_shape=(2,), layers=2)


@st.composite
def flows(draw, *names: str) -> mf.Flow:
    flow = undisturbed(draw(st.sampled_from(names)))
    return disturbed(flow, draw(st.floats(0, 0.4)), draw(st.integers(0, 999)))


@given(
    shapes=mutually_broadcastable_shapes(num_shapes=2, max_dims=2, min_side=0, max_side=2),
    size=st.sampled_from([0.0, 1.0, 100.0]),
    seed=seeds,
)
@settings(max_examples=100)
def test_a_batch_with_any_condition_that_broadcasts_is_a_loop(shapes, size, seed):
    (of_x, of_theta), batch = shapes
    rng = np.random.default_rng(seed)
    x, theta = size * rng.normal(size=(*of_x, 3)), rng.normal(size=(*of_theta, 2))
    score = affine().score(x, theta)
    assert {np.shape(each) for each in score} == {batch}
    every_x, every_theta = np.broadcast_to(x, (*batch, 3)), np.broadcast_to(theta, (*batch, 2))
    for at in np.ndindex(batch):
        alone = affine().score(every_x[at], every_theta[at])
        for found, expected in zip(score, alone, strict=True):
            np.testing.assert_allclose(found[at], expected, rtol=1e-9, atol=1e-12)


@given(flow=flows("surface", "torus"), seed=seeds)
def test_what_is_drawn_lies_on_the_manifold_and_has_the_density_it_is_drawn_with(flow, seed):
    theta = condition_of(flow, 4)
    x, log_prob = flow.sample_and_log_prob(jr.key(seed), (), theta)
    found = flow.score(x, theta)
    assert np.isfinite(found.log_prob).all()
    number = 1.0 if found.condition_number is None else found.condition_number
    np.testing.assert_array_less(np.abs(found.log_prob - log_prob), 1e-8 * number)
    np.testing.assert_array_less(found.distance, 1e-10 * number * (1 + np.abs(x).max()))


@given(
    size=st.floats(0, 1.5),
    seed=st.integers(0, 999),
    x=arrays(
        np.float32,
        (4, 4),
        elements=st.floats(-4, 4, width=32) | st.floats(-100, 100, width=32),
    ),
)
@settings(max_examples=100)
def test_densities_and_distances_are_finite_in_single_precision(size, seed, x):
    with jax.enable_x64(False):
        flow = disturbed(undisturbed("surface in single precision"), size, seed)
        found = flow.log_prob_and_distance(x)
        assert found.log_prob.dtype == jnp.float32
        assert np.isfinite(found.log_prob).all()
        assert np.isfinite(found.distance).all()


# Files -----------------------------------------------------------------------------------------

SMALL = {"width": 8, "blocks": 2, "bins": 6, "starts": 4}
"""Largest settings drawn, 3 for others."""


@st.composite
def settings_of(draw, function, besides: tuple[str, ...] = ()) -> dict:
    """Some of the keyword arguments of a builder or recipe, each of its type."""
    chosen = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not parameter.KEYWORD_ONLY or name in besides:
            continue
        kinds = get_args(parameter.annotation) or (parameter.annotation,)
        values = {
            bool: st.booleans(),
            int: st.integers(1, SMALL.get(name, 3)),
            float: st.floats(0.125, 8),
            type(None): st.none(),
        }
        if draw(st.booleans()) and set(kinds) <= set(values):
            chosen[name] = draw(st.one_of(*(values[kind] for kind in kinds)))
    return chosen


@given(data=st.data(), name=st.sampled_from(sorted(BUILDERS)), seed=seeds)
@settings(max_examples=8)
def test_a_saved_flow_is_loaded_bit_by_bit_whatever_its_settings(data, name, seed):
    build = BUILDERS[name]
    given = data.draw(settings_of(build))
    parameters = inspect.signature(build).parameters
    if "cond_shape" in parameters:
        given["cond_shape"] = data.draw(st.none() | st.tuples(st.integers(1, 3)))
    if "manifold" in parameters:
        given["manifold"] = data.draw(st.sampled_from(["sphere", "torus"]))
    if "encoder" in parameters:
        curve = {"shape": [3], "latent_dim": 1, "cond_shape": [4]}
        given["encoder"] = {"model": "m_flow", "arguments": curve}
        given["bounds"] = data.draw(st.none() | st.just([[0.0] * 4, [1.0] * 4]))
        given["splines"] = {"layers": data.draw(st.integers(1, 3))}
    if "latent_dim" in parameters:
        given["latent_dim"] = data.draw(st.integers(1, 3))
    skeleton = eqx.filter_eval_shape(build, key(0), (4,), **given)  # nothing to compile
    rng = np.random.default_rng(seed)
    values = {
        path: (rng.normal(size=leaf.shape) * 8).astype(leaf.dtype)
        for path, leaf in _leaves(skeleton).items()
    }
    flow = fill(skeleton, values, "this test")
    with tempfile.TemporaryDirectory() as folder:
        mf.save(folder, flow)
        loaded = mf.load(folder)
    assert loaded.built == flow.built
    assert eqx.tree_equal(loaded, flow)
    for path, array in arrays_of(loaded).items():
        np.testing.assert_array_equal(array, values[path], strict=True)


def _leaves(skeleton) -> dict:
    paths, _ = jax.tree_util.tree_flatten_with_path(skeleton)
    shaped = [(path, leaf) for path, leaf in paths if isinstance(leaf, jax.ShapeDtypeStruct)]
    return {jax.tree_util.keystr(path): leaf for path, leaf in shaped}


@given(
    rows=st.integers(2, 60),
    columns=st.integers(1, 3),
    conditional=st.booleans(),
    fraction=st.floats(0, 1, exclude_min=True, exclude_max=True),
    seed=seeds,
)
def test_a_split_is_disjoint_and_complete(rows, columns, conditional, fraction, seed):
    number = np.arange(rows)[:, None]
    theta = number + 0.5 if conditional else None
    data = Data(number + np.zeros(columns), theta, joint_score=theta)
    split = data.split(fraction, seed=seed)
    kept, held_out = (part.x[:, 0] for part in split)
    assert len(kept) >= 1
    assert len(held_out) >= 1
    assert abs(len(held_out) - fraction * rows) <= 1
    np.testing.assert_array_equal(np.sort(np.concatenate([kept, held_out])), np.arange(rows))
    for part in split:
        assert (np.diff(part.x[:, 0]) > 0).all()
        if part.condition is not None:
            np.testing.assert_array_equal(part.condition, part.x[:, :1] + 0.5)
            np.testing.assert_array_equal(part.joint_score, part.condition)
    again = data.split(fraction, seed=seed)
    np.testing.assert_array_equal(again.held_out.x, split.held_out.x)


@st.composite
def configs(draw) -> Config:
    model = draw(st.sampled_from(sorted(SYSTEMS)))
    recipe = draw(st.none() | st.sampled_from(SYSTEMS[model].recipes))
    train = RECIPES[recipe or SYSTEMS[model].recipes[0]]
    positive = st.floats(0, exclude_min=True, allow_infinity=False)
    return Config(
        draw(st.text(min_size=1)),
        latent_dim=draw(st.none() | st.integers(1, 9)),
        model=model,
        recipe=recipe,
        settings=draw(settings_of(SYSTEMS[model].build)),
        recipe_settings=draw(settings_of(train, ("batch_size", "learning_rate"))),
        condition=draw(st.lists(st.text(min_size=1), max_size=3).map(tuple)),
        drop_constant=draw(st.booleans()),
        epochs=draw(st.none() | st.integers(1, (1 << 63) - 1)),
        batch_size=draw(st.none() | st.integers(1, (1 << 63) - 1)),
        learning_rate=draw(positive),
        validation_fraction=draw(st.floats(0, 1, exclude_min=True, exclude_max=True)),
        seed=draw(st.integers(0, (1 << 63) - 1)),
        precision=draw(st.sampled_from([None, "float32", "float64"])),
        simulator=draw(st.none() | st.text()),
    )


@given(configs())
@settings(max_examples=100)
def test_a_config_is_the_same_after_a_round_trip_through_json(config):
    values = json.loads(json.dumps(config.as_dict()))
    assert Config.from_dict(values) == config
