r"""Amortised inference: a flow of theta given x, trained once for all observations.

    q(theta | x) = q(theta | u),    u = e(x)

with e the encoder of a trained likelihood. The networks of q see the n latent coordinates of x, not
its D numbers, so redundant observables cost nothing. They do not see how far x lies off the
manifold.
"""

import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import cast

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from flowjax.distributions import AbstractDistribution
from jaxtyping import PRNGKeyArray
from paramax import non_trainable

from mflows.charts import BijectionChart, Chart, Placement, placement_of
from mflows.conditions import Conditions
from mflows.flow import RESOLVED, Flow
from mflows.layers import outermost
from mflows.layers.box import Box
from mflows.models.building import remembered, spline_flow


class GivenPoint(AbstractDistribution):
    """A density given latent coordinates u, as one given the point x that they are of.

    Args:
        likelihood: Its chart encodes points, less the mean that ``likelihood.centred`` takes off.
            The coordinates are standardised as its latent density does it. Neither trains.
        density: Distribution of shape (k,) with a condition of shape (n,).
    """

    chart: Chart
    scaling: Placement
    density: AbstractDistribution  # the last part: where its own placement is looked for
    shape: tuple[int, ...]
    cond_shape: tuple[int, ...]

    def __init__(self, likelihood: Flow, density: AbstractDistribution):
        scaling, n = placement_of(likelihood.latent), likelihood.latent_dim
        if scaling is None or scaling.shape != (n,):
            scaling = Placement.identity(n)
        self.chart, self.scaling = non_trainable((likelihood.own().chart, scaling))
        self.density = density
        self.shape = density.shape
        self.cond_shape = (self.chart.dim,)

    def _encoded(self, x):
        u = self.chart.encode(x.reshape(self.chart.shape))
        return self.scaling.inverse(u)

    def _log_prob(self, x, condition=None):
        return self.density._log_prob(x, self._encoded(condition))

    def _sample(self, key, condition=None):
        return self.density._sample(key, self._encoded(condition))

    def _sample_and_log_prob(self, key, condition=None):
        return self.density._sample_and_log_prob(key, self._encoded(condition))


def posterior_flow(
    key: PRNGKeyArray,
    likelihood: Flow,
    *,
    low: float | Sequence[float] | None = None,
    high: float | Sequence[float] | None = None,
    layers: int = 3,
    bins: int = 10,
    interval: float = 6.0,
    width: int = 64,
    blocks: int = 1,
) -> Flow:
    """A flow of theta given x, q(theta | x), that sees x through the chart of a likelihood.

    Train it on the pairs of the likelihood, the other way round, with theta drawn from the prior:

        flow = mf.models.posterior_flow(key, likelihood, low=[-1, -1], high=[1, 1])
        data = mf.data.Data(theta, condition=x)
        flow = mf.fit(key, flow, data, mf.recipes.maximum_likelihood()).flow
        flow.sample(key, (1000,), x[0])

    It is the posterior of one observed point and of the prior of training, up to what training
    left. The prior cannot be changed afterwards, and several independent points have no common
    q: for both, sample the likelihood's posterior, ``mflows.inference.nuts``. An x off the manifold
    gets the posterior of its projection without a word: ``likelihood.distance(x)`` tells, and
    ``mflows.inference.log_likelihood(likelihood, x[None])`` warns.

    Args:
        key: Random key for the initial weights.
        likelihood: A trained flow of x given theta, of shape (k,), built by a function of
            ``mflows.models``. Its chart is copied and does not train further. The angles of `fom`
            have a seam, across which q is not continuous.
        low: Lower bounds of theta, k numbers or one for all, for a prior in a box; ``None`` for one
            without bounds. Outside of the box there are no samples, and ``log_prob`` is -inf.
        high: Upper bounds of theta.
        layers: Number of spline coupling layers.
        bins: Number of spline bins.
        interval: Half width of the splines' interval, in units of the scaled theta.
        width: Width of the conditioner networks.
        blocks: Number of residual blocks in the conditioner networks.

    Returns:
        A flow of shape (k,) with a condition x of shape (D,), points that are no vectors being
        flattened.

    Raises:
        ValueError: If the likelihood has no theta, or a manifold that depends on it, or was not
            built by a function of ``mflows.models``; or for bounds that are not k pairs of finite
            numbers apart.
    """
    name, arguments = likelihood.built or ("hand", "{}")
    _builder(name)
    if likelihood.cond_shape is None or likelihood.chart.cond_shape is not None:
        raise ValueError(
            "Expected a likelihood with a condition theta on which its latent density depends, not "
            f"its chart, so that x can be encoded without theta; got chart and latent density with "
            f"conditions {likelihood.chart.cond_shape} and {likelihood.latent.cond_shape}."
        )
    splines = dict(layers=layers, bins=bins, interval=interval, width=width, blocks=blocks)
    encoder = {"model": name, "arguments": json.loads(arguments)}
    bounds = _bounds(low, high, likelihood.cond_shape[0])
    flow = of_parts(key, likelihood.cond_shape, encoder, bounds, splines)
    latent = GivenPoint(likelihood, cast(GivenPoint, flow.latent).density)
    found = latent, _conditions(likelihood)
    return eqx.tree_at(lambda f: (f.latent, f.conditions), flow, found)


