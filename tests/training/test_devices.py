"""Batches shared by devices: the same numbers as on one."""

import json

import pytest
from tests.processes import DOUBLE, Python

from mflows.training.devices import Devices, sharing

CHILD = """
import json, sys
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import mflows as mf
from mflows.training import Alternate, LatentNegativeLogLikelihood, NegativeLogLikelihood, Phase
from mflows.training import rows
from mflows.training.devices import Devices
from mflows.training.epoch import Fixed, _run_block, initial_state, players
from mflows.training.phases import Batch
from tests.training.small import Contest, Noisy, line_flow, losses, moving, points

settings = {"batch_size": 16, "learning_rate": 0.05}
phases = [
    moving(2, name="chart", objective=Noisy(), batch_size=32),
    Alternate(
        (
            Phase(LatentNegativeLogLikelihood(), ("latent",), 1, name="latents", **settings),
            moving(1, name="game", objective=Contest(), batch_size=16),
        ),
        rounds=2,
    ),
    Phase(NegativeLogLikelihood(), ("chart", "latent"), 2, name="all", **settings),
]
rows.NUMBERS = 150
np.save(sys.argv[1], points(1.0, 200))
found = {"devices": len(jax.devices())}
for kind, data in (("memory", points(1.0, 200)), ("stream", mf.data.stream(sys.argv[1]))):
    for count in (None, 8, 4) if kind == "memory" else (None, 8):
        devices = None if count is None else jax.devices()[:count]
        fitted = mf.fit(jr.key(0), line_flow(), data, phases, devices=devices, progress=False)
        found[f"{kind} {count}"] = losses(fitted.history)
        leaves = jax.tree.leaves(eqx.filter(fitted.flow, eqx.is_array))
        found["on"] = sorted({len(leaf.sharding.device_set) for leaf in leaves})

phase = moving(1, batch_size=16)
parameters, frozen = players(jr.key(0), line_flow(), phase)
shared = Devices(tuple(jax.devices()))
state, frozen, block = shared.replicated(
    (initial_state(parameters, phase), frozen, Batch(jnp.asarray(points(1.0, 160)), None))
)
order, keys, fixed = jnp.arange(160), jr.split(jr.key(1), 10), Fixed(phase, frozen, 10, shared)
lowered = _run_block.lower(state, fixed, block, order, keys)
found["program"] = lowered.compile().compiled.as_text()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """What a process with eight CPU devices finds."""
    path = tmp_path_factory.mktemp("data") / "t.npy"
    child = Python(CHILD, path, config=DOUBLE | {"jax_num_cpu_devices": 8})
    said, errors = child.communicate()
    assert child.returncode == 0, errors
    return json.loads(said.splitlines()[-1])


@pytest.mark.parametrize(("kind", "count"), [("memory", 8), ("memory", 4), ("stream", 8)])
def test_the_loss_curve_is_that_of_one_device_to_rounding(simulated, kind, count):
    assert simulated["devices"] == 8
    alone, together = simulated[f"{kind} None"], simulated[f"{kind} {count}"]
    assert [row[:2] for row in alone] == [row[:2] for row in together]
    for one, other in zip(alone, together, strict=True):
        assert other[2:] == pytest.approx(one[2:], rel=1e-9, abs=1e-12)
    assert alone != together  # sums in another order: the work was shared


def test_every_device_takes_its_share_and_the_gradient_is_summed(simulated):
    assert "all-reduce" in simulated["program"]
    assert "f64[2,2]" in simulated["program"]  # two of sixteen points


def test_the_flow_is_on_one_device_afterwards(simulated):
    assert simulated["on"] == [1]


class Device:
    def __init__(self, process: int):
        self.process_index = process


def test_devices_that_divide_the_batch_take_part():
    eight = [Device(0)] * 8
    assert sharing(None, [100]) == Devices()
    assert len(sharing(eight, [64, 16]).used) == 8
    with pytest.warns(UserWarning, match="Batches of 100 points are shared by 5 of 8 devices"):
        assert len(sharing(eight, [100]).used) == 5
    with pytest.warns(UserWarning, match="shared by 4 of 8"):
        assert len(sharing(eight, [100, 64]).used) == 4


def test_every_process_takes_part_with_as_many_devices():
    two = [Device(process) for process in (0, 0, 0, 1, 1, 1)]
    with pytest.warns(UserWarning, match="shared by 4 of 6"):
        used = sharing(two, [100]).used
    assert [device.process_index for device in used] == [0, 0, 1, 1]
    three = [Device(process) for process in range(3)]
    with pytest.raises(ValueError, match="that 3 processes can share, a multiple of 3; got 100"):
        sharing(three, [100])
