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

No data enter here: scaling and the starting plane are chosen by ``mflows.fit``. The manifold does
not depend on the condition theta unless ``conditional_chart`` says so; the latent density does.
"""

import json
from collections.abc import Callable

from jaxtyping import PRNGKeyArray

from mflows.flow import Flow
from mflows.models.ambient import ambient_flow, on_manifold, pie
from mflows.models.building import remembered
from mflows.models.free_networks import gan, pae, ripf
from mflows.models.learned import m_flow, me_flow
from mflows.models.prescribed import fom
from mflows.models.variational import log_weight, vae

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
    "rebuild",
    "remembered",
    "ripf",
    "vae",
]

BUILDERS: dict[str, Callable[..., Flow]] = {
    build.__name__: build
    for build in (ambient_flow, pie, fom, m_flow, me_flow, pae, ripf, vae, gan)
}


def rebuild(key: PRNGKeyArray, built: tuple[str, str], **changes) -> Flow:
    """Build a flow like the one with ``flow.built == built``, with some arguments changed."""
    name, arguments = built
    return BUILDERS[name](key, **{**json.loads(arguments), **changes})
