"""The verdict on a fit: ``evidence`` is what it is judged by, ``checks`` say what looks wrong."""

from mflows.verdict.checks import CHECKS, Doubt, Warn, checked, finite, warnings_of
from mflows.verdict.evidence import Conditioning, Evidence, Points, at_points, evidence, some

__all__ = [
    "CHECKS",
    "Conditioning",
    "Doubt",
    "Evidence",
    "Points",
    "Warn",
    "at_points",
    "checked",
    "evidence",
    "finite",
    "some",
    "warnings_of",
]
