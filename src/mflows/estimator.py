r"""The scikit-learn face of an M-flow: reduce dimension, denoise, score and sample.

    est = ManifoldFlow(n_components=2, random_state=0).fit(X)
    U = est.transform(X)             # coordinates on the manifold
    est.inverse_transform(U)         # points of the manifold
    est.score_samples(X)             # log density on the manifold, at each point's projection
    est.reconstruction_error(X)      # how far off the manifold each point lies

NumPy in, NumPy out, in the units of ``X``; computed in JAX's precision (single, unless
``jax_enable_x64`` is set).
"""

from numbers import Integral, Real
from typing import Any, Self, cast

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    DensityMixin,
    TransformerMixin,
)
from sklearn.utils import check_array, check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from mflows.flow import Flow
from mflows.models import m_flow, rebuild
from mflows.saving import arrays, fill
from mflows.training import fit, recipes

_SETTINGS = ("chart_layers", "latent_layers", "linear", "bins", "interval", "width", "blocks")


class ManifoldFlow(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, BaseEstimator):
    """A manifold of ``n_components`` dimensions and a density on it, learned from samples.

    An M-flow (Brehmer & Cranmer 2020, arXiv 2003.13913), trained by reconstruction, then by
    maximum likelihood. Features are scaled to unit variance inside the model.

    Args:
        n_components: Dimension n of the manifold, smaller than the number of features.
        epochs: Passes over the data, half of them for the manifold, half for the density;
            ``None`` is 50, and more for small data.
        batch_size: Points per step.
        learning_rate: Learning rate; each phase of ``mflows.recipes`` scales it.
        validation_fraction: Part of the rows held out to choose the best epoch; 0 for none.
        chart_layers: Number of spline coupling layers of the manifold.
        latent_layers: Number of spline coupling layers of the density.
        linear: Put a learned linear map before every coupling layer.
        bins: Number of spline bins.
        interval: Half width of the splines' interval, in standard deviations.
        width: Width of the conditioner networks.
        blocks: Number of residual blocks in the conditioner networks.
        random_state: Seed, ``RandomState`` or ``None``, for weights, split and order of points.
        verbose: Show live losses and the time left.

    Attributes:
        flow_: The trained ``mflows.Flow``.
        history_: One row per epoch: phase, epoch, train, validation, seconds.
        n_features_in_: Number of features D.
        feature_names_in_: Names of the features, if ``X`` had names.
    """

    flow_: Flow
    history_: list[dict[str, Any]]
    n_features_in_: int

    def __init__(
        self,
        n_components: int = 2,
        *,
        epochs: int | None = None,
        batch_size: int = 100,
        learning_rate: float = 1e-3,
        validation_fraction: float = 0.1,
        chart_layers: int = 3,
        latent_layers: int = 3,
        linear: bool = False,
        bins: int = 10,
        interval: float = 6.0,
        width: int = 64,
        blocks: int = 1,
        random_state=None,
        verbose: bool = False,
    ):
        self.n_components = n_components
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.chart_layers = chart_layers
        self.latent_layers = latent_layers
        self.linear = linear
        self.bins = bins
        self.interval = interval
        self.width = width
        self.blocks = blocks
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: ArrayLike, y=None) -> Self:
        """Learn manifold and density.

        Args:
            X: Data, shape (N, D).
            y: Ignored.

        Raises:
            ValueError: If a parameter or the data cannot be used.
            TrainingDiverged: If a loss explodes.
        """
        X = self._validated(X, ensure_min_samples=2, ensure_min_features=2)
        self._check_parameters(X)
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        model_key, key = jr.split(jr.key(seed))
        settings = {name: getattr(self, name) for name in _SETTINGS}
        flow = m_flow(model_key, X.shape[1:], int(self.n_components), **settings)
        kept = len(X) - round(self.validation_fraction * len(X))
        epochs = self.epochs or recipes.epochs_for(kept, self.batch_size)
        phases = recipes.manifold_then_density(
            epochs, batch_size=self.batch_size, learning_rate=self.learning_rate
        )
        fitted = fit(
            key,
            flow,
            X,
            phases,
            validation=self.validation_fraction,
            progress=bool(self.verbose),
        )
        self.flow_ = fitted.flow
        self.history_ = fitted.history
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Coordinates of the projections of ``X`` on the manifold, shape (N, n_components)."""
        return self._apply("encode", self._checked(X))

    def inverse_transform(self, U: ArrayLike) -> np.ndarray:
        """Points of the manifold with coordinates ``U``, shape (N, D)."""
        check_is_fitted(self)
        U = np.asarray(check_array(U, dtype=np.float64))  # pyright: ignore[reportArgumentType]
        if U.shape[1] != self.flow_.latent_dim:
            raise ValueError(
                f"Expected {self.flow_.latent_dim} coordinates per point, as transform returns "
                f"them; got {U.shape[1]}."
            )
        return self._apply("decode", U)

    def project(self, X: ArrayLike) -> np.ndarray:
        """``inverse_transform(transform(X))``: denoise, shape (N, D)."""
        return self._apply("project", self._checked(X))

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Log density on the manifold at the projections of ``X``, in nats, shape (N,).

        It does not see how far a point lies off the manifold: read it beside
        ``reconstruction_error``. Values of models with other ``n_components``, or fitted to other
        data, are not comparable.
        """
        return self._apply("log_prob", self._checked(X))

    def score(self, X: ArrayLike, y=None) -> float:
        """Mean of ``score_samples(X)``; comparable on one manifold only."""
        return float(self.score_samples(X).mean())

    def reconstruction_error(self, X: ArrayLike) -> np.ndarray:
        """Distance of each point to its projection, in the units of ``X``, shape (N,)."""
        return self._apply("distance", self._checked(X))

    def sample(self, n_samples: int = 1, random_state=None) -> np.ndarray:
        """Draw points from the model, shape (n_samples, D).

        Raises:
            ValueError: If ``n_samples`` is not a positive whole number.
        """
        check_is_fitted(self)
        _check("n_samples", n_samples, Integral, 1)
        seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
        return np.asarray(self.flow_.sample(jr.key(seed), (n_samples,)), dtype=np.float64)

    @property
    def _n_features_out(self) -> int:
        """Number of coordinates, for ``get_feature_names_out``."""
        return self.flow_.latent_dim

    def _checked(self, X: ArrayLike) -> np.ndarray:
        check_is_fitted(self)
        return self._validated(X, reset=False)

    def _validated(self, X: Any, **checks) -> np.ndarray:
        return np.asarray(validate_data(self, X, dtype=np.float64, **checks))

    def _apply(self, method: str, rows: np.ndarray) -> np.ndarray:
        """Apply a method of the flow to rows."""
        _check_range(rows)
        return np.asarray(getattr(self.flow_, method)(rows), dtype=np.float64)

    def _check_parameters(self, X: np.ndarray) -> None:
        for name in ("batch_size", "chart_layers", "latent_layers", "bins", "width", "blocks"):
            _check(name, getattr(self, name), Integral, 1)
        if self.epochs is not None:
            _check("epochs", self.epochs, Integral, 1)
        for name in ("learning_rate", "interval"):
            _check(name, getattr(self, name), Real, 0)
        _check("validation_fraction", self.validation_fraction, Real, 0)
        _check("n_components", self.n_components, Integral, 1)
        dim = X.shape[1]
        if self.n_components >= dim:
            raise ValueError(
                f"Expected n_components < {dim}, the number of features of X, for a manifold of "
                f"lower dimension; got {self.n_components}. Use n_components={dim - 1} or less, "
                "or mflows.models.ambient_flow for a density on all of space."
            )
        _check_range(X)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "flow_")

    def __getstate__(self) -> dict[str, Any]:
        # A flow holds functions, which do not pickle: keep what it is and its numbers instead.
        state = dict(cast("dict[str, Any]", super().__getstate__()))
        if "flow_" in state:
            flow = state["flow_"]
            state["flow_"] = {"built": flow.built, "arrays": arrays(flow)}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "flow_" in state:
            stored = state["flow_"]
            skeleton = eqx.filter_eval_shape(rebuild, jr.key(0), stored["built"])
            state = {**state, "flow_": fill(skeleton, stored["arrays"], "the pickle")}
        super().__setstate__(state)


def _check(name: str, value, kind: type, least: int) -> None:
    """Raise unless ``value`` is of a kind and not below a bound."""
    what = "a whole number" if kind is Integral else "a number"
    if not isinstance(value, kind) or isinstance(value, bool) or not value >= least:
        raise ValueError(f"Expected {name} to be {what}, at least {least}; got {value!r}.")


def _check_range(rows: np.ndarray) -> None:
    """Raise if numbers are infinite in the precision that JAX computes in."""
    precision = jnp.zeros(()).dtype
    largest = np.abs(rows).max()
    if largest > np.finfo(precision).max:
        raise ValueError(
            f"Expected numbers that {precision} can hold; got {largest:.3g}. Rescale the data."
        )
