"""The same systems from the parts of other libraries.

nflows has no M-flow: ours is built from its flows as in Brehmer & Cranmer (2020), with the exact
likelihood by D reverse passes. zuko, normflows and FlowJAX have no coupling M-flow either; their
ambient flows stand for them, FlowJAX's trained by its own ``fit_to_data``. zuko's neural spline
flow has coupling masks (``passes=2``).
"""

# torch and the peers are installed with the extra `benchmarks` only.

from collections.abc import Callable

import jax
import jax.numpy as jnp
import jax.random as jr
import normflows
import optax
import torch
import zuko
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import StandardNormal
from flowjax.flows import coupling_flow
from flowjax.train import fit_to_data
from flowjax.train.losses import MaximumLikelihoodLoss
from nflows.distributions import StandardNormal as TorchNormal
from nflows.flows import Flow as TorchFlow
from nflows.nn.nets import ResidualNet
from nflows.transforms import (
    CompositeTransform,
    LULinear,
    PiecewiseRationalQuadraticCouplingTransform,
    RandomPermutation,
)
from sizes import BATCH, Size
from timing import Call

torch.set_num_threads(1)
DEVICE = "cuda" if jax.default_backend() == "gpu" else "cpu"
torch.set_default_device(DEVICE)


def waited(function: Callable[[], object]) -> Callable[[], object]:
    """The same function, which returns when the device has done what it asked for."""

    def call():
        function()
        if DEVICE == "cuda":
            torch.cuda.synchronize()

    return call


def nflows_stack(dim: int, size: Size, layers: int) -> CompositeTransform:
    """Spline coupling layers, alternating masks, with permutations or LU maps before them."""
    steps: list[torch.nn.Module] = []
    for layer in range(layers):
        steps.append(LULinear(dim, identity_init=True) if size.linear else RandomPermutation(dim))
        mask = torch.ones(dim)
        mask[layer % 2 :: 2] = -1
        steps.append(
            PiecewiseRationalQuadraticCouplingTransform(
                mask,
                lambda inputs, outputs: ResidualNet(
                    inputs, outputs, hidden_features=size.width, num_blocks=size.blocks
                ),
                num_bins=size.bins,
                tails="linear",
                tail_bound=6.0,
            )
        )
    return CompositeTransform(steps)


def torch_training(
    parameters, loss: Callable, x: torch.Tensor, steps: int, batch_size: int = BATCH
) -> Call:
    """``steps`` steps of AdamW with clipped gradients and a cosine schedule."""
    parameters = list(parameters)
    x = x.to(DEVICE)
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1000 * steps)

    def call():
        for batch in x[: steps * batch_size].split(batch_size):
            optimizer.zero_grad()
            loss(batch).backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()

    return Call(waited(call), steps)


class NflowsMFlow(torch.nn.Module):
    """An M-flow of nflows' parts."""

    def __init__(self, size: Size):
        super().__init__()
        torch.manual_seed(0)
        self.dim, self.n = size.dim, size.latent_dim
        self.chart = nflows_stack(size.dim, size, size.layers)
        self.latent = TorchFlow(nflows_stack(self.n, size, size.layers), TorchNormal([self.n]))

    def encode(self, x):
        return self.chart(x)[0][:, : self.n]

    def decode(self, u):
        return self.chart.inverse(torch.cat((u, torch.zeros(len(u), self.dim - self.n)), 1))[0]

    def jacobian_rows(self, u, rows: int, *, for_training: bool = False):
        """The first rows of dx/du, one reverse pass each for the whole batch."""
        decoded = self.decode(u)
        found = [
            torch.autograd.grad(
                decoded[:, row].sum(), u, retain_graph=True, create_graph=for_training
            )[0]
            for row in range(rows)
        ]
        return torch.stack(found, 1)

    def log_prob(self, x, *, for_training: bool = False):
        """Exact, by D reverse passes of the decoder."""
        u = self.encode(x)
        if not for_training:
            u = u.detach().requires_grad_(True)
        jacobian = self.jacobian_rows(u, self.dim, for_training=for_training)
        gram = jacobian.transpose(1, 2) @ jacobian
        return self.latent.log_prob(u) - 0.5 * torch.linalg.slogdet(gram)[1]


def nflows_ambient(size: Size, layers: int) -> TorchFlow:
    """An ambient flow of nflows."""
    torch.manual_seed(0)
    return TorchFlow(nflows_stack(size.dim, size, layers), TorchNormal([size.dim]))


def zuko_ambient(size: Size, layers: int):
    """Zuko's neural spline flow with coupling masks."""
    torch.manual_seed(0)
    return zuko.flows.NSF(
        size.dim,
        transforms=layers,
        bins=size.bins,
        passes=2,
        hidden_features=(size.width,) * (1 + 2 * size.blocks),
    )


def normflows_ambient(size: Size, layers: int):
    """A coupling spline flow of normflows."""
    torch.manual_seed(0)
    steps: list[torch.nn.Module] = []
    for layer in range(layers):
        steps.append(
            normflows.flows.CoupledRationalQuadraticSpline(
                size.dim,
                num_blocks=size.blocks,
                num_hidden_channels=size.width,
                num_bins=size.bins,
                tail_bound=6.0,
                reverse_mask=layer % 2 == 1,
            )
        )
        mix = normflows.flows.LULinearPermute if size.linear else normflows.flows.Permute
        steps.append(mix(size.dim))
    return normflows.NormalizingFlow(normflows.distributions.DiagGaussian(size.dim), steps)


def flowjax_ambient(size: Size, layers: int):
    """FlowJAX's coupling flow, with its own conditioner; it mixes by permutations always."""
    return coupling_flow(
        jr.key(0),
        base_dist=StandardNormal((size.dim,)),
        transformer=RationalQuadraticSpline(knots=size.bins, interval=6.0),
        flow_layers=layers,
        nn_width=size.width,
        nn_depth=1 + 2 * size.blocks,
    )


def flowjax_fit(flow, x, steps: int) -> Call:
    """``steps`` steps of FlowJAX's own ``fit_to_data``, with one batch held out."""
    x = jnp.asarray(x[: (steps + 1) * BATCH])
    same = {"loss_fn": MaximumLikelihoodLoss(), "optimizer": optax.adam(1e-3)}  # else it recompiles

    def call():
        fit_to_data(
            jr.key(1),
            flow,
            x,
            max_epochs=1,
            batch_size=BATCH,
            val_prop=1 / (steps + 1),
            show_progress=False,
            **same,
        )

    return Call(call, steps)
