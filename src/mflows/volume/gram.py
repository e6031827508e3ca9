r"""Products with the pullback metric G = J^T J of a decoder, without forming J."""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float

from mflows.charts import Chart


def gram_operator(
    chart: Chart, u: Float[Array, " n"], condition: Array | None = None
) -> Callable[[Float[Array, " n"]], Float[Array, " n"]]:
    """The function v -> J^T (J v) at ``u``; a jvp and a vjp each time."""
    _, push = jax.linearize(lambda u: chart.decode(u, condition), u)
    pull = jax.linear_transpose(push, u)
    return lambda v: pull(push(v))[0]
