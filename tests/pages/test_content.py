"""Wrong shapes are refused with what was expected, what came, and what to do."""

import numpy as np
import pytest

from mflows.pages import Conditioning, Content, Decoded, Manifold, Points, Projected, Table, View

GRID = np.zeros((4, 5, 3))
LINE = np.zeros((4, 2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Points(np.zeros((0, 3))), r"at least one row .* got shape \(0, 3\)"),
        (lambda: Points(np.zeros(3)), r"at least one row .* got shape \(3,\)"),
        (lambda: Points(np.zeros((4, 3)), log_prob=np.zeros(3)), r"log_prob .*\(4,\).*got \(3,\)"),
        (lambda: Points(np.zeros((4, 3)), distance=np.zeros((4, 1))), r"distance .* got \(4, 1\)"),
        (lambda: Conditioning(np.zeros((4, 1)), 1.0), r"shape \(N,\), .* got \(4, 1\)"),
        (lambda: Conditioning(np.zeros(0), 1.0), r"N >= 1 points; got \(0,\)"),
        (lambda: Manifold(np.zeros((1, 5, 3)), np.zeros((1, 5))), r"\(k, l, 3\).* got \(1, 5, 3\)"),
        (lambda: Manifold(GRID, np.zeros((5, 4))), r"\(4, 5\) .* got \(5, 4\)"),
        (lambda: Manifold(np.zeros((4, 5)), np.zeros(4)), r"\(k, 2\) or \(k, 3\).* got \(4, 5\)"),
        (lambda: Table("t", ["a", "b"], [[1, 2], [3]]), r"Expected 2 cells .* 't'; got 1 in row 1"),
        (
            lambda: Projected(GRID, GRID[1:], LINE[:, 0], LINE[:, 0]),
            r"projections .*\(4, 5, 3\) .*got \(3, 5, 3\)",
        ),
        (
            lambda: Decoded(np.zeros((2, 3, 4, 4)), "ab", "ab", ""),
            r"Expected 2 x 2 images .* got shape \(2, 3, 4, 4\)",
        ),
        (
            lambda: View(Manifold(GRID, np.zeros((4, 5))), Manifold(LINE, np.zeros(4))),
            "got a surface in 3 dimensions and a curve in 2",
        ),
    ],
)
def test_wrong_shapes(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"train": Points(LINE), "samples": np.zeros((3, 5))}, "points of one shape throughout"),
        ({"train": Points(LINE), "names": ["a"]}, r"'train': \(2,\), 'names': \(1,\)"),
        ({"held_out": Points(LINE), "latent": np.zeros((3, 1))}, "got 3 rows for 4 points"),
        ({"history": [{"epoch": 1}]}, "row 0 has no phase"),
        (
            {
                "views": [
                    View(Manifold(GRID, GRID[..., 0])),
                    View(Manifold(np.zeros((4, 3)), LINE[:, 0])),
                ]
            },
            "all of surfaces or all of curves",
        ),
    ],
)
def test_parts_that_do_not_fit(fields, message):
    with pytest.raises(ValueError, match=message):
        Content(title="t", **fields)


def test_lists_become_arrays():
    points = Points([[1, 2], [3, 4]], log_prob=[0, 1])
    assert points.x.dtype == float
    assert points.log_prob is not None
    assert points.log_prob.shape == (2,)
