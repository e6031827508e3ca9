"""Geometry of data: starting planes, neighbours, geodesic distances. Knows no flow."""

from mflows.geometry.geodesics import geodesic_embedding, overlap, turn_towards, unrolls
from mflows.geometry.planes import (
    NO_PLANE,
    choose_plane,
    conflict,
    in_company,
    principal_axes,
    rows_for,
)

__all__ = [
    "NO_PLANE",
    "choose_plane",
    "conflict",
    "geodesic_embedding",
    "in_company",
    "overlap",
    "principal_axes",
    "rows_for",
    "turn_towards",
    "unrolls",
]
