"""What importing costs: no library of plots, tables or physics comes along unasked."""

import subprocess
import sys

import pytest

HEAVY = "matplotlib plotly polars pandas h5py arviz blackjax ott diffrax sklearn tensorboardX torch"


@pytest.mark.parametrize(
    "used", ["mflows", "mflows.fit, mflows.models, mflows.recipes, mflows.load, mflows.Flow"]
)
def test_only_what_is_used_is_imported(used):
    code = f"import mflows, sys; {used}; print(*set({HEAVY.split()}) & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not done.stdout.split()


def test_a_fit_in_a_folder_leaves_torch_alone(tmp_path):
    """It writes TensorBoard's events, whose library imports torch if it can."""
    code = f"""
import sys
from importlib.util import find_spec
from pathlib import Path
from mflows.training.monitor import Monitor
Monitor(Path({str(tmp_path)!r}), False, [])
assert "torch" not in sys.modules
assert find_spec("torch") is not None
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    assert list((tmp_path / "tensorboard").iterdir())
