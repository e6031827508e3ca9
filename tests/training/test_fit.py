"""What ``fit`` promises: what moves, what is kept, when it stops, and that it can be repeated."""

import json
import pickle
from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from tests.registry import FLOWS, disturbed
from tests.training.small import (
    Breaking,
    Centre,
    Noisy,
    centre_of,
    line_flow,
    losses,
    moving,
    points,
)

import mflows as mf
from mflows.data import Data
from mflows.training import (
    Alternate,
    Batch,
    Either,
    LatentNegativeLogLikelihood,
    NegativeLogLikelihood,
    Phase,
    Reconstruction,
    TrainingDiverged,
)
from mflows.training.epoch import _mean_loss, trainable
from mflows.training.examine import OddData


def fit(data, phases, flow=None, seed=0, **settings):
    phases = [phases] if isinstance(phases, Phase | Alternate) else phases
    flow = line_flow() if flow is None else flow
    return mf.fit(jr.key(seed), flow, data, phases, progress=False, **settings)


def _moved(first, second) -> bool:
    return not eqx.tree_equal(first, second)


# What moves -------------------------------------------------------------------------------------


def test_parts_that_a_phase_does_not_train_are_bit_identical_after_it():
    start = line_flow()
    density = Phase(NegativeLogLikelihood(), ("latent",), 2, batch_size=10)
    after = fit(points(1.0), density).flow
    assert eqx.tree_equal(after.chart, start.chart)
    assert _moved(after.latent, start.latent)
    manifold = Phase(NegativeLogLikelihood(), ("chart",), 2, batch_size=10, weight_decay=0.1)
    after = fit(points(1.0), manifold).flow
    assert eqx.tree_equal(after.latent, start.latent)
    assert _moved(after.chart, start.chart)


def test_placements_never_train():
    start = line_flow()
    both = Phase(NegativeLogLikelihood(), ("chart", "latent"), 2, batch_size=10, weight_decay=0.1)
    after = fit(points(1.0), both).flow
    layers, layers_before = (f.chart.bijection.bijections for f in (after, start))
    assert eqx.tree_equal(layers[1], layers_before[1])
    assert _moved(layers[0], layers_before[0])


@pytest.mark.parametrize("trains", [("chart",), ("latent",), ("chart", "latent")])
def test_a_flow_is_split_into_what_trains_and_the_rest_without_loss(trains):
    flow = FLOWS["curve"]()
    parameters, frozen = trainable(flow, trains)
    assert eqx.tree_equal(eqx.combine(parameters, frozen), flow)
    found = {jax.tree_util.keystr(p)[1:].split(".")[0] for p, _ in _leaves(parameters)}
    assert found == set(trains)
    assert all(eqx.is_inexact_array(leaf) for _, leaf in _leaves(parameters))
    assert not any("reflections" in jax.tree_util.keystr(path) for path, _ in _leaves(parameters))


def _leaves(tree):
    return jax.tree_util.tree_leaves_with_path(tree)


def test_the_flow_that_was_given_is_not_changed():
    flow, untouched = line_flow(), line_flow()
    fit(points(1.0), moving(2), flow)
    assert eqx.tree_equal(flow, untouched)


# What is kept -----------------------------------------------------------------------------------


def test_the_best_epoch_is_restored_when_the_last_one_is_worse():
    """Training pulls the centre through the best place for validation and beyond it."""
    data, held_out = points(2.0), points(0.8, seed=1)
    fitted = fit(data, moving(12), validation=held_out)
    validation = [row["validation"] for row in fitted.history]
    best = int(np.argmin(validation))
    assert 0 < best < len(validation) - 1
    assert validation[-1] > 2 * validation[best]
    loss = float(Centre()(fitted.flow, Batch(jnp.asarray(held_out), None), None))
    np.testing.assert_allclose(loss, validation[best], rtol=1e-12)


def test_the_next_phase_goes_on_from_the_best_epoch():
    data, held_out = points(2.0), points(0.8, seed=1)
    still = moving(1, learning_rate=1e-12)
    both = fit(data, [moving(12), still], validation=held_out)
    alone = fit(data, moving(12), validation=held_out)
    np.testing.assert_allclose(centre_of(both.flow), centre_of(alone.flow), atol=1e-9)


def test_fit_is_deterministic_in_the_key():
    noisy = moving(3, objective=Noisy())
    first, again, other = (fit(points(1.0), noisy, seed=seed) for seed in (0, 0, 1))
    assert eqx.tree_equal(first.flow, again.flow)
    assert losses(first.history) == losses(again.history)
    assert _moved(first.flow, other.flow)


