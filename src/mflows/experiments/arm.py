"""Pictures of a robot arm: is the density right, of which everything is known?

    mflows experiment arm --seeds 3 --jobs 2 --budget 30

Images 32 x 32 of ``mflows.simulators.Arm`` with n = 2 and 4 joints, whose log-density is exact;
others have one joint more. What is measured stands in ``mflows.experiments.image_manifolds``. At 3
minutes, medians of three seeds (docs/results/arm.md): reconstruction .049 (M-flow) and .048
(M_e-flow), gap .205 and .198 for two joints; .088, .089, .826 and .770 for four.
"""

from collections.abc import Mapping

from mflows.experiments.image_manifolds import SYSTEMS, experiment
from mflows.simulators import Arm


def _size(quick: bool) -> int:
    return 16 if quick else 32


def make(labels: Mapping[str, str], quick: bool) -> Arm:
    """The arm of a row."""
    return Arm(int(labels["joints"]), _size(quick))


def strange(labels: Mapping[str, str], quick: bool) -> Arm:
    """An arm with one joint more."""
    return Arm(int(labels["joints"]) + 1, _size(quick))


EXPERIMENT = experiment(
    "Arm: images of a known density",
    make,
    strange,
    axes={"model": SYSTEMS, "joints": ("2", "4")},
    quick={"model": ("m-flow",), "joints": ("2",)},
)
