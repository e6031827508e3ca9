"""Densities of latent coordinates that FlowJAX has none of."""

from mflows.latents.thickened import Thickened

__all__ = ["Thickened"]
