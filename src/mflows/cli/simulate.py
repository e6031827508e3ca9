"""``mflows simulate``: draw a table from a simulator with known truth."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mflows.cli.options import Output, check_memory
from mflows.simulators import names as known


def simulate(
    simulator: Annotated[
        str,
        typer.Argument(
            metavar="SIMULATOR",
            help=f"One of {', '.join(known())}, or an .onnx file.",
            show_default=False,
        ),
    ],
    out: Output,
    events: Annotated[int, typer.Option("--events", "-n", help="Number of points.")] = 100_000,
    seed: Annotated[int, typer.Option(min=0, max=(1 << 63) - 1, help="Seed of the draws.")] = 0,
    latent_dim: Annotated[
        int | None,
        typer.Option(
            "--latent-dim", "-d", min=1, help="Latent directions that vary, of a generator."
        ),
    ] = None,
) -> None:
    """Draw points from a simulator, each at its own parameters theta from the prior.

    A .npz or .h5 file holds x, names, theta and, where the simulator knows them, log_prob, the
    exact log density of each point, and joint_score, for training by SCANDAL. A .csv or .parquet
    file has the columns of x and theta. Simulators without parameters have no theta. Events of
    wbf-higgs come from Pythia (pip install 'mflows[physics]'), with components of their matrix
    element, flavours and channel; what was generated before is read from the cache.
    wbf-higgs+hadrons has multi-parton interactions and hadronisation.

    Images, of arm, faces and conditional-faces, go into .npz, .h5 and .npy files. Beside them is z,
    the coordinates of each on its manifold; log_prob_of(z, theta) of the simulator is their exact
    log density. The generator of faces is fetched once, by pip. Numbers of a simulator are set as
    in arm+joints=4+size=64.

    An .onnx file is a generator of your own, from a latent vector (1, N) to an image (1, C, H, W)
    or a vector: points lie on the manifold of --latent-dim of its latent directions, in which they
    are standard normal.
    generator.onnx+signed turns values from -1 to 1 into values from 0 to 1; +scale=3 spreads the
    latent vectors; +channels_last takes images (1, H, W, C). (pip install 'mflows[onnx]')

    **Examples**

        mflows simulate polynomial-surface --events 100000 --seed 0 --out surface.npz

        mflows simulate circle --events 10000 --out circle.csv

        mflows simulate wbf-higgs --events 100000 --out higgs.npz

        mflows simulate arm+joints=4 --events 10000 --out arm.npz

        mflows simulate faces --events 10000 --out faces.npz

        mflows simulate generator.onnx+signed --latent-dim 2 --out generated.npz
    """
    if events < 1:
        raise typer.BadParameter(f"Expected --events >= 1; got {events}.")
    import jax
    import jax.random as jr
    import numpy as np

    from mflows import simulators
    from mflows.data import DataError, check_output, save_array
    from mflows.data.save import TABLES

    check_output(out)
    if latent_dim is not None:
        simulator += f"+latent_dim={latent_dim}"
    source = simulators.named(simulator)
    if isinstance(source, simulators.Generator):
        _generate(source, out, events, seed)
        return
    theta_key, key = jr.split(jr.key(seed))
    one = jax.eval_shape(source.simulate, key, source.prior.sample(theta_key, (1,)))
    check_memory(events, one.size)
    suffix = out.suffix.lower()
    if one.ndim > 2 and suffix in TABLES:
        raise DataError(
            f"{out.name}: expected a .npz, .h5 or .npy file for points of shape {one.shape[1:]}."
        )
    theta = source.prior.sample(theta_key, (events,))
    if theta.shape[1] and isinstance(source, simulators.HasJointScore):
        x, joint_score = source.simulate_with_joint_score(key, theta)
    else:
        x, joint_score = source.simulate(key, theta), None
    more = {"theta": np.asarray(theta)} if theta.shape[1] and suffix != ".npy" else {}
    if suffix in (".npz", ".h5", ".hdf5"):
        if isinstance(source, simulators.HasLatents):
            more["z"] = np.asarray(source.latents(key, theta))
        elif isinstance(source, simulators.HasLogProb):
            more["log_prob"] = np.asarray(source.log_prob(x, theta))
        if joint_score is not None:
            more["joint_score"] = np.asarray(joint_score)
    names = [f"x{i}" for i in range(x.shape[1])] if x.ndim == 2 else []
    save_array(out, np.asarray(x), names, more=more)
    print(f"Wrote {events:,} points to {out}.")


def _generate(source: Any, out: Path, events: int, seed: int) -> None:
    """Write points that are made in parts, on all cores."""
    from mflows.data import save_array
    from mflows.experiments.jobs import generated

    check_memory(events, len(source.names))
    arrays = generated(source, events, seed)
    more = {name: array for name, array in arrays.items() if name != "x"}
    save_array(out, arrays["x"], source.names, more={} if out.suffix.lower() == ".npy" else more)
    print(f"Wrote {events:,} points to {out}. {source.summary(arrays)}")
