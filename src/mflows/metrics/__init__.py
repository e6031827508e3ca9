"""Metrics, one per file: how good a flow is, as a dictionary of named numbers."""

from mflows.metrics.coverage import coverage, hpd_levels
from mflows.metrics.divergence import kl_divergences
from mflows.metrics.importance_weighted import importance_weighted_bound
from mflows.metrics.log_density import log_density_error
from mflows.metrics.mmd import mmd
from mflows.metrics.outliers import outlier_auc
from mflows.metrics.reconstruction import reconstruction_error
from mflows.metrics.sample_distance import sample_distance
from mflows.metrics.two_sample import two_sample_test

__all__ = [
    "coverage",
    "hpd_levels",
    "importance_weighted_bound",
    "kl_divergences",
    "log_density_error",
    "mmd",
    "outlier_auc",
    "reconstruction_error",
    "sample_distance",
    "two_sample_test",
]
