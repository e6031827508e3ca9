"""What a report may show: small frozen records that check their shapes when they are made.

Wrong shapes are the caller's mistake and raise. Values that are not finite are a fact about the
run: they are kept, left out of the figures, counted, and reported as a warning on the page,
because a diverged run is when a report is needed most. What a fit is judged by is
``mflows.verdict.Evidence``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mflows.pages.figures import Figure
from mflows.verdict import Evidence
from mflows.verdict.evidence import as_rows, set_array


@dataclass(frozen=True)
class Manifold:
    """A curve or a surface that can be drawn.

    Args:
        x: Vertices in order along a curve, shape ``(k, 2)`` or ``(k, 3)``, or in a grid on a
            surface, shape ``(k, l, 3)``.
        log_prob: Log density at each vertex, shape ``(k,)`` or ``(k, l)``.

    Raises:
        ValueError: If the shapes do not agree.
    """

    x: np.ndarray
    log_prob: np.ndarray

    def __post_init__(self):
        x = np.asarray(self.x, dtype=float)
        if (x.ndim, x.shape[-1]) not in ((2, 2), (2, 3), (3, 3)) or min(x.shape[:-1]) < 2:
            raise ValueError(
                "Expected x of a Manifold of shape (k, 2) or (k, 3), which is a curve, or "
                f"(k, l, 3), a surface, with k, l >= 2; got {x.shape}."
            )
        object.__setattr__(self, "x", x)
        set_array(self, "log_prob", x.shape[:-1])

    @property
    def kind(self) -> str:
        """``curve`` or ``surface``."""
        return "curve" if self.x.ndim == 2 else "surface"


@dataclass(frozen=True)
class View:
    """The learned manifold and, where a simulator knows it, the true one, for one condition.

    Args:
        model: The learned manifold.
        truth: The true manifold, of the same kind; ``None`` if it is not known.
        label: The condition, such as ``"theta = 0.5"``; may be empty.

    Raises:
        ValueError: If model and truth are not of the same kind and dimension.
    """

    model: Manifold
    truth: Manifold | None = None
    label: str = ""

    def __post_init__(self):
        both = [m for m in (self.model, self.truth) if m is not None]
        kinds = [f"a {m.kind} in {m.x.shape[-1]} dimensions" for m in both]
        if len(set(kinds)) > 1:
            raise ValueError(
                "Expected model and truth of the same kind and dimension; got "
                f"{' and '.join(kinds)}."
            )


@dataclass(frozen=True)
class Projected:
    """Images beside where they lie on the manifold.

    Args:
        x: Images, shape ``(K, H, W)`` or ``(K, H, W, C)``.
        projections: Their projections, of the same shape.
        distance: The distance between the two, shape ``(K,)``.
        rows: Which rows of the data they are, counted from 0, shape ``(K,)``.

    Raises:
        ValueError: If the shapes do not agree.
    """

    x: np.ndarray
    projections: np.ndarray
    distance: np.ndarray
    rows: np.ndarray

    def __post_init__(self):
        x = as_rows(self, "x")
        set_array(self, "projections", x.shape)
        set_array(self, "distance", (len(x),))
        set_array(self, "rows", (len(x),))


@dataclass(frozen=True)
class Decoded:
    """Images decoded from a grid of latent coordinates.

    Args:
        images: Shape ``(k, l, H, W)`` or ``(k, l, H, W, C)``, the first row on top.
        rows: What each row is, ``k`` words.
        columns: What each column is, ``l`` words.
        caption: How to read it.

    Raises:
        ValueError: If there are not as many words as rows and columns.
    """

    images: np.ndarray
    rows: Sequence[str]
    columns: Sequence[str]
    caption: str

    def __post_init__(self):
        images = np.asarray(self.images, dtype=float)
        if images.shape[:2] != (len(self.rows), len(self.columns)):
            raise ValueError(
                f"Expected {len(self.rows)} x {len(self.columns)} images of a Decoded, one for "
                f"each row and column; got shape {images.shape}."
            )
        object.__setattr__(self, "images", images)


@dataclass(frozen=True)
class Table:
    """A table of results.

    Args:
        title: Its heading.
        columns: Names of the columns.
        rows: Cells, one sequence per row; anything with a ``str``.
        caption: How to read it; may be empty.

    Raises:
        ValueError: If a row has not one cell per column.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    caption: str = ""

    def __post_init__(self):
        for i, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(
                    f"Expected {len(self.columns)} cells in every row of table '{self.title}'; "
                    f"got {len(row)} in row {i}."
                )


@dataclass(frozen=True, kw_only=True)
class Content(Evidence):
    """Everything a report may show. Only the title is needed; what is missing is left out.

    Args:
        title: Heading of the page.
        lead: One or two sentences under the heading: what was fitted, to what.
        summary: Headline numbers, name to formatted value, shown as cards.
        settings: How it was fitted: model, recipe, sizes.
        provenance: Where it comes from: version, commit, machine, seeds, command.
        conditional: Whether the samples have the conditions of the held-out points, one for one.
        projected: Some held-out images and their projections.
        worst: Those that are farthest from the manifold, the farthest first.
        decoded: Images over the latent coordinates.
        names: Names of the D columns of a table; ``x1 ... xD`` if empty.
        views: Learned and true manifold, one view per condition, all of one kind.
        figures: Further figures, by the section they stand in.
        tables: Tables of results.

    Raises:
        ValueError: If shapes, number of names or history rows do not fit together.
    """

    title: str
    lead: str = ""
    summary: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, str] = field(default_factory=dict)
    conditional: bool = False
    projected: Projected | None = None
    worst: Projected | None = None
    decoded: Decoded | None = None
    names: Sequence[str] = ()
    views: Sequence[View] = ()
    figures: Mapping[str, Sequence[Figure]] = field(default_factory=dict)
    tables: Sequence[Table] = ()

    def __post_init__(self):
        shapes = {k: p.x.shape[1:] for k in ("train", "held_out") if (p := getattr(self, k))}
        if self.samples is not None:
            shapes["samples"] = as_rows(self, "samples").shape[1:]
        shapes |= {k: p.x.shape[1:] for k in ("projected", "worst") if (p := getattr(self, k))}
        if self.decoded is not None:
            shapes["decoded"] = self.decoded.images.shape[2:]
        shapes |= {f"view {i}": view.model.x.shape[-1:] for i, view in enumerate(self.views)}
        if self.names:
            shapes["names"] = (len(self.names),)
        if len(set(shapes.values())) > 1:
            raise ValueError(f"Expected points of one shape throughout; got {shapes}.")
        if len({view.model.kind for view in self.views}) > 1:
            raise ValueError("Expected views all of surfaces or all of curves; got both.")
        if self.latent is not None:
            latent = as_rows(self, "latent", axes=1)
            if self.held_out is None or len(self.held_out.x) != len(latent):
                got = 0 if self.held_out is None else len(self.held_out.x)
                raise ValueError(
                    "Expected one latent row per held-out point; "
                    f"got {len(latent)} rows for {got} points."
                )
        for i, row in enumerate(self.history):
            if missing := {"phase", "epoch"} - set(row):
                raise ValueError(
                    f"Expected 'phase' and 'epoch' in every history row; row {i} has no "
                    f"{' and no '.join(sorted(missing))}."
                )

    def column_names(self, dim: int) -> list[str]:
        """Names of the ``dim`` columns of x, made up if none were given."""
        return [str(n) for n in self.names] or [f"x{i + 1}" for i in range(dim)]
