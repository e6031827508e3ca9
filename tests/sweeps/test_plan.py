import json

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from tests import tiny

from mflows.sweeps import Choice, Plan, Range, work
from mflows.sweeps.plan import written

RATES = {"learning_rate": Range(1e-4, 1e-2, log=True)}
CONFIG = {
    "m-flow": {},
    "af": {"model": "af", "latent_dim": None, "settings": {}},
    "fom": {"model": "fom", "latent_dim": None, "settings": {}},
    "pie": {"model": "pie", "settings": {}},
}

BAD = {
    "nothing": ("m-flow", {}, None, "at least one thing to search"),
    "name": ("m-flow", {"width": Range(2, 4)}, None, "set.NAME or recipe-set.NAME; got 'width'"),
    "seed": ("m-flow", {"seed": Range(0, 4)}, None, "Expected to search learning_rate"),
    "setting": ("m-flow", {"set.depth": Range(2, 4)}, None, "out of .*chart_layers.*got 'depth'"),
    "type of a setting": ("m-flow", {"set.blocks": Range(1, 2.5)}, None, "int or None; got 1.0"),
    "end of a setting": (
        "m-flow",
        {"set.blocks": Range(0, 2)},
        None,
        "blocks > 0 and finite; got 0",
    ),
    "type": ("m-flow", {"batch_size": Range(1.5, 4)}, None, "batch_size to be of type int; got 1"),
    "end": ("m-flow", {"learning_rate": Range(-1.0, 1.0)}, None, "learning_rate > 0; got -1.0"),
    "recipe": ("m-flow", {"recipe": Choice(("alternating", "magic"))}, None, "got 'magic'"),
    "setting of one recipe": (
        "m-flow",
        {"recipe": Choice(("scandal", "rectangular")), "recipe-set.patience": Range(5, 9)},
        None,
        "settings of the recipe 'rectangular' out of weight, probes; got 'patience'",
    ),
    "twice": ("m-flow", {"set.width": Range(4, 8)}, None, "width to be set or to be searched"),
    "objective": ("m-flow", RATES, "loss", "out of distance, log-prob, mmd; got 'loss'"),
    "density of manifolds": ("m-flow", RATES, "log-prob", "different manifolds cannot be comp"),
    "prescribed manifolds": (
        "fom",
        {"set.manifold": Choice(("torus", "sphere"))},
        "log-prob",
        "mmd as the objective where set.manifold is searched",
    ),
    "distance in space": ("af", RATES, "distance", "got 'distance', which is 0"),
    "distance by n": ("m-flow", {"latent_dim": Range(1, 2)}, None, "mmd as the objective where la"),
}
BAD_FOR_THE_DATA = {
    "latent_dim": ({"latent_dim": Range(1, 3)}, "mmd", "1 <= latent_dim <= 2"),
    "scandal": ({"recipe": Choice(("scandal", "alternating"))}, None, "array joint_score"),
}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return tiny.write_table(tmp_path_factory.mktemp("data") / "curve.csv")


@pytest.mark.parametrize("case", BAD)
def test_names_ends_and_objectives_are_checked(case):
    model, search, objective, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        Plan(tiny.config("gone.csv", **CONFIG[model]), search, objective)


@pytest.mark.parametrize("case", BAD_FOR_THE_DATA)
def test_what_does_not_fit_the_data_is_found_before_anything_is_written(case, table, tmp_path):
    search, objective, message = BAD_FOR_THE_DATA[case]
    plan = Plan(tiny.config(table), search, objective)
    with pytest.raises(ValueError, match=message):
        work(tmp_path / "sweep", plan, trials=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model", CONFIG)
def test_the_objective_is_the_density_only_where_there_is_one_space(model):
    plan = Plan(tiny.config("gone.csv", **CONFIG[model]), RATES)
    assert plan.objective == ("distance" if model == "m-flow" else "log-prob")
    assert Plan(plan.config, RATES, "mmd").objective == "mmd"


def test_values_find_their_places():
    search = {
        **RATES,
        "set.blocks": Range(1, 2),
        "recipe-set.patience": Range(5, 9),
        "recipe": Choice(("scandal", "manifold-then-density")),
    }
    plan = Plan(tiny.config("gone.csv"), search)
    values = {"learning_rate": 0.1, "set.blocks": 2, "recipe-set.patience": 7, "recipe": "scandal"}
    config = plan.at(values)
    assert (config.learning_rate, config.recipe) == (0.1, "scandal")
    assert config.settings == {**tiny.SETTINGS, "blocks": 2}
    assert config.recipe_settings == {"patience": 7}
    assert plan.config.settings == tiny.SETTINGS


def test_a_plan_survives_json():
    plan = Plan(tiny.config("gone.csv"), {**RATES, "set.blocks": Choice((1, 2))}, "mmd")
    again = Plan.from_dict(json.loads(json.dumps(plan.as_dict())))
    assert again == plan


def test_a_plan_of_the_first_version_is_read():
    search = {
        "learning_rate": {"low": 1e-4, "high": 1, "log": True},
        "batch_size": {"low": 20, "high": 40, "log": False},
        "recipe": ["alternating", "manifold-then-density"],
    }
    plain = Plan(tiny.config("gone.csv"), RATES, "mmd", False, "journal.log").as_dict()
    plan = Plan.from_dict({**plain, "search": search})
    assert plan.search == {
        "learning_rate": FloatDistribution(1e-4, 1, log=True),
        "batch_size": IntDistribution(20, 40),
        "recipe": CategoricalDistribution(("alternating", "manifold-then-density")),
    }
    assert (plan.objective, plan.prune, plan.storage) == ("mmd", False, "journal.log")


SPACES = {
    "2..8": (Range(2, 8), IntDistribution(2, 8)),
    "0.5..8.0": (Range(0.5, 8), FloatDistribution(0.5, 8)),
    "2..8:log": (Range(2, 8, log=True), IntDistribution(2, 8, log=True)),
    "0.0001..1.0:log": (Range(1e-4, 1, log=True), FloatDistribution(1e-4, 1, log=True)),
    "True|False": (Choice((True, False)), CategoricalDistribution((True, False))),
}


@pytest.mark.parametrize("text", SPACES)
def test_ranges_and_choices_are_distributions_of_optuna(text):
    space, distribution = SPACES[text]
    assert space == distribution
    assert written(space) == text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Range(2, 2), "from low to high; got 2..2"),
        (lambda: Range(float("nan"), 2.0), "from low to high"),
        (lambda: Range(0.0, 1.0, log=True), "above 0 for its logarithm; got 0.0"),
        (lambda: Choice((64,)), "two or more different values to choose from; got 64"),
        (lambda: Choice((64, 32, 64)), "got 64|32|64"),
    ],
)
def test_what_is_no_space(make, message):
    with pytest.raises(ValueError, match=message):
        make()