def test_every_step_sees_other_points_and_other_keys():
    still = fit(points(1.0), moving(4, learning_rate=1e-15), validation=0).history
    epochs = [row["train"] for row in still]
    np.testing.assert_allclose(epochs, epochs[0], rtol=1e-9)  # each epoch sees every point once
    dropped = fit(points(1.0, 39), moving(4, learning_rate=1e-15), validation=0).history
    assert len({row["train"] for row in dropped}) == 4  # in another order
    noisy = moving(4, learning_rate=1e-15, objective=Noisy())
    assert len({row["train"] for row in fit(points(1.0), noisy).history}) == 4


# When it stops ----------------------------------------------------------------------------------


def _diverging(objective, batch_size=10, **settings):
    phase = moving(120, objective=objective, name="manifold", batch_size=batch_size)
    with pytest.raises(TrainingDiverged) as caught:
        fit(points(2.0), phase, **settings)
    return caught.value


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e9])
def test_divergence_names_phase_epoch_and_remedy_and_keeps_the_last_good_parameters(value):
    error = _diverging(Breaking(1.0, value))
    epoch = len(error.history) + 1
    assert epoch > 1
    message = str(error)
    assert f"Training diverged in phase 'manifold', epoch {epoch}: the loss became" in message
    assert "Try a learning rate some times smaller" in message
    assert "look for extreme values in the data" in message
    assert 0.1 < centre_of(error.flow)[0] <= 1.0
    assert np.isfinite(centre_of(error.flow)).all()
    elsewhere = pickle.loads(pickle.dumps(error))  # as a job sends it to who started it
    assert type(elsewhere) is TrainingDiverged
    assert str(elsewhere) == message
    unbroken = fit(points(2.0), moving(120)).history
    assert [row["epoch"] for row in error.history] == list(range(1, epoch))
    assert len(unbroken) == 120  # without the break the same run goes on


def test_an_epoch_that_diverges_is_taken_again_from_the_best_one_at_half_the_rate():
    # With steps of .5 the centre runs beyond the points at 2 by more than .6, with .25 by less.
    phase = moving(20, objective=Breaking(2.6, np.nan), learning_rate=0.5)
    found = fit(points(2.0), phase)
    (note,) = found.notes
    assert "of training diverged, its loss became nan: it was taken again from the best" in note
    assert [row["epoch"] for row in found.history] == list(range(1, 21))
    np.testing.assert_allclose(centre_of(found.flow), 2.0, atol=0.1)
    slower = replace(phase, objective=Centre(), learning_rate=0.25)
    assert fit(points(2.0), slower).notes == []


def test_divergence_in_the_first_epoch_gives_back_the_flow_that_came_in():
    error = _diverging(Breaking(-1.0, np.nan))
    assert error.history == []
    assert eqx.tree_equal(error.flow, line_flow())


def test_a_diverging_validation_loss_is_the_one_reported():
    error = _diverging(Centre(), validation=np.full((5, 2), 1e200))
    assert "epoch 1: the loss became inf" in str(error)


@pytest.mark.parametrize("validation", [0, 0.25])
def test_parameters_ruined_by_the_last_step_of_an_epoch_are_not_the_best(validation):
    """The last losses are finite, but the last gradient is not."""
    error = _diverging(Cusp(), batch_size=99, validation=validation)
    assert np.isfinite(centre_of(error.flow)).all()
    assert "the loss became nan" in str(error)


class Cusp(Centre):
    """Finite everywhere, with a gradient that is NaN; it is never looked at again."""

    def __call__(self, flow, batch, key):
        loss = super().__call__(flow, batch, key)
        return loss + jnp.where(loss > 0, 0.0, 1.0) * jnp.sqrt(loss * 0.0)


def test_patience_stops_a_phase_that_no_longer_improves():
    data, held_out = points(2.0), points(0.8, seed=1)
    all_epochs = fit(data, moving(30), validation=held_out).history
    best = int(np.argmin([row["validation"] for row in all_epochs]))
    stopped = fit(data, moving(30, patience=3), validation=held_out).history
    assert len(stopped) == best + 1 + 3 < 30
    assert losses(stopped) == losses(all_epochs)[: len(stopped)]


def test_patience_of_one_phase_does_not_stop_the_next():
    data, held_out = points(2.0), points(0.8, seed=1)
    phases = [moving(30, patience=2, name="a"), moving(2, name="b", learning_rate=1e-12)]
    history = fit(data, phases, validation=held_out).history
    assert [row["epoch"] for row in history if row["phase"] == "b"] == [1, 2]


# Alternation ------------------------------------------------------------------------------------


