"""Held-out images beside their projections onto the manifold, and samples of the model."""

import base64
import io

import numpy as np
import plotly.graph_objects as go

from mflows.pages.figures import Figure, Variant, plot

COLUMNS = 10
GAP = 1  # pixels between images
ZOOM = 110  # height of an image on the page, in pixels


def image_figure(
    x: np.ndarray, projections: np.ndarray | None, samples: np.ndarray | None
) -> Figure | None:
    """Rows of images, shape ``(N, H, W)`` or ``(N, H, W, C)``: data, projections, samples."""
    if x.ndim not in (3, 4) or not np.isfinite(x).any():
        return None
    count = min(len(x), COLUMNS)
    sets = {"held-out": x, "projection": projections, "sample": samples}
    rows = {name: images[:count] for name, images in sets.items() if images is not None}
    low, high = np.quantile(x[np.isfinite(x)], [0.001, 0.999])
    pixels = np.concatenate([_row(images, low, high, count) for images in rows.values()])
    height = len(pixels) / len(rows)
    drawing = plot(
        [go.Image(source=_png(pixels), hoverinfo="skip")],
        height=ZOOM * len(rows) + 24,
        margin={"l": 80, "r": 12, "t": 12, "b": 12},
        xaxis={"visible": False},
        yaxis={
            "tickvals": [height * (i + 0.5) for i in range(len(rows))],
            "ticktext": list(rows),
            "showgrid": False,
            "ticks": "",
        },
    )
    caption = (
        "Above: points that the model has not seen. "
        + ("Below each: its projection onto the learned manifold. " if "projection" in rows else "")
        + ("The last row: samples, which belong to no point above. " if "sample" in rows else "")
        + f"Brightness spans the data, from {low:.3g} to {high:.3g}"
        + (f"; the mean of {x.shape[3]} channels." if x.shape[3:] not in ((), (1,), (3,)) else ".")
    )
    return Figure("Images", caption, [Variant(drawing)], wide=True, min_width=560)


def _row(images: np.ndarray, low: float, high: float, count: int) -> np.ndarray:
    """A row of images with clear gaps, shape ``(H + GAP, count (W + GAP), 4)``, as bytes."""
    x = images[..., None] if images.ndim == 3 else images
    x = x if x.shape[-1] == 3 else x.mean(axis=-1, keepdims=True)
    x = np.nan_to_num((x - low) / (high - low or 1.0), posinf=1.0, neginf=0.0).clip(0, 1)
    colours = np.broadcast_to(x, (*x.shape[:3], 3))
    opaque = np.concatenate([colours, np.ones((*x.shape[:3], 1))], axis=-1)
    framed = np.pad(opaque, ((0, count - len(x)), (0, GAP), (0, GAP), (0, 0)))
    return (255 * np.concatenate(list(framed), axis=1)).round().astype(np.uint8)


def _png(pixels: np.ndarray) -> str:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
