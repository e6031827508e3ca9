"""How long after the move of a slider has a tour drawn it?

    python benchmarks/tour.py

A run of pictures of 64 x 64 x 3 numbers and one of a table of 2,048 columns, trained for two
epochs, served, and opened in headless Chromium (needs playwright and Chromium). Milliseconds of
twelve moves, one after the other, from the slider's event to the frame in which the point is drawn.
"""

import shutil
import threading
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from playwright.sync_api import sync_playwright
from rich.console import Console

from mflows import runs
from mflows.data import save_array
from mflows.pages.tour import Guide
from mflows.pages.tour.server import Server
from mflows.simulators import Arm

MOVE = """async () => {
  const slider = document.querySelector("#sliders input[type=range]");
  const shown = document.documentElement.dataset;
  const found = [];
  for (let k = 1; k <= 12; k++) {
    const started = performance.now();
    delete shown.shown;
    slider.value = Number(slider.min) + (k / 13) * (slider.max - slider.min);
    slider.dispatchEvent(new Event("input"));
    while (!shown.shown) await new Promise(requestAnimationFrame);
    found.push(performance.now() - started);
    await new Promise((done) => setTimeout(done, 900));
  }
  return found;
}"""


def pictures() -> np.ndarray:
    """300 pictures of an arm of two joints."""
    z = np.random.default_rng(0).normal(size=(300, 2)) / 2
    return np.asarray(Arm(2, 64).embed(z))


def embeddings() -> np.ndarray:
    """2,000 rows of 2,048 columns near a manifold of 32 dimensions."""
    rng = np.random.default_rng(0)
    codes = rng.normal(size=(2000, 32)) @ rng.normal(size=(32, 2048))
    return np.tanh(codes / 6) + 0.05 * rng.normal(size=codes.shape)


def moves(x: np.ndarray, latent_dim: int) -> list[float]:
    """Milliseconds of every move."""
    with TemporaryDirectory() as folder:
        save_array(Path(folder) / "x.npy", x)
        config = runs.Config(str(Path(folder) / "x.npy"), latent_dim=latent_dim, epochs=2)
        guide = Guide(runs.train(Path(folder) / "run", config))
        guide.prepare()
        server = Server(guide)
        thread = threading.Thread(target=server.run, kwargs={"open_browser": False})
        thread.start()
        with sync_playwright() as playwright:
            chromium = shutil.which("chromium") or playwright.chromium.executable_path
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page()
            page.set_default_timeout(300_000)
            page.goto(server.address)
            page.wait_for_selector("html[data-ready]")
            found = page.evaluate(MOVE)
            browser.close()
        server.stop()
        thread.join()
    return found


def main() -> None:
    """Print the times."""
    for name, x, latent_dim in (
        ("pictures, 64 x 64 x 3, n = 2", pictures(), 2),
        ("table, D = 2,048, n = 32", embeddings(), 32),
    ):
        found = moves(x, latent_dim)
        Console().print(f"{name}: median {np.median(found):.0f} ms, largest {max(found):.0f} ms")


if __name__ == "__main__":
    main()