def test_an_alternating_phase_starts_once_on_what_the_others_have_learned():
    seen = []

    def noted(name):
        def start(key, flow, batch):
            seen.append((name, centre_of(flow)))
            return flow

        return start

    phases = (moving(1, name="a", start=noted("a")), moving(1, name="b", start=noted("b")))
    fit(points(3.0), Alternate(phases, rounds=2))
    (a, before), (b, after) = seen
    assert (a, b) == ("a", "b")
    assert (before != after).any()


def test_alternation_takes_phases_in_turn_and_counts_their_epochs_on():
    phases = Alternate((moving(2, name="a"), moving(1, name="b", objective=Noisy())), rounds=3)
    history = fit(points(1.0), phases).history
    turns = [(row["phase"], row["epoch"]) for row in history]
    assert turns == [
        *[("a", 1), ("a", 2), ("b", 1)],
        *[("a", 3), ("a", 4), ("b", 2)],
        *[("a", 5), ("a", 6), ("b", 3)],
    ]


def test_rounds_go_on_with_the_optimiser_and_its_schedule():
    """With whole-data batches and a falling loss, rounds are one long phase."""
    data, whole = points(3.0), {"batch_size": 40, "learning_rate": 0.05}
    rounds = fit(data, Alternate((moving(4, **whole),), rounds=5), validation=0)
    long = fit(data, moving(20, **whole), validation=0)
    np.testing.assert_allclose(centre_of(rounds.flow), centre_of(long.flow), rtol=1e-9)
    fresh = fit(data, [moving(4, **whole)] * 5, validation=0)
    assert abs(centre_of(fresh.flow) - centre_of(long.flow)).max() > 1e-3


# Data -------------------------------------------------------------------------------------------


def test_without_validation_the_training_loss_stands_in():
    history = fit(points(1.0), moving(3), validation=0).history
    assert all(row["train"] == row["validation"] for row in history)


def test_a_fraction_too_small_for_one_point_is_no_validation():
    history = fit(points(1.0, 9), moving(1), validation=0.01).history
    assert history[0]["train"] == history[0]["validation"]


def test_held_out_points_are_not_trained_on():
    data = np.concatenate([points(0.0, 30), points(1000.0, 10)])
    history = fit(data, moving(1, learning_rate=1e-15), validation=0.5).history
    total = Centre()(line_flow(), Batch(jnp.asarray(data), None), None)
    mean = (history[0]["train"] + history[0]["validation"]) / 2
    np.testing.assert_allclose(mean, total, rtol=1e-9)


def test_validation_may_be_an_array_or_data():
    held_out = points(0.5, 7, seed=3)
    first = fit(points(1.0), moving(2), validation=held_out)
    second = fit(Data(points(1.0)), moving(2), validation=Data(held_out))
    assert losses(first.history) == losses(second.history)


def test_a_batch_larger_than_the_data_is_all_of_them():
    large, whole = (fit(points(1.0, 20), moving(3, batch_size=b), validation=0) for b in (999, 20))
    assert eqx.tree_equal(large.flow, whole.flow)
    assert centre_of(large.flow).min() > 0.1


@pytest.mark.parametrize(
    ("count", "used"), [(7, 7), (999, 999), (1000, 1000), (1999, 1999), (2345, 2344)]
)
def test_the_validation_loss_is_the_mean_over_points_in_equal_blocks(count, used):
    batch = Batch(jnp.asarray(np.random.default_rng(0).normal(size=(count, 2))), None)

    def loss(batch):
        return jnp.mean(batch.x**2)

    found = _mean_loss(loss, batch)
    np.testing.assert_allclose(found, jnp.mean(batch.x[:used] ** 2), rtol=1e-12)


@pytest.mark.parametrize("fraction", [-0.1, 1, 1.5])
def test_a_validation_fraction_is_at_least_0_and_below_1(fraction):
    message = rf"Expected a validation fraction in \[0, 1\); got {fraction}\."
    with pytest.raises(ValueError, match=message):
        fit(points(1.0), moving(1), validation=fraction)


def test_data_of_another_shape_are_refused():
    message = r"Expected data of shape \(2,\) with condition None for this flow; got \(3,\)"
    with pytest.raises(ValueError, match=message):
        fit(np.zeros((10, 3)), moving(1))


def test_a_conditional_flow_wants_conditions():
    flow = FLOWS["conditional affine surface"]()
    message = r"Expected data of shape \(3,\) with condition \(2,\) for this flow; got \(3,\) with"
    with pytest.raises(ValueError, match=message):
        fit(np.random.default_rng(0).normal(size=(10, 3)), moving(1), flow)


