r"""Stacks of spline coupling layers on the torus (Rezende et al. 2020, arXiv 2002.02428).

A layer moves half of the angles, each by a circular spline and a rotation whose parameters are a
network of the other angles. The network sees cosines and sines, so the layer is a diffeomorphism
of the torus: there is no seam where angles jump from pi to -pi.
"""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
from flowjax.bijections import AbstractBijection, Sandwich
from jaxtyping import PRNGKeyArray

from mflows.layers.rational_quadratic import CircularSpline
from mflows.layers.splines import IDENTITY_SCALE, coupling, permutations, permute, step, transformer
from mflows.layers.stack import Stack
from mflows.nets import AngularMLP, check_depth


def circular_spline_stack(
    key: PRNGKeyArray,
    dim: int,
    *,
    cond_dim: int | None = None,
    layers: int = 3,
    bins: int = 10,
    width: int = 64,
    blocks: int = 1,
) -> AbstractBijection:
    """A bijection of ``dim`` angles, close to the identity, with results in [-pi, pi].

    Args:
        key: Random key for weights and permutations.
        dim: Number of angles, at least 1. For one angle the layers are circular splines whose
            parameters depend on the condition alone.
        cond_dim: Dimension of the condition, ``None`` for an unconditional bijection.
        layers: Number of coupling layers.
        bins: Number of bins of every spline.
        width: Width of the conditioner networks.
        blocks: Number of residual blocks in the conditioner networks.
    """
    of, moved = transformer(CircularSpline, bins), step(dim)

    def layer(key: PRNGKeyArray, order: jnp.ndarray) -> AbstractBijection:
        conditioner = AngularMLP(
            key,
            dim - moved,
            cond_dim or 0,
            of.parameters * moved,
            width=width,
            blocks=blocks,
            scale=IDENTITY_SCALE,
        )
        return Sandwich(coupling(key, dim, of, conditioner, cond_dim), permute(order))

    check_depth("layers", layers)
    keys = jr.split(key, layers + 1)
    return Stack(eqx.filter_vmap(layer)(keys[:-1], permutations(keys[-1], dim, layers)))
