"""``mflows pictures``: a collection of pictures that is shipped or can be fetched, as a file."""

from pathlib import Path
from typing import Annotated

import typer

from mflows.cli.options import Output


def pictures(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="One of digits, mnist-5k, fashion-mnist.", show_default=False
        ),
    ],
    out: Output,
    files: Annotated[
        Path | None,
        typer.Option(
            help="Folder with the four gzip files of fashion-mnist. [default: they are fetched "
            "with apt-get]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a collection of pictures as a .npz or .h5 file, for ``mflows fit``.

    It holds x, 8-bit levels of shape (N, H, W, C), and label, shape (N,). digits come with
    scikit-learn; mnist-5k is fetched with pip, fashion-mnist with apt-get, and both are kept in the
    cache folder.

    **Examples**

        mflows pictures digits --out digits.npz

        mflows pictures mnist-5k --out mnist.npz
    """
    from mflows.data import DataError, check_output, save_array
    from mflows.data.pictures import pictures as found

    if check_output(out).suffix.lower() not in (".npz", ".h5", ".hdf5"):
        raise DataError(f"{out.name}: expected a .npz or .h5 file for pictures with labels.")
    x, label = found(name, files)
    save_array(out, x, more={"label": label})
    print(f"Wrote {len(x):,} pictures of {' x '.join(map(str, x.shape[1:]))} to {out}.")
