"""The tour: what its guide answers, whom its server refuses, and the page in a real browser."""

import base64
import http.client
import io
import json
import signal
import socket
import threading
import time
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from PIL import Image
from tests import tiny
from tests.pages.test_browser import browser  # noqa: F401
from tests.processes import DOUBLE, PATIENCE, mflows

from mflows import runs
from mflows.data import DataError, save_array
from mflows.pages.tour import Guide, html, write
from mflows.pages.tour.grid import grid
from mflows.pages.tour.server import Server

SHAPE = (8, 6, 3)
U, THETA = [0.3, -0.2], [0.1]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The guide of a surface in three dimensions, whose density depends on theta."""
    folder = tmp_path_factory.mktemp("table")
    data = tiny.write_table(folder / "t.csv", rows=200, conditional=True)
    config = tiny.config(data, latent_dim=2, condition=("theta",), epochs=2)
    return Guide(runs.train(folder / "run", config))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """The guide of pictures in colour."""
    folder = tmp_path_factory.mktemp("pictures")
    t = np.random.default_rng(0).uniform(size=(100, 2))
    ramp = np.linspace(0, 1, SHAPE[0] * SHAPE[1] * 3).reshape(SHAPE)
    save_array(folder / "x.npz", t[:, 0, None, None, None] * ramp + t[:, 1, None, None, None] / 4)
    settings = {"width": 4, "blocks": 1, "latent_layers": 1, "network": "dense"}
    config = runs.Config(
        str(folder / "x.npz"), model="pae", latent_dim=2, epochs=2, settings=settings
    )
    return Guide(runs.train(folder / "run", config))


# What it answers ----------------------------------------------------------------------------------


def test_points_and_densities_are_those_of_the_flow(table):
    x = table.point(U, THETA)["x"]
    np.testing.assert_allclose(x, table.flow.decode(np.array(U), np.array(THETA)), rtol=1e-9)
    found = table.density(U, THETA)
    score = table.flow.score(x, np.array(THETA))
    assert found["log_prob"] == pytest.approx(float(score.log_prob))
    assert found["condition_number"] == pytest.approx(float(score.condition_number))
    plane = table.plane(U, THETA, 1, 0, 3)
    u = np.array([[plane["up"][2], plane["across"][0]]])
    assert plane["log_prob"][2, 0] == pytest.approx(table.density(u[0].tolist(), THETA)["log_prob"])


def test_facts_are_of_held_out_rows_in_their_units(table):
    facts = table.facts()
    assert facts["names"] == ["a", "b", "c"]
    assert [each["name"] for each in facts["coordinates"]] == ["u1", "u2"]
    assert facts["theta"][0]["name"] == "theta"
    assert -1 <= facts["theta"][0]["low"] < facts["theta"][0]["high"] <= 1
    held_out = table.run.split().held_out
    assert len(facts["codes"]) == len(held_out) == len(facts["log_prob"])
    np.testing.assert_allclose(facts["spread"][1], np.median(held_out.x, axis=0))


def test_a_row_is_read_by_names_or_by_order(table):
    row = table.run.split().held_out[:1]
    values, theta = [repr(float(v)) for v in row.x[0]], repr(float(row.condition[0, 0]))
    expected = table.flow.score(row.x, row.condition)
    projected = table.flow.project(row.x, row.condition)[0]
    by_order = table.row(",".join([*values, theta]), [0.9])
    by_slider = table.row("\t".join(values), [float(theta)])
    a, b, c = values
    by_name = table.row(f"c;theta;a;b\n{c};{theta};{a};{b}\n", [0.9])
    for found in (by_order, by_slider, by_name):
        assert found["distance"] == pytest.approx(float(expected.distance[0]))
        assert found["log_prob"] == pytest.approx(float(expected.log_prob[0]))
        np.testing.assert_allclose(found["projected"]["x"], projected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Expected a row of numbers; got nothing"),
        ("1,2", r"Expected 4 numbers \(a, b, c, theta\); got 2"),
        ("hello", "Expected numbers; got 'hello'"),
        ("a,b,c\n1,2,nan", "NaN|finite|not a number|missing"),
        ("a,b,z\n1,2,3", "'?c'?"),
        ("1e30,2,3", "standard deviations of the training data"),
    ],
)
def test_what_is_no_row_is_refused(table, text, message):
    with pytest.raises(DataError, match=message):
        table.row(text, THETA)


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_picture_of_any_size_is_projected(pictures, table):
    found = pictures.picture(png(np.full((80, 60, 3), 128, np.uint8)), "grey.PNG")
    assert found["given"]["picture"].shape == (1, *SHAPE)[1:]
    assert found["projected"]["picture"].shape == SHAPE
    assert found["distance"] > 0
    with pytest.raises(DataError, match="none can"):
        pictures.picture(b"no picture", "broken.png")
    with pytest.raises(DataError, match="folder without any"):
        pictures.picture(b"text", "notes.txt")
    with pytest.raises(DataError, match="Expected a row of 3 numbers for this model; got a pict"):
        table.picture(b"", "x.png")
    with pytest.raises(DataError, match="Expected a picture for this model, 8 x 6 x 3; got text"):
        pictures.row("1,2", [])


def test_walks_have_their_ends_and_the_geodesic_is_no_longer(table):
    start, end = [-0.5, 0.4], [0.6, -0.3]
    walks = table.walk(start, end, THETA)
    for walk in walks.values():
        np.testing.assert_allclose(walk["u"][[0, -1]], [start, end], atol=1e-6)
        np.testing.assert_allclose(walk["x"], table.decode(walk["u"], THETA), atol=1e-6)
    assert walks["geodesic"]["converged"]
    assert 0 < walks["geodesic"]["length"] <= walks["straight"]["length"] * (1 + 1e-3)


def test_a_grid_has_points_and_densities_at_its_nodes(table):
    found = grid(table)
    assert [len(axis) for axis in found["axes"]] == [17, 17, 17]
    u, theta = [found["axes"][0][3], found["axes"][1][12]], [found["axes"][2][5]]
    np.testing.assert_allclose(found["x"][3, 12, 5], table.point(u, theta)["x"], rtol=1e-9)
    assert found["log_prob"][3, 12, 5] == pytest.approx(table.density(u, theta)["log_prob"])


def test_a_grid_has_at_most_three_axes(table, monkeypatch):
    monkeypatch.setattr("mflows.pages.tour.grid.SIDES", {1: 5})
    with pytest.raises(ValueError, match=r"at most 1 dimensions .* got n = 2. Leave out --out"):
        grid(table)
    monkeypatch.setattr("mflows.pages.tour.grid.SIDES", {1: 5, 2: 4})
    found = grid(table)  # theta has no axis then, but its middle
    assert found["x"].shape == (4, 4, 3)
    assert found["theta"] == [table.facts()["theta"][0]["middle"]]


def test_the_true_geodesic_is_shown_where_the_simulator_knows_it(table, monkeypatch):
    from mflows import simulators

    truth = simulators.named("polynomial-surface")
    monkeypatch.setattr(simulators, "named", lambda name: truth)
    monkeypatch.setitem(table.run.config.__dict__, "simulator", "polynomial-surface")
    known = table._truth()
    z = np.array([0.2, 0.5])
    np.testing.assert_allclose(known.decode(z), truth.embed(z), rtol=1e-9)
    walk = table.walk([-0.1, 0.1], [0.1, -0.1], THETA)["true geodesic"]
    assert walk["converged"]
    np.testing.assert_allclose(walk["x"], truth.embed(truth.unembed(walk["x"])), atol=1e-6)


# Whom it refuses ----------------------------------------------------------------------------------


class Served:
    """A tour that is served by a thread."""

    def __init__(self, guide: Guide):
        self.server = Server(guide)
        self._thread = threading.Thread(
            target=self.server.run, kwargs={"open_browser": False}, daemon=True
        )
        self._thread.start()
        self.host = f"127.0.0.1:{self.server.port}"
        self.token = self.server.address.rpartition("=")[2]

    def ask(self, what: str, asked: dict, **headers) -> tuple[int, str]:
        told = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        told |= {name.title().replace("_", "-"): value for name, value in headers.items()}
        with closing(http.client.HTTPConnection(self.host, timeout=60)) as connection:
            connection.request("POST", f"/api/{what}", json.dumps(asked), told)
            with connection.getresponse() as answer:
                return answer.status, answer.read().decode()

    def ended(self, seconds: float) -> bool:
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def close(self):
        self.server.stop()
        assert self.ended(20)


@pytest.fixture(scope="module")
def served(table):
    with closing(Served(table)) as served:
        yield served


@pytest.fixture(scope="module")
def gallery(pictures):
    with closing(Served(pictures)) as served:
        yield served


def test_answers_go_to_the_page_with_the_token(served, table):
    asked = {"u": U, "theta": THETA}
    status, text = served.ask("point", asked)
    assert status == 200
    told = json.loads(text)["x"]
    numbers = np.frombuffer(base64.b64decode(told["data"]), told["type"]).reshape(told["shape"])
    np.testing.assert_array_equal(numbers, table.point(U, THETA)["x"])
    for headers in (
        {"authorization": "Bearer of bad news"},
        {"authorization": ""},
        {"host": "evil.example"},  # a name that was made to lead to this machine
        {"origin": "http://evil.example"},
        {"origin": "null"},
    ):
        status, text = served.ask("point", asked, **headers)
        assert (status, "belongs to a tour of mflows" in text) == (403, True), headers


def test_bad_questions_are_answered_in_words(served):
    assert served.ask("row", {"text": "1,2", "theta": THETA})[0] == 400
    assert "Expected 4 numbers" in served.ask("row", {"text": "1,2", "theta": THETA})[1]
    assert served.ask("point", {"u": [1.0], "theta": THETA})[0] == 400
    assert served.ask("nothing", {})[0] == 404
    assert served.ask("point", {}, content_length="999999999999")[0] == 413


def test_a_port_in_use_is_said(table):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ValueError, match=f"Expected a free port; {port} cannot be used"):
            Server(table, port)


# In a browser -------------------------------------------------------------------------------------


def listening(browser):  # noqa: F811
    """A page that notes what it complains of."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(120_000)
    page.complaints = []
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    return page


