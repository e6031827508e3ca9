"""Saved flows come back bit for bit; damaged files are refused, and nothing in them is run."""

import hashlib
import json
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
import safetensors.numpy
from flowjax.distributions import Normal
from tests.registry import FLOWS, SMALL, furnished, linear_flow

import mflows as mf
from mflows.saving import FORMAT, LoadError, checksum

NAMES = ("flow.json", "flow.safetensors")


@pytest.fixture(scope="module")
def flow() -> mf.Flow:
    return FLOWS["curve"]()


@pytest.fixture(scope="module")
def saved(flow, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("saved") / "run"
    mf.save(folder, flow)
    return folder


@pytest.fixture
def folder(saved, tmp_path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(saved, tmp_path / "run"))


def _edit(folder: Path, **changes) -> None:
    """Change entries of flow.json and leave its checksum as it was."""
    path = folder / "flow.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def _forge(folder: Path, **changes) -> None:
    """Change entries of flow.json and bring its checksum up to date."""
    path = folder / "flow.json"
    described = {**json.loads(path.read_text()), **changes}
    del described["checksum"]
    described["checksum"] = checksum(described)
    path.write_text(json.dumps(described))


def test_a_loaded_flow_has_bit_identical_log_prob(flow, saved):
    x = np.random.default_rng(0).normal(size=(6, 2))
    loaded = mf.load(saved)
    np.testing.assert_array_equal(loaded.log_prob(x), flow.log_prob(x))
    assert loaded.built == flow.built
    assert eqx.tree_equal(loaded, flow)


@pytest.mark.parametrize(
    "name",
    [
        "ambient flow of a plane",
        "autoencoder",
        "autoencoder of images",
        "conditional surface",
        "curve with an encoder",
        "density on a sphere",
        "generative adversarial network",
        "pseudo-invertible encoder",
        "variational autoencoder",
    ],
)
def test_every_builder_s_flow_comes_back_equal(name, tmp_path):
    flow = FLOWS[name]()
    mf.save(tmp_path / "deep" / "run", flow)
    assert eqx.tree_equal(mf.load(tmp_path / "deep" / "run"), flow)


def test_settings_may_be_numpy_s(tmp_path):
    small = {"chart_layers": 1, "latent_layers": 1, "width": 8, "bins": 3}
    plain = mf.models.m_flow(jr.key(0), (3,), 2, interval=5.0, **small)
    settings = {name: np.int64(value) for name, value in small.items()}
    other = mf.models.m_flow(
        jr.key(0), np.array([3]), np.int64(2), interval=np.float64(5), **settings
    )
    mf.save(tmp_path, other)
    assert eqx.tree_equal(plain, other, mf.load(tmp_path))


def test_a_fresh_process_computes_the_same_numbers(flow, saved):
    code = (
        "import jax, sys; jax.config.update('jax_enable_x64', True); import mflows as mf;"
        "flow = mf.load(sys.argv[1]);"
        "print(float(flow.log_prob([[0.1, 0.2]] * 6)[0]).hex())"
    )
    command = [sys.executable, "-c", code, str(saved)]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    here = float(flow.log_prob([[0.1, 0.2]] * 6)[0]).hex()
    assert printed.strip() == here


def test_saving_replaces_what_is_there_and_leaves_nothing_else(flow, folder):
    mf.save(folder, furnished(flow, seed=3))
    mf.save(folder, flow)
    assert eqx.tree_equal(mf.load(folder), flow)
    assert sorted(path.name for path in folder.iterdir()) == sorted(NAMES)


def test_the_files_are_json_and_safetensors(saved):
    described = json.loads((saved / "flow.json").read_text())
    assert described["format"] == FORMAT
    assert described["model"] == "m_flow"
    assert described["arguments"]["latent_dim"] == 1
    for name in NAMES:
        with pytest.raises(Exception, match=r"."):
            pickle.loads((saved / name).read_bytes())


def test_a_flow_put_together_by_hand_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match=r"built by a function of mflows\.models"):
        mf.save(tmp_path / "run", linear_flow())
    assert not (tmp_path / "run").exists()


@mf.models.remembered
def bent(key, shape, *, bend=0.5):
    """A builder of one's own."""
    chart = mf.charts.FunctionChart(
        lambda u: jnp.append(u, bend * u**2), lambda x: x[:1], shape=tuple(shape), latent_dim=1
    )
    return mf.Flow(chart, Normal(jr.normal(key, (1,))))


def test_a_flow_of_one_s_own_builder_is_saved_and_loaded(tmp_path):
    flow, x = bent(jr.key(3), (2,), bend=np.float64(0.25)), np.ones((6, 2))
    mf.save(tmp_path, flow)
    loaded = mf.load(tmp_path, build=bent)
    assert loaded.built == flow.built == ("bent", '{"bend": 0.25, "shape": [2]}')
    np.testing.assert_array_equal(loaded.log_prob(x), flow.log_prob(x))
    with pytest.raises(LoadError, match=r"built by 'bent'.*load\(folder, build=bent\)"):
        mf.load(tmp_path)
    with pytest.raises(LoadError, match=r"Expected build=bent.*got pae"):
        mf.load(tmp_path, build=mf.models.pae)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(LoadError, match=rf"Expected a saved flow in .*run; there is no {name}\."):
        mf.load(folder)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(LoadError, match=r"Expected a saved flow in .*nowhere; there is no flow"):
        mf.load(tmp_path / "nowhere")


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_truncated_arrays_are_refused(folder, part):
    path = folder / "flow.safetensors"
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    message = r"flow\.safetensors is not the file that was saved with flow\.json: it is truncated"
    with pytest.raises(LoadError, match=message):
        mf.load(folder)


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_description_is_refused(folder, part):
    path = folder / "flow.json"
    content = path.read_bytes()
    path.write_bytes(content[: int(part * len(content))])
    with pytest.raises(LoadError, match=r"flow\.json is not a saved flow, or is truncated"):
        mf.load(folder)


