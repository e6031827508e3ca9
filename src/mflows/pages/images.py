"""Pictures: data and samples, projections, the worst ones, and a grid over the latent space.

All have one scale of brightness, that of the data; differences have one around zero, which is grey.
"""

import base64
import io
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from mflows.pages.content import Content, Decoded, Projected
from mflows.pages.figures import MUTED, Figure, Range, Variant, plot

COLUMNS = 10
"""Images in a row beside their projections."""
SAMPLES = (4, 8)
"""Rows and columns of data, and of samples."""
LARGEST, SMALLEST = 96, 32
"""Sides in pixels between which the larger side of an image in the page lies."""
GAP, FRAME = 2, (128, 128, 128, 80)
"""Pixels between images, and what they look like: red, green, blue, opacity."""
WIDE, HALF = 1000, 480
"""Width of a row of images on a screen, in pixels: over all of the page, or half of it."""
TALLEST, SHORTER = 110, 72
"""Height of an image on a screen, and of one in a square of them, in pixels at most."""
LABELS = 36


def image_figures(content: Content) -> list[Figure | None]:
    """All figures of a report on images; none if the points are something else."""
    points = content.held_out or content.train
    if points is None or points.x.ndim not in (3, 4) or not np.isfinite(points.x).any():
        return []
    x, samples = points.x, content.samples
    low, high = scale = brightness(x)
    seen = "Images that the model has not seen" if content.held_out else "Images of the data"
    caption = f"{seen}. Black is {low:.3g} and white {high:.3g} in all pictures here" + (
        f", of the mean of {x.shape[3]} channels." if _mixed(x) else "."
    )
    drawn = "Images that the model draws" + (
        ", each given the condition of the image in the same place among the data."
        if content.conditional
        else "; they belong to no image of the data."
    )
    return [
        _mosaic("Data", caption, x, scale),
        None if samples is None else _mosaic("Samples", drawn, samples, scale),
        projection_figure(content.projected, scale),
        worst_figure(content.worst, content.held_out.distance if content.held_out else None, scale),
        decoded_figure(content.decoded, scale),
    ]


def projection_figure(shown: Projected | None, scale: Range) -> Figure | None:
    """Some images, their projections and the difference."""
    if shown is None:
        return None
    said = (
        "Images that the model has not seen, above their projections onto the learned manifold. "
        "Over each stand its row in the data, counted from 0, and its distance to the manifold: "
        "the root of the sum of squared differences of all its values, in the units of the data."
    )
    return _differences("Projections", said, shown, scale)


def worst_figure(
    shown: Projected | None, distance: np.ndarray | None, scale: Range
) -> Figure | None:
    """The images that are farthest from the manifold."""
    if shown is None:
        return None
    said = "The images that are farthest from the manifold"
    if distance is not None:
        good = distance[np.isfinite(distance)]
        said += f", of {len(good):,} held out; their median distance is {np.median(good):.3g}"
    return _differences("Worst reconstructions", f"{said}.", shown, scale)


def decoded_figure(shown: Decoded | None, scale: Range) -> Figure | None:
    """Images over the latent coordinates."""
    if shown is None or not np.isfinite(shown.images).any():
        return None
    down, across = shown.images.shape[:2]
    pixels = _bytes(shown.images.reshape(-1, *shown.images.shape[2:]), scale)
    cells = pixels.reshape(down, across, *pixels.shape[1:])
    drawing = _drawing(cells, WIDE, shown.rows, shown.columns)
    return Figure(
        "Latent space in images", shown.caption, [Variant(drawing)], wide=True, min_width=560
    )


def brightness(x: np.ndarray) -> Range:
    """What is black and what is white: 0 and 1 for values that fill this range, else the range."""
    low, high = np.quantile(x[np.isfinite(x)], [0.001, 0.999])
    if low >= 0 and high <= 1 and high - low > 0.5:
        return 0.0, 1.0
    return float(low), float(high)


