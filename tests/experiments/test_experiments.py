"""Every experiment runs, in its short form, and says what it found."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flowjax.bijections import Identity
from flowjax.distributions import Normal
from sklearn.neural_network import MLPClassifier
from tests.experiments.slow import make_slowly
from tests.slices import start_at_a_good_width

import mflows as mf
from mflows import experiments, simulators
from mflows.charts import Chart, Sphere
from mflows.experiments import (
    embeddings,
    geodesics,
    inference_benchmark,
    lorenz,
    polynomial_surface,
    rolled_shapes,
    sphere_targets,
)
from mflows.experiments.driver import Experiment
from mflows.experiments.jobs import run_jobs
from mflows.latents import SphereFlow
from mflows.simulators import PolynomialSurface
from mflows.training import starts


def test_every_experiment_has_a_file():
    folder = Path(experiments.__file__).parent
    for name in experiments.names():
        assert experiments.named(name).axes is not None
        stem = name.replace("-", "_")
        assert (folder / f"{stem}.py").is_file() or (folder / stem).is_dir()
    with pytest.raises(
        ValueError, match=r"Expected an experiment out of: arm, circle, .*got 'no-such'"
    ):
        experiments.named("no-such")


def test_polynomial_surface(tmp_path, capsys, monkeypatch):
    for name, value in (("POINTS", 1000), ("OUTLIERS", 200), ("GRID", 21)):
        monkeypatch.setattr(polynomial_surface.figures, name, value)
    experiments.named("polynomial-surface")(tmp_path, ("m-flow", "af"), 1, True)
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row["model"] for row in rows] == ["m-flow", "af"]
    assert rows[0]["reconstruction"] < 3  # two epochs: a rough surface, but in its place
    assert rows[0]["sample_distance"] < 3
    assert 0 < rows[0]["coverage_50"] < rows[0]["coverage_90"] <= 1
    assert "reconstruction" not in rows[1]
    assert "Polynomial surface" in capsys.readouterr().out
    assert (tmp_path / "m-flow-0" / "report.html").is_file()
    for figure in ("surface.png", "manifold.png"):
        assert (tmp_path / "m-flow-0" / figure).stat().st_size > 10_000
    before = (tmp_path / "m-flow-0" / "flow.safetensors").read_bytes()
    again = replace(experiments.named("polynomial-surface"), finish=None)
    again(tmp_path, ("m-flow",), 1, True)
    assert (tmp_path / "m-flow-0" / "flow.safetensors").read_bytes() == before


def test_posteriors_of_the_truth_agree_and_one_of_other_points_does_not(monkeypatch):
    truth = PolynomialSurface()
    fewer = partial(polynomial_surface.nuts, draws=400, warmup=100)
    monkeypatch.setattr(polynomial_surface, "nuts", fewer)
    assert abs(polynomial_surface.posterior_mmd(truth)["mmd2"]) < 0.01
    observed = truth.simulate(jax.random.key(0), jnp.full((20, 1), -0.9))
    other = fewer(jax.random.key(1), truth, observed, truth.prior).pooled
    polynomial_surface._true_posterior.cache_clear()  # these few draws are for this test only
    monkeypatch.setattr(polynomial_surface, "_true_posterior", lambda: other)
    assert polynomial_surface.posterior_mmd(truth)["mmd2"] > 0.1


def test_geodesics(tmp_path, monkeypatch):
    """The true lengths by SciPy and over a mesh agree, and great circles are found."""
    monkeypatch.setattr(geodesics.truth, "MESH", 0.1)
    experiments.named("geodesics")(tmp_path, None, 1, True)
    sphere, surface = json.loads((tmp_path / "results.json").read_text())
    assert sphere["error_max"] < 1e-4
    assert sphere["straight_max"] > 1e-2
    assert sphere["converged"] == 1
    assert -0.01 < surface["mesh"] < 0.02
    assert 0 < surface["error"] < 0.5  # two epochs: a rough surface
    assert (tmp_path / "geodesics.png").stat().st_size > 10_000


def test_digits(tmp_path):
    experiments.named("digits")(tmp_path, ("m-flow", "af"), 1, True)
    (row,) = json.loads((tmp_path / "results.json").read_text())
    assert 0.5 < row["mixture AUC"] <= 1
    assert row["PCA error"] < row["M-flow error"] < 100  # two epochs learn little


def test_embeddings(tmp_path, capsys):
    """In short of the pixels of digits, which the class left out is told by."""
    models = ("pae", *embeddings.DETECTORS)
    experiments.named("embeddings")(tmp_path, models, 1, True)
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row["model"] for row in rows] == [*models]
    assert {row["pictures"] for row in rows} == {"digits-class"}
    found = {row["model"]: row for row in rows}
    assert min(found[name]["auc"] for name in embeddings.DETECTORS) > 0.7
    assert 0 < found["pca"]["reconstruction"] < found["pca-32"]["reconstruction"] < 1
    assert {"auc_distance", "auc_log_prob", "epochs"} <= found["pae"].keys()
    assert found["pae"]["reconstruction"] < 1
    assert "AUC of outliers" in capsys.readouterr().out


def test_detectors_tell_what_they_say():
    """Points in a plane of five dimensions, and others beside it."""
    rng = np.random.default_rng(0)
    plane = np.linalg.qr(rng.normal(size=(5, 2)))[0]
    train, inside = (rng.normal(size=(n, 2)) @ plane.T for n in (400, 50))
    off = inside + 2 * (np.eye(5) - plane @ plane.T)[0]
    noise = 0.01 * rng.normal(size=(400, 5))
    for name in ("pca", "knn", "knn-raw", "mahalanobis"):
        score = embeddings.DETECTORS[name](train + noise, 0)
        assert score(inside).max() < score(off).min(), name


def test_rolled_shapes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(starts, "WIDE", 8)
    monkeypatch.setattr(rolled_shapes, "TEST", 500)
    assert list(rolled_shapes.SHAPES) == ["swiss-roll", "s-curve", "spiral"]
    with pytest.warns(UserWarning, match="may be torn"):
        experiments.named("rolled-shapes")(tmp_path, ("m-flow",), 1, True)
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [(row["shape"], row["seed"]) for row in rows] == [("spiral", 0)]
    assert "FAILED" in capsys.readouterr().out  # sixty steps unroll nothing


def test_sphere_targets(tmp_path, capsys):
    experiments.named("sphere-targets")(tmp_path, seeds=1, quick=True)
    (row,) = json.loads((tmp_path / "results.json").read_text())
    assert 0.1 < row["KL"] < 1.5  # forty steps; the uniform density is at 1.2
    assert 0 < row["ESS"] < 1
    assert "Four modes on the sphere" in capsys.readouterr().out
    before = (tmp_path / "drawn-0" / "flow.safetensors").stat().st_mtime_ns
    experiments.named("sphere-targets")(tmp_path, seeds=1, quick=True)
    assert (tmp_path / "drawn-0" / "flow.safetensors").stat().st_mtime_ns == before


@pytest.mark.parametrize("target", sphere_targets.MEANS)
def test_the_target_on_the_sphere_is_normalised(target):
    z, weights = np.polynomial.legendre.leggauss(60)
    phi = 2 * np.pi * np.arange(120) / 120
    rho = np.sqrt(1 - z[:, None] ** 2)
    x = np.stack(np.broadcast_arrays(rho * np.cos(phi), rho * np.sin(phi), z[:, None]), axis=-1)
    log_target = jax.vmap(sphere_targets.log_target(target))(x.reshape(-1, 3))
    total = (np.exp(log_target).reshape(60, 120) * weights[:, None]).sum() * 2 * np.pi / 120
    assert np.log(total) == pytest.approx(sphere_targets.log_normalisation(), abs=1e-9)


def test_a_uniform_flow_s_divergence_is_its_known_one():
    uniform = mf.Flow(Sphere(2), SphereFlow(Identity((3,))))
    found = sphere_targets.divergence(uniform, "drawn", jax.random.key(0), 4000)
    x = np.asarray(uniform.sample(jax.random.key(1), (4000,)))
    log_target = np.asarray(jax.vmap(sphere_targets.log_target("drawn"))(x))
    expected = sphere_targets.log_normalisation() - np.log(4 * np.pi) - log_target.mean()
    assert found["KL"] == pytest.approx(expected, abs=0.2)  # two samples of their own
    weight = np.exp(log_target)
    assert found["ESS"] == pytest.approx(weight.mean() ** 2 / (weight**2).mean(), rel=0.1)


def test_ill_posed_likelihood(tmp_path, capsys):
    experiments.named("ill-posed-likelihood")(tmp_path, ("m-flow",), 1, True)
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row["training"] for row in rows] == ["manifold, then density", "likelihood alone"]
    assert [len(row["history"]) for row in rows] == [2, 2]
    assert rows[0]["reconstruction"] < 0.5
    assert "reconstruction" in capsys.readouterr().out
    assert (tmp_path / "figure.png").stat().st_size > 10_000
    with pytest.raises(ValueError, match="Expected m-flow among"):
        experiments.named("ill-posed-likelihood")(tmp_path, ("af",), 1, True)


class Ring(Chart):
    """The circle of a radius, with the radial projection."""

    radius: float
    shape: tuple = (2,)
    latent_dim: int = 1
    cond_shape: None = None

    def decode(self, u, condition=None):
        return self.radius * jnp.concatenate((jnp.cos(u), jnp.sin(u)))

    def encode(self, x, condition=None):
        return jnp.arctan2(x[1:], x[:1])


@pytest.mark.parametrize("radius", [0.1, 1.0])
def test_a_smaller_circle_has_the_better_likelihood(radius):
    angle = Normal(jnp.array([np.pi / 2]), jnp.array([np.pi / 4]))
    flow = mf.Flow(Ring(radius), angle)
    x = jnp.array([[0.6, 0.8], [-0.8, 0.6]])
    expected = mf.Flow(Ring(1.0), angle).log_prob(x) - np.log(radius)
    np.testing.assert_allclose(flow.log_prob(x), expected, rtol=1e-10)
    np.testing.assert_allclose(flow.distance(x), 1 - radius, atol=1e-10)


def test_lorenz(tmp_path, monkeypatch, capsys):
    reports = []
    monkeypatch.setattr(lorenz, "write_report", lambda run: reports.append(run.folder))
    experiments.named("lorenz")(tmp_path, ("m-flow", "af"), 1, True)
    (row,) = json.loads((tmp_path / "results.json").read_text())
    assert row["reconstruction"] < 3  # two epochs: a rough surface, but in its place
    assert 0 < row["nearest_truth"] < row["nearest"]
    assert "Lorenz attractor" in capsys.readouterr().out
    assert reports == [tmp_path / "m-flow-0"]


def hasty(*sizes, **settings) -> MLPClassifier:
    """The benchmark's classifier, of few steps."""
    return MLPClassifier(*sizes, **{**settings, "max_iter": 30})


