"""Networks of images in torch: a multi-scale flow of nflows' parts, and the autoencoder of ours."""

# torch and nflows are installed with the extra `benchmarks` only.

import torch
from nflows.distributions import StandardNormal
from nflows.flows import Flow
from nflows.nn.nets import ConvResidualNet
from nflows.transforms import (
    ActNorm,
    AffineCouplingTransform,
    CompositeTransform,
    MultiscaleCompositeTransform,
    OneByOneConvolution,
    SqueezeTransform,
)
from torch.nn.functional import silu

from mflows.nets.convolutional import halves


def glow(shape: tuple[int, int, int], steps: int, channels: int) -> Flow:
    """A Glow of as many levels and steps as our multi-scale flow; half is split off per level."""
    torch.manual_seed(0)
    levels = len(halves(shape))
    whole = MultiscaleCompositeTransform(num_transforms=levels)
    place = (shape[2], *shape[:2])
    for _ in range(levels):
        place = (4 * place[0], place[1] // 2, place[2] // 2)
        parts = [SqueezeTransform()]
        for _ in range(steps):
            mask = torch.ones(place[0])
            mask[place[0] // 2 :] = -1
            parts += [
                ActNorm(place[0]),
                OneByOneConvolution(place[0]),
                AffineCouplingTransform(
                    mask,
                    lambda inputs, outputs: ConvResidualNet(
                        inputs, outputs, channels, num_blocks=1
                    ),
                ),
            ]
        left = whole.add_transform(CompositeTransform(parts), place)
        place = left or place
    return Flow(whole, StandardNormal([shape[0] * shape[1] * shape[2]]))


class Stage(torch.nn.Module):
    """`mflows.nets.convolutional.Stage`."""

    def __init__(self, inputs: int, size: tuple[int, int], width: int, stride: int = 1):
        super().__init__()
        self.first = torch.nn.Conv2d(inputs, width, 3, stride, padding=1)
        self.place = torch.nn.Parameter(torch.zeros(width, *size))
        self.a = torch.nn.Conv2d(width, width, 3, padding=1)
        self.b = torch.nn.Conv2d(width, width, 1)

    def forward(self, x):
        h = self.first(x) + self.place
        return h + self.b(silu(self.a(silu(h))))


class Autoencoder(torch.nn.Module):
    """`mflows.nets.ConvolutionalEncoder` and `ConvolutionalDecoder`."""

    def __init__(self, shape: tuple[int, int, int], latent_dim: int, width: int):
        super().__init__()
        torch.manual_seed(0)
        sizes = halves(shape)
        widths = [width * 2 ** min(level, 2) for level in range(len(sizes))]
        inputs = [4 * shape[2], *widths[:-1]]
        self.encoder = torch.nn.Sequential()
        for level, (size, before, after) in enumerate(zip(sizes, inputs, widths, strict=True)):
            self.encoder.append(Stage(before, size, after, 2 if level else 1))
            self.encoder.append(torch.nn.SiLU())
        self.inner = (widths[-1], *sizes[-1])
        numbers = self.inner[0] * self.inner[1] * self.inner[2]
        self.last = torch.nn.Linear(numbers, latent_dim)
        self.first = torch.nn.Linear(latent_dim, numbers)
        self.decoder = torch.nn.Sequential()
        before = widths[-1]
        for level, (size, after) in enumerate(zip(sizes[::-1], widths[::-1], strict=True)):
            if level:
                self.decoder.append(torch.nn.Upsample(scale_factor=2))
            self.decoder.append(torch.nn.SiLU())
            self.decoder.append(Stage(before, size, after))
            before = after
        self.decoder.append(torch.nn.SiLU())
        self.decoder.append(torch.nn.Conv2d(width, 4 * shape[2], 3, padding=1))
        self.decoder.append(torch.nn.PixelShuffle(2))

    def forward(self, x):
        h = torch.nn.functional.pixel_unshuffle(x, 2)
        u = self.last(self.encoder(h).flatten(1))
        return self.decoder(self.first(u).unflatten(1, self.inner))
