"""Our flows and training steps, as the benchmarks time them."""

import jax
import jax.random as jr
from sizes import BATCH, Size
from timing import Call

from mflows.flow import Flow
from mflows.models import ambient_flow, m_flow
from mflows.training import Batch, Phase
from mflows.training.loop import initial_state, players, run_epoch
from mflows.training.rows import InMemory


def m_flow_of(size: Size) -> Flow:
    """An M-flow."""
    return m_flow(
        jr.key(0),
        (size.dim,),
        size.latent_dim,
        chart_layers=size.layers,
        latent_layers=size.layers,
        linear=size.linear,
        bins=size.bins,
        width=size.width,
        blocks=size.blocks,
    )


def ambient_flow_of(size: Size, layers: int) -> Flow:
    """An ambient flow of the same kind of layers."""
    return ambient_flow(
        jr.key(0),
        (size.dim,),
        layers=layers,
        linear=size.linear,
        bins=size.bins,
        width=size.width,
        blocks=size.blocks,
    )


def training(flow: Flow, objective, trains: tuple[str, ...], x, steps: int) -> Call:
    """``steps`` training steps on the points ``x``, as ``fit`` does them, less what it prints."""
    phase = Phase(objective, trains, epochs=1000, batch_size=BATCH)
    parameters, frozen = players(jr.key(0), flow, phase)
    state, rows = initial_state(parameters, phase), InMemory(Batch(x[: steps * BATCH], None))

    def call():
        jax.block_until_ready(
            run_epoch(state, frozen, phase, 1000 * steps, rows, None, jr.key(2), 0)[1].train
        )

    return Call(call, steps)
