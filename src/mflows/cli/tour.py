"""``mflows tour``: walk through a learned manifold, in a browser."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from mflows.cli.jax_setup import open_run
from mflows.cli.options import MovedData, RunFolder


def tour(
    run: RunFolder,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write a page that needs no server to this .html file, and end. For n <= 3.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = 0,
    browser: Annotated[bool, typer.Option(help="Open the page in a browser.")] = True,
    data: MovedData = None,
) -> None:
    """Walk through a learned manifold: sliders, densities, your own points, geodesics.

    A page opens in the browser, served to this machine alone. It shows the point at the coordinates
    that sliders choose, its density and condition number beside those of the data, and where a row
    or picture of yours lies. To close the page, or Ctrl-C, ends it. Nothing is written into the run
    folder.

    **Examples**

        mflows tour runs/galaxies

        mflows tour runs/galaxies --out tour.html
    """
    if out is not None and out.suffix.lower() not in (".html", ".htm"):
        raise typer.BadParameter(f"Expected --out to end in .html; got {out.name!r}.")
    from mflows.pages.tour import Guide, write

    if out is not None:
        print(f"Wrote {write(out, Guide(open_run(run), data))}.")
        return
    from mflows.pages.tour.server import Server  # before a run is read: it may not be installed

    guide = Guide(open_run(run), data)
    server = Server(guide, port)
    print("Preparing the tour ...", flush=True)
    guide.prepare()
    print(f"Open {server.address}\nTo close the page, or Ctrl-C, ends the tour.", flush=True)
    with suppress(KeyboardInterrupt):  # the way to end it
        server.run(open_browser=browser)
    print("The tour has ended.")
