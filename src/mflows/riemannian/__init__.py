"""Geometry of a learned manifold: geodesics, distances along it, the mean and spread of a set."""

from mflows.riemannian.geodesics import Geodesic, geodesic
from mflows.riemannian.sets import (
    FrechetMean,
    GeodesicWarning,
    PrincipalGeodesic,
    distance_matrix,
    frechet_mean,
    principal_geodesic,
)

__all__ = [
    "FrechetMean",
    "Geodesic",
    "GeodesicWarning",
    "PrincipalGeodesic",
    "distance_matrix",
    "frechet_mean",
    "geodesic",
    "principal_geodesic",
]
