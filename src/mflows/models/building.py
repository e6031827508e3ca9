"""What all builders share: a flow remembers its builder, so that it can be saved and rebuilt."""

import inspect
import json
from collections.abc import Callable
from functools import wraps

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from mflows.flow import Flow


def remembered(build: Callable[..., Flow]) -> Callable[..., Flow]:
    """Let the flow remember name and arguments of its builder, so that it can be rebuilt."""
    signature = inspect.signature(build)
    compiled = eqx.filter_jit(build)  # one program, not one for each random draw

    @wraps(build)
    def builder(key: PRNGKeyArray, *args, **kwargs) -> Flow:
        bound = signature.bind(key, *args, **kwargs)
        bound.apply_defaults()
        arguments = {name: value for name, value in bound.arguments.items() if name != "key"}
        arguments = jax.tree.map(_plain, arguments)
        flow = compiled(key, **arguments)
        return Flow(
            flow.chart,
            flow.latent,
            flow.volume,
            built=(build.__name__, json.dumps(arguments, sort_keys=True)),
        )

    return builder


def _plain(setting):
    """A setting as Python has it, not NumPy, which would be traced and is not JSON."""
    return setting.tolist() if isinstance(setting, np.generic | np.ndarray) else setting


def vector(shape) -> tuple[int]:
    """``shape`` as the shape (D,) of a vector; ``ValueError`` for anything else."""
    if len(shape) != 1:
        raise ValueError(f"Expected the shape (D,) of a vector; got {tuple(shape)}.")
    return (int(shape[0]),)


def size(cond_shape) -> int | None:
    """Number of components of a condition, ``None`` without one."""
    return None if cond_shape is None else vector(cond_shape)[0]