@pytest.fixture
def page(browser):  # noqa: F811
    with closing(listening(browser)) as page:
        yield page


def opened(page, address: str):
    page.goto(address)
    page.wait_for_selector("html[data-ready]")
    return page


@pytest.fixture(scope="module")
def tour(browser, served):  # noqa: F811
    """The page of the table; all tests of it look at one."""
    with closing(listening(browser)) as page:
        yield opened(page, served.server.address)


@pytest.fixture(scope="module")
def album(browser, gallery):  # noqa: F811
    """The page of the pictures."""
    with closing(listening(browser)) as page:
        yield opened(page, gallery.server.address)


def press_until_shown(page, selector: str, key: str) -> list[float]:
    """Press a key on a slider; the coordinates that are shown then."""
    page.focus(selector)
    page.evaluate("delete document.documentElement.dataset.shown")
    page.keyboard.press(key)
    page.wait_for_selector("html[data-shown]")
    return json.loads(page.evaluate("document.documentElement.dataset.shown"))


def numbers_of_picture(page, selector: str) -> np.ndarray:
    flat = page.evaluate(
        f"""(() => {{ const c = document.querySelector('{selector}');
        return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]; }})()"""
    )
    return np.array(flat).reshape(SHAPE[0], SHAPE[1], 4)[..., :3]


