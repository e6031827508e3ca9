r"""The gradient of the log-volume from encoder and decoder.

A surrogate of Sorrenson et al. 2024 (free-form injective flows, arXiv 2306.01843).
Where the encoder e inverts the decoder g, the log-volume of g is minus that of e. With probes v,
uniform on the sphere of radius sqrt(n), and x = g(u),

    d 1/2 log det(J^T J)  ~  -E[ d v^T e'(x) sg[ g'(u) v ] ]

with sg a value that is held fixed. For encoders that are networks of their own.

Cost: a jvp of either. Error: exact in the mean where e inverts g and e'(x) = g'(u)^+, biased
elsewhere; the reconstruction error that is trained beside it has to keep the bias small. Only the
encoder receives a gradient. No value.
"""

import jax
from jaxtyping import Array, Float, Scalar
from matfree.stochtrace import sampler_sphere

from mflows.charts import Chart
from mflows.volume.volume import GradientOnly, gradient_of, needed


class Surrogate(GradientOnly):
    """Estimate of the gradient with respect to the encoder, biased unless e inverts g."""

    def decode_and_log_volume(self, chart, u, condition=None, key=None):
        (probe,) = sampler_sphere(u, num=1)(needed(key, self))
        x = chart.decode(u, condition)
        return x, gradient_of(surrogate(chart, x, u, probe, condition))


def surrogate(
    chart: Chart,
    x: Array,
    u: Float[Array, " n"],
    probe: Float[Array, " n"],
    condition: Array | None = None,
) -> Scalar:
    """-v^T e'(x) sg[g'(u) v] for the probe v; its gradient estimates that of the log-volume.

    Args:
        chart: The chart, with an encoder of its own.
        x: Where the encoder is differentiated: g(u), or the point of which u is the code.
        u: Where the decoder is.
        probe: The probe v; the mean over those of covariance 1 is what is wanted.
        condition: The condition, if the chart needs one.
    """
    _, (tangent,) = chart.pushforward(u, probe[None], condition)
    x, tangent = jax.lax.stop_gradient((x, tangent))
    _, back = jax.jvp(lambda x: chart.encode(x, condition), (x,), (tangent,))
    return -probe @ back
