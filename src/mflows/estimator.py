r"""The scikit-learn face of every system: reduce dimension, denoise, score and sample.

    est = ManifoldFlow(n_components=2, random_state=0).fit(X)
    U = est.transform(X)             # coordinates on the manifold
    est.inverse_transform(U)         # points of the manifold
    est.score_samples(X)             # log density on the manifold, at each point's projection
    est.reconstruction_error(X)      # how far off the manifold each point lies
    est.score(X)                     # mean log density in space: compares models of any n

Where scikit-learn asks for a ``scoring``, `neg_reconstruction_error` and `neg_mmd` serve too:

    GridSearchCV(est, {"n_components": [1, 2, 3]})                            # by est.score
    GridSearchCV(est, {"epochs": [50, 100]}, scoring=neg_reconstruction_error)

NumPy in, NumPy out, in the units of ``X``; computed in JAX's precision (single, unless
``jax_enable_x64`` is set).
"""

import warnings
from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any, Self

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
from sklearn.utils.validation import (
    check_is_fitted,
    validate_data,  # pyrefly: ignore[missing-module-attribute]
)

from mflows.data import Data
from mflows.data.data import as_float
from mflows.data.moments import moments
from mflows.flow import Flow
from mflows.metrics import log_prob_bound, mmd, noise_variance, thickened_log_prob
from mflows.models import rebuild
from mflows.runs import Config
from mflows.saving import fill
from mflows.systems import system
from mflows.training import fit
from mflows.verdict import Doubt
from mflows.verdict.evidence import JUDGED

RESOLUTION = 0.01
"""What ``score`` resolves: a fraction of the standard deviation of every column."""

_SETTINGS = ("chart_layers", "latent_layers", "linear", "bins", "interval", "width", "blocks")


