r"""Charts with an encoder of their own: autoencoders.

    Generator   g(u) = a free network, no encoder
    Encoded     g of another chart, e(x) a free network
    Inverted    g of another chart, e(x) = argmin_u |g(u) - x| by nonlinear least squares

A `Generator` is the decoder of a probabilistic autoencoder (Boehm & Seljak 2020, arXiv
2006.05479), a VAE or a GAN; `Encoded` gives it an encoder, or replaces that of a bijective chart as
in the M_e-flow (Brehmer & Cranmer 2020, arXiv 2003.13913). Nothing makes e invert g but training:
projecting twice need not be projecting once. The manifold is where g leads, and densities on it
follow from the pushforward of g alone, exactly.
"""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import optimistix as optx
from equinox import AbstractVar
from jaxtyping import Array, Float, PRNGKeyArray
from paramax import NonTrainable

from mflows.charts.chart import Chart, Composed, Unavailable, common_condition
from mflows.layers.placement import unit_of
from mflows.nets import FreeDecoder, FreeEncoder, GaussianEncoder
from mflows.tangents import pushforward


class Generator(Chart):
    """A free decoder network. It needs no inverse, and has none.

    Args:
        network: From n latent coordinates to D features.
        shape: Shape of a data point, (D,) by default.
    """

    network: FreeDecoder
    shape: tuple[int, ...]
    latent_dim: int
    cond_shape: tuple[int, ...] | None

    def __init__(self, network: FreeDecoder, shape: tuple[int, ...] | None = None):
        self.network = network
        self.shape = (network.out_size,) if shape is None else tuple(shape)
        if self.dim != network.out_size:
            raise ValueError(
                f"Expected a network to the {self.dim} features of points of shape {self.shape}; "
                f"got one to {network.out_size}."
            )
        self.latent_dim = network.in_size
        self.cond_shape = None if network.cond_size is None else (network.cond_size,)

    def decode(self, u, condition=None):
        return self.network(u, condition).reshape(self.shape)

    def encode(self, x, condition=None):
        """Raise ``Unavailable``: there is no encoder."""
        raise Unavailable(
            "Expected a chart with an encoder; got a Generator, which decodes and samples only. "
            "Give it an encoder network with mflows.charts.Encoded, or invert it by least squares "
            "with mflows.charts.Inverted."
        )


class NoisyGenerator(Chart):
    """A generator that knows how far data scatter around its manifold, as a VAE's does.

    Args:
        generator: The decoder.
        noise: Standard deviation of the data around it at first; it trains.
    """

    generator: Generator
    log_noise: Array
    shape: tuple[int, ...]
    latent_dim: int
    cond_shape: tuple[int, ...] | None

    def __init__(self, generator: Generator, *, noise: float = 0.1):
        self.generator = generator
        self.log_noise = jnp.log(jnp.asarray(noise, dtype=float))
        self.shape = generator.shape
        self.latent_dim = generator.latent_dim
        self.cond_shape = generator.cond_shape

    def decode(self, u, condition=None):
        return self.generator.decode(u, condition)

    def encode(self, x, condition=None):
        return self.generator.encode(x, condition)


class Recoded(Chart):
    """Interface of charts with the manifold and the decoder of another, but not its encoder."""

    chart: AbstractVar[Chart]
    cond_shape: AbstractVar[tuple[int, ...] | None]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.chart.shape

    @property
    def latent_dim(self) -> int:
        return self.chart.latent_dim

    def decode(self, u, condition=None):
        return self.chart.decode(u, condition)


class Encoded(Recoded):
    """The manifold of another chart with an encoder network.

    Args:
        chart: Its ``decode`` is the decoder; its ``encode`` is not used.
        encoder: From D features to n latent coordinates.
    """

    chart: Chart
    encoder: FreeEncoder | GaussianEncoder
    cond_shape: tuple[int, ...] | None

    def __init__(self, chart: Chart, encoder: FreeEncoder | GaussianEncoder):
        sizes = (encoder.in_size, encoder.out_size)
        if sizes != (chart.dim, chart.latent_dim):
            raise ValueError(
                f"Expected an encoder from {chart.dim} features to {chart.latent_dim} latent "
                f"coordinates for this chart; got one from {sizes[0]} to {sizes[1]}."
            )
        self.chart = chart
        self.encoder = encoder
        given = None if encoder.cond_size is None else (encoder.cond_size,)
        self.cond_shape = common_condition(chart.cond_shape, given)

    def encode(self, x, condition=None):
        return self.encoder(x.ravel(), condition)


class Inverted(Recoded):
    """The manifold of another chart, encoded by Levenberg-Marquardt.

    The search starts from the one of some fixed latent points that decodes nearest to x. It is
    local: where the manifold folds, a better point can be missed.

    Args:
        chart: Its ``decode`` is the decoder; its ``encode`` is not used.
        key: Random key for the starting points, standard normal draws.
        starts: Number of starting points.
    """

    chart: Chart
    starts: Any  # a NonTrainable array; the array itself in methods
    cond_shape: tuple[int, ...] | None

    def __init__(self, chart: Chart, key: PRNGKeyArray, *, starts: int = 64):
        self.chart = chart
        self.starts = NonTrainable(jr.normal(key, (starts, chart.latent_dim)))
        self.cond_shape = chart.cond_shape

    def encode(self, x, condition=None):
        decoded = jax.vmap(lambda u: self.decode(u, condition))(self.starts)
        nearest = jnp.argmin(jnp.square(decoded - x).reshape(len(decoded), -1).sum(1))
        return least_squares(self, x, self.starts[nearest], condition)


def least_squares(
    chart: Chart, x: Array, start: Float[Array, " n"], condition: Array | None
) -> Float[Array, " n"]:
    """The coordinates that minimise |g(u) - x| near ``start``, by Levenberg-Marquardt."""
    unit = unit_of(chart)
    return optx.least_squares(
        lambda u, _: (chart.decode(u, condition) - x).ravel() / unit,
        optx.LevenbergMarquardt(rtol=1e-6, atol=1e-6),
        start,
        max_steps=64,
        throw=False,
    ).value


@pushforward.register
def _(chart: Recoded, u, frame, condition):
    return pushforward(chart.chart, u, frame, condition)


def without_encoder(chart: Chart) -> Chart:
    """The chart that decodes the same way and brings no encoder of its own, if there is one."""
    match chart:
        case Recoded():
            return without_encoder(chart.chart)
        case Composed(inner=Recoded()):
            return Composed(without_encoder(chart.inner), chart.bijection)
    return chart
