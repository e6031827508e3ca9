r"""A flow is a latent density seen through a chart.

    x = g(u),   log p(x) = log p_U(u) - 1/2 log det(J^T J),   u = e(x),   J = dg/du

For n < D this is a density with respect to n-dimensional volume (Hausdorff measure) on the
learned manifold, evaluated at the projection g(e(x)) of x. It says nothing about how far x lies
from the manifold: read it beside ``distance``. Densities with different n, or on different learned
manifolds, are not comparable as numbers.
"""

from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flowjax.distributions import AbstractDistribution
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Scalar

from mflows.batches import over_keys, over_points
from mflows.charts import BijectionChart, Chart, Unavailable, condition_for
from mflows.charts.autoencoder import least_squares
from mflows.layers.sphere_coupling import length
from mflows.volume import (
    Auto,
    GradientOnly,
    HasErrorBar,
    Volume,
    condition_limit,
    condition_number,
)


class LogProbAndDistance(NamedTuple):
    """The two numbers that belong together: on-manifold density, and how far off the point is."""

    log_prob: Array | np.ndarray
    distance: Array | np.ndarray


class Score(NamedTuple):
    """``LogProbAndDistance``, and the condition number that tells how exact the density is.

    ``condition_number`` is ``None`` for flows whose log-volumes take no Jacobian, see
    ``Flow.ill_conditioned``.
    """

    log_prob: Array | np.ndarray
    distance: Array | np.ndarray
    condition_number: Array | np.ndarray | None

    @property
    def ill_conditioned(self) -> Array:
        """Whether ``log_prob`` is in doubt by the condition number, shape (...)."""
        return _in_doubt(self.condition_number, np.shape(self.log_prob))


class Audit(NamedTuple):
    """Exact log-densities beside estimates of a cheaper method, and the estimates' standard errors.

    ``standard_error`` is 0 for methods that report none.
    """

    log_prob: Array
    estimate: Array
    standard_error: Array