def test_conditions_are_refused_for_a_flow_that_has_none():
    with pytest.raises(ValueError, match=r"with condition None for this flow; got .*\(3,\)"):
        fit(Data(points(1.0), np.ones((40, 3))), moving(2))


# Density phase ----------------------------------------------------------------------------------


def test_the_density_phase_encodes_once(monkeypatch):
    encoded, genuine = [], LatentNegativeLogLikelihood.prepare

    def counted(self, flow, batch):
        encoded.append(batch.x.shape)
        return genuine(self, flow, batch)

    monkeypatch.setattr(LatentNegativeLogLikelihood, "prepare", counted)
    density = Phase(LatentNegativeLogLikelihood(), ("latent",), 5, batch_size=10)
    fit(points(1.0, 40), density, validation=0.25)
    assert sorted(encoded) == [(10, 2), (30, 2)]


def test_the_cost_of_the_density_phase_does_not_depend_on_the_number_of_features():
    """No array with D entries is left in its compiled program."""
    features = 37
    flow = mf.models.m_flow(
        jr.key(0, impl="unsafe_rbg"),
        (features,),
        2,
        chart_layers=1,
        latent_layers=1,
        width=4,
        bins=2,
    )
    objective = LatentNegativeLogLikelihood()
    u = jnp.zeros((11, 2))
    program = jax.jit(lambda u: objective(flow, Batch(u, None), None)).lower(u)
    text = program.compile({"xla_backend_optimization_level": 0}).as_text()
    shapes = [part.split("]")[0].split(",") for part in text.split("[")[1:]]
    assert any("11" in shape for shape in shapes)
    assert not any(str(features) in shape for shape in shapes)


def test_training_on_latents_is_training_on_the_points_with_the_chart_frozen():
    data = points(1.0)
    settings = {"trains": ("latent",), "epochs": 3, "batch_size": 10}
    latent, exact = (
        fit(data, Phase(objective, **settings))
        for objective in (LatentNegativeLogLikelihood(), NegativeLogLikelihood())
    )
    first, second = (
        jax.tree.leaves(eqx.filter(f.flow.latent, eqx.is_array)) for f in (latent, exact)
    )
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8)


# Objectives -------------------------------------------------------------------------------------


def test_objectives_are_what_the_flow_s_methods_say():
    flow = disturbed(line_flow())
    x = np.random.default_rng(0).normal(size=(9, 2))
    batch = Batch(jnp.asarray(x), None)
    nll = NegativeLogLikelihood()(flow, batch, None)
    np.testing.assert_allclose(nll, -flow.log_prob(x).mean(), rtol=1e-10)
    objective = LatentNegativeLogLikelihood()
    latent = objective(flow, objective.prepare(flow, batch), None)
    np.testing.assert_allclose(latent, -flow.latent.log_prob(flow.encode(x)).mean(), rtol=1e-10)
    scale = np.asarray(flow.chart.bijection.bijections[1].scale.tree)
    error = (((x - np.asarray(flow.project(x))) / scale) ** 2).mean()
    np.testing.assert_allclose(Reconstruction()(flow, batch, None), error, rtol=1e-10)


def test_a_point_far_off_counts_as_one_where_manifolds_are_judged():
    flow = disturbed(line_flow())
    x = np.random.default_rng(0).normal(size=(9, 2))
    x[0] = 1e6, -1e6
    batch, judged = Batch(jnp.asarray(x), None), Reconstruction().validate
    scale = np.asarray(flow.chart.bijection.bijections[1].scale.tree)
    errors = (((x - np.asarray(flow.project(x))) / scale) ** 2).mean(axis=1)
    assert errors[0] > 1e6
    np.testing.assert_allclose(judged(flow, batch, None), np.minimum(errors, 1).mean(), rtol=1e-6)


def test_another_learning_rate_name_or_number_of_epochs_compiles_nothing_anew():
    traced = []

    @dataclass(frozen=True)
    class Watched(Centre):
        def __call__(self, flow, batch, key):
            traced.append(batch.x.shape)
            return super().__call__(flow, batch, key)

    def centre(epochs, **settings):
        phase = moving(epochs, objective=Watched(), **settings)
        return centre_of(mf.fit(jr.key(0), line_flow(), points(1.0), [phase], progress=False).flow)

    first, count = centre(1), len(traced)
    assert count > 0
    others = [centre(2, name="other"), centre(1, learning_rate=0.2, patience=3)]
    assert len(traced) == count
    assert not any(np.allclose(first, other) for other in others)
    centre(1, clip=0.5)
    assert len(traced) > count


