r"""Gaussian angles on the sphere S^2 (Brehmer & Cranmer 2020, arXiv 2003.13913, sec. 4.1).

    mflows experiment sphere --seeds 5 --jobs 2

10,000 points with both angles ~ N(pi/2, (pi/4)^2), exactly on the unit sphere or with noise 0.01
of the radius. The exact density includes the spherical volume element and all images of the angles;
it integrates to 1. No single chart covers a sphere: the flow on the prescribed sphere is the one
to compare with.
"""

from mflows.experiments import spheres
from mflows.simulators import GaussianSphere

EXPERIMENT = spheres.experiment("Gaussian on a sphere", "sphere", GaussianSphere)