@pytest.mark.filterwarnings("ignore:Maximum number of epochs")  # of sbi, asked for two
def test_inference_benchmark(tmp_path, capsys, monkeypatch):
    start_at_a_good_width(monkeypatch)
    monkeypatch.setattr(inference_benchmark, "MLPClassifier", hasty)
    experiments.named("inference-benchmark")(tmp_path, None, 1, True)
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [row["method"] for row in rows] == ["likelihood", "posterior", "npe", "nle"]
    for row in rows:
        assert row["task"] == "redundant-observables"
        assert len(row["c2st_each"]) == 2
        assert all(0.4 < accuracy <= 1 for accuracy in row["c2st_each"])
        assert (row["c2st_together"] is None) == (row["method"] in ("posterior", "npe"))
    assert "C2ST, .5 at best" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["two-moons", "slcp", "slcp-distractors"])
def test_the_tasks_of_the_benchmark_know_their_posteriors(name):
    simulator = simulators.named(inference_benchmark.TASKS[name].simulator)
    assert isinstance(simulator, simulators.Simulator)
    assert isinstance(simulator, simulators.HasPosterior)


def test_jobs_run_side_by_side_and_come_back():
    assert sorted(run_jobs(abs, [(-1,), (-2,), (3,)], 2)) == [1, 2, 3]
    assert list(run_jobs(abs, [(-1,), (-2,)], 1)) == [1, 2]


