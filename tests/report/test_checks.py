"""Each check is silent on a clean run and speaks about the fault it is for."""

import dataclasses

import numpy as np
import pytest

from mflows.report import Content, Points, warnings_of


def clean() -> Content:
    rng = np.random.default_rng(0)

    def points() -> Points:
        x = rng.normal(size=(1000, 3))
        return Points(x, rng.normal(size=1000), 0.01 * rng.chisquare(3, 1000))

    return Content(title="t", train=points(), held_out=points(), samples=rng.normal(size=(1000, 3)))


def held_out(content: Content, **changes) -> Content:
    assert content.held_out is not None
    return dataclasses.replace(content, held_out=dataclasses.replace(content.held_out, **changes))


def test_clean_run_is_silent():
    assert warnings_of(clean()) == []


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
    ],
)
def test_fault_is_named(fault):
    (warn,) = warnings_of(spoil(fault))
    assert fault in warn.title


def test_counts_what_is_not_finite():
    (warn,) = warnings_of(spoil("not finite"))
    assert "3 of 1,000 held-out log densities" in warn.detail


def test_rounding_error_is_not_a_distance():
    exact = held_out(clean(), distance=np.full(1000, 1e-7))
    assert warnings_of(dataclasses.replace(exact, train=None)) == []


def test_nothing_finite_at_all_still_makes_a_page():
    from mflows.report import html

    nan = np.full((10, 3), np.nan)
    points = Points(nan, nan[:, 0], nan[:, 0])
    content = Content(title="t", train=points, held_out=points, samples=nan, latent=nan[:, :2])
    assert "10 of 10 model samples" in html(content)
