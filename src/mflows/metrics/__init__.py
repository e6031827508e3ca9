"""Metrics: how good a flow is, as a dictionary of named numbers."""

from mflows.metrics.calibration import coverage, hpd_levels
from mflows.metrics.discrepancy import mmd
from mflows.metrics.divergence import kl_divergences
from mflows.metrics.errors import (
    log_density_error,
    outlier_auc,
    outlier_score,
    reconstruction_error,
    sample_distance,
)
from mflows.metrics.frechet import frechet_distance, kernel_distance
from mflows.metrics.importance_weighted import importance_weighted_bound, log_prob_bound
from mflows.metrics.thickened import noise_variance, thickened_log_prob
from mflows.metrics.two_sample import two_sample_test

__all__ = [
    "coverage",
    "frechet_distance",
    "hpd_levels",
    "importance_weighted_bound",
    "kernel_distance",
    "kl_divergences",
    "log_density_error",
    "log_prob_bound",
    "mmd",
    "noise_variance",
    "outlier_auc",
    "outlier_score",
    "reconstruction_error",
    "sample_distance",
    "thickened_log_prob",
    "two_sample_test",
]
