r"""Log-volumes that take no Jacobian: they are known, or come with the point.

    Determinant   n = D:  log |det J|, which a bijection gives with its value
    Conformal     g(u) = f(u, 0), f keeps angles:  J^T J = lambda^2 1,  n log lambda
    ClosedForm    the chart's own formula
    PartByPart    a product of manifolds: the sum over its parts
    Intractable   none: the density is not the pushforward of the latent density

All are exact and cost no derivatives. Of a conformal f  D log lambda = log |det J_f|  is known
(Ross & Cresswell 2021, arXiv 2106.05275).
"""

import equinox as eqx
import jax.numpy as jnp

from mflows.charts import (
    BijectionChart,
    Chart,
    HasLogVolume,
    Product,
    Unavailable,
    condition_for,
    is_conformal,
    is_padded,
)
from mflows.volume.volume import Volume


class WithoutJacobian(Volume):
    """Interface of these methods."""

    def takes_jacobian(self, chart: Chart) -> bool:
        return False


class Determinant(WithoutJacobian):
    """The bijection's own log-determinant. Exact, for charts of the whole space only."""

    def decode_and_log_volume(self, chart, u, condition=None, key=None):
        if not isinstance(chart, BijectionChart):
            raise TypeError(
                "Determinant needs a chart of the whole space, a BijectionChart; got "
                f"{type(chart).__name__} with n = {chart.latent_dim} in D = {chart.shape}. "
                "Use Exact, Complement or Auto."
            )
        z = u.reshape(chart.shape)
        return chart.bijection.transform_and_log_det(z, condition_for(chart, condition))


class Conformal(WithoutJacobian):
    """The share n/D of the log-determinant. Exact, for padded conformal bijections only."""

    def decode_and_log_volume(self, chart, u, condition=None, key=None):
        if not (is_padded(chart) and is_conformal(chart.bijection)):
            raise TypeError(
                "Conformal needs a padded bijection that keeps angles, such as Pad(n, D)"
                f".then(conformal_stack(key, D)); got {type(chart).__name__}. Use Exact or Auto."
            )
        inner = chart.inner.decode(u)
        x, log_det = chart.bijection.transform_and_log_det(
            inner, condition_for(chart.bijection, condition)
        )
        return x, chart.latent_dim / chart.dim * log_det


class ClosedForm(WithoutJacobian):
    """The chart's own formula, for prescribed manifolds such as a sphere."""

    def decode_and_log_volume(self, chart, u, condition=None, key=None):
        if not isinstance(chart, HasLogVolume):
            raise TypeError(
                f"ClosedForm needs a chart with a method log_volume; got {type(chart).__name__}. "
                "Use Exact or Auto."
            )
        x = chart.decode(u, condition)  # pyrefly: ignore[missing-attribute]
        return x, chart.log_volume(u, condition)


class PartByPart(WithoutJacobian):
    """Each part of a `Product` by a method for parts.

    Args:
        of_part: The method for every part.
    """

    of_part: Volume

    def decode_and_log_volume(self, chart, u, condition=None, key=None):
        if not isinstance(chart, Product):
            raise TypeError(
                f"PartByPart needs a Product of charts; got {type(chart).__name__}. Use Auto."
            )
        found = [
            self.of_part.decode_and_log_volume(part, piece, condition, key)
            for part, piece in zip(chart.parts, chart.split(u), strict=True)
        ]
        points, log_volumes = zip(*found, strict=True)
        return jnp.concatenate(points), sum(log_volumes)


class Intractable(WithoutJacobian):
    """Raises ``Unavailable`` where a density is asked for.

    Args:
        reason: What is wrong with asking, and what to ask for instead.
    """

    reason: str = eqx.field(static=True)

    @property
    def has_value(self) -> bool:
        return False

    def decode_and_log_volume(self, chart, u, condition=None, key=None):
        raise Unavailable(self.reason)