def _mosaic(title: str, caption: str, x: np.ndarray, scale: Range) -> Figure:
    """The first images, row by row."""
    across = min(len(x), SAMPLES[1])
    down = min(-(-len(x) // across), SAMPLES[0])
    count = min(len(x), across * down)
    cells = np.zeros((down * across, *x.shape[1:]))
    cells[:count] = x[:count]
    pixels = _bytes(cells, scale)
    pixels[count:] = 0
    drawing = _drawing(pixels.reshape(down, across, *pixels.shape[1:]), HALF)
    return Figure(title, caption, [Variant(drawing)])


def _differences(title: str, caption: str, shown: Projected, scale: Range) -> Figure:
    difference = shown.x - shown.projections
    finite = np.abs(difference[np.isfinite(difference)])
    reach = float(np.quantile(finite, 0.999)) if len(finite) else 0.0
    cells = np.stack(
        [
            _bytes(shown.x, scale),
            _bytes(shown.projections, scale),
            _bytes(difference, (-reach, reach)),
        ]
    )
    columns = [
        f"x[{int(row)}]<br>distance {distance:.3g}"
        for row, distance in zip(shown.rows, shown.distance, strict=True)
    ]
    drawing = _drawing(cells, WIDE, ("image", "projection", "difference"), columns)
    caption += (
        f" Differences are image minus projection: grey is 0, black {-reach:.3g}, white {reach:.3g}"
        + ("." if _mixed(shown.x) or shown.x.shape[3:] != (3,) else ", in every colour.")
    )
    return Figure(title, caption, [Variant(drawing)], wide=True, min_width=940)


def _drawing(
    cells: np.ndarray, width: int, rows: Sequence[str] = (), columns: Sequence[str] = ()
) -> go.Figure:
    """A table of pictures, shape ``(k, l, h, w, 4)``, with words for rows and columns."""
    down, across, high, wide = cells.shape[:4]
    framed = np.empty((down, across, high + GAP, wide + GAP, 4), np.uint8)
    framed[...] = FRAME
    framed[:, :, :high, :wide] = cells
    pixels = framed.swapaxes(1, 2).reshape(down * (high + GAP), across * (wide + GAP), 4)
    tall = min(TALLEST if down < across else SHORTER, width / across * high / wide)
    top = LABELS if columns else 8
    return plot(
        [go.Image(source=_png(pixels[:-GAP, :-GAP]), hoverinfo="skip")],
        height=round(tall * down + top + 8),
        margin={"l": 80 if rows else 8, "r": 8, "t": top, "b": 8},
        xaxis=_words(columns, wide + GAP, wide, side="top"),
        yaxis=_words(rows, high + GAP, high),
    )


def _words(words: Sequence[str], step: int, size: int, **more) -> dict:
    """An axis with a word in the middle of each picture."""
    if not words:
        return {"visible": False}
    middles = [step * i + size / 2 for i in range(len(words))]
    quiet = {
        "showgrid": False,
        "showline": False,
        "ticks": "",
        "tickangle": 0,
        "ticklabelstandoff": 4,
    }
    font = {"tickfont": {"size": 11, "color": MUTED}}
    return {"tickvals": middles, "ticktext": list(words), **quiet, **font, **more}


def _mixed(x: np.ndarray) -> bool:
    """Whether images (N, H, W, C) have channels that are no colours."""
    return x.shape[3:] not in ((), (1,), (3,))


def colours(images: np.ndarray, scale: Range) -> np.ndarray:
    """Images ``(K, H, W)`` or ``(K, H, W, C)`` as bytes of red, green and blue, ``(K, H, W, 3)``.

    Channels that are no colours are averaged, and the mean is grey.
    """
    low, high = scale
    x = images[..., None] if images.ndim == 3 else images
    x = x if x.shape[-1] == 3 else x.mean(axis=-1, keepdims=True)
    x = np.nan_to_num((x - low) / (high - low or 1.0), posinf=1.0, neginf=0.0).clip(0, 1)
    return np.broadcast_to(255 * x, (*x.shape[:3], 3)).round().astype(np.uint8)


def _bytes(images: np.ndarray, scale: Range) -> np.ndarray:
    """Images ``(K, H, W)`` or ``(K, H, W, C)`` as opaque bytes, shape ``(K, h, w, 4)``.

    Large ones are made smaller, and small ones larger by whole squares.
    """
    x = colours(images, scale)
    opaque = np.full((*x.shape[:3], 1), 255, np.uint8)
    pixels = np.concatenate([x, opaque], axis=-1)
    larger = max(x.shape[1:3])
    if larger > LARGEST:
        high, wide = (max(round(side * LARGEST / larger), 1) for side in x.shape[1:3])
        smaller = [Image.fromarray(each).resize((wide, high)) for each in pixels]
        return np.stack([np.asarray(each) for each in smaller])
    times = -(-SMALLEST // larger)
    return pixels.repeat(times, axis=1).repeat(times, axis=2)


def _png(pixels: np.ndarray) -> str:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