# Phases and files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trains": ("decoder",)}, r"`trains` to name 'chart', 'latent' or both; got \('decoder'"),
        ({"trains": ()}, r"`trains` to name 'chart', 'latent' or both; got \(\)"),
        ({"epochs": 0}, "Expected epochs >= 1; got 0"),
        ({"batch_size": 0}, "Expected batch_size >= 1; got 0"),
        ({"learning_rate": 0.0}, "Expected learning_rate > 0; got 0"),
        ({"learning_rate": float("nan")}, "Expected learning_rate > 0; got nan"),
        ({"clip": -1.0}, "Expected clip > 0; got -1"),
    ],
)
def test_a_phase_checks_its_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Phase(**{"objective": Centre(), "trains": ("chart",), "epochs": 1, **settings})


@pytest.mark.parametrize(("phases", "rounds"), [((), 2), ((moving(1),), 0)])
def test_an_alternation_needs_a_phase_and_a_round(phases, rounds):
    with pytest.raises(ValueError, match="Expected at least one phase and one round"):
        Alternate(phases, rounds)


def shifted(key, flow, batch):
    return eqx.tree_at(lambda f: f.chart.bijection.bijections[0].loc, flow, jnp.full(2, 5.0))


def test_starts_run_before_a_phase():
    still = moving(1, start=shifted, learning_rate=1e-12)
    np.testing.assert_allclose(centre_of(fit(points(1.0), still).flow), 5.0, atol=1e-9)


@pytest.mark.parametrize("which", [0, 1])
def test_the_data_decide_one_of_several_phases(which):
    """It starts from the flow of the choice, with the numbers that it has by its place."""
    chosen = []

    def choose(keys, flow, batch):
        chosen.append(len(keys))
        return which, shifted(keys[which], flow, batch)

    a, b = (moving(2, name=name, objective=Noisy()) for name in "ab")
    after = moving(1, name="after", objective=Noisy())
    found = fit(points(1.0), [Either((a, b), choose), after])
    assert chosen == [2]
    assert [row["phase"] for row in found.history] == ["ab"[which]] * 2 + ["after"]
    alone = [moving(1, objective=Noisy(), name="0", learning_rate=1e-15)] * 2
    alone[which] = replace((a, b)[which], start=shifted)
    both = fit(points(1.0), [*alone, after]).history
    assert losses([row for row in both if row["phase"] != "0"])[0] == losses(found.history)[0]


def test_a_choice_needs_a_phase():
    with pytest.raises(ValueError, match="Expected at least one phase to choose from"):
        Either((), lambda keys, flow, batch: (0, flow))


def test_history_on_disk_is_the_history_returned(tmp_path):
    fitted = fit(points(1.0), [moving(2, name="a"), moving(1, name="b")], folder=tmp_path)
    lines = (tmp_path / "history.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == fitted.history
    assert set(fitted.history[0]) == {"phase", "epoch", "train", "validation", "seconds"}
    assert any((tmp_path / "tensorboard").iterdir())


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fit(points(1.0), moving(1))
    assert list(tmp_path.iterdir()) == []


def test_weight_decay_and_clipping_reach_the_optimiser():
    data = points(3.0)
    plain = fit(data, moving(2, objective=Centre(1.0)), validation=0)
    loud = fit(data, moving(2, objective=Centre(1e6), clip=1e-3), validation=0)
    np.testing.assert_allclose(centre_of(loud.flow), centre_of(plain.flow), atol=0.02)
    flow = eqx.tree_at(lambda f: f.chart.bijection.bijections[0].loc, line_flow(), jnp.full(2, 3.0))
    frozen = Phase(Centre(0.0), ("chart",), 2, learning_rate=0.1, weight_decay=0.5, batch_size=10)
    decayed = fit(data, frozen, flow, validation=0)
    assert centre_of(decayed.flow).max() < 3.0 - 1e-2


def test_points_count_as_much_as_their_weights():
    x = np.concatenate([points(0.0, 20), points(1.0, 20)])
    data = Data(x, weight=np.repeat([0.25, 0.75], 20))
    kept = data.split(0.25, 0).kept
    fitted = fit(kept, moving(40), validation=kept)
    expected = np.average(kept.x, axis=0, weights=kept.weight)
    np.testing.assert_allclose(centre_of(fitted.flow), expected, atol=0.02)
    assert fitted.rows == round(kept.effective_size) < len(kept)


def test_weights_of_which_few_count_are_told():
    data = Data(points(1.0), weight=np.r_[1e3, np.ones(39)])
    with pytest.warns(OddData, match="40 rows tell no more than 1 that count alike"):
        fit(data, moving(1), validation=points(1.0))
