"""Everything runs in float64; programs are compiled quickly rather than well, and kept."""

import gc
import os
from pathlib import Path

# Tests spend their time on compiling. Child processes must do the same, to give the same bits;
# they find what others compiled.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_cpu_use_fusion_emitters=false",  # compiles in half the time
        "--xla_cpu_parallel_codegen_split_count=1",
    ]
)
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(
    Path(__file__).resolve().parents[1] / ".cache" / "jax"
)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

# Threads of two workers that wander between the same cores slow down both.
if hasattr(os, "sched_setaffinity") and (worker := os.environ.get("PYTEST_XDIST_WORKER")):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[int(worker.removeprefix("gw")) % len(cores)]})

import hypothesis
import jax
import pytest
from jax._src.interpreters import mlir

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
jax.config.update("jax_compilation_cache_max_size", -1)

from tests.compiled import chart, invertible, layer, values_of  # noqa: E402, F401 (fixtures)

hypothesis.settings.register_profile(
    "mflows", max_examples=15, deadline=None, derandomize=True, database=None
)
hypothesis.settings.load_profile("mflows")


MAPS = Path("/proc/self/maps")
_new_context = mlir.make_ir_context


@pytest.fixture(scope="module", autouse=True)
def one_context():
    """Lower the programs of a test file in one MLIR context: JAX 0.10 takes 5 ms to make another.

    A program that is lowered while another one is gets a context of its own, else it would become
    part of it.
    """
    shared = _new_context()
    mlir.make_ir_context = lambda: _new_context() if _within_another() else shared


def _within_another() -> bool:
    try:
        return mlir.ir.InsertionPoint.current is not None
    except ValueError:
        return False


@pytest.fixture(scope="module", autouse=True)
def few_programs():
    """Forget compiled programs before they are too many.

    Each one holds memory maps, of which Linux gives a process 65,530 (vm.max_map_count); past that
    XLA crashes. What is needed again comes back from the cache on disk.
    """
    yield
    if MAPS.exists() and MAPS.read_bytes().count(b"\n") > 40_000:
        jax.clear_caches()


SLOW = (
    "experiments/test_experiments.py",
    "cli/test_matrix.py",
    "test_docs.py",
    "pages/test_browser.py",
    "experiments/test_particle_physics.py",
    "cli/test_distributed.py",
    "training/test_joint_recipes.py",
    "test_estimator.py",
    "charts/test_invariants.py",
    "volume/test_estimates.py",
    "sweeps/test_worker.py",
    "test_flow.py",
    "training/test_units.py",
    "test_crashes.py",
    "training/test_starts.py",
    "pages/test_tour.py",
    "riemannian/test_geodesics.py",
    "test_scores.py",
    "experiments/test_image_manifolds.py",
    "cli/test_use.py",
    "simulators/test_polynomial_surface.py",
    "layers/test_multiscale.py",
    "simulators/test_faces.py",
    "charts/test_properties.py",
    "inference/test_priors.py",
    "test_runs.py",
    "layers/test_splines.py",
    "cli/test_jax_setup.py",
    "simulators/test_rolled.py",
    "simulators/test_arm.py",
    "test_properties.py",
    "pages/test_report.py",
    "training/test_transport.py",
    "test_systems.py",
    "training/test_recipes.py",
    "latents/test_latents.py",
    "experiments/test_spheres.py",
    "simulators/test_slcp.py",
    "simulators/physics/test_events.py",
    "layers/test_permutations.py",
    "test_nets.py",
    "training/test_resume.py",
    "training/test_devices.py",
    "cli/test_errors.py",
    "models/test_posterior_flow.py",
    "training/test_adversarial.py",
    "layers/test_rational_quadratic.py",
    "inference/test_nuts.py",
    "layers/test_sphere_coupling.py",
    "test_saved_runs.py",
    "cli/test_fit.py",
    "test_streamed_runs.py",
    "inference/test_sbi.py",
    "test_registry.py",
    "training/test_scandal.py",
    "layers/test_tails.py",
    "inference/test_calibration.py",
    "simulators/test_lorenz.py",
    "cli/test_posterior.py",
    "cli/test_images.py",
    "test_precision.py",
    "charts/test_autoencoder.py",
    "pages/test_sweep.py",
    "cli/test_sweep.py",
)
"""Files that compile or train for most of their time, longest first; left out by `make quick`."""


def pytest_collection_modifyitems(items):
    """Mark the tests of slow files, and start with them, so that all workers end together."""
    rank = {Path(__file__).parent / name: place for place, name in enumerate(SLOW)}
    for item in items:
        if item.path in rank:
            item.add_marker("slow")
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


def pytest_collection_finish():
    """Collect garbage less often: tracing makes many objects, and few of them are garbage."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
