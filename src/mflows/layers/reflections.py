r"""Orthogonal maps with prescribed first columns, kept as a few reflections.

An orthonormal frame of n vectors in R^D is the first n columns of a product of n reflections

    Q = H_1 ... H_n = I - V T V^T,    H_i = I - 2 v_i v_i^T,    V = (v_1 .. v_n), D x n

in compact form (Schreiber & Van Loan 1989, SIAM J. Sci. Stat. Comput. 10:53). With unit vectors v_i

    T^-1 = 1/2 I + the strictly upper part of V^T V

(Joffrain et al. 2006, ACM Trans. Math. Softw. 32:169); a factor that is the identity has v_i = 0.
Both are found once, by a QR decomposition whose R has a diagonal >= 0, here the identity. A vector
is then turned by 4 n D operations, and no D x D matrix exists.
"""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float
from scipy.linalg import get_lapack_funcs, solve_triangular


class Reflections(NamedTuple):
    """The orthogonal map Q = I - V T V^T of R^D.

    Attributes:
        vectors: V, shape (D, n), columns of length 1 or 0. For n = 0 the map is the identity.
        factor: T, upper triangular, shape (n, n).
    """

    vectors: Float[ArrayLike, "D n"]
    factor: Float[ArrayLike, "n n"]

    def turn(self, z: Float[Array, " D"]) -> Float[Array, " D"]:
        """Q z."""
        return z - _matmul(self.vectors, _matmul(self.factor, _matmul(z, self.vectors)))

    def turn_back(self, z: Float[Array, " D"]) -> Float[Array, " D"]:
        """Q^T z."""
        return z - _matmul(self.vectors, _matmul(_matmul(z, self.vectors), self.factor))


_matmul = partial(jnp.matmul, precision="highest")  # accelerators round inputs by default


def reflections_to(plane: Float[ArrayLike, "n D"]) -> Reflections:
    """The map whose first n columns are the rows of ``plane``, in NumPy and double precision.

    Args:
        plane: Orthonormal vectors, one per row, n <= D.

    Raises:
        ValueError: If the rows are not orthonormal.
    """
    plane = np.asarray(plane, np.float64)
    n, dim = plane.shape
    if n > dim or not np.allclose(plane @ plane.T, np.eye(n), rtol=0, atol=1e-4):
        raise ValueError(
            f"Expected orthonormal rows, at most {dim} of them, as a plane in {dim} dimensions; "
            f"got {n} rows that are not. Take rows of the orthogonal factor of a QR decomposition."
        )
    if n == 0:
        return Reflections(np.zeros((dim, 0)), np.zeros((0, 0)))
    (geqrfp,) = get_lapack_funcs(("geqrfp",), (plane,))
    packed, strength, _ = geqrfp(plane.T)
    vectors = np.tril(packed, -1) + np.eye(dim, n)
    vectors *= (strength > 0) / np.linalg.norm(vectors, axis=0)
    inverse = np.eye(n) / 2 + np.triu(vectors.T @ vectors, 1)
    return Reflections(vectors, np.asarray(solve_triangular(inverse, np.eye(n))))
