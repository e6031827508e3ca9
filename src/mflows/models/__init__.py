r"""Named ways to build a flow: which chart, which latent density.

| function       | chart                                   | latent density                        |
|----------------|-----------------------------------------|---------------------------------------|
| `ambient_flow` | spline coupling bijection, n = D        | standard normal                       |
| `pie`          | spline coupling bijection, n = D        | spline flow on R^n x thin normal      |
| `fom`          | prescribed: circle, sphere or torus     | spline flow on it                     |
| `m_flow`       | spline coupling bijection after padding | spline flow on R^n                    |
| `me_flow`      | the same, with an encoder network       | spline flow on R^n                    |
| `pae`, `ripf`  | free decoder and encoder networks       | spline flow on R^n                    |
| `vae`          | free decoder, Gaussian encoder          | standard normal                       |
| `gan`          | free decoder, inverted by least squares | standard normal                       |

`posterior_flow` is a flow of theta given x, which it sees through the chart of one of these.

No data enter here: scaling and the starting plane are chosen by ``mflows.fit``. The manifold does
not depend on the condition theta unless ``conditional_chart`` says so; the latent density does.
"""

import copyreg
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray
from paramax import unwrap

from mflows.flow import Flow
from mflows.models.ambient import ambient_flow, on_manifold, pie
from mflows.models.building import remembered
from mflows.models.free_networks import gan, pae, ripf
from mflows.models.learned import m_flow, me_flow
from mflows.models.posterior import of_parts, posterior_flow
from mflows.models.prescribed import fom
from mflows.models.variational import log_weight, vae
from mflows.volume import Volume

__all__ = [
    "BUILDERS",
    "ambient_flow",
    "fom",
    "gan",
    "log_weight",
    "m_flow",
    "me_flow",
    "on_manifold",
    "pae",
    "pie",
    "posterior_flow",
    "rebuild",
    "remembered",
    "ripf",
    "vae",
]

BUILDERS: dict[str, Callable[..., Flow]] = {
    build.__name__: build
    for build in (ambient_flow, pie, fom, m_flow, me_flow, pae, ripf, vae, gan, of_parts)
}
"""By name, for the arguments that a flow remembers."""
# Earlier versions knew splines only, and remember no choice.
for _build in (m_flow, me_flow, pie, ambient_flow):
    BUILDERS[_build.__name__] = partial(_build, affine=False)


def rebuild(key: PRNGKeyArray, built: tuple[str, str], **changes) -> Flow:
    """Build a flow like the one with ``flow.built == built``, with some arguments changed."""
    name, arguments = built
    return BUILDERS[name](key, **{**json.loads(arguments), **changes})


def _reduced(flow: Flow) -> tuple[Callable[..., Flow], tuple]:
    """For pickle: how a flow was built, and its arrays; functions do not pickle."""
    if flow.built is None:
        raise TypeError(
            "Expected a flow built by a function of mflows.models to pickle, which can be rebuilt "
            "from its name and arguments; this one was put together by hand. Build it in a "
            "function decorated with mflows.models.remembered, and use mflows.save."
        )
    arrays = [np.asarray(leaf) for leaf in jax.tree.leaves(eqx.filter(flow, eqx.is_array))]
    return _restored, (flow.built, arrays, flow.volume)


def _restored(built: tuple[str, str], arrays: list[np.ndarray], volume: Volume) -> Flow:
    """The flow of a pickle."""
    skeleton = eqx.filter_eval_shape(rebuild, jr.key(0), built)
    shapes, rest = eqx.partition(skeleton, lambda leaf: isinstance(leaf, jax.ShapeDtypeStruct))
    structure = jax.tree.structure(shapes)
    flow = eqx.combine(jax.tree.unflatten(structure, map(jnp.asarray, arrays)), rest)
    known: Any = {"conditions": flow.conditions, "distances": unwrap(flow.distances)}
    return Flow(flow.chart, flow.latent, volume, built=built, **known)


copyreg.pickle(Flow, _reduced)
