r"""The log-volume with an error bar, by stochastic Lanczos quadrature (Ubaru, Chen & Saad 2017).

With G = J^T J and probes eps of mean 0 and covariance I,

    1/2 log det G = 1/2 tr log G = E[ 1/2 eps^T log(G) eps ]

and k Lanczos steps from eps give a tridiagonal T with  eps^T log(G) eps ~ |eps|^2 (log T)_11,
exact for k = n. The steps and their gradient are Matfree's (Kraemer et al. 2024, arXiv 2405.17277).

Cost: k products G v = J^T (J v) per probe, a jvp and a vjp each. Error: the spread of the probes,
reported, and a truncation that falls geometrically in k, the faster the smaller the condition
number of G, not reported. An eigenvalue of G below the resolution of the largest (1.2e-7 of it in
single precision) may come out negative, and the estimate NaN.
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray
from matfree.decomp import tridiag_sym
from matfree.funm import monte_carlo_funm_sym_logdet
from matfree.stochtrace import estimator_monte_carlo_mean_and_sem, sampler_sphere

from mflows.charts import Chart, without_encoder
from mflows.layers import unit_of
from mflows.volume.volume import Estimate, Volume, gram_operator, needed


class Lanczos(Volume):
    """Unbiased estimate up to truncation, with its standard error.

    Args:
        probes: Number of random probes, at least 2, on the sphere of radius sqrt(n).
        order: Number of Lanczos steps, at most n are taken.
    """

    probes: int = 8
    order: int = 10

    def __check_init__(self):
        if self.probes < 2 or self.order < 1:
            raise ValueError(
                "Expected at least 2 probes, for an error bar, and order >= 1; got "
                f"{self.probes} and {self.order}."
            )

    def decode_and_log_volume(self, chart, u, condition=None, key=None):
        return chart.decode(u, condition), self.estimate(chart, u, condition, key).value

    def estimate(
        self,
        chart: Chart,
        u: Float[Array, " n"],
        condition: Array | None = None,
        key: PRNGKeyArray | None = None,
    ) -> Estimate:
        """The log-volume at ``u`` and the standard error of the mean over the probes."""
        # Matfree differentiates through arguments of the product, not through what it closes over.
        arguments, rest = eqx.partition(
            (without_encoder(chart), u, condition), eqx.is_inexact_array
        )

        def product(v, arguments):
            return gram_operator(*eqx.combine(arguments, rest))(v)

        steps = tridiag_sym(min(self.order, chart.latent_dim))
        estimate = estimator_monte_carlo_mean_and_sem(
            monte_carlo_funm_sym_logdet(steps), sampler_sphere(u, num=self.probes)
        )
        mean, error = (part / 2 for part in estimate(product, needed(key, self), arguments))
        mean += chart.latent_dim * jnp.log(unit_of(chart))
        # Matfree divides by the number of probes; one less makes the variance unbiased.
        return Estimate(mean, error * jnp.sqrt(self.probes / (self.probes - 1)))
