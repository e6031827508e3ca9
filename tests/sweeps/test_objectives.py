from dataclasses import replace

import pytest
from tests import tiny

from mflows.sweeps import Choice, Plan, Range
from mflows.sweeps.objectives import comparable

AF = {"model": "af", "latent_dim": None, "settings": {}}
RATE = {"learning_rate": Range(1e-4, 1e-2)}
WHERE = {
    "manifold phase": ({}, RATE, None, {"manifold": 20, "unrolled manifold": 20}),
    "alternating": ({"recipe": "alternating"}, RATE, None, {"manifold": 20}),
    "density": (AF, RATE, None, {"density": 40}),
    "transport": ({"recipe": "optimal-transport"}, RATE, "mmd", {"transport": 40}),
    "a weight of another phase": (
        {"recipe": "scandal"},
        {"recipe-set.weight": Range(1.0, 9.0)},
        None,
        {"manifold": 20, "unrolled manifold": 20},
    ),
    "recipes with one first phase": (
        {},
        {"recipe": Choice(("scandal", "manifold-then-density"))},
        None,
        {"manifold": 20, "unrolled manifold": 20},
    ),
}
NOWHERE = {
    "a weight of the phase": (
        {**AF, "recipe": "denoising"},
        {"recipe-set.sigma": Range(0.1, 0.2)},
        None,
        "changes the loss",
    ),
    "epochs": ({}, {"epochs": Range(10, 20)}, None, "changes the loss, or the epochs"),
    "epochs by batch size": ({"epochs": None}, {"batch_size": Range(10, 30)}, None, "the epochs"),
    "recipes": ({}, {"recipe": Choice(("scandal", "simultaneous"))}, None, "the epochs"),
    "likelihood on a manifold": ({"recipe": "rectangular"}, RATE, None, "what distance measures"),
    "no samples in training": ({}, RATE, "mmd", "what mmd measures"),
}


def found(changes, search, objective):
    plan = Plan(replace(tiny.config("gone.csv"), **changes), search, objective)
    phases = [config.resolved(2000).phases() for _, config in plan.corners()]
    return comparable(str(plan.objective), phases)


@pytest.mark.parametrize("case", WHERE)
def test_losses_are_compared_where_they_mean_the_same(case):
    *asked, epochs = WHERE[case]
    assert found(*asked).epochs == epochs


@pytest.mark.parametrize("case", NOWHERE)
def test_losses_are_not_compared_where_they_do_not(case):
    *asked, why = NOWHERE[case]
    result = found(*asked)
    assert not result.epochs
    assert why in result.why
    assert result.step({"phase": "manifold", "epoch": 15}) is None


def test_steps_tell_phases_and_epochs_apart_and_skip_the_first_ones():
    steps = found({}, RATE, None)
    assert steps.step({"phase": "density", "epoch": 15}) is None
    assert steps.step({"phase": "manifold", "epoch": 4}) is None
    assert steps.step({"phase": "manifold", "epoch": 5}) == 5
    assert steps.step({"phase": "unrolled manifold", "epoch": 5}) == 1_000_005
