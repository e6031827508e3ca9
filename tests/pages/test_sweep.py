"""The page of a sweep, in a real browser too."""

import numpy as np
import optuna
import pytest
from optuna.trial import TrialState
from tests import tiny
from tests.pages.test_browser import Opened, browser, coloured, tab  # noqa: F401

from mflows.pages.sweep import write_sweep
from mflows.sweeps import Choice, Plan, Range, Sweep

SEARCH = {
    "learning_rate": Range(1e-4, 1e-1, log=True),
    "set.blocks": Choice((1, 2, 3)),
    "recipe-set.patience": Range(5, 30),
}


def made_up(folder, search=SEARCH, count=24) -> Sweep:
    """A sweep that nobody has run."""
    rng = np.random.default_rng(0)
    trials = []
    for number in range(count):
        rate = float(10 ** rng.uniform(-4, -1))
        drawn = {
            "learning_rate": rate,
            "set.blocks": int(rng.integers(1, 4)),
            "recipe-set.patience": int(rng.integers(5, 31)),
        }
        finished, diverged = number % 4 > 1, number % 4 == 1
        trial = optuna.create_trial(
            state=TrialState.COMPLETE if finished else TrialState.PRUNED,
            params={name: drawn[name] for name in search},
            distributions=search,
            value=(np.log10(rate) + 2.5) ** 2 + 0.1 if finished else None,
            constraints={"diverged": 1.0} if diverged else None,
        )
        trial.number = number
        trials.append(trial)
    return Sweep(folder, Plan(tiny.config("<gone>.csv"), search), trials)


@pytest.fixture(scope="module")
def opened(tab, tmp_path_factory):  # noqa: F811
    return Opened(tab, write_sweep(made_up(tmp_path_factory.mktemp("sweep"))))


def test_every_figure_is_drawn_without_complaint_or_request(opened):
    count = opened.page.locator(".plot").count()
    assert count == 4
    for i in range(count):
        assert coloured(opened.pixels(f"#plot-{i}")) > 0.002, f"figure {i} is blank"
    assert opened.complaints == []
    assert opened.requests == []
    assert opened.overflow() <= 0
    opened.page.set_viewport_size({"width": 390, "height": 844})
    opened.page.wait_for_timeout(300)
    assert opened.overflow() <= 0


def test_the_menu_shows_another_setting(opened):
    opened.page.select_option("#menu-1", "set.blocks")
    axis = "document.getElementById('plot-1').layout.xaxis.title.text"
    opened.page.wait_for_function(f"{axis} === 'set.blocks'")


def text_of(sweep: Sweep) -> str:
    return write_sweep(sweep).read_text().split("<script")[0]


def test_the_page_says_what_was_searched_and_found(tmp_path):
    sweep = made_up(tmp_path)
    text = text_of(sweep)
    assert "Sweep of m-flow on &lt;gone&gt;.csv" in text
    assert "12 complete" in text
    assert "0.0001..0.1:log" in text
    assert f"{sweep.best.value:.4g}" in text
    assert "12 of 24 trials have no value" in text
    assert "No warnings" not in text


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_trials_make_a_page_too(tmp_path, count):
    one = {"learning_rate": SEARCH["learning_rate"]}
    for search in (one, SEARCH):
        assert "Importance" not in text_of(made_up(tmp_path, search, count))