class Flow(AbstractDistribution):
    """A FlowJAX distribution over x in R^D, supported on the manifold of its chart.

    All methods take one point or any batch of points, ``x`` of shape (..., *shape), with a
    condition that broadcasts against the batch. A condition is ignored by flows that have none.

    Args:
        chart: The manifold: decoder and encoder.
        latent: Density of the coordinates u, of shape (n,); any FlowJAX distribution, a Flow too.
        volume: How to compute log-volumes.
    """

    chart: Chart
    latent: AbstractDistribution
    volume: Volume
    built: tuple[str, str] | None = eqx.field(static=True)
    """Name and JSON arguments of the ``mflows.models`` function that built the flow, for saving."""

    def __init__(
        self,
        chart: Chart,
        latent: AbstractDistribution,
        volume: Volume | None = None,
        *,
        built: tuple[str, str] | None = None,
    ):
        if latent.shape != (chart.latent_dim,):
            raise ValueError(
                f"Expected a latent density of shape ({chart.latent_dim},) for this chart; got "
                f"{latent.shape}."
            )
        shapes = {chart.cond_shape, latent.cond_shape} - {None}
        if len(shapes) > 1:
            raise ValueError(
                f"Expected chart and latent density to share one condition shape; got "
                f"{chart.cond_shape} and {latent.cond_shape}."
            )
        self.chart = chart
        self.latent = latent
        self.volume = Auto() if volume is None else volume
        self.built = built

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one data point."""
        return self.chart.shape

    @property
    def cond_shape(self) -> tuple[int, ...] | None:
        """Shape of the condition theta, ``None`` for an unconditional flow."""
        return self.latent.cond_shape if self.chart.cond_shape is None else self.chart.cond_shape

    @property
    def latent_dim(self) -> int:
        """Dimension n of the manifold."""
        return self.chart.latent_dim

    @property
    def dim(self) -> int:
        """Number D of features of a data point."""
        return self.chart.dim

    @property
    def is_ambient(self) -> bool:
        """Whether n = D: a density is one in space, not on a manifold in it."""
        return self.latent_dim == self.dim

    @property
    def has_density(self) -> bool:
        """Whether there is a ``log_prob``; where there is none, it raises ``Unavailable``."""
        return self.volume.has_value

    # One point ------------------------------------------------------------------------------

    def _log_prob(self, x, condition=None, key=None):
        if isinstance(self.chart, BijectionChart):  # n = D: one pass gives both
            u, log_det = self.chart.bijection.inverse_and_log_det(
                x, condition_for(self.chart, condition)
            )
            return self.latent_log_prob(u.ravel(), condition) + log_det
        return self._log_prob_and_distance(x, condition, key).log_prob

    def latent_log_prob(self, u: Float[Array, " n"], condition: Array | None = None) -> Scalar:
        """Log p_U(u) of one point, whether or not the latent density depends on the condition."""
        return self.latent._log_prob(u, condition_for(self.latent, condition))

    def _log_prob_and_distance(self, x, condition=None, key=None) -> LogProbAndDistance:
        u = self.chart.encode(x, condition)
        projected, log_volume = self._decode_and_log_volume(u, condition, key)
        log_prob = self.latent_log_prob(u, condition) - log_volume
        return LogProbAndDistance(log_prob, length(x - projected))

    def _decode_and_log_volume(self, u, condition, key):
        if isinstance(self.volume, GradientOnly):
            raise Unavailable(
                f"{type(self.volume).__name__} estimates gradients, for training, and no "
                "log-density. Take Exact, Auto or Lanczos as the volume of the flow."
            )
        return self.volume.decode_and_log_volume(self.chart, u, condition, key)

    def _estimate(self, x, condition=None, key=None):
        """Log-density and its standard error."""
        if not isinstance(self.volume, HasErrorBar):
            log_prob = self._log_prob(x, condition, key)
            return log_prob, jnp.zeros_like(log_prob)
        u = self.chart.encode(x, condition)
        value, standard_error = self.volume.estimate(self.chart, u, condition, key)
        return self.latent_log_prob(u, condition) - value, standard_error

    def _encode(self, x, condition=None):
        return self.chart.encode(x, condition)

    def _decode(self, u, condition=None):
        return self.chart.decode(u, condition)

    def _project(self, x, condition=None):
        return self.chart.project(x, condition)

    def _sample(self, key: PRNGKeyArray, condition=None):
        u = self.latent._sample(key, condition_for(self.latent, condition))
        return self.chart.decode(u, condition)

    def _sample_and_log_prob(self, key: PRNGKeyArray, condition=None):
        u, log_prob = self.latent._sample_and_log_prob(key, condition_for(self.latent, condition))
        x, log_volume = self._decode_and_log_volume(u, condition, jr.fold_in(key, 1))
        return x, log_prob - log_volume

    def _nearest(self, x, condition=None):
        start = self.chart.encode(x, condition)
        nearest = least_squares(self.chart, x, start, condition)
        found, projected = (self.chart.decode(u, condition) for u in (nearest, start))
        better = length(x - found) < length(x - projected)  # false for NaN as well
        return jnp.where(better, found, projected)

    def _condition_number(self, x, condition=None):
        return condition_number(self.chart, self.chart.encode(x, condition), condition)

    def _score(self, x, condition=None, key=None) -> Score:
        found = self._log_prob_and_distance(x, condition, key)
        # Encodes and pushes frames forward once more; XLA finds the two alike and keeps one.
        conditioned = self.volume.takes_jacobian(self.chart)
        return Score(*found, self._condition_number(x, condition) if conditioned else None)

    # Batches --------------------------------------------------------------------------------

    def sample(self, key, sample_shape=(), condition=None) -> Array:
        """Draw points, shape (*sample_shape, *batch of conditions, *shape)."""
        return over_keys(Flow._sample, self, key, sample_shape, condition)

    def sample_and_log_prob(self, key, sample_shape=(), condition=None) -> tuple[Array, Array]:
        """``sample`` and the ``log_prob`` of what was drawn, in one pass and without encoding."""
        return over_keys(Flow._sample_and_log_prob, self, key, sample_shape, condition)

    def log_prob(
        self,
        x: ArrayLike,
        condition: ArrayLike | None = None,
        *,
        key: PRNGKeyArray | None = None,
    ) -> Array:
        """On-manifold log-density at the projection of ``x``, in nats, shape (...).

        Like ``sample``, it differs from FlowJAX's in that it is compiled and bounds its memory on
        large batches.

        Args:
            x: Points, shape (..., *shape).
            condition: Their conditions, if the flow has them.
            key: Random key, for a volume that draws probes (``Lanczos``, ``Hadamard``).

        Raises:
            Unavailable: If the flow has no density, or its volume estimates gradients only.
            ValueError: For wrong shapes, or where a key is needed and none given.
        """
        return over_points(Flow._log_prob, self, self.shape, x, condition, key)

    def audit(
        self,
        x: ArrayLike,
        condition: ArrayLike | None = None,
        *,
        key: PRNGKeyArray | None = None,
        volume: Volume | None = None,
    ) -> Audit:
        """``log_prob`` beside what a method for log-volumes makes of it, to see its error.

        Arguments and errors are those of ``log_prob``; ``volume`` is the method, by default the
        flow's own.
        """
        exact, audited = (
            Flow(self.chart, self.latent, method)
            for method in (Auto(), self.volume if volume is None else volume)
        )
        estimates = over_points(Flow._estimate, audited, self.shape, x, condition, key)
        return Audit(exact.log_prob(x, condition), *estimates)

    def encode(self, x: ArrayLike, condition: ArrayLike | None = None) -> Float[Array, "... n"]:
        """Latent coordinates u of the projection of ``x``, shape (..., n)."""
        return over_points(Flow._encode, self, self.shape, x, condition)

    def decode(self, u: ArrayLike, condition: ArrayLike | None = None) -> Array:
        """Points of the manifold with coordinates ``u``, shape (..., *shape)."""
        return over_points(Flow._decode, self, (self.latent_dim,), u, condition)

    def project(self, x: ArrayLike, condition: ArrayLike | None = None) -> Array:
        """The chart's projection of ``x`` to the manifold (denoising), shape (..., *shape)."""
        return over_points(Flow._project, self, self.shape, x, condition)

    def nearest(self, x: ArrayLike, condition: ArrayLike | None = None) -> Array:
        """The nearest point of the manifold, shape (..., *shape).

        Minimises |g(u) - x| by Levenberg-Marquardt from u = e(x); never farther from ``x`` than
        ``project`` is. A local search: on a strongly folded manifold a nearer sheet can be missed.
        """
        return over_points(Flow._nearest, self, self.shape, x, condition)

    def distance(self, x: ArrayLike, condition: ArrayLike | None = None) -> Array:
        """Reconstruction error |x - g(e(x))|, in the data's units, shape (...)."""
        return length(jnp.asarray(x, dtype=float) - self.project(x, condition), len(self.shape))

    def log_prob_and_distance(
        self,
        x: ArrayLike,
        condition: ArrayLike | None = None,
        *,
        key: PRNGKeyArray | None = None,
    ) -> LogProbAndDistance:
        """``log_prob`` and ``distance`` in one pass."""
        return over_points(Flow._log_prob_and_distance, self, self.shape, x, condition, key)

    def condition_number(self, x: ArrayLike, condition: ArrayLike | None = None) -> Array:
        """Condition number of the decoder's Jacobian at the projection of ``x``, shape (...).

        Largest over smallest singular value. Times the resolution of the numbers (1.2e-7 in
        single precision) it is the size of the error of the log-volume, and so of ``log_prob``.
        """
        return over_points(Flow._condition_number, self, self.shape, x, condition)

    def ill_conditioned(self, x: ArrayLike, condition: ArrayLike | None = None) -> Array:
        """Whether ``log_prob`` at ``x`` is in doubt by the condition number, shape (...).

        Never for log-volumes that take no Jacobian: of ambient flows, or a sphere at its poles.
        """
        conditioned = self.volume.takes_jacobian(self.chart)
        number = self.condition_number(x, condition) if conditioned else None
        return _in_doubt(number, jnp.shape(x)[: jnp.ndim(x) - len(self.shape)])

    def score(
        self,
        x: ArrayLike,
        condition: ArrayLike | None = None,
        *,
        key: PRNGKeyArray | None = None,
    ) -> Score:
        """All that belongs to a density: ``log_prob``, ``distance`` and ``condition_number``.

        In one pass, in which points are encoded once.
        """
        return over_points(Flow._score, self, self.shape, x, condition, key)


def _in_doubt(number: Array | np.ndarray | None, shape: tuple[int, ...]) -> Array:
    """Which condition numbers are at the limit or beyond; none where there are no numbers."""
    if number is None:
        return jnp.zeros(shape, bool)
    number = jnp.asarray(number)
    return ~(number < condition_limit(number.dtype))  # true for NaN as well
