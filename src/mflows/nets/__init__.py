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
from mflows.nets.gaussian import FreeEncoder, GaussianEncoder
from mflows.nets.linear import Linear, full_precision
from mflows.nets.patches import (
    PatchDecoder,
    PatchEncoder,
    PatchTransformer,
    from_patches,
    patch_size,
)
from mflows.nets.residual import ResidualMLP, check_depth
from mflows.nets.skip import SkipMLP

FreeDecoder = SkipMLP | ConvolutionalDecoder | PatchDecoder
"""Networks from n numbers to D features, of which a decoder may be made."""

__all__ = [
    "AngularMLP",
    "ConvolutionalDecoder",
    "ConvolutionalEncoder",
    "ConvolutionalResidual",
    "EfficientNetLite0",
    "FreeDecoder",
    "FreeEncoder",
    "GaussianEncoder",
    "Linear",
    "PatchDecoder",
    "PatchEncoder",
    "PatchTransformer",
    "ResidualMLP",
    "SkipMLP",
    "check_depth",
    "efficientnet_lite0",
    "from_patches",
    "full_precision",
    "halves",
    "image_features",
    "kept_features",
    "patch_size",
]
