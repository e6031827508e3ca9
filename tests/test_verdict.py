"""Each check is silent on a clean run and speaks about the fault it is for."""

import dataclasses

import numpy as np
import pytest

from mflows.pages import Conditioning, Content, Points, warnings_of
from mflows.verdict import CHECKS, checked


def clean() -> Content:
    rng = np.random.default_rng(0)

    def points() -> Points:
        x = rng.normal(size=(1000, 3))
        return Points(x, rng.normal(size=1000), 0.01 * rng.chisquare(3, 1000))

    return Content(
        title="t",
        train=points(),
        held_out=points(),
        conditioning=Conditioning(np.full(1000, 3.0), limit=100.0),
        samples=rng.normal(size=(1000, 3)),
        history=[epoch(i, np.exp(-i) + 0.01) for i in range(1, 21)],
        rows=1000,
        latent_dim=2,
    )


def epoch(number: int, loss: float, validation: float | None = None) -> dict:
    both = {"train": loss, "validation": loss if validation is None else validation}
    return {"phase": "manifold", "epoch": number, "seconds": 0.1, **both}


def held_out(content: Content, **changes) -> Content:
    assert content.held_out is not None
    return dataclasses.replace(content, held_out=dataclasses.replace(content.held_out, **changes))


def test_clean_run_is_silent():
    assert warnings_of(clean()) == []
    assert checked(clean()).keys() == CHECKS.keys()


def test_checks_of_what_an_ambient_flow_has_not_are_left_out():
    ambient = clean()
    assert ambient.train is not None
    train = dataclasses.replace(ambient.train, distance=None)
    nothing = {"conditioning": None, "history": (), "latent_dim": None}
    ambient = dataclasses.replace(ambient, train=train, **nothing)
    names = list(checked(held_out(ambient, distance=None)))
    assert names == [
        "values are finite",
        "density on held-out against train",
        "samples within the range of the data",
    ]
    assert list(checked(Content(title="t"))) == ["values are finite"]


def spoil(name: str) -> Content:
    good = clean()
    assert good.held_out is not None
    assert good.held_out.distance is not None
    assert good.held_out.log_prob is not None
    assert good.samples is not None
    d, p = good.held_out.distance, good.held_out.log_prob
    match name:
        case "not finite":
            return held_out(good, log_prob=np.where(np.arange(1000) < 3, np.nan, p))
        case "further from the manifold":
            return held_out(good, distance=2 * d)
        case "Density is lower":
            return held_out(good, log_prob=p - 1)
        case "far worse than the rest":
            return held_out(good, distance=np.where(np.arange(1000) == 7, 4.0, d))
        case "misses much":
            assert good.train is not None
            worse = dataclasses.replace(good.train, distance=20 * d)
            return held_out(dataclasses.replace(good, train=worse), distance=20 * d)
        case "no data":
            return dataclasses.replace(good, samples=3 * good.samples)
        case "still falling":
            return dataclasses.replace(good, history=[epoch(i, 21.0 - i) for i in range(1, 21)])
        case "worse after its first":
            return dataclasses.replace(
                good, history=[epoch(i, 1 + i / 5, 1.0) for i in range(1, 21)]
            )
        case "best epoch was early":
            losses = [epoch(i, np.exp(-i) + 0.01, abs(i - 4) + 1) for i in range(1, 21)]
            return dataclasses.replace(good, history=losses)
        case "Few points":
            return dataclasses.replace(good, rows=30)
        case "ill-conditioned":
            numbers = np.full(1000, 3.0)
            numbers[:4] = 100, 1e30, np.inf, np.nan  # the limit, and what has no number
            return dataclasses.replace(good, conditioning=Conditioning(numbers, limit=100.0))
    raise AssertionError(name)


@pytest.mark.parametrize(
    "fault",
    [
        "not finite",
        "further from the manifold",
        "Density is lower",
        "far worse than the rest",
        "misses much",
        "no data",
        "ill-conditioned",
        "still falling",
        "worse after its first",
        "best epoch was early",
        "Few points",
    ],
)
def test_fault_is_named(fault):
    (warn,) = warnings_of(spoil(fault))
    assert fault in warn.title


def test_counts_what_is_not_finite():
    (warn,) = warnings_of(spoil("not finite"))
    assert "3 of 1,000 held-out log densities" in warn.detail


def test_counts_what_is_ill_conditioned_and_says_what_to_do():
    (warn,) = warnings_of(spoil("ill-conditioned"))
    assert "At 4 of 1,000 held-out points" in warn.detail
    assert "--precision float64" in warn.detail


def test_rounding_error_is_not_a_distance():
    exact = held_out(clean(), distance=np.full(1000, 1e-7))
    assert warnings_of(dataclasses.replace(exact, train=None)) == []


def test_nothing_finite_at_all_still_makes_a_page():
    from mflows.pages import html

    nan = np.full((10, 3), np.nan)
    points = Points(nan, nan[:, 0], nan[:, 0])
    content = Content(title="t", train=points, held_out=points, samples=nan, latent=nan[:, :2])
    assert "10 of 10 model samples" in html(content)


def test_a_closed_shape_is_not_blamed_on_the_latent_dimension():
    note = "A graph over no plane (conflict 40), and no better unrolled (41), as closed and noisy."
    closed = dataclasses.replace(spoil("misses much"), notes=[note])
    (warn,) = warnings_of(closed)
    assert "the shape is closed" in warn.detail
    assert "may be too small" not in warn.detail
