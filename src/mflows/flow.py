r"""A flow is a latent density seen through a chart.

    x = g(u),   log p(x) = log p_U(u) - 1/2 log det(J^T J),   u = e(x),   J = dg/du

For n < D this is a density with respect to n-dimensional volume (Hausdorff measure) on the
learned manifold, evaluated at the projection g(e(x)) of x. It says nothing about how far x lies
from the manifold: read it beside ``distance``. Densities with different n, or on different learned
manifolds, are not comparable as numbers.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flowjax.distributions import AbstractDistribution
from jax.core import Tracer
from jaxtyping import Array, ArrayLike, Float, PRNGKeyArray, Scalar
from paramax import NonTrainable, unwrap

from mflows.batches import batch_shape, over_keys, over_points
from mflows.charts import BijectionChart, Chart, Placement, Unavailable, condition_for
from mflows.charts.autoencoder import least_squares
from mflows.conditions import Conditions
from mflows.layers.placement import numbers, outermost, plain
from mflows.volume import (
    Auto,
    GradientOnly,
    HasErrorBar,
    Volume,
    condition_limit,
    condition_number,
    length,
)

RESOLVED = 1e-4
"""What single precision must resolve of a standard deviation for points to be JAX arrays."""
FARTHEST = 1e15
"""Points farther from the training data, in standard deviations, are refused."""

QUANTILES = 101
"""Quantiles of distances that a flow keeps."""


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
    condition that broadcasts against the batch.

    Points and conditions may have any units and offsets. The mean that the chart's placement has,
    and the placement of the ``conditions``, are taken off in double precision, and the rest is
    computed in JAX's. Points come back as JAX arrays, where single precision resolves their spread,
    else as NumPy arrays in double precision.

    Args:
        chart: The manifold: decoder and encoder.
        latent: Density of the coordinates u, of shape (n,); any FlowJAX distribution, a Flow too.
        volume: How to compute log-volumes.
        conditions: How conditions are centred and scaled before chart and latent density see them,
            which ``fit`` chooses from data; ``None`` leaves them as they are, as for a chart that
            knows what theta means.
        distances: Quantiles of the ``distance`` of points that training has not seen, from the
            least to the largest, which ``fit`` measures for flows with a condition; ``None`` or
            infinite where they are not known. Inference compares observed points with them.
    """

    chart: Chart
    latent: AbstractDistribution
    volume: Volume
    conditions: Conditions | None
    distances: Any  # a NonTrainable array of shape (Q,); the array itself in methods
    built: tuple[str, str] | None = eqx.field(static=True)
    """Name and JSON arguments of the ``mflows.models`` function that built the flow, for saving."""

    def __init__(
        self,
        chart: Chart,
        latent: AbstractDistribution,
        volume: Volume | None = None,
        *,
        conditions: Conditions | None = None,
        distances: Float[ArrayLike, " Q"] | None = None,
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
        self.conditions = conditions
        known = distances is not None
        self.distances = NonTrainable(jnp.asarray(distances, dtype=float)) if known else None
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

    # Coordinates ----------------------------------------------------------------------------

    def own(self) -> "Flow":
        """The flow of its own coordinates: centred points and conditions theta'.

        ``centred`` and ``own_condition`` lead there. What trains, and what is compiled, is this.
        """
        known = (lambda f: (f.conditions, f.distances)), self, (None, None)
        flow = eqx.tree_at(*known, is_leaf=lambda leaf: leaf is None)
        placement = outermost(flow.chart)
        return flow if placement is None else flow.around(np.zeros(self.shape))

    def around(self, mean: np.ndarray) -> "Flow":
        """The same flow around another mean of the data, if its chart ends with a placement."""
        placement = outermost(self.chart)
        if placement is None:
            return self
        moved = placement.moved(mean)
        return eqx.tree_at(lambda f: outermost(f.chart), self, moved)

    def with_distances(self, distances: Float[ArrayLike, " Q"]) -> "Flow":
        """The same flow, with quantiles of the distances of points that training has not seen."""
        known = NonTrainable(jnp.asarray(distances, dtype=float))
        return eqx.tree_at(lambda f: f.distances, self, known, is_leaf=lambda leaf: leaf is None)

    def centred(self, x: ArrayLike) -> Array:
        """Points less the mean of the data, in JAX's precision, shape (..., *shape).

        Raises:
            ValueError: For a wrong shape, for values that are not finite, and for points so far
                from the data that single precision cannot hold their density.
        """
        placement = outermost(self.chart)
        if _traced(x, placement):
            batch_shape("x", np.shape(x), self.shape)
            x = jnp.asarray(x, dtype=float)
            layer = unwrap(placement)
            return x if layer is None else (x - layer.mean) - layer.remainder
        x = real("x", x)
        batch_shape("x", x.shape, self.shape)
        bad = self.beyond(x)
        if bad.any():
            first = tuple(map(int, np.argwhere(bad)[0]))
            raise ValueError(
                f"Expected finite numbers within {FARTHEST:g} standard deviations of the training "
                f"data; got {x[first]} at x[{', '.join(map(str, first))}], and {bad.sum()} in all. "
                "Remove these points."
            )
        return jnp.asarray(x if placement is None else x - placement.centre, dtype=float)

    def beyond(self, x: np.ndarray) -> np.ndarray:
        """Which numbers of points (..., *shape) are not finite, or too far away to be scored."""
        placement = outermost(self.chart)
        mean, scale = (0.0, 1.0) if placement is None else (placement.centre, _scale(placement))
        with np.errstate(over="ignore"):
            return ~(np.abs(x - mean) <= FARTHEST * scale)

    def own_condition(self, condition: ArrayLike) -> Any:
        """Conditions theta' in the flow's own coordinates; one outside the range of training warns.

        Raises:
            ValueError: For values that are not finite.
        """
        if self.conditions is None:
            return jnp.asarray(condition, dtype=float)
        if _traced(condition, self.conditions.placement):
            return self.conditions.own(condition)
        condition = real("condition", condition)
        if not np.isfinite(condition).all():
            raise ValueError(
                f"Expected finite conditions; got {condition[~np.isfinite(condition)][0]}."
            )
        own = self.conditions.own(condition)
        self.conditions.check(own)
        return jnp.asarray(own, dtype=float)

    def _own(self, condition: Array | None) -> Array | None:
        """The condition of one point in the flow's own coordinates."""
        if self.conditions is None or condition is None:
            return condition
        return unwrap(self.conditions).placement.inverse(condition)

    def _in_units(self, points: Array) -> Any:
        """Centred points (..., *shape) in the data's units."""
        placement = outermost(self.chart)
        if placement is None:
            return points
        if _traced(points, placement):
            layer = unwrap(placement)
            return layer.mean + (layer.remainder + points)
        centre = placement.centre
        if not centre.any():
            return points
        found = np.asarray(points, dtype=np.float64) + centre
        resolution = jnp.finfo(points.dtype).eps * np.abs(centre)
        return (
            found
            if (resolution > RESOLVED * _scale(placement)).any()
            else jnp.asarray(found, dtype=float)
        )

    # One point ------------------------------------------------------------------------------

    def _log_prob(self, x, condition=None, key=None):
        condition = self._own(condition)
        if isinstance(self.chart, BijectionChart):  # n = D: one pass gives both
            u, log_det = self.chart.bijection.inverse_and_log_det(
                x, condition_for(self.chart, condition)
            )
            return self._density(u.ravel(), condition) + log_det
        return self._at(x, condition, key).log_prob

    def latent_log_prob(self, u: Float[Array, " n"], condition: Array | None = None) -> Scalar:
        """Log p_U(u) of one point, whether or not the latent density depends on the condition."""
        return self._density(u, self._own(condition))

    def _density(self, u, condition):
        """``latent_log_prob`` for a condition in the flow's own coordinates."""
        return self.latent._log_prob(u, condition_for(self.latent, condition))

    def _log_prob_and_distance(self, x, condition=None, key=None) -> LogProbAndDistance:
        return self._at(x, self._own(condition), key)

    def _at(self, x, condition, key) -> LogProbAndDistance:
        u = self.chart.encode(x, condition)
        projected, log_volume = self._decode_and_log_volume(u, condition, key)
        return LogProbAndDistance(self._density(u, condition) - log_volume, length(x - projected))

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
        condition = self._own(condition)
        u = self.chart.encode(x, condition)
        value, standard_error = self.volume.estimate(self.chart, u, condition, key)
        return self._density(u, condition) - value, standard_error

    def _encode(self, x, condition=None):
        return self.chart.encode(x, self._own(condition))

    def _decode(self, u, condition=None):
        return self.chart.decode(u, self._own(condition))

    def _project(self, x, condition=None):
        return self.chart.project(x, self._own(condition))

    def _distance(self, x, condition=None):
        return length(x - self._project(x, condition))

    def _sample(self, key: PRNGKeyArray, condition=None):
        condition = self._own(condition)
        u = self.latent._sample(key, condition_for(self.latent, condition))
        return self.chart.decode(u, condition)

    def _sample_and_log_prob(self, key: PRNGKeyArray, condition=None):
        condition = self._own(condition)
        u, log_prob = self.latent._sample_and_log_prob(key, condition_for(self.latent, condition))
        x, log_volume = self._decode_and_log_volume(u, condition, jr.fold_in(key, 1))
        return x, log_prob - log_volume

    def _nearest(self, x, condition=None):
        condition = self._own(condition)
        start = self.chart.encode(x, condition)
        nearest = least_squares(self.chart, x, start, condition)
        found, projected = (self.chart.decode(u, condition) for u in (nearest, start))
        better = length(x - found) < length(x - projected)  # false for NaN as well
        return jnp.where(better, found, projected)

    def _condition_number(self, x, condition=None):
        condition = self._own(condition)
        return condition_number(self.chart, self.chart.encode(x, condition), condition)

    def _score(self, x, condition=None, key=None) -> Score:
        found = self._log_prob_and_distance(x, condition, key)
        # Encodes and pushes frames forward once more; XLA finds the two alike and keeps one.
        conditioned = self.volume.takes_jacobian(self.chart)
        return Score(*found, self._condition_number(x, condition) if conditioned else None)

    # Batches --------------------------------------------------------------------------------

    def sample(self, key, sample_shape=(), condition=None) -> Array:
        """Draw points, shape (*sample_shape, *batch of conditions, *shape).

        Args:
            key: Random key, such as ``jax.random.key(0)``.
            sample_shape: How many, an integer or a shape, for every condition.
            condition: Conditions of shape (..., *cond_shape), if the flow has them.
        """
        return self._in_units(over_keys(Flow._sample, self, key, sample_shape, condition))

    def sample_and_log_prob(self, key, sample_shape=(), condition=None) -> tuple[Array, Array]:
        """``sample`` and the ``log_prob`` of what was drawn, in one pass and without encoding."""
        x, log_prob = over_keys(Flow._sample_and_log_prob, self, key, sample_shape, condition)
        return self._in_units(x), log_prob

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
        return over_points(Flow._log_prob, self, self.centred(x), self.shape, condition, key)

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
            Flow(self.chart, self.latent, method, conditions=self.conditions)
            for method in (Auto(), self.volume if volume is None else volume)
        )
        points = self.centred(x)
        estimates = over_points(Flow._estimate, audited, points, self.shape, condition, key)
        return Audit(exact.log_prob(x, condition), *estimates)

    def encode(self, x: ArrayLike, condition: ArrayLike | None = None) -> Float[Array, "... n"]:
        """Latent coordinates u of the projection of ``x``, shape (..., n)."""
        return over_points(Flow._encode, self, self.centred(x), self.shape, condition)

    def decode(self, u: ArrayLike, condition: ArrayLike | None = None) -> Array:
        """Points of the manifold with coordinates ``u``, shape (..., *shape)."""
        u = jnp.asarray(u if isinstance(u, Tracer) else real("u", u), dtype=float)
        return self._in_units(over_points(Flow._decode, self, u, (self.latent_dim,), condition))

    def project(self, x: ArrayLike, condition: ArrayLike | None = None) -> Array:
        """The chart's projection of ``x`` to the manifold (denoising), shape (..., *shape)."""
        projected = over_points(Flow._project, self, self.centred(x), self.shape, condition)
        return self._in_units(projected)

    def nearest(self, x: ArrayLike, condition: ArrayLike | None = None) -> Array:
        """The nearest point of the manifold, shape (..., *shape).

        Minimises |g(u) - x| by Levenberg-Marquardt from u = e(x); never farther from ``x`` than
        ``project`` is. A local search: on a strongly folded manifold a nearer sheet can be missed.
        """
        nearest = over_points(Flow._nearest, self, self.centred(x), self.shape, condition)
        return self._in_units(nearest)

    def distance(self, x: ArrayLike, condition: ArrayLike | None = None) -> Array:
        """Reconstruction error |x - g(e(x))|, in the data's units, shape (...)."""
        return over_points(Flow._distance, self, self.centred(x), self.shape, condition)

    def log_prob_and_distance(
        self,
        x: ArrayLike,
        condition: ArrayLike | None = None,
        *,
        key: PRNGKeyArray | None = None,
    ) -> LogProbAndDistance:
        """``log_prob`` and ``distance`` in one pass."""
        return over_points(
            Flow._log_prob_and_distance, self, self.centred(x), self.shape, condition, key
        )

    def condition_number(self, x: ArrayLike, condition: ArrayLike | None = None) -> Array:
        """Condition number of the decoder's Jacobian at the projection of ``x``, shape (...).

        Largest over smallest singular value. Times the resolution of the numbers (1.2e-7 in
        single precision) it is the size of the error of the log-volume, and so of ``log_prob``.
        """
        return over_points(Flow._condition_number, self, self.centred(x), self.shape, condition)

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
        return over_points(Flow._score, self, self.centred(x), self.shape, condition, key)


def real(name: str, array: ArrayLike) -> np.ndarray:
    """Real numbers as an array in double precision.

    Raises:
        ValueError: For anything else, such as complex numbers, text or masked values.
    """
    if np.ma.is_masked(array):
        raise ValueError(f"Expected {name} without missing values; got a masked array.")
    array = np.asarray(array)
    if array.dtype.kind not in "fiub" and array.dtype != jnp.bfloat16:
        raise ValueError(f"Expected real numbers for {name}; got an array of {array.dtype}.")
    return array.astype(np.float64)


def _scale(placement: Placement) -> np.ndarray:
    return numbers(placement.scale)


def _traced(array: Any, placement: Placement | None) -> bool:
    """Whether the caller compiles, the array or the flow being an argument."""
    parts = (array,) if placement is None else (array, plain(placement.mean))
    return any(isinstance(part, Tracer) for part in parts)


def _in_doubt(number: Array | np.ndarray | None, shape: tuple[int, ...]) -> Array:
    """Which condition numbers are at the limit or beyond; none where there are no numbers."""
    if number is None:
        return jnp.zeros(shape, bool)
    number = jnp.asarray(number)
    return ~(number < condition_limit(number.dtype))  # true for NaN as well
