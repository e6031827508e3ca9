"""Random keys off the device, where work is the host's or compiling would take longer than drawing.

A key and what is drawn from its generator are independent of what JAX draws from the same key.
"""

from typing import Any

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
from jaxtyping import PRNGKeyArray


def checked(key: Any) -> PRNGKeyArray:
    """Return a random key; ``ValueError`` for anything else, such as the seed of one."""
    if isinstance(key, jax.Array) and (
        jnp.issubdtype(key.dtype, jax.dtypes.prng_key) or key.dtype == jnp.uint32
    ):
        return key
    seed = f"{key!r}" if isinstance(key, int | np.integer) else "0"
    raise ValueError(
        f"Expected a random key, jax.random.key({seed}); got {key!r:.80} ({type(key).__name__})."
    )


def generator(key: PRNGKeyArray) -> np.random.Generator:
    """NumPy's generator, seeded with a key."""
    return np.random.default_rng(np.asarray(jr.key_data(key)).ravel())


def integer_seed(key: PRNGKeyArray) -> int:
    """A seed for what takes an integer, below 2^31."""
    return int(generator(key).integers(2**31))


def drawn_keys(rng: np.random.Generator, like: PRNGKeyArray, count: int) -> PRNGKeyArray:
    """So many keys, shape (count,), of the kind of the key ``like``."""
    words = rng.integers(2**32, size=(count, *jr.key_data(like).shape), dtype=np.uint32)
    return jr.wrap_key_data(jnp.asarray(words), impl=jr.key_impl(like))
