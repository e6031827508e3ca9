r"""Variational autoencoder (Kingma & Welling 2014, arXiv 1312.6114).

    p(x) = integral N(z; g(u), sigma^2 1) N(u; 0, 1) du,    q(u | z) = N(m(z), s(z)^2)

with z the scaled data, free decoder and encoder networks and a learned noise sigma. The density is
ambient, and an integral without closed form. With weights

    w(u) = N(z; g(u), sigma^2) N(u; 0, 1) / q(u | z) |dz/dx|,    u ~ q

E log w is the evidence lower bound (ELBO), and  E log mean_k w(u_k)  the importance-weighted bound
(Burda et al. 2016, arXiv 1509.00519), which rises to log p(x) as the number of draws grows.
"""

from typing import Any

import jax.numpy as jnp
import jax.random as jr
from flowjax.distributions import StandardNormal
from jax.scipy.stats import norm
from jaxtyping import Array, PRNGKeyArray, Scalar
from paramax import unwrap

from mflows.charts import Composed, Encoded, Generator, NoisyGenerator
from mflows.flow import Flow
from mflows.models.building import (
    conditions,
    decoder,
    encoder,
    placement_for,
    point,
    remembered,
    size,
)
from mflows.nets import GaussianEncoder
from mflows.volume import Intractable

REASON = (
    "Expected a system with a tractable density; got a VAE, whose density is an integral over its "
    "latent space. Ask for a bound, mflows.metrics.importance_weighted_bound(flow, data, key); "
    "sample, encode, decode, project and distance are there too."
)


@remembered
def vae(
    key: PRNGKeyArray,
    shape: tuple[int, ...],
    latent_dim: int,
    cond_shape: tuple[int, ...] | None = None,
    *,
    noise: float = 0.1,
    width: int = 64,
    blocks: int = 2,
    tails: bool = False,
    network: str = "dense",
) -> Flow:
    """A variational autoencoder with a Gaussian encoder and learned observation noise.

    Its samples are decoded latent draws, without the noise. Given a condition, decoder and encoder
    depend on it, as the latent density does not. ``log_prob`` raises `mflows.charts.Unavailable`.

    Arguments are those of `pae`, though the number n of latent coordinates may exceed D. ``noise``
    is the observation noise sigma at first, in units of the scaled data.
    """
    shape, dim = point(shape)
    decoder_key, encoder_key = jr.split(key)
    given: Any = {"cond_size": size(cond_shape), "width": width, "blocks": blocks}
    given |= {"network": network}
    generator = Generator(decoder(decoder_key, latent_dim, shape, **given), shape)
    mean, spread = (encoder(key, shape, latent_dim, **given) for key in jr.split(encoder_key))
    chart = Encoded(NoisyGenerator(generator, noise=noise), GaussianEncoder(mean, spread))
    placement = placement_for(network, shape, min(latent_dim, dim), tails=tails)
    latent, placed = StandardNormal((latent_dim,)), conditions(cond_shape)
    return Flow(chart.then(placement), latent, Intractable(REASON), conditions=placed)


def log_weight(flow: Flow, x: Array, condition: Array | None, key: PRNGKeyArray) -> Scalar:
    """Log w(u) of one point for one draw of u from the encoder.

    Raises:
        TypeError: If ``flow`` is not a variational autoencoder.
    """
    flow = unwrap(flow)
    match flow.chart:
        case Composed(
            inner=Encoded(chart=NoisyGenerator() as decoder, encoder=GaussianEncoder() as encoder),
            bijection=scaling,
        ):
            pass
        case _:
            raise TypeError("Expected a variational autoencoder, as built by mflows.models.vae.")
    z, log_det = scaling.inverse_and_log_det(x)
    mean = encoder(z.ravel(), condition)
    scale, log_scale = encoder.scale_and_log(z.ravel(), condition)
    drawn = jr.normal(key, mean.shape)
    u = mean + scale * drawn
    seen = norm.logpdf(z, decoder.decode(u, condition), jnp.exp(decoder.log_noise)).sum()
    proposed = (norm.logpdf(drawn) - log_scale).sum()
    return seen + flow.latent_log_prob(u, condition) - proposed + log_det
