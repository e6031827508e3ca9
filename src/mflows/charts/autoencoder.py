r"""Charts with an encoder of their own: autoencoders.

    Generator   g(u) = a free network, no encoder
    Encoded     g of another chart, e(x) a free network

A `Generator` is the decoder of a probabilistic autoencoder (Boehm & Seljak 2020, arXiv
2006.05479), a VAE or a GAN; `Encoded` gives it an encoder, or replaces that of a bijective chart as
in the M_e-flow (Brehmer & Cranmer 2020, arXiv 2003.13913). Nothing makes e invert g but training:
projecting twice need not be projecting once. The manifold is where g leads, and densities on it
follow from the pushforward of g alone, exactly.
"""

from mflows.charts.chart import Chart, common_condition
from mflows.charts.pushforward import pushforward
from mflows.nets import SkipMLP


class Generator(Chart):
    """A free decoder network. It needs no inverse, and has none.

    Args:
        network: From n latent coordinates to D features.
    """

    network: SkipMLP
    shape: tuple[int, ...]
    latent_dim: int
    cond_shape: tuple[int, ...] | None

    def __init__(self, network: SkipMLP):
        self.network = network
        self.shape = (network.out_size,)
        self.latent_dim = network.in_size
        self.cond_shape = None if network.cond_size is None else (network.cond_size,)

    def decode(self, u, condition=None):
        return self.network(u, condition)

    def encode(self, x, condition=None):
        """Raise ``NotImplementedError``: there is no encoder."""
        raise NotImplementedError(
            "Expected a chart with an encoder; got a Generator, which decodes and samples only. "
            "Give it an encoder: mflows.charts.Encoded(generator, network)."
        )


class Encoded(Chart):
    """The manifold of another chart with an encoder network.

    Args:
        chart: Its ``decode`` is the decoder; its ``encode`` is not used.
        encoder: From D features to n latent coordinates.
    """

    chart: Chart
    encoder: SkipMLP
    shape: tuple[int, ...]
    latent_dim: int
    cond_shape: tuple[int, ...] | None

    def __init__(self, chart: Chart, encoder: SkipMLP):
        sizes = (encoder.in_size, encoder.out_size)
        if sizes != (*chart.shape, chart.latent_dim):
            raise ValueError(
                f"Expected an encoder from {chart.shape[0]} features to {chart.latent_dim} latent "
                f"coordinates for this chart; got one from {sizes[0]} to {sizes[1]}."
            )
        self.chart = chart
        self.encoder = encoder
        self.shape = chart.shape
        self.latent_dim = chart.latent_dim
        given = None if encoder.cond_size is None else (encoder.cond_size,)
        self.cond_shape = common_condition(chart.cond_shape, given)

    def decode(self, u, condition=None):
        return self.chart.decode(u, condition)

    def encode(self, x, condition=None):
        return self.encoder(x, condition)


@pushforward.register
def _(chart: Encoded, u, frame, condition):
    return pushforward(chart.chart, u, frame, condition)