@partial(remembered, name="posterior_flow")
def of_parts(
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    encoder: dict,
    bounds: list[list[float]] | None,
    splines: dict,
) -> Flow:
    """A `posterior_flow` whose encoder has yet to be put in, for `rebuild` and ``load``.

    ``encoder`` is the likelihood's builder and its arguments, as ``flow.json`` has them.
    """
    blank = _builder(encoder["model"])(key, **encoder["arguments"])
    density = spline_flow(key, shape[0], blank.latent_dim, **splines)
    chart = BijectionChart(Placement.identity(shape) if bounds is None else Box(*np.array(bounds)))
    zeros = np.zeros(blank.dim)
    conditions = Conditions(Placement.identity(zeros.shape), zeros, zeros)
    return Flow(chart, GivenPoint(blank, density), conditions=conditions)


def _builder(name: str) -> Callable[..., Flow]:
    """The function that builds likelihoods of this name."""
    from mflows.models import BUILDERS  # of which this file's is one

    if name not in BUILDERS:
        raise ValueError(
            "Expected a likelihood built by a function of mflows.models, or of a system that "
            f"mflows.systems.register has added; got one built by {name}."
        )
    return BUILDERS[name]


def _conditions(likelihood: Flow) -> Conditions:
    """Points as conditions: less the mean that the likelihood takes off, and nothing else.

    The range of training is that mean alone; it is known, so `fit` widens it and changes no more.
    """
    placement, zeros = outermost(likelihood.chart), np.zeros(likelihood.dim)
    mean = zeros if placement is None else placement.centre.ravel()
    return Conditions(Placement(mean, np.ones_like(mean)), zeros, zeros)


def _bounds(low, high, size: int) -> list[list[float]] | None:
    """Lower and upper bounds of a box in numbers of Python, ``None`` without any."""
    if low is None and high is None:
        return None
    try:
        ends = [np.asarray(np.nan if end is None else end, dtype=float) for end in (low, high)]
        ends = [np.full(size, end) if end.ndim == 0 else end for end in ends]
    except (TypeError, ValueError):
        ends = []
    if not ends or not all(end.shape == (size,) and np.isfinite(end).all() for end in ends):
        raise ValueError(
            f"Expected low and high of {size} finite numbers each, one for each parameter, or of "
            f"one for all; got {low} and {high}. A parameter without bounds, or with one, is "
            "inferred in other units, such as its logarithm, or in a box that is wide enough."
        )
    steps = np.maximum(*np.abs(ends)) * jnp.finfo(jnp.result_type(float)).eps
    if not (steps < RESOLVED * (ends[1] - ends[0])).all():
        raise ValueError(
            f"Expected low < high, apart in JAX's precision; got {low} and {high}. Take an offset "
            "off the parameters."
        )
    return [end.tolist() for end in ends]
