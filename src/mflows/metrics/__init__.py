"""Metrics, one per file: how good a flow is, as a dictionary of named numbers."""

from mflows.metrics.importance_weighted import importance_weighted_bound
from mflows.metrics.log_density import log_density_error
from mflows.metrics.outliers import outlier_auc
from mflows.metrics.reconstruction import reconstruction_error
from mflows.metrics.sample_distance import sample_distance

__all__ = [
    "importance_weighted_bound",
    "log_density_error",
    "outlier_auc",
    "reconstruction_error",
    "sample_distance",
]
