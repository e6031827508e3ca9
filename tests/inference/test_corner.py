"""The corner plot: what it draws, and what it refuses."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from mflows.inference import corner

SAMPLES = np.random.default_rng(0).normal(size=(4, 250, 2))


@pytest.mark.parametrize(("size", "truth"), [(1, [0.2]), (2, [0.0, 0.5]), (2, None)])
def test_it_is_an_image_of_so_many_panels(tmp_path, monkeypatch, size, truth):
    figures, save = [], Figure.savefig
    monkeypatch.setattr(
        Figure,
        "savefig",
        lambda self, *args, **more: (figures.append(self), save(self, *args, **more)),
    )
    path = corner(tmp_path / "posterior.png", SAMPLES[..., :size], truth=truth)
    assert path.read_bytes().startswith(b"\x89PNG")
    panels = [axes for axes in figures[0].axes if axes.axison and axes.has_data()]
    assert len(panels) == size * (size + 1) // 2
    assert f"theta{size - 1}" in {axes.get_xlabel() for axes in panels}
    lines = {float(np.asarray(line.get_xdata()).flat[0]) for line in panels[-1].get_lines()}
    assert truth is None or truth[-1] in lines


@pytest.mark.parametrize(
    ("samples", "names", "truth"),
    [
        (SAMPLES[0, 0], (), None),
        (SAMPLES, ("mass",), None),
        (SAMPLES, ("mass", "width"), (0.0,)),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_written(tmp_path, samples, names, truth):
    with pytest.raises(ValueError, match="Expected"):
        corner(tmp_path / "posterior.png", samples, names, truth=truth)
    assert not list(tmp_path.iterdir())
