r"""Gaussian angles on S^2 whose widths and means depend on theta (arXiv 2003.13913, sec. 4.1).

    mflows experiment conditional-sphere --seeds 5 --jobs 2

theta ~ U(-1, 1)^2; widths 0.1 pi to 0.4 pi with theta_0, mean of the last angle pi/2 to 3 pi/2 with
theta_1. 10,000 points, each at its own theta, exactly on the unit sphere or with noise 0.01 of the
radius; tested at theta from the prior.
"""

from mflows.experiments import spheres
from mflows.simulators import ConditionalSphere

EXPERIMENT = spheres.experiment("Conditional sphere", "sphere", ConditionalSphere)