def test_sliders_move_a_picture_by_the_keyboard(album, pictures):
    before = numbers_of_picture(album, "#picture")
    press_until_shown(album, "#sliders input[type=range]", "ArrowRight")
    u = press_until_shown(album, "#sliders input[type=range]", "End")
    shown = numbers_of_picture(album, "#picture")
    np.testing.assert_array_equal(shown, pictures.point(u, [])["picture"])
    assert (shown != before).any()
    assert album.complaints == []


def test_a_picture_is_projected_and_judged(album, pictures):
    content = png(np.full((80, 60, 3), 200, np.uint8))
    album.set_input_files(
        "#own-file", {"name": "a.png", "mimeType": "image/png", "buffer": content}
    )
    album.wait_for_selector("html[data-own]")
    expected = pictures.picture(content, "a.png")
    told = json.loads(album.evaluate("document.documentElement.dataset.own"))
    assert told == pytest.approx([expected["distance"], expected["log_prob"]])
    np.testing.assert_array_equal(
        numbers_of_picture(album, "#projected"), expected["projected"]["picture"]
    )
    assert "of held-out rows are nearer" in album.inner_text("#own-judgement")
    broken = {"name": "b.png", "mimeType": "image/png", "buffer": b"no picture"}
    album.set_input_files("#own-file", broken)
    album.wait_for_selector("#own-problem:not([hidden])")
    assert "none can" in album.inner_text("#own-problem")
    assert album.complaints == []


def test_a_surface_a_row_and_a_walk(tour):
    for name in ("manifold", "row", "pairs", "plane", "log_prob", "condition_number", "distance"):
        assert tour.locator(f"#{name}.js-plotly-plot, #{name} .plot-container").count(), name
    tour.fill("#own-text", "0.1,0.01,0.1,0.2")
    tour.click("#own-go")
    tour.wait_for_selector("html[data-own]")
    tour.click("#start")
    tour.click("#random")
    tour.click("#end")
    tour.click("#go")
    tour.wait_for_selector("html[data-walked]")
    assert "geodesic" in tour.inner_text("#walk-words")
    before = tour.evaluate("document.documentElement.dataset.shown")
    tour.focus("#step")
    tour.keyboard.press("ArrowRight")
    tour.wait_for_function(f"document.documentElement.dataset.shown !== '{before}'")
    tour.set_viewport_size({"width": 390, "height": 844})
    tour.wait_for_timeout(500)
    assert tour.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    tour.set_viewport_size({"width": 1280, "height": 900})
    assert tour.complaints == []


