"""Faces of a generator on a manifold of two dimensions: is the density right?

    mflows experiment gan2d --seeds 3 --jobs 2 --budget 30

Images 32 x 32 of ``mflows.simulators.Faces``: two directions of the latent space of a pretrained
generator vary, as in Brehmer & Cranmer 2020 (arXiv 2003.13913), who took another one. Their
log-density is exact; others are images of an arm. What is measured stands in
``mflows.experiments.image_manifolds``. Published, for 64 x 64 pixels and features of another
network: Frechet distance 43.9 (M-flow), 43.5 (M_e-flow), 58.3 (AF), 139.5 (PIE). At 1.5 minutes
(docs/results/gan2d.md), in this order: 1.16, 1.06, 28.4 and 5.71, medians of three seeds.

``--only size=64`` has the generator's own pixels, and wants a GPU.
"""

from collections.abc import Mapping
from functools import partial

from mflows.experiments.image_manifolds import SYSTEMS, experiment
from mflows.simulators import Arm, ConditionalFaces, Faces

QUICK = 16


def make(
    labels: Mapping[str, str], quick: bool, kind: type[Faces | ConditionalFaces], latent_dim: int
) -> Faces | ConditionalFaces:
    """The faces of a row."""
    return kind(latent_dim, size=QUICK if quick else int(labels["size"]))


def strange(labels: Mapping[str, str], quick: bool) -> Arm:
    """An arm of two joints."""
    return Arm(2, QUICK if quick else int(labels["size"]))


def faces(title: str, kind: type[Faces | ConditionalFaces], latent_dim: int):
    """An experiment on faces."""
    return experiment(
        title,
        partial(make, kind=kind, latent_dim=latent_dim),
        strange,
        axes={"model": SYSTEMS, "size": ("32",)},
        quick={"model": ("m-flow",), "size": (str(QUICK),)},
        searched=40 if latent_dim == 2 else 10,
        pretrained=True,
    )


EXPERIMENT = faces("gan2d: faces on a manifold of two dimensions", Faces, 2)
