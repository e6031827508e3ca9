"""The arm against differences, quadrature over its poses, and itself."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from mflows.simulators import (
    Arm,
    HasDistance,
    HasJointScore,
    HasLatents,
    HasLogProb,
    HasSurface,
    Simulator,
    named,
)

ARM = Arm(2, 8)
THETA = jnp.linspace(-1, 1, 40)[:, None]


def test_it_knows_its_truth():
    for known in (Simulator, HasLogProb, HasDistance, HasSurface, HasLatents, HasJointScore):
        assert isinstance(ARM, known)
    arm = named("arm+joints=4+size=16")
    assert (arm.latent_dim, arm.shape) == (4, (16, 16, 3))


def test_pictures_are_within_the_range_of_levels_and_the_arm_within_the_picture():
    for joints in (1, 3, 8):
        x = np.asarray(Arm(joints, 16).simulate(jr.key(0), THETA))
        assert x.min() >= 0
        assert x.max() <= 1
        border = np.ones(x.shape[1:3], bool)
        border[1:-1, 1:-1] = False
        assert np.abs(x[:, border] - x[0, 0, 0]).max() < 0.05


def test_the_log_volume_is_that_of_differences():
    z, step = np.array([[0.3, -0.4], [-1.0, 0.9]]), 1e-5
    for each in z:
        ends = np.asarray(ARM.embed(each + step * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]])))
        jacobian = np.stack([(ends[0] - ends[1]).ravel(), (ends[2] - ends[3]).ravel()]) / step / 2
        expected = np.linalg.slogdet(jacobian @ jacobian.T)[1] / 2
        np.testing.assert_allclose(ARM.log_volume(each), expected, rtol=1e-7)


def test_the_density_of_poses_integrates_to_one_and_is_that_of_the_draws():
    axis = np.linspace(-4, 4, 161)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    theta = np.array([0.7])
    log_density = ARM.log_prob_of(grid, theta) + ARM.log_volume(grid)
    density = np.exp(np.asarray(log_density)) * 0.05**2
    assert density.sum() == pytest.approx(1, abs=1e-6)
    z = np.asarray(ARM.latents(jr.key(1), jnp.broadcast_to(theta, (20_000, 1))))
    np.testing.assert_allclose(z.mean(0), np.einsum("ij,ijk->k", density, grid), atol=0.02)
    expected = np.einsum("ij,ijk,ijl->kl", density, grid, grid)
    np.testing.assert_allclose(z.T @ z / len(z), expected, atol=0.02)


def test_the_joint_score_has_the_score_as_its_mean():
    drawn = ARM._drawn(jr.key(2), jnp.broadcast_to(jnp.array([0.2]), (4000, 1)))
    assert abs(float(drawn.joint_score.mean())) < 4 * float(drawn.joint_score.std()) / 4000**0.5
    score = jax.vmap(jax.grad(ARM.latent_log_prob, 1), (0, None))(drawn.x, jnp.array([0.2]))
    # E[joint score | z] is the score: their products with any function of z have one mean.
    noise = np.tanh(drawn.x[:, 0]) * np.asarray(drawn.joint_score - score)[:, 0]
    assert abs(noise.mean()) < 4 * noise.std() / 4000**0.5


def test_a_picture_leads_back_to_its_pose():
    theta = THETA[:8]
    z = ARM.latents(jr.key(3), theta)
    x = ARM.embed(z)
    np.testing.assert_allclose(ARM.unembed(x), z, atol=1e-4)
    np.testing.assert_allclose(ARM.distance(x), 0, atol=1e-5)
    np.testing.assert_allclose(ARM.log_prob(x, theta), ARM.log_prob_of(z, theta), atol=1e-3)
    off = x[0] + 0.05 * jr.normal(jr.key(4), x[0].shape)
    distance = float(ARM.distance(off))
    assert 0 < distance <= float(jnp.linalg.norm(off - x[0]))
    around = ARM.embed(ARM.unembed(off) + 0.01 * np.array([[1, 0], [-1, 0], [0, 1], [0, -1]]))
    assert (jnp.sqrt(jnp.sum((around - off) ** 2, axis=(1, 2, 3))) > distance).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Arm(9), "Expected 1 to 8 joints; got 9"),
        (lambda: Arm(2, 4), "Expected a size of 8 to 1024 pixels; got 4"),
        (lambda: named("arm+joints"), "out of joints=NUMBER, size=NUMBER; got 'joints'"),
        (lambda: named("arm+joints=x"), "got 'joints=x'"),
        (lambda: named("wbf-higgs+hadrons=1"), "out of hadrons; got 'hadrons=1'"),
        (lambda: ARM.distance(np.zeros((8, 8))), r"\(\.\.\., 8, 8, 3\) for Arm; got \(8, 8\)"),
        (lambda: ARM.embed(np.zeros(3)), r"z of shape \(\.\.\., 2\) for Arm; got \(3,\)"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
