"""SCANDAL: its loss, its gradient, and what it learns, against densities known in closed form."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from flowjax.bijections import AdditiveCondition, Chain
from flowjax.distributions import StandardNormal, Transformed

import mflows as mf
from mflows.charts import Pad, Placement
from mflows.data import Data, DataError
from mflows.training import Batch, LatentScandal, Scandal


class Slope(eqx.Module):
    """theta -> slope * theta."""

    slope: jax.Array

    def __call__(self, theta):
        return self.slope * theta


def line(slope: float) -> mf.Flow:
    """u ~ N(slope theta, 1) on the axis of a plane."""
    shift = AdditiveCondition(Slope(jnp.asarray(slope)), (1,), (1,))
    latent = Transformed(StandardNormal((1,)), Chain([shift]))
    return mf.Flow(Pad(1, 2).then(Placement.identity(2, 1)), latent)


def drawn(count: int, slope: float = 1.5, spread: float = 0.9, seed: int = 0) -> Data:
    """x = slope theta + z + e with z ~ N(0, spread^2), and x ~ N(slope theta, 1) in all.

    Given z, x ~ N(slope theta + z, var(e)): the joint score is slope e / var(e).
    """
    rng = np.random.default_rng(seed)
    theta = rng.uniform(-1, 1, size=(count, 1))
    z, var = spread * rng.normal(size=(count, 1)), 1 - spread**2
    e = np.sqrt(var) * rng.normal(size=(count, 1))
    x = np.hstack((slope * theta + z + e, np.zeros((count, 1))))
    return Data(x, theta, joint_score=slope * e / var)


def batch(data: Data) -> Batch:
    return Batch(*(jnp.asarray(a) for a in (data.x, data.condition, data.joint_score)))


def test_the_loss_is_that_of_a_normal_in_closed_form():
    points, slope = batch(drawn(50)), 0.7
    residual = points.x[:, :1] - slope * points.condition
    nll = jnp.mean(residual**2) / 2 + jnp.log(2 * jnp.pi) / 2
    error = jnp.mean((slope * residual - points.joint_score) ** 2)
    expected = float(nll + 3 * error)
    flow = line(slope)
    np.testing.assert_allclose(float(Scandal(3.0)(flow, points, None)), expected, rtol=1e-10)
    latent = LatentScandal(3.0)
    encoded = latent.prepare(flow, points)
    assert encoded.x.shape == (50, 1)
    np.testing.assert_allclose(float(latent(flow, encoded, None)), expected, rtol=1e-10)


@pytest.mark.parametrize("weight", [0.0, 2.0])
def test_its_minimum_is_the_true_density(weight):
    points = batch(drawn(200_000, spread=0.5))
    slope_gradient = jax.grad(lambda slope: Scandal(weight)(line(slope), points, None))
    at_truth, beside = (abs(float(slope_gradient(slope))) for slope in (1.5, 1.2))
    assert at_truth < 0.05 * beside


def test_a_chart_that_depends_on_theta_needs_the_full_form():
    chart = Pad(1, 2).then(AdditiveCondition(Slope(jnp.ones(2)), (2,), (1,)))
    flow = mf.Flow(chart, StandardNormal((1,)))
    with pytest.raises(ValueError, match="does not depend on theta"):
        LatentScandal().prepare(flow, batch(drawn(4)))


def test_joint_scores_teach_more_than_points():
    slopes = jnp.linspace(0, 3, 301)

    @jax.jit
    def best(points, weight):
        losses = jax.vmap(lambda slope: Scandal(weight)(line(slope), points, None))(slopes)
        return slopes[jnp.argmin(losses)]

    sets = [batch(drawn(20, spread=0.3, seed=seed)) for seed in range(30)]
    without, with_scores = (
        np.square([float(best(points, weight)) - 1.5 for points in sets]).mean()
        for weight in (0.0, 2.0)
    )
    assert with_scores < without / 4


def test_fit_carries_the_joint_score():
    data = drawn(300, spread=0.3)
    density = mf.recipes.scandal(60, batch_size=50, learning_rate=0.1)[-1]
    flow = mf.fit(jr.key(0), line(0.0), data, [density], progress=False).flow
    assert abs(float(flow.latent.bijection.bijections[0].module.slope) - 1.5) < 0.1
    np.testing.assert_allclose(flow.distances.tree, np.zeros(101), atol=1e-12)  # on the line


def test_without_joint_score():
    data = drawn(20)
    with pytest.raises(ValueError, match="Expected data with the joint score"):
        Scandal()(line(1.0), batch(data)._replace(joint_score=None), None)
    with pytest.raises(DataError, match=r"joint score of the shape .* \(20, 1\); got \(20, 2\)"):
        Data(data.x, data.condition, joint_score=np.zeros((20, 2)))
    kept, held_out = data.split(0.5, seed=0)
    both = np.concatenate((kept.joint_score, held_out.joint_score))
    assert sorted(both[:, 0]) == sorted(data.joint_score[:, 0])