class ManifoldFlow(ClassNamePrefixFeaturesOutMixin, TransformerMixin, DensityMixin, BaseEstimator):
    """A manifold of ``n_components`` dimensions and a density on it, learned from samples.

    By default an M-flow (Brehmer & Cranmer 2020, arXiv 2003.13913), trained by reconstruction, then
    by maximum likelihood; ``model`` names any other system. Features are scaled to unit variance
    inside the model.

    Args:
        n_components: Dimension n of the manifold, smaller than the number of features; ``None`` for
            systems that learn none, such as ``"af"`` and ``"fom"``.
        model: Name of a system of ``mflows.systems.SYSTEMS`` that is a density of x.
        recipe: Name of the recipe that trains it; ``None`` is the system's own.
        settings: Further arguments of the system's builder, as ``{"manifold": "sphere"}`` of
            ``"fom"``.
        recipe_settings: Further arguments of the recipe, as ``{"sigma": 0.1}`` of ``"denoising"``.
        epochs: Passes over the data, shared by the phases; ``None`` is 50, and more for small data.
        batch_size: Points per step; ``None`` is the recipe's own.
        learning_rate: Learning rate; each phase of ``mflows.recipes`` scales it.
        validation_fraction: Part of the rows held out to choose the best epoch; 0 for none.
        chart_layers: Number of spline coupling layers of the manifold. Like the next six, ``None``
            is the system's own number, and a system that has no such setting refuses it.
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
        scale_: Standard deviation of every column, 1 of a constant one, shape (D,).
        noise_variance_: Variance of training rows around the manifold, per direction across it and
            in units of ``scale_``, at the resolution of ``score``. ``None`` for models whose
            density is not on a manifold: ``"af"``, ``"pie"``, ``"vae"``.
        n_features_in_: Number of features D.
        feature_names_in_: Names of the features, if ``X`` had names.
    """

    flow_: Flow
    history_: list[dict[str, Any]]
    n_features_in_: int
    scale_: np.ndarray
    noise_variance_: float | None

    def __init__(
        self,
        n_components: int | None = 2,
        *,
        model: str = "m-flow",
        recipe: str | None = None,
        settings: Mapping[str, Any] | None = None,
        recipe_settings: Mapping[str, Any] | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 1e-3,
        validation_fraction: float = 0.1,
        chart_layers: int | None = None,
        latent_layers: int | None = None,
        linear: bool | None = None,
        bins: int | None = None,
        interval: float | None = None,
        width: int | None = None,
        blocks: int | None = None,
        random_state=None,
        verbose: bool = False,
    ):
        self.n_components = n_components
        self.model = model
        self.recipe = recipe
        self.settings = settings
        self.recipe_settings = recipe_settings
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
        data = Data(self._validated(X, ensure_min_samples=2, ensure_min_features=2))
        self._check_parameters(data)
        learned = system(self.model).takes_latent_dim
        given = {name: getattr(self, name) for name in _SETTINGS if getattr(self, name) is not None}
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        asked = Config(
            "X",
            latent_dim=int(self.n_components) if learned and self.n_components else None,
            model=self.model,
            recipe=self.recipe,
            settings=_plain({**given, **(self.settings or {})}),
            recipe_settings=_plain(self.recipe_settings or {}),
            epochs=self.epochs,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            seed=seed,
        )
        kept = len(data) - round(self.validation_fraction * len(data))
        flow, phases, key = asked.resolved(kept, data).setup(data)
        if not learned and self.n_components not in (None, flow.latent_dim):
            raise ValueError(
                f"Expected n_components=None for model={self.model!r}, which learns no manifold "
                f"and has {flow.latent_dim} coordinates; got {self.n_components}."
            )
        fitted = fit(
            key,
            flow,
            data,
            phases,
            validation=self.validation_fraction,
            progress=bool(self.verbose),
        )
        self.flow_ = fitted.flow
        self.history_ = fitted.history
        self.scale_ = moments(data.x).unit(data.x.dtype)
        self.noise_variance_ = None
        if self.flow_.has_density and not self.flow_.is_ambient:
            rows = self._blurred(data.x[:: -(-len(data) // JUDGED)])
            self.noise_variance_ = noise_variance(self.flow_, rows, scale=self.scale_)
        for doubt in fitted.verdict:
            warnings.warn(f"{doubt.title}. {doubt.detail}", Doubt, stacklevel=2)
        return self

    def transform(self, X: ArrayLike) -> np.ndarray:
        """Coordinates of the projections of ``X`` on the manifold, shape (N, n_components)."""
        return self._per_row(Flow.encode, X)

    def inverse_transform(self, U: ArrayLike) -> np.ndarray:
        """Points of the manifold with coordinates ``U``, shape (N, D)."""
        check_is_fitted(self)
        U = np.asarray(check_array(U, dtype=np.float64))
        if U.shape[1] != self.flow_.latent_dim:
            raise ValueError(
                f"Expected {self.flow_.latent_dim} coordinates per point, as transform returns "
                f"them; got {U.shape[1]}."
            )
        return _apply(Flow.decode, self.flow_, U)

    def project(self, X: ArrayLike) -> np.ndarray:
        """``inverse_transform(transform(X))``: denoise, shape (N, D)."""
        return self._per_row(Flow.project, X)

    def score_samples(self, X: ArrayLike) -> np.ndarray:
        """Log density on the manifold at the projections of ``X``, in nats, shape (N,).

        It does not see how far a point lies off the manifold: read it beside
        ``reconstruction_error``. Values of models with other ``n_components``, or fitted to other
        data, are not comparable; those of ``score`` are.
        """
        return self._per_row(Flow.log_prob, X)

    def score(self, X: ArrayLike, y=None) -> float:
        r"""Mean log density in space of ``X``, blurred; larger is better, for every model and n.

        In nats, with respect to volume in R^D in the units of ``X``, so that a column in other
        units shifts all models alike. In units of ``scale_`` and with sigma^2 =
        ``noise_variance_``,

            log p(x) = log p_M(g(u)) - |r|^2 / (2 sigma^2) - (D - n)/2 log(2 pi sigma^2)
                       - sum_i log scale_i,    u = e(x),

        where r is the part of x - g(u) across the manifold: the density on the manifold thickened
        by normal noise, ``mflows.metrics.thickened_log_prob`` (on a plane, probabilistic PCA;
        Tipping & Bishop 1999). Of ``"af"`` and ``"pie"`` it is their own density in
        space, of ``"vae"`` its importance-weighted lower bound.

        Rows without noise have no density in space: a model would score the higher, the thinner
        it is. So these rows, and those that gave sigma^2, are blurred by normal noise, always the
        same, of ``RESOLUTION`` = 1% of ``scale_``. Models are compared at that resolution, and
        what is thinner than it is wrong.

        It is not the mean of ``score_samples``, and no estimate of the intrinsic dimension: it says
        which model describes held-out rows best, after the training that each had. A torn manifold
        or a short training can make another n than the true one the best. A column of noise alone
        counts as a dimension, since columns are scaled. Where the noise is not small against the
        curvature, the density is approximate.

        Args:
            X: Held-out rows, shape (N, D).
            y: Ignored.

        Raises:
            NotFittedError: If there is no fit, or one stored by a version that did not score so.
        """
        check_is_fitted(self)
        check_is_fitted(
            self, "scale_", msg="This %(name)s was stored before it had a score. Fit it again."
        )
        return float(self._per_row(self._log_density, X).mean())

    def reconstruction_error(self, X: ArrayLike) -> np.ndarray:
        """Distance of each point to its projection, in the units of ``X``, shape (N,)."""
        return self._per_row(Flow.distance, X)

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

    def _blurred(self, rows: np.ndarray) -> np.ndarray:
        """Rows at the resolution of ``score``."""
        noise = np.random.default_rng(0).normal(size=rows.shape)
        return rows + RESOLUTION * self.scale_ * noise

    def _log_density(self, flow: Flow, rows: np.ndarray) -> ArrayLike:
        """Log density in space at blurred rows, or the bound of it that there is."""
        rows = self._blurred(rows)
        if not flow.has_density:
            return log_prob_bound(flow, Data(rows), jr.key(0))
        if self.noise_variance_ is None:
            return flow.log_prob(rows)
        noise = {"scale": self.scale_, "noise_variance": self.noise_variance_}
        return thickened_log_prob(flow, rows, **noise)

    def _per_row(self, method: Callable[[Flow, np.ndarray], ArrayLike], X: ArrayLike) -> np.ndarray:
        check_is_fitted(self)
        return _apply(method, self.flow_, self._validated(X, reset=False))

    def _validated(self, X: Any, **checks) -> np.ndarray:
        if np.ma.is_masked(X):
            X = as_float(X)
        try:
            return np.asarray(validate_data(self, X, dtype=np.float64, **checks))
        except ValueError as error:
            where = _first_bad(X)
            if where is None:
                raise
            raise ValueError(f"{str(error).splitlines()[0]} The first is {where}.") from None

    def _check_parameters(self, data: Data) -> None:
        if system(self.model).of != "x":
            raise ValueError(
                f"Expected a model that is a density of X; got {self.model!r}, one of theta given "
                "x. Train it with mflows.fit or on the command line."
            )
        for name in ("n_components", "epochs", "batch_size"):
            if getattr(self, name) is not None:
                _check(name, getattr(self, name), Integral, 1)
        for name in ("learning_rate", "validation_fraction"):
            _check(name, getattr(self, name), Real, 0)
        (dim,), n = data.shape, self.n_components
        if system(self.model).takes_latent_dim and (n is None or n >= dim):
            raise ValueError(
                f"Expected n_components < {dim}, the number of features of X, for a manifold of "
                f"lower dimension; got {n}. Use n_components={dim - 1} or less, or "
                'n_components=None with model="af" for a density on all of space.'
            )
        _check_range(data.x)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "flow_")

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(stored := state.get("flow_"), dict):  # as mflows 0.1 kept a flow
            skeleton = eqx.filter_eval_shape(rebuild, jr.key(0), stored["built"])
            state = {**state, "flow_": fill(skeleton, stored["arrays"], "the pickle")}
        super().__setstate__(state)


def neg_reconstruction_error(estimator: ManifoldFlow, X: ArrayLike, y=None) -> float:
    """Minus the mean of ``reconstruction_error``, in the units of ``X``: a ``scoring``.

    Compares models of one ``n_components`` only: every dimension more makes it larger.
    """
    return -float(estimator.reconstruction_error(X).mean())


def neg_mmd(estimator: ManifoldFlow, X: ArrayLike, y=None) -> float:
    """Minus the squared maximum mean discrepancy of samples and ``X``: a ``scoring``.

    Of the first 5,000 rows and as many samples, always the same, in units of ``scale_``
    (``mflows.metrics.mmd``). It asks for no density, only for samples, and sees little of what is
    small against the whole of the data: ``score`` tells one ``n_components`` from the next more
    often.
    """
    check_is_fitted(estimator, "scale_")
    rows, scale = np.asarray(X, dtype=np.float64)[:5000], estimator.scale_
    return -mmd(estimator.sample(len(rows), random_state=0) / scale, rows / scale)["mmd2"]


def _first_bad(X: Any) -> str | None:
    """The first value of a table that is no finite number: its row and column."""
    names = [str(name) for name in getattr(X, "columns", ())]
    table = np.asarray(X, dtype=object)
    if table.ndim != 2:
        return None
    for row, column in np.ndindex(table.shape):
        value = table[row, column]
        try:
            fine = bool(np.isfinite(float(value)))
        except (TypeError, ValueError):
            fine = False
        if not fine:
            name = repr(names[column]) if names else str(column)
            return f"{value!r} in row {row}, column {name}"
    return None


def _apply(
    method: Callable[[Flow, np.ndarray], ArrayLike], flow: Flow, rows: np.ndarray
) -> np.ndarray:
    _check_range(rows)
    return np.asarray(method(flow, rows), dtype=np.float64)


def _plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings as Python's numbers, which a grid search may give as NumPy's."""
    return {k: v.item() if isinstance(v, np.generic) else v for k, v in settings.items()}


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