def test_after_a_job_has_failed_no_more_start(tmp_path):
    folders = [tmp_path / "absent" / "one", *(tmp_path / str(n) for n in range(20))]
    with pytest.raises(FileNotFoundError):
        list(run_jobs(make_slowly, [(folder,) for folder in folders], 2))
    made = len(list(tmp_path.iterdir()))
    time.sleep(0.5)
    assert len(list(tmp_path.iterdir())) == made < 10


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_jobs_end_with_the_process_that_asked_for_them(tmp_path, number):
    files, deadline = [tmp_path / "one", tmp_path / "two"], time.monotonic() + 60
    asking = subprocess.Popen([sys.executable, "-m", "tests.experiments.slow", *files])
    while not all(file.is_file() for file in files):
        assert asking.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    asking.send_signal(number)
    assert asking.wait(timeout=30) != 0
    for file in files:
        while Path(f"/proc/{file.read_text()}").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_more_seeds_than_classes_of_digits(tmp_path):
    with pytest.raises(ValueError, match="at most 10 seeds"):
        experiments.named("digits")(tmp_path / "out", ("m-flow",), 11, True)
    assert not (tmp_path / "out").exists()


def counted(job):
    calls = job.out / "calls"
    calls.write_text(calls.read_text() + "." if calls.is_file() else ".")
    return {"error": 0.5 + job.seed, "status": "finished"}


