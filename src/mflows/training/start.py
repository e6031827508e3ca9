r"""Where training starts: placements chosen from data, once, before a phase.

The chart starts as the identity, so its manifold starts as the plane of the first n axes of the
placement. Learning succeeds when the data are a graph over that plane; ``choose_plane`` looks for
one.
"""

import jax.numpy as jnp
import numpy as np

from mflows.charts import Placement, place
from mflows.flow import Flow
from mflows.training.phase import Batch


def place_chart(key, flow: Flow, batch: Batch) -> Flow:
    """Centre and scale the chart on the data and turn it to the best starting plane."""
    return _placed(flow, "chart", _standardisation(np.asarray(batch.x)))


def place_latent(key, flow: Flow, batch: Batch) -> Flow:
    """Centre and scale the latent density on the encoded data."""
    u = np.asarray(flow.encode(batch.x, batch.condition))
    return _placed(flow, "latent", _standardisation(u))


def _standardisation(x: np.ndarray) -> Placement:
    scale = x.std(0)
    return Placement(
        jnp.asarray(x.mean(0)), jnp.asarray(np.where(scale > 0, scale, 1.0)), jnp.eye(x.shape[1])
    )


def _placed(flow: Flow, part: str, placement: Placement) -> Flow:
    import equinox as eqx

    return eqx.tree_at(lambda f: getattr(f, part), flow, place(getattr(flow, part), placement))
