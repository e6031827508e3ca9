r"""The gradient of the log-volume by conjugate gradients (Caterini et al. 2021, arXiv 2106.01413).

With G = J^T J and probes eps of mean 0 and covariance I,

    d 1/2 log det G = 1/2 tr(G^-1 dG) = E[ 1/2 (G^-1 eps)^T dG eps ]

G^-1 eps is found by conjugate gradients from products G v = J^T (J v), one jvp and one vjp each,
and held fixed; what is differentiated is  1/2 <J G^-1 eps, J eps>.

Cost: a few products per probe, depending on the condition number and not on n; then two tangents.
Error: an unbiased gradient, as far as the conjugate gradients converge; no value.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import lineax as lx
from jaxtyping import Array, Float, Scalar

from mflows.charts import Chart
from mflows.layers import unit_of
from mflows.volume.volume import GradientOnly, gradient_of, gram_operator, needed


class ConjugateGradient(GradientOnly):
    """Unbiased estimate of the gradient.

    Args:
        probes: Number of random probes, Rademacher vectors.
        rtol: Conjugate gradients stop at a residual of this size, relative to the probe's.
        max_steps: They stop after so many steps as well; by default twice n.
    """

    probes: int = 1
    rtol: float = 1e-5
    max_steps: int | None = None

    def __check_init__(self):
        if self.probes < 1:
            raise ValueError(f"Expected probes >= 1; got {self.probes}.")

    def decode_and_log_volume(self, chart, u, condition=None, key=None):
        shape = (self.probes, chart.latent_dim)
        probes = jr.rademacher(needed(key, self), shape, u.dtype)
        halves = jax.vmap(lambda probe: self.of_probe(chart, u, probe, condition))(probes)
        return chart.decode(u, condition), gradient_of(halves.mean())

    def of_probe(
        self,
        chart: Chart,
        u: Float[Array, " n"],
        probe: Float[Array, " n"],
        condition: Array | None = None,
    ) -> Scalar:
        """1/2 <J w, J eps> with a fixed w = G^-1 eps; its gradient estimates the log-volume's."""
        arrays, rest = eqx.partition((chart, u, condition), eqx.is_array)
        product = gram_operator(*eqx.combine(jax.lax.stop_gradient(arrays), rest))
        operator = lx.FunctionLinearOperator(
            product, jax.eval_shape(lambda: probe), lx.positive_semidefinite_tag
        )
        steps = 2 * chart.latent_dim if self.max_steps is None else self.max_steps
        solver = lx.CG(self.rtol, self.rtol, max_steps=steps)
        solved = lx.linear_solve(operator, probe, solver, throw=False).value
        _, tangents = chart.pushforward(u, jnp.stack([solved, probe]), condition)
        return jnp.vdot(*tangents / unit_of(chart)) / 2
