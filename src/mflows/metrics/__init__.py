"""Metrics, one per file: how good a flow is, as a dictionary of named numbers."""

from mflows.metrics.log_density import log_density_error
from mflows.metrics.outliers import outlier_auc
from mflows.metrics.reconstruction import reconstruction_error
from mflows.metrics.sample_distance import sample_distance

__all__ = ["log_density_error", "outlier_auc", "reconstruction_error", "sample_distance"]
