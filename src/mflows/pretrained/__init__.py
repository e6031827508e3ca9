"""Networks that others trained: fetched once as a Python package, read without torch."""

from mflows.pretrained.torch_checkpoints import UnsafeCheckpoint, read_torch_checkpoint
from mflows.pretrained.weights import Weights

__all__ = ["UnsafeCheckpoint", "Weights", "read_torch_checkpoint"]
