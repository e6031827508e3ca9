"""Densities of latent coordinates that FlowJAX has none of."""

from mflows.latents.sphere import SphereFlow, sphere_flow
from mflows.latents.thickened import Thickened
from mflows.latents.torus import UniformTorus, torus_flow

__all__ = ["SphereFlow", "Thickened", "UniformTorus", "sphere_flow", "torus_flow"]
