"""The page in a real browser: everything is drawn, nothing is asked of the network, nothing spills.

Needs Chromium and the ``playwright`` package. Without them these tests are skipped, except where
the environment variable ``CI`` is set: there they fail.
"""

import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mflows.pages import write

HOW = (
    "Install Chromium (apt-get install chromium, or: python -m playwright install chromium) "
    "and the Python package playwright to test reports in a browser."
)
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--js-flags=--no-opt --max-lazy",  # a page is looked at for seconds only
)
DESKTOP = {"width": 1280, "height": 900}
NAMES = ("surface", "wide", "curve", "space curve", "images", "title only")


def missing(reason: str):
    """Fail under CI, which installs a browser; skip where a developer has none.

    A browser is no Python package, so `make test` cannot install it, and everything else in the
    suite says something without it.
    """
    if os.environ.get("CI"):
        pytest.fail(f"{reason} {HOW}", pytrace=False)
    pytest.skip(f"{reason} `make test` installs Python packages only, not a browser. {HOW}")


@pytest.fixture(scope="module")
def browser():
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        missing("playwright is not installed.")
        raise
    names = ("chromium", "chromium-browser", "google-chrome")
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
        found = next(filter(None, map(shutil.which, names)), own if Path(own).exists() else None)
        if found is None:
            missing("No Chromium was found.")
        browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def tab(browser):
    """The one tab that opens all pages: it compiles Plotly once."""
    with browser.new_context() as context:
        page = context.new_page()
        page.set_default_timeout(120_000)  # 3-D without a graphics card is slow
        yield page


class Opened:
    """A report open in a tab, and what the browser complained about."""

    def __init__(self, tab, path: Path):
        self.page = tab
        self.page.set_viewport_size(DESKTOP)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._listeners = {
            "pageerror": lambda error: self.complaints.append(str(error)),
            "console": self._hear,
            "request": self._note,
        }
        for event, listener in self._listeners.items():
            self.page.on(event, listener)
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-drawn]")

    def close(self):
        """Leave the tab to another report."""
        for event, listener in self._listeners.items():
            self.page.remove_listener(event, listener)

    def _hear(self, message):
        if message.type == "error" or message.text.startswith("WARN"):
            self.complaints.append(message.text)

    def _note(self, request):
        if not request.url.startswith(("data:", "blob:", "file:")):
            self.requests.append(request.url)

    def pixels(self, selector: str) -> np.ndarray:
        """What the element looks like, shape (height, width, 3), from 0 to 255."""
        from PIL import Image

        shot = self.page.locator(selector).screenshot()
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)

    def overflow(self) -> int:
        return self.page.evaluate("document.documentElement.scrollWidth - innerWidth")


@pytest.fixture(scope="module", params=NAMES)
def opened(request, tab, all_contents, tmp_path_factory) -> Iterator[Opened]:
    """The report of a content; all tests of one look at it before the next is opened."""
    folder = tmp_path_factory.mktemp("reports")
    opened = Opened(tab, write(folder / f"{request.param}.html", all_contents[request.param]()))
    yield opened
    opened.close()


def coloured(pixels: np.ndarray) -> float:
    """Share of pixels that are neither grey nor nearly so: what is drawn from data."""
    return float((np.ptp(pixels, axis=-1) > 50).mean())


def test_every_figure_is_drawn(opened):
    count = opened.page.locator(".plot").count()
    assert opened.page.locator(".plot.js-plotly-plot").count() == count
    for i in range(count):
        pixels = opened.pixels(f"#plot-{i}")
        has_two = opened.page.evaluate(f"!!document.getElementById('plot-{i}').layout.scene2")
        halves = np.array_split(pixels[:-120], 2, axis=1) if has_two else [pixels]
        assert min(map(coloured, halves)) > 0.002, f"figure {i} is blank"
    assert "WebGL is not supported" not in opened.page.inner_text("body")


@pytest.mark.parametrize("opened", ["surface"], indirect=True)
def test_turning_one_view_turns_the_other_and_the_menu_keeps_it(opened):
    page, plot = opened.page, "document.getElementById('plot-0')"
    eyes = f"['scene', 'scene2'].map((s) => {plot}._fullLayout[s].camera.eye.x)"
    start = page.evaluate(eyes)
    page.locator("#plot-0").scroll_into_view_if_needed()
    box = page.locator("#plot-0").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 200, box["y"] + 300)
    page.mouse.down()
    page.mouse.move(box["x"] + 260, box["y"] + 280)
    page.mouse.up()
    page.wait_for_function(
        f"(() => {{ const [a, b] = {eyes}; return a === b && a !== {start[0]} }})()"
    )
    turned = page.evaluate(eyes)

    colour = f"Array.from({plot}._fullData.at(-1).intensity)"
    before = page.evaluate(colour)
    page.select_option("#menu-0", "theta = 1")
    page.wait_for_function(
        f"JSON.stringify({colour}) !== '{json.dumps(before, separators=(',', ':'))}'"
    )
    assert page.evaluate(eyes) == turned
    assert opened.complaints == []


@pytest.mark.parametrize("opened", ["curve"], indirect=True)
def test_dark_mode_redraws_the_figures(opened):
    page = opened.page
    font = "document.getElementById('plot-1')._fullLayout.font.color"
    light = page.evaluate(font)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"{font} !== '{light}'")
    assert opened.pixels("#plot-1")[:10, :10].mean() < 60
    page.emulate_media(color_scheme="light")


def test_nothing_spills_at_desktop_and_phone_width(opened):
    assert opened.overflow() <= 0
    opened.page.set_viewport_size({"width": 390, "height": 844})
    opened.page.wait_for_timeout(300)
    assert opened.overflow() <= 0
    wide = opened.page.evaluate(
        """[...document.querySelectorAll("h1, h2, h3, dd, figcaption, .box, figure, select")]
            .filter((e) => e.getBoundingClientRect().right > innerWidth)
            .map((e) => e.textContent)"""
    )
    assert wide == []


def test_browser_has_no_complaints_and_page_no_requests(opened):
    assert opened.complaints == []
    assert opened.requests == []
