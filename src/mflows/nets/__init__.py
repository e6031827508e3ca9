"""Neural networks that parameterise charts and densities."""

from mflows.nets.angular import AngularMLP
from mflows.nets.convolutional import (
    ConvolutionalDecoder,
    ConvolutionalEncoder,
    ConvolutionalResidual,
    halves,
)
from mflows.nets.efficientnet import (
    EfficientNetLite0,
    efficientnet_lite0,
    image_features,
    kept_features,
)
from mflows.nets.gaussian import GaussianEncoder
from mflows.nets.linear import Linear, full_precision
from mflows.nets.residual import ResidualMLP, check_depth
from mflows.nets.skip import SkipMLP

__all__ = [
    "AngularMLP",
    "ConvolutionalDecoder",
    "ConvolutionalEncoder",
    "ConvolutionalResidual",
    "EfficientNetLite0",
    "GaussianEncoder",
    "Linear",
    "ResidualMLP",
    "SkipMLP",
    "check_depth",
    "efficientnet_lite0",
    "full_precision",
    "halves",
    "image_features",
    "kept_features",
]
