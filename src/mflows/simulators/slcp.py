r"""A simple likelihood and a complex posterior, of Lueckmann et al. 2021 (arXiv 2101.04653).

    theta ~ uniform on [-3, 3]^5
    x     = four draws from N(m, S),   m = (theta_0, theta_1)
    S     = [[a^2, rho a b], [rho a b, b^2]] + 1e-6 I,   a, b = theta_2^2, theta_3^2
                                                         rho  = tanh theta_4

The signs of theta_2 and theta_3 leave no trace in x: the posterior has four modes or more.

`posterior` draws by rejection. With the mean and the scatter matrix A of the four points, m given S
is N(mean, S / 4), cut off at the prior's sides. Without that cut, and with e = 1e-6, S has the
density, with respect to its three entries,

    |S|^(-3/2) exp(-tr(S^-1 A) / 2) (a b)^(-5/2) / (1 - rho^2).

Its part |S|^(-11/4) exp(-tr(S^-1 A) / 2) is an inverse Wishart distribution with 5/2 degrees of
freedom, from which S is drawn. What remains is

    (|S| / |S - e I|)^(5/4) (1 - rho^2)^(1/4) <= max over q of (q + t)^(5/4) / q,
    t = 2 / (c - 1) + 1 / (c - 1)^2,

where both variances are at least c e, with q = 1 - rho^2 between 1 / cosh(3)^2 and 1. Here
c = min(A_11, A_22) / 40 e: less than 1e-8 of the inverse Wishart distribution is below. A draw is
kept with the ratio of both sides as probability, if all parameters are within the prior.

Where c < 2, for points closer together than 0.01, theta_2, theta_3 and theta_4 are drawn from

    h = exp(|theta_4| / 2) / (max(|theta_2|, d) max(|theta_3|, d)),    d^4 = e,

instead. Because 1 / h <= |S|^(1/4), their density |S|^(-3/2) exp(-tr(S^-1 A) / 2) divided by h is
at most the maximum of |S|^(-5/4) exp(-tr(S^-1 A) / 2) over S >= e I, where S has the eigenvectors
of A and the eigenvalues max(2 lambda / 5, e).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from flowjax.distributions import Uniform
from jax.scipy.stats import norm
from jaxtyping import Array, ArrayLike, Bool, Float, PRNGKeyArray

from mflows.simulators.simulator import accepted, point, points

DRAWS = 4
SIDE = 3.0
FLOOR = 1e-6  # added to both variances
DISTRACTORS, COMPONENTS = 92, 20
BATCH = 1 << 16


class SLCP(eqx.Module):
    """Five parameters, four points in the plane.

    Methods broadcast over leading axes: ``theta`` has shape (..., 5), ``x`` shape (..., 8), one
    point after the other. Another last axis raises ``ValueError``.
    """

    @property
    def prior(self) -> Uniform:
        """Theta is uniform on [-3, 3]^5."""
        return Uniform(jnp.full(5, -SIDE), jnp.full(5, SIDE))

    @eqx.filter_jit
    def simulate(self, key: PRNGKeyArray, theta: ArrayLike) -> Float[Array, "... 8"]:
        """Draw the four points of every theta."""
        theta = points("theta", theta, 5, "SLCP")
        batch = theta.shape[:-1]
        normal = jr.normal(key, (*batch, DRAWS, 2))
        return (theta[..., None, :2] + _scaled(theta[..., None, :], normal)).reshape(*batch, -1)

    @eqx.filter_jit
    def log_prob(self, x: ArrayLike, theta: ArrayLike) -> Float[Array, "..."]:
        """Exact log density in R^8."""
        x = points("x", x, 2 * DRAWS, "SLCP")
        theta = points("theta", theta, 5, "SLCP")[..., None, :]
        u, v = jnp.moveaxis(x.reshape(*x.shape[:-1], DRAWS, 2) - theta[..., :2], -1, 0)
        first, mixed, second = _cholesky(theta)
        first_normal = u / first
        second_normal = (v - mixed * first_normal) / second
        log_density = norm.logpdf(first_normal) + norm.logpdf(second_normal)
        return (log_density - jnp.log(first * second)).sum(-1)

    def posterior(self, key: PRNGKeyArray, x: ArrayLike, size: int) -> Float[Array, "size 5"]:
        """Draw independent ``theta`` from the exact posterior of one ``x``, shape (8,).

        Raises:
            ValueError: If ``x`` is so improbable that hardly any theta within the prior gives it.
        """
        x = point(x, 2 * DRAWS, "SLCP")
        propose = _propose_covariances if _least_variance(x) > 2 * FLOOR else _propose_scales
        return accepted(lambda key: propose(key, x), key, size)


class SLCPDistractors(eqx.Module):
    """SLCP hidden among 92 numbers that know nothing of theta, all in a fixed random order.

    The distractors come from an even mixture of 20 multivariate Student t distributions with 2
    degrees of freedom. Their places and scale matrices and the order are those of the benchmark,
    made anew from its seed: its files agree to rounding, and its observations can be used.

    There is no ``log_prob``. The scale matrices have condition numbers of 1e12 to 1e19, so that
    rounding ``x`` to double precision can change the density of the distractors by hundreds of
    nats. They do not matter to theta: up to a constant, its log-likelihood is
    ``SLCP().log_prob(simulator.informative(x), theta)``, and its posterior is that of SLCP.

    ``theta`` has shape (..., 5), ``x`` shape (..., 100). Another last axis raises ``ValueError``.

    Attributes:
        means: Places of the components, shape (20, 92).
        scales: Their lower triangular scale matrices, shape (20, 92, 92).
        order: Where each number of x comes from among the 8 of SLCP and then the 92 others.
    """

    means: Float[Array, "20 92"]
    scales: Float[Array, "20 92 92"]
    order: tuple[int, ...] = eqx.field(static=True)

    def __init__(self):
        rng = np.random.RandomState(42)
        self.means = jnp.asarray(15 * rng.normal(size=(COMPONENTS, DISTRACTORS)))
        scales = []
        for _ in range(COMPONENTS):
            lower = np.tril(rng.normal(size=(DISTRACTORS, DISTRACTORS)))
            scales.append(3 * (lower + np.diag(np.exp(rng.normal(size=DISTRACTORS)))))
        self.scales = jnp.asarray(np.stack(scales))
        self.order = tuple(rng.permutation(2 * DRAWS + DISTRACTORS).tolist())

    @property
    def prior(self) -> Uniform:
        """Theta is uniform on [-3, 3]^5."""
        return SLCP().prior

    @eqx.filter_jit
    def simulate(self, key: PRNGKeyArray, theta: ArrayLike) -> Float[Array, "... 100"]:
        """Draw one point for every theta."""
        data_key, component_key, normal_key, tail_key = jr.split(key, 4)
        data = SLCP().simulate(data_key, theta)
        batch = data.shape[:-1]
        component = jr.randint(component_key, (*batch, 1), 0, COMPONENTS)
        normal = jr.normal(normal_key, (*batch, DISTRACTORS))
        student = normal / jnp.sqrt(jr.exponential(tail_key, (*batch, 1)))

        def fill(distractors, part):
            index, mean, scale = part
            return jnp.where(component == index, mean + student @ scale.T, distractors), None

        parts = (jnp.arange(COMPONENTS), self.means, self.scales)
        distractors, _ = jax.lax.scan(fill, student, parts)
        return jnp.concatenate([data, distractors], axis=-1)[..., np.array(self.order)]

    def informative(self, x: ArrayLike) -> Float[Array, "... 8"]:
        """The numbers of SLCP among those of ``x``."""
        x = points("x", x, 2 * DRAWS + DISTRACTORS, "SLCP with distractors")
        return x[..., np.argsort(self.order)[: 2 * DRAWS]]

    def posterior(self, key: PRNGKeyArray, x: ArrayLike, size: int) -> Float[Array, "size 5"]:
        """Draw independent ``theta`` from the exact posterior of one ``x``, shape (100,).

        Raises:
            ValueError: If ``x`` is so improbable that hardly any theta within the prior gives it.
        """
        return SLCP().posterior(key, self.informative(x), size)


def _cholesky(theta: Float[Array, "... 5"]) -> tuple[Array, Array, Array]:
    """The entries (0, 0), (1, 0) and (1, 1) of the Cholesky factor of S.

    |S| is a sum of positive terms, without the difference 1 - rho^2.
    """
    a, b = theta[..., 2] ** 2, theta[..., 3] ** 2
    first = jnp.sqrt(a**2 + FLOOR)
    determinant = (a * b / jnp.cosh(theta[..., 4])) ** 2 + FLOOR * (a**2 + b**2 + FLOOR)
    return first, jnp.tanh(theta[..., 4]) * a * b / first, jnp.sqrt(determinant) / first


def _scaled(theta: Float[Array, "... 5"], normal: Float[Array, "... 2"]) -> Float[Array, "... 2"]:
    """Draws from N(0, S), of standard normal draws."""
    first, mixed, second = _cholesky(theta)
    u, v = jnp.moveaxis(normal, -1, 0)
    return jnp.stack([first * u, mixed * u + second * v], axis=-1)


def _least_variance(x: Float[Array, " 8"]) -> Float[Array, ""]:
    """What both variances in S exceed, but for 1e-8 of the inverse Wishart distribution."""
    return x.reshape(DRAWS, 2).var(0).min() * DRAWS / 40


@eqx.filter_jit
def _propose_covariances(
    key: PRNGKeyArray, x: Float[Array, " 8"]
) -> tuple[Float[Array, "batch 5"], Bool[Array, " batch"]]:
    """Draw theta given ``x`` by way of S; kept are those with the posterior."""
    first_key, second_key, normal_key, sign_key, keep_key = jr.split(key, 5)
    data = x.reshape(DRAWS, 2)
    mean = data.mean(0)
    # Bartlett: S = V^T V with V = T^-1 R, where A = R^T R and the Wishart matrix of A = I is T T^T.
    factor = jnp.linalg.qr(data - mean, mode="r")
    normal = jr.normal(normal_key, (BATCH, 3, 1))
    first = jnp.sqrt(jr.chisquare(first_key, 2.5, shape=(BATCH, 1)))
    second = jnp.sqrt(jr.chisquare(second_key, 1.5, shape=(BATCH, 1)))
    upper = factor[0] / first
    lower = (factor[1] - normal[:, 0] * upper) / second
    moved = mean + (normal[:, 1] * upper + normal[:, 2] * lower) / np.sqrt(DRAWS)

    determinant = (factor[0, 0] * factor[1, 1] / (first * second)[:, 0]) ** 2
    variances = upper**2 + lower**2
    widths = jnp.sqrt(variances - FLOOR)
    product = widths.prod(-1)
    rho = (upper.prod(-1) + lower.prod(-1)) / product
    q = (determinant - FLOOR * (variances.sum(-1) - FLOOR)) / product**2  # 1 - rho^2
    shape = jnp.concatenate([jnp.sqrt(widths), jnp.arctanh(rho)[:, None]], axis=-1)
    sign = jr.rademacher(sign_key, (BATCH, 2))
    theta = jnp.concatenate([moved, sign * shape[:, :2], shape[:, 2:]], axis=-1)

    margin = _least_variance(x) / FLOOR - 1
    excess = 2 / margin + 1 / margin**2
    ends = jnp.array([1 / np.cosh(SIDE) ** 2, 1.0])
    log_bound = jnp.log((ends + excess) ** 1.25 / ends).max()
    log_ratio = 1.25 * jnp.log(determinant / product**2) - jnp.log(q)
    keep = -jr.exponential(keep_key, (BATCH,)) < log_ratio - log_bound
    return theta, keep & (jnp.abs(theta) <= SIDE).all(-1)  # NaN, where there is no theta, is not


@eqx.filter_jit
def _propose_scales(
    key: PRNGKeyArray, x: Float[Array, " 8"]
) -> tuple[Float[Array, "batch 5"], Bool[Array, " batch"]]:
    """Draw theta given ``x`` as the module says; kept are those with the posterior."""
    shape_key, sign_key, mean_key, keep_key = jr.split(key, 4)
    data = x.reshape(DRAWS, 2)
    mean = data.mean(0)
    spread = jnp.linalg.svd(data - mean, compute_uv=False) ** 2
    best = jnp.maximum(2 * spread / 5, FLOOR)
    log_bound = -(5 * jnp.log(best) + 2 * spread / best).sum() / 4

    least = FLOOR**0.25
    uniform = jr.uniform(shape_key, (BATCH, 3))
    level = (1 + np.log(SIDE / least)) * uniform[:, :2] - 1
    scale = least * jnp.where(level < 0, 1 + level, jnp.exp(level))
    size = 2 * jnp.log1p(uniform[:, 2:] * np.expm1(SIDE / 2))
    sign = jr.rademacher(sign_key, (BATCH, 3))
    shape = sign * jnp.concatenate([scale, size], axis=-1)
    log_h = size[:, 0] / 2 - jnp.log(jnp.maximum(scale, least)).sum(-1)

    centred = jnp.concatenate([jnp.broadcast_to(mean, (BATCH, 2)), shape], axis=-1)
    first, _, second = _cholesky(centred)
    log_f = SLCP().log_prob(x, centred) + DRAWS * np.log(2 * np.pi) + jnp.log(first * second)
    moved = mean + _scaled(centred, jr.normal(mean_key, (BATCH, 2))) / np.sqrt(DRAWS)
    keep = -jr.exponential(keep_key, (BATCH,)) < log_f - log_h - log_bound
    theta = jnp.concatenate([moved, shape], axis=-1)
    return theta, keep & (jnp.abs(moved) <= SIDE).all(-1)