TRIAL = Experiment(
    title="A trial",
    measure=counted,
    axes={"model": ("m-flow", "af"), "noise": ("0", "0.1")},
    columns={"error": "err."},
    finish=lambda out, rows: (out / "finished").write_text(str(len(rows))),
)


def test_rows_are_sorted_kept_and_added_to(tmp_path, capsys):
    def rows():
        found = json.loads((tmp_path / "results.json").read_text())
        return [(row["noise"], row["model"], row["seed"]) for row in found]

    TRIAL(tmp_path, ("af",), 2)
    assert rows() == [("0", "af", 0), ("0", "af", 1), ("0.1", "af", 0), ("0.1", "af", 1)]
    TRIAL(tmp_path)
    assert rows()[:3] == [("0", "m-flow", 0), ("0", "af", 0), ("0", "af", 1)]
    assert len(rows()) == 6
    assert len((tmp_path / "calls").read_text()) == 6
    assert (tmp_path / "finished").read_text() == "4"
    assert "A trial" in capsys.readouterr().out
    TRIAL(tmp_path, ("af",), overwrite=True)
    assert rows() == [("0", "af", 0), ("0.1", "af", 0)]


def beside_another(job):
    """Another process measures the other system meanwhile, in the same folder."""
    if job.labels["model"] == "af" and job.seed == 0:
        TRIAL(job.out, ("m-flow",))
    return counted(job)


@pytest.mark.parametrize("overwrite", [False, True])
def test_rows_of_two_processes_are_kept(tmp_path, overwrite):
    if overwrite:
        TRIAL(tmp_path, ("af",), 3)  # one seed more, that goes
    replace(TRIAL, measure=beside_another)(tmp_path, ("af",), 2, overwrite=overwrite)
    rows = json.loads((tmp_path / "results.json").read_text())
    assert {(row["model"], row["seed"]) for row in rows} == {("m-flow", 0), ("af", 0), ("af", 1)}
    assert len(rows) == 6


def test_rows_of_the_short_version_are_not_results(tmp_path):
    short = replace(TRIAL, quick={"noise": ("0",)}, finish=None)
    short(tmp_path, ("af",), quick=True)
    (row,) = json.loads((tmp_path / "results.json").read_text())
    assert row == {"model": "af", "noise": "0", "seed": 0, "error": 0.5, "status": "finished"} | {
        "quick": True
    }
    with pytest.raises(ValueError, match="holds rows of the short version"):
        short(tmp_path, ("af",))
    short(tmp_path, ("af",), overwrite=True)
    full = (tmp_path / "results.json").read_text()
    assert "quick" not in full
    with pytest.raises(ValueError, match=r"holds rows of the full version.*Give another --out"):
        short(tmp_path, ("af",), quick=True)
    assert (tmp_path / "results.json").read_text() == full