@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.6, 0.9999])
def test_a_flipped_byte_in_the_arrays_is_noticed(folder, part):
    path = folder / "flow.safetensors"
    content = bytearray(path.read_bytes())
    content[int(part * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(LoadError, match="truncated, edited, or from another run"):
        mf.load(folder)


def test_any_flipped_byte_in_the_description_is_noticed(folder):
    path = folder / "flow.json"
    content = path.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 128 if position % 5 == 0 else 1
        path.write_bytes(damaged)
        with pytest.raises(LoadError):
            mf.load(folder)


def test_an_edited_argument_is_noticed(folder):
    arguments = json.loads((folder / "flow.json").read_text())["arguments"]
    _edit(folder, arguments={**arguments, "interval": 5.0})
    with pytest.raises(LoadError, match=r"flow\.json was edited after it was saved\. Restore"):
        mf.load(folder)


def test_a_newer_format_asks_for_an_upgrade(folder):
    _edit(folder, format=FORMAT + 1, mflows="99.0")
    message = (
        rf"flow\.json has format {FORMAT + 1}, written by mflows 99\.0; this is mflows "
        rf".*, which reads format {FORMAT}\. Upgrade mflows\."
    )
    with pytest.raises(LoadError, match=message):
        mf.load(folder)


def test_an_older_format_asks_to_fit_again(folder):
    _edit(folder, format=1, mflows="0.1.0")
    message = r"flow\.json has format 1, written .*, which reads format 3\. Fit the flow again"
    with pytest.raises(LoadError, match=message):
        mf.load(folder)


@pytest.mark.parametrize("content", ["[]", "3", '"text"', "null", "{}", "\x00", "\ud7ff{"])
def test_another_file_called_flow_json_is_refused(folder, content):
    (folder / "flow.json").write_text(content)
    with pytest.raises(LoadError, match="is not a saved flow, or is truncated"):
        mf.load(folder)


@pytest.mark.parametrize("name", NAMES)
def test_swapped_files_are_refused(flow, folder, tmp_path, name):
    mf.save(tmp_path / "other", furnished(flow, seed=5))
    shutil.copy(tmp_path / "other" / name, folder / name)
    with pytest.raises(LoadError, match="is not the file that was saved with flow.json"):
        mf.load(folder)


def test_files_with_each_other_s_names_are_refused(folder):
    first, second = ((folder / name).read_bytes() for name in NAMES)
    (folder / "flow.json").write_bytes(second)
    (folder / "flow.safetensors").write_bytes(first)
    with pytest.raises(LoadError, match="is not a saved flow, or is truncated"):
        mf.load(folder)


def test_a_model_this_version_does_not_know_is_named(folder):
    _forge(folder, model="flow_of_tomorrow")
    with pytest.raises(LoadError, match=r"'flow_of_tomorrow'.*upgrade mflows"):
        mf.load(folder)


def test_an_argument_this_version_does_not_know_is_named(folder):
    arguments = json.loads((folder / "flow.json").read_text())["arguments"]
    _forge(folder, arguments={**arguments, "depth_of_tomorrow": 3})
    with pytest.raises(LoadError, match=r"depth_of_tomorrow.*upgrade mflows"):
        mf.load(folder)


def test_consistent_files_of_other_shapes_are_refused(folder):
    arguments = json.loads((folder / "flow.json").read_text())["arguments"]
    _forge(folder, arguments={**arguments, "width": SMALL["width"] + 1})
    with pytest.raises(LoadError, match=r"Expected array .* of shape .*; got "):
        mf.load(folder)
    _forge(folder, arguments={**arguments, "blocks": 2})
    with pytest.raises(LoadError, match=r"names differ, the first is .*other settings"):
        mf.load(folder)


def test_a_pickle_in_place_of_the_arrays_is_not_run(folder, tmp_path):
    trap = tmp_path / "trap"

    class Payload:
        def __reduce__(self):
            return (Path.touch, (trap,))

    content = pickle.dumps(Payload())
    (folder / "flow.safetensors").write_bytes(content)
    _forge(folder, sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(LoadError, match=r"flow\.safetensors"):
        mf.load(folder)
    _forge(folder, model="__import__('pathlib').Path('trap').touch")
    with pytest.raises(LoadError):
        mf.load(folder)
    assert not trap.exists()


def test_sampling_works_after_loading(saved, flow):
    drawn = mf.load(saved).sample(jr.key(0), (6,))
    np.testing.assert_array_equal(drawn, flow.sample(jr.key(0), (6,)))


@pytest.mark.parametrize("sizes", [{"layers": 100_000_000}, {"shape": [10**9]}])
def test_a_flow_of_more_than_its_tensors_is_refused_before_it_is_built(folder, sizes):
    described = json.loads((folder / "flow.json").read_text())
    _forge(folder, arguments={**described["arguments"], **sizes})
    with pytest.raises(LoadError, match="are too few for it"):
        mf.load(folder)


def test_tensors_of_another_type_are_refused(folder):
    path = folder / "flow.safetensors"
    values = safetensors.numpy.load(path.read_bytes())
    name = next(iter(values))
    content = safetensors.numpy.save({**values, name: values[name].astype(np.float16)})
    path.write_bytes(content)
    _forge(folder, sha256=hashlib.sha256(content).hexdigest())
    with pytest.raises(LoadError, match=r"Expected array .* got float16"):
        mf.load(folder)
