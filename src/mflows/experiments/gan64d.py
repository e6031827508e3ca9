"""Faces of a generator on a manifold of 64 dimensions, whose law depends on a parameter.

    mflows experiment gan64d --seeds 3 --jobs 2 --budget 30

Images 32 x 32 of ``mflows.simulators.ConditionalFaces``, theta ~ N(0, 1). What is measured stands
in ``mflows.experiments.image_manifolds``; others are images of an arm. Published for another law
and 64 x 64 pixels (Brehmer & Cranmer 2020, arXiv 2003.13913): log posterior 2.67 (M-flow), 1.81
(M_e-flow), .17 (AF), -6.40 (PIE).
"""

from mflows.experiments.gan2d import faces
from mflows.simulators import ConditionalFaces

EXPERIMENT = faces("gan64d: faces on a manifold of 64 dimensions", ConditionalFaces, 64)