DROP = """(text) => {
  const dropped = new DataTransfer();
  dropped.setData("text", text);
  dispatchEvent(new DragEvent("drop", { dataTransfer: dropped, bubbles: true, cancelable: true }));
}"""
PASTE = """(text) => {
  const pasted = new DataTransfer();
  pasted.setData("text", text);
  const event = new ClipboardEvent("paste", { clipboardData: pasted, bubbles: true });
  document.body.dispatchEvent(event);
}"""


def test_rows_are_dropped_and_pasted(tour, table):
    for how, text in ((DROP, "0.1,0.01,0.1,0.2"), (PASTE, "a,b,c,theta\n-1,1,-0.8,0.5\n")):
        tour.evaluate("delete document.documentElement.dataset.own")
        tour.evaluate(how, text)
        tour.wait_for_selector("html[data-own]")
        expected = table.row(text, THETA)
        told = json.loads(tour.evaluate("document.documentElement.dataset.own"))
        assert told == pytest.approx([expected["distance"], expected["log_prob"]])
    tour.evaluate(PASTE, "1,2")
    tour.wait_for_selector("#own-problem:not([hidden])")
    assert "Expected 4 numbers" in tour.inner_text("#own-problem")
    assert tour.complaints == []


def test_a_page_without_a_server_asks_nothing_and_is_right_at_the_nodes(page, table, tmp_path):
    path = write(tmp_path / "tour.html", table)
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    opened(page, path.as_uri())
    u = press_until_shown(page, "#sliders input[type=range]", "Home")
    theta = page.evaluate("document.querySelector('#theta input').valueAsNumber")
    x = page.evaluate("Array.from(document.getElementById('row').data[1].customdata)")
    np.testing.assert_allclose(x, table.point(u, [theta])["x"], atol=0.05)
    assert not [url for url in asked if not url.startswith(("data:", "blob:", "file:"))]
    assert not page.locator("#walks").is_visible()
    assert page.complaints == []


ATTACK = """
const done = (what) => { document.title = what; };
const send = (options) => fetch("http://HOST/api/point", { method: "POST", ...options })
  .then((answer) => `answered ${answer.status}`, (error) => "refused");
const body = JSON.stringify({ u: [0, 0], theta: [0] });
Promise.all([
  send({ body }),
  send({ body, headers: { Authorization: "Bearer guess", "Content-Type": "application/json" } }),
  send({ body, mode: "no-cors" }).then(() => "opaque"),
]).then((found) => done(found.join(", ")));
"""


def test_another_page_cannot_drive_it(page, served, monkeypatch):
    """A page of another origin, in the same browser: it reads no answer, and none is computed."""
    computed = []
    monkeypatch.setattr(Guide, "point", lambda *_: computed.append(1))

    class Other(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(f"<script>{ATTACK.replace('HOST', served.host)}</script>".encode())

        def log_message(self, *_):
            pass

    other = HTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    page.goto(f"http://127.0.0.1:{other.server_port}/")
    page.wait_for_function("document.title")
    other.shutdown()
    other.server_close()
    assert page.title() == "refused, refused, opaque"
    assert not computed


def test_it_ends_when_its_page_is_closed(page, table, monkeypatch):
    monkeypatch.setattr("mflows.pages.tour.server.PATIENCE", 3.0)
    before = sorted(path.name for path in table.run.folder.iterdir())
    own = Served(table)
    opened(page, own.server.address)
    page.reload()
    page.wait_for_selector("html[data-ready]")
    time.sleep(3.5)
    assert not own.ended(0)  # loaded again, it is still there
    page.close()
    assert own.ended(20)
    assert sorted(path.name for path in table.run.folder.iterdir()) == before


def test_ctrl_c_ends_the_command(table):
    command = mflows("tour", table.run.folder, "--no-browser", config=DOUBLE)
    deadline = time.monotonic() + PATIENCE
    while "token=" not in command.said():
        assert command.poll() is None, command.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    command.send_signal(signal.SIGINT)
    said, errors = command.communicate()
    assert (command.returncode, errors) == (0, "")
    assert "Open http://127.0.0.1:" in said
    assert said.endswith("The tour has ended.\n")


def test_a_program_that_is_gone_is_said(page, table):
    own = Served(table)
    opened(page, own.server.address)
    own.close()
    page.keyboard.press("r")
    page.wait_for_selector("#problem:not([hidden])")
    assert "its program runs no more" in page.inner_text("#problem")
    assert page.complaints == []


def test_no_text_of_a_user_is_markup(table, monkeypatch):
    monkeypatch.setattr(Guide, "facts", lambda self: {"title": "<b>x</b>", "n": "</script>"})
    text = html(table)
    assert "<b>x</b>" not in text
    assert text.count("</script>") == 4
