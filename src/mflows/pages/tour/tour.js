(() => {
  const { facts, grid, template } = revived(JSON.parse(document.getElementById("facts").textContent));
  const root = document.documentElement;
  const by = (id) => document.getElementById(id);
  const n = facts.coordinates.length;
  const ask = grid ? fromGrid : fromServer;
  const at = { u: facts.coordinates.map((c) => c.middle), theta: facts.theta.map((c) => c.middle) };
  const style = () => getComputedStyle(root);
  const webgl = !!document.createElement("canvas").getContext("webgl");
  const still = { ...config, displayModeBar: false };
  let own = null; // what was found of the user's own point
  let walks = null;

  // Arrays ---------------------------------------------------------------------------------------

  function revived(value) {
    if (Array.isArray(value)) return value.map(revived);
    if (value === null || typeof value !== "object") return value;
    if (typeof value.data === "string" && Array.isArray(value.shape) && "type" in value) {
      const bytes = Uint8Array.from(atob(value.data), (c) => c.charCodeAt(0));
      const flat = value.type === "uint8" ? bytes : new Float64Array(bytes.buffer);
      flat.shape = value.shape;
      return flat;
    }
    return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, revived(v)]));
  }

  // Row i of an array of two axes or more, and column k of one of two.
  const row = (a, i) => a.subarray((i * a.length) / a.shape[0], ((i + 1) * a.length) / a.shape[0]);
  const column = (a, k) => Float64Array.from({ length: a.shape[0] }, (_, i) => a[i * a.shape[1] + k]);
  const rows = (a) => Array.from({ length: a.shape[0] }, (_, i) => row(a, i));
  const short = (value) => (value === null || !Number.isFinite(value) ? "none" : String(+value.toPrecision(4)));

  // Answers --------------------------------------------------------------------------------------

  async function fromServer(what, asked) {
    const token = new URLSearchParams(location.search).get("token");
    const answer = await fetch(`api/${what}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${token}` },
      body: JSON.stringify(asked),
    }).catch(() => { throw new Error("The tour has ended: its program runs no more."); });
    const text = await answer.text();
    const told = answer.headers.get("Content-Type")?.startsWith("application/json") ? JSON.parse(text) : { error: text };
    if (!answer.ok) throw new Error(told.error || `The server answered ${answer.status}.`);
    return revived(told);
  }

  // Weights of the corners around a place in the grid: [[flat index, weight], ...].
  function corners(place) {
    let found = [[0, 1]];
    grid.axes.forEach((axis, k) => {
      const last = axis.length - 1;
      const share = Math.min(Math.max(((place[k] - axis[0]) / (axis[last] - axis[0])) * last, 0), last);
      const low = Math.min(Math.floor(share), last - 1);
      const part = share - low;
      found = found.flatMap(([index, weight]) => [
        [index * axis.length + low, weight * (1 - part)],
        [index * axis.length + low + 1, weight * part],
      ]);
    });
    return found.filter(([, weight]) => weight > 0);
  }

  function mixed(values, place) {
    const size = values.length / grid.axes.reduce((all, axis) => all * axis.length, 1);
    const found = new Float64Array(size);
    for (const [index, weight] of corners(place)) {
      for (let i = 0; i < size; i++) found[i] += weight * values[index * size + i];
    }
    return found;
  }

  async function fromGrid(what, { u, theta, i, j, side }) {
    const given = grid.axes.length > n ? theta : [];
    if (what === "point") {
      if (!grid.picture) return { x: mixed(grid.x, [...u, ...given]) };
      const picture = mixed(grid.picture, [...u, ...given]);
      picture.shape = grid.picture.shape.slice(-3);
      return { picture };
    }
    const log_prob = (place) => (grid.log_prob ? mixed(grid.log_prob, [...place, ...given])[0] : null);
    if (what === "density") return { log_prob: log_prob(u), condition_number: null };
    const ends = (k) => [grid.axes[k][0], grid.axes[k].at(-1)];
    const along = (k, count) => Float64Array.from({ length: count }, (_, s) => ends(k)[0] + ((ends(k)[1] - ends(k)[0]) * s) / (count - 1));
    if (what === "plane") {
      const [across, up] = [along(i, side), along(j, side)];
      const found = new Float64Array(side * side);
      up.forEach((b, r) => across.forEach((a, c) => {
        const place = [...u];
        [place[i], place[j]] = [a, b];
        found[r * side + c] = log_prob(place);
      }));
      found.shape = [side, side];
      return { across, up, log_prob: grid.log_prob && found };
    }
    if (what === "manifold") {
      const drawable = !facts.images && ((n === 1 && facts.shape[0] <= 3) || (n === 2 && facts.shape[0] === 3));
      if (!drawable) return null;
      const axes = grid.axes.slice(0, n);
      let places = [[]];
      for (const axis of axes) places = places.flatMap((place) => Array.from(axis, (v) => [...place, v]));
      const x = Float64Array.from(places.flatMap((place) => Array.from(mixed(grid.x, [...place, ...given]))));
      const density = Float64Array.from(places.map((place) => log_prob(place)));
      x.shape = [...axes.map((axis) => axis.length), facts.shape[0]];
      density.shape = x.shape.slice(0, -1);
      return { x, log_prob: grid.log_prob && density };
    }
    throw new Error("This page has no server. Run: mflows tour RUN");
  }

  // What is asked while an answer is on its way waits, and only the newest is asked.
  function latest(work) {
    let busy = false, again = false;
    return async () => {
      if (busy) { again = true; return; }
      busy = true;
      try {
        do { again = false; await work(); } while (again);
        by("problem").hidden = true;
      } catch (error) {
        by("problem").textContent = error.message;
        by("problem").hidden = false;
      } finally {
        busy = false;
      }
    };
  }

  // Drawing --------------------------------------------------------------------------------------

  const draw = (id, data, layout, how = still) => {
    const own = { template, autosize: true, ...layout };
    by(id).style.minHeight = `${layout.height}px`;
    return Plotly.react(by(id), painted(data, style()), painted(own, style()), how);
  };
  const scatter = webgl ? "scattergl" : "scatter";
  // The point where one is. To move a shape redraws nothing else.
  const dot = (x, y, axis = "") => ({ type: "circle", xref: `x${axis}`, yref: `y${axis}`, xsizemode: "pixel", ysizemode: "pixel", xanchor: x, yanchor: y, x0: -7, x1: 7, y0: -7, y1: 7, fillcolor: "var(--model)", line: { color: "var(--panel)", width: 2 } });
  const reshape = (id, shapes) => Plotly.relayout(by(id), { shapes: painted(shapes, style()) });

  function paint(canvas, picture) {
    const [height, width] = picture.shape.slice(-3);
    if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
    const pixels = new Uint8ClampedArray(4 * width * height).fill(255);
    for (let i = 0; i < width * height; i++) {
      for (let c = 0; c < 3; c++) pixels[4 * i + c] = Math.round(picture[3 * i + c]);
    }
    canvas.getContext("2d").putImageData(new ImageData(pixels, width, height), 0, 0);
    canvas.hidden = false;
  }

  // How far values are from the median, in units of the range of 90% of the data.
  function normed(x) {
    const [low, middle, high] = rows(facts.spread);
    return Float64Array.from(x, (value, k) => (value - middle[k]) / (high[k] - low[k] || 1));
  }

  function drawRow(id, sets) {
    const many = facts.names.length > 40;
    const names = facts.names.map((name, k) => (many ? k : name));
    const [low, , high] = rows(facts.spread).map(normed);
    const data = [
      { x: [...names, ...[...names].reverse()], y: [...high, ...Array.from(low).reverse()], fill: "toself", type: "scatter", mode: "lines", line: { width: 0 }, fillcolor: "var(--train-fill)", hoverinfo: "skip", name: "90% of the data" },
    ];
    if (!many) data[0] = { x: names, base: low, y: high.map((value, k) => value - low[k]), type: "bar", width: 0.8, marker: { color: "var(--train-fill)" }, hoverinfo: "skip", name: "90% of the data" };
    for (const { name, x, colour } of sets) {
      const y = normed(x);
      data.push(many
        ? { x: names, y, type: "scatter", mode: "lines", name, line: { color: colour, width: 1.2 } }
        : { x: names, y, type: "bar", width: 0.72 / sets.length, name, marker: { color: colour }, customdata: x, hovertemplate: "%{x}: %{customdata:.4g}<extra></extra>" });
    }
    return draw(id, data, {
      height: 300, barmode: sets.length > 1 ? "group" : "overlay", showlegend: sets.length > 1, bargap: 0.15,
      margin: { l: 48, r: 8, t: sets.length > 1 ? 34 : 12, b: 56 },
      xaxis: many ? { title: { text: "column" } } : { type: "category", tickangle: facts.names.length > 8 ? -60 : 0 },
      yaxis: { zeroline: true, range: reach([low, high, ...sets.map((each) => normed(each.x))]) },
    });
  }

  function reach(arrays) {
    const most = Math.max(1, ...arrays.map((a) => a.reduce((m, v) => Math.max(m, Math.abs(v)), 0)));
    return [-1.08 * most, 1.08 * most];
  }

  function histogram(id, values) {
    const log = LOGARITHMIC.includes(id);
    const told = (v) => (log ? Math.log10(v) : v);
    const shown = Float64Array.from(values ?? [], told).filter(Number.isFinite).sort();
    by(id).parentElement.hidden = !shown.length;
    if (!shown.length) return;
    const ends = [shown[Math.floor(0.002 * shown.length)], shown[Math.ceil(0.998 * shown.length) - 1]];
    const room = 0.05 * (ends[1] - ends[0]) || 0.5;
    const [low, high] = by(id).range = [ends[0] - room, ends[1] + room];
    const edges = Array.from({ length: BINS + 1 }, (_, k) => low + ((high - low) * k) / BINS);
    const counts = Array(BINS).fill(0);
    for (const v of shown) if (v >= low && v <= high) counts[Math.min(Math.floor(((v - low) / (high - low)) * BINS), BINS - 1)]++;
    const units = edges.map((v) => (log ? 10 ** v : v));
    const x = units.slice(0, -1);
    return draw(id, [{ type: "bar", x, width: x.map((v, k) => units[k + 1] - v), offset: 0, y: counts, marker: { color: "var(--data-fill)", line: { color: "var(--data)", width: 1 } }, hoverinfo: "skip" }], {
      height: 170, margin: { l: 8, r: 8, t: 6, b: 44 }, bargap: 0, yaxis: { visible: false, fixedrange: true },
      xaxis: { type: log ? "log" : "linear", range: by(id).range, fixedrange: true, title: { text: NAMES[id] }, nticks: 6, exponentformat: "power" },
    });
  }

  const BINS = 40;
  const NAMES = { log_prob: "log density (nats)", condition_number: "condition number", distance: "distance" };
  const LOGARITHMIC = ["condition_number", "distance"];

  function mark(id) {
    const plot = by(id);
    if (!plot.range) return;
    const log = LOGARITHMIC.includes(id);
    const place = (value) => {
      const kept = Math.min(Math.max(log ? Math.log10(value) : value, plot.range[0]), plot.range[1]);
      return log ? 10 ** kept : kept;
    };
    const line = (value, dash, colour) => ({ type: "line", xref: "x", yref: "paper", x0: place(value), x1: place(value), y0: 0, y1: 1, line: { color: colour, width: 3, dash } });
    const here = id === "distance" ? null : at[id];
    const shapes = [];
    if (here !== null && here !== undefined) shapes.push(line(here, "solid", "var(--model)"));
    if (own && own[id] !== null) shapes.push(line(own[id], "dash", "var(--ink)"));
    reshape(id, shapes);
    const words = by(`${id}-words`);
    if (id === "distance") {
      words.innerHTML = own ? `<b>${short(own.distance)}</b><br>yours; ${share(id, own[id])}` : "Distances of held-out rows from the manifold";
    } else {
      words.innerHTML = `<b>${short(here)}</b> ${NAMES[id]}<br>${share(id, here)}`;
    }
  }

  // Where a value stands among those of the data.
  function share(id, value) {
    if (value === null || value === undefined || !facts[id]) return "";
    const below = facts[id].reduce((count, each) => count + (each < value), 0) / facts[id].length;
    const part = (x) => (x < 0.001 ? "less than 0.1%" : x > 0.999 ? "more than 99.9%" : `${+(100 * x).toPrecision(3)}%`);
    return { log_prob: `${part(below)} of held-out rows are less dense`, distance: `${part(below)} of held-out rows are nearer`, condition_number: `smaller at ${part(below)} of held-out rows` }[id];
  }

  // The point ------------------------------------------------------------------------------------

  const move = latest(async () => {
    const asked = { u: [...at.u], theta: [...at.theta] };
    const found = await ask("point", asked);
    if (found.picture) paint(by("picture"), found.picture);
    else await showRow(found.x);
    root.dataset.shown = JSON.stringify(asked.u);
    judge();
  });

  async function showRow(x) {
    at.x = x;
    const plot = by("row");
    const y = normed(x);
    plot.hidden = by("row-words").hidden = false;
    if (!plot.data) await drawRow("row", [{ name: "here", x, colour: "var(--model)" }]);
    else {
      const high = plot.layout.yaxis.range[1];
      const range = reach([y, [high / 1.08]]);
      Plotly.update(plot, { y: [y], customdata: [x] }, range[1] > high ? { "yaxis.range": range } : {}, [1]);
    }
    if (by("pairs").data) {
      reshape("pairs", pairsOf(facts.columns.length).map(([a, b], k) => dot(x[facts.columns[a]], x[facts.columns[b]], k ? k + 1 : "")));
    }
    const plotted = by("manifold");
    if (plotted.data && x.length === 2) reshape("manifold", [dot(x[0], x[1])]);
    if (plotted.data && x.length === 3) turn();
  }

  // Last, as three dimensions take longest.
  const turn = latest(async () => {
    await new Promise((done) => setTimeout(done));
    const plotted = by("manifold");
    const [x, y, z] = at.x;
    await Plotly.restyle(plotted, { x: [[x]], y: [[y]], z: [[z]] }, [plotted.data.length - 1]);
  });

  const judge = latest(async () => {
    const found = await ask("density", { u: [...at.u], theta: [...at.theta] });
    Object.assign(at, found);
    ["log_prob", "condition_number"].forEach(mark);
    crosshair();
    root.dataset.judged = JSON.stringify(at.u);
  });

  const pairsOf = (count) => Array.from({ length: count }, (_, a) => a).flatMap((a) => Array.from({ length: count - a - 1 }, (_, k) => [a, a + k + 1]));

  function drawPairs() {
    const count = facts.columns?.length ?? 0;
    if (count < 2) return;
    by("pairs-figure").hidden = false;
    const pairs = pairsOf(count);
    const layout = { height: count === 2 ? 320 : 420, margin: { l: 52, r: 8, t: 8, b: 48 }, showlegend: false };
    const data = [];
    const cell = 1 / (count - 1);
    pairs.forEach(([a, b], k) => {
      const axis = k ? k + 1 : "";
      layout[`xaxis${axis}`] = { anchor: `y${axis}`, domain: [a * cell + 0.02, (a + 1) * cell - 0.02], showticklabels: b === count - 1, nticks: 4, title: b === count - 1 ? { text: facts.names[facts.columns[a]] } : undefined };
      layout[`yaxis${axis}`] = { anchor: `x${axis}`, domain: [1 - b * cell + 0.02, 1 - (b - 1) * cell - 0.02], showticklabels: a === 0, nticks: 4, title: a === 0 ? { text: facts.names[facts.columns[b]] } : undefined };
      data.push({ type: scatter, mode: "markers", x: column(facts.pairs, a), y: column(facts.pairs, b), xaxis: `x${axis}`, yaxis: `y${axis}`, marker: { size: 3, opacity: 0.5, color: "var(--data)" }, hoverinfo: "skip" });
    });
    by("pairs-words").textContent = `Held-out rows in blue${count < facts.names.length ? `, the ${count} columns of most variance` : ""}; the point is where you are.`;
    return draw("pairs", data, layout);
  }

  const drawManifold = latest(async () => {
    const found = await ask("manifold", { theta: at.theta, u: at.u });
    if (!found) return;
    by("manifold-figure").hidden = false;
    const flat = new Float64Array(found.x);
    const dim = facts.shape[0];
    const across = (k) => Float64Array.from({ length: flat.length / dim }, (_, i) => flat[i * dim + k]);
    const finite = found.log_prob && Float64Array.from(found.log_prob).filter(Number.isFinite);
    const top = finite?.length ? finite.reduce((a, b) => Math.max(a, b)) : 0;
    const low = finite?.length ? Math.max(finite.reduce((a, b) => Math.min(a, b)), top - 10) : 0;
    const scale = { colorscale: "Viridis", cmin: low, cmax: top };
    let data;
    if (n === 2) {
      // No "surface": of points that are spaced unevenly Plotly makes up to millions of vertices.
      const [tall, wide] = found.x.shape;
      const triangles = { i: [], j: [], k: [] };
      for (let r = 0; r + 1 < tall; r++) for (let c = 0; c + 1 < wide; c++) {
        const [a, b, d, e] = [r * wide + c, r * wide + c + 1, (r + 1) * wide + c, (r + 1) * wide + c + 1];
        triangles.i.push(a, b);
        triangles.j.push(b, e);
        triangles.k.push(d, d);
      }
      const colour = found.log_prob ? { intensity: found.log_prob, ...scale, showscale: false } : { color: "var(--data)" };
      data = [{ type: "mesh3d", x: across(0), y: across(1), z: across(2), ...triangles, ...colour, hoverinfo: "skip", lighting: { ambient: 0.72, diffuse: 0.5, specular: 0.06, roughness: 0.9, vertexnormalsepsilon: 0, facenormalsepsilon: 0 } }];
    } else {
      const colour = { color: found.log_prob ? Array.from(found.log_prob) : "var(--model)", ...scale };
      data = dim === 3
        ? [{ type: "scatter3d", mode: "markers", x: across(0), y: across(1), z: across(2), marker: { size: 3, ...colour }, hoverinfo: "skip" }]
        : [{ type: "scatter", mode: "markers", x: across(0), y: across(1), marker: { size: 5, ...colour }, hoverinfo: "skip" }];
    }
    if (dim === 3) {
      if (walks) data.push(...walkLines());
      const here = (at.x ?? [0, 0, 0]).length === 3 && at.x ? at.x : [];
      data.push({ type: "scatter3d", mode: "markers", x: [here[0]], y: [here[1]], z: [here[2]], marker: { color: "var(--model)", size: 10, line: { color: "var(--panel)", width: 2 } }, hoverinfo: "skip" });
    }
    const axes = dim === 3
      ? { scene: { xaxis: { title: { text: facts.names[0] } }, yaxis: { title: { text: facts.names[1] } }, zaxis: { title: { text: facts.names[2] } } }, margin: { l: 0, r: 0, t: 0, b: 0 } }
      : { xaxis: { title: { text: facts.names[0] } }, yaxis: { title: { text: facts.names[1] }, scaleanchor: "x" }, margin: { l: 52, r: 8, t: 8, b: 48 } };
    await draw("manifold", data, { height: 380, showlegend: false, uirevision: "keep", ...axes });
    if (at.x && dim === 2) reshape("manifold", [dot(at.x[0], at.x[1])]);
  });

  // The heat map ---------------------------------------------------------------------------------

  const chosen = () => [Number(by("across").value), n > 1 ? Number(by("up").value) : 0];
  let side = 9; // more where answers come quickly

  const drawPlane = latest(async () => {
    const [i, j] = chosen();
    const started = performance.now();
    const found = await ask("plane", { u: [...at.u], theta: [...at.theta], i, j, side });
    const seconds = (performance.now() - started) / 1000;
    if (!found.log_prob) { by("plane-figure").hidden = true; return; }
    const one = n === 1;
    const cells = one ? found.log_prob.subarray(0, side) : found.log_prob; // of one coordinate all rows are equal
    const top = Array.from(cells).filter(Number.isFinite).reduce((a, b) => Math.max(a, b), -Infinity);
    const [a, b] = [column(facts.codes, i), one ? null : column(facts.codes, j)];
    const name = (k) => facts.coordinates[k].name;
    const data = one
      ? [{ type: "scatter", mode: "lines", x: found.across, y: cells, line: { color: "var(--data)", width: 2 }, hoverinfo: "skip" }]
      : [
          { type: "heatmap", x: found.across, y: found.up, z: rows(found.log_prob).map((r) => Array.from(r)), colorscale: "Viridis", zmin: Math.max(top - 10, Array.from(cells).reduce((m, v) => Math.min(m, v))), zmax: top, zsmooth: "best", hoverinfo: "skip", colorbar: { thickness: 10, outlinewidth: 0, title: { text: "nats", side: "top" } } },
          { type: scatter, mode: "markers", x: a, y: b, marker: { size: 3, color: "rgba(255,255,255,.55)" }, hoverinfo: "skip" },
        ];
    for (const [name_, walk] of Object.entries(walks ?? {})) {
      if (!one) data.push({ type: "scatter", mode: "lines", x: column(walk.u, i), y: column(walk.u, j), line: LINES[name_], name: name_, hoverinfo: "skip" });
    }
    const ends = (k) => [facts.coordinates[k].low, facts.coordinates[k].high];
    await draw("plane", data, {
      height: 360, showlegend: false, margin: { l: 52, r: 8, t: 10, b: 48 },
      xaxis: { title: { text: name(i) }, range: ends(i), fixedrange: true, showgrid: false },
      yaxis: one ? { title: { text: "log density (nats)" } } : { title: { text: name(j) }, range: ends(j), fixedrange: true, showgrid: false },
    });
    crosshair();
    if (seconds * (33 / side) ** 2 < 1.5 && side < 33) { side = 33; drawPlane(); }
    root.dataset.plane = "yes";
  });

  function go(event) {
    const plot = by("plane");
    const { xaxis, yaxis, _size: size } = plot._fullLayout;
    const box = plot.getBoundingClientRect();
    const [x, y] = [event.clientX - box.left - size.l, event.clientY - box.top - size.t];
    if (x < 0 || y < 0 || x > size.w || y > size.h) return;
    const [i, j] = chosen();
    at.u[i] = xaxis.p2d(x);
    if (n > 1) at.u[j] = yaxis.p2d(y);
    placed();
  }

  function crosshair() {
    const [i, j] = chosen();
    const height = n > 1 ? at.u[j] : at.log_prob;
    if (by("plane").data && Number.isFinite(height)) reshape("plane", [dot(at.u[i], height)]);
  }

  // The map depends on the coordinates that it does not show.
  let pending;
  function later() {
    clearTimeout(pending);
    pending = setTimeout(drawPlane, 350);
  }

  // Sliders --------------------------------------------------------------------------------------

  function slider(home, known, values, k, moved) {
    const line = document.createElement("label");
    line.className = "slider";
    const name = Object.assign(document.createElement("span"), { textContent: known.name, title: known.name });
    const range = Object.assign(document.createElement("input"), { type: "range", min: known.low, max: known.high, step: (known.high - known.low) / 200 });
    const number = Object.assign(document.createElement("input"), { type: "number", step: "any" });
    range.setAttribute("aria-label", known.name);
    number.setAttribute("aria-label", `${known.name}, as a number`);
    range.addEventListener("input", () => { values[k] = range.valueAsNumber; number.value = short(values[k]); moved(k); });
    number.addEventListener("change", () => {
      if (!Number.isFinite(number.valueAsNumber)) { show(); return; }
      values[k] = number.valueAsNumber;
      range.value = values[k];
      moved(k);
    });
    const show = () => { range.value = values[k]; number.value = short(values[k]); };
    line.append(name, range, number);
    home.append(line);
    show();
    return show;
  }

  const shows = [];
  function drawSliders() {
    const spread = (c) => c.high - c.low;
    const order = facts.coordinates.map((_, k) => k);
    const first = new Set([...order].sort((a, b) => spread(facts.coordinates[b]) - spread(facts.coordinates[a])).slice(0, n > 14 ? 10 : n));
    const home = by("sliders");
    let more = home;
    for (const k of [...order.filter((k) => first.has(k)), ...order.filter((k) => !first.has(k))]) {
      if (!first.has(k) && more === home) {
        more = document.createElement("details");
        more.innerHTML = `<summary>${n - first.size} coordinates of less spread</summary>`;
        home.append(more);
      }
      shows.push(slider(more, facts.coordinates[k], at.u, k, (moved) => {
        move();
        if (!chosen().includes(moved)) later();
      }));
    }
    facts.theta.forEach((each, k) => shows.push(slider(by("theta"), each, at.theta, k, () => {
      move();
      later();
      if (facts.moves_with_theta || !grid) drawManifold();
    })));
    if (grid && grid.axes.length === n && facts.theta.length) {
      by("theta").querySelectorAll("input").forEach((input) => { input.disabled = true; });
    }
    for (const [id, first_] of [["across", 0], ["up", 1]]) {
      facts.coordinates.forEach((c, k) => by(id).add(new Option(c.name, k, k === first_, k === first_)));
      by(id).addEventListener("change", drawPlane);
    }
    by("up-label").hidden = n < 2;
  }

  function placed() {
    shows.forEach((show) => show());
    move();
    later();
  }

  function random() {
    const i = Math.floor(Math.random() * facts.codes.shape[0]);
    at.u.splice(0, n, ...row(facts.codes, i));
    if (facts.conditions && !(grid && grid.axes.length === n)) at.theta.splice(0, at.theta.length, ...row(facts.conditions, i));
    placed();
    if (facts.moves_with_theta) drawManifold();
  }

  function middle() {
    at.u.splice(0, n, ...facts.coordinates.map((c) => c.middle));
    placed();
  }

  // A user's own point ---------------------------------------------------------------------------

  async function project(what, asked) {
    by("own-problem").hidden = true;
    let found;
    try {
      found = await ask(what, { ...asked, theta: at.theta });
    } catch (error) {
      by("own-problem").textContent = error.message;
      by("own-problem").hidden = false;
      return;
    }
    own = found;
    at.u.splice(0, n, ...found.u);
    if (found.theta.length) at.theta.splice(0, at.theta.length, ...found.theta);
    if (found.given.picture) {
      by("own-found").hidden = false;
      paint(by("given"), found.given.picture);
      paint(by("projected"), found.projected.picture);
    } else {
      by("own-row").hidden = false;
      await drawRow("own-row", [
        { name: "as given", x: found.given.x, colour: "var(--ink)" },
        { name: "projected", x: found.projected.x, colour: "var(--model)" },
      ]);
    }
    const list = by("own-judgement");
    const told = [
      found.distance === null ? "" : `Distance from the manifold ${short(found.distance)}: ${share("distance", found.distance)}.`,
      found.log_prob === null ? "" : `Log density where it is projected ${short(found.log_prob)} nats: ${share("log_prob", found.log_prob)}.`,
      ...found.notes,
    ].filter(Boolean);
    list.replaceChildren(...told.map((text) => Object.assign(document.createElement("li"), { textContent: text })));
    placed();
    mark("distance");
    root.dataset.own = JSON.stringify([found.distance, found.log_prob]);
  }

  async function given(file) {
    if (/^text\/|csv|json/.test(file.type) || /\.(csv|txt|tsv|dat)$/i.test(file.name)) {
      return project("row", { text: await file.text() });
    }
    const bytes = new Uint8Array(await file.arrayBuffer());
    let text = "";
    for (let i = 0; i < bytes.length; i += 32768) text += String.fromCharCode(...bytes.subarray(i, i + 32768));
    return project("picture", { name: file.name || "pasted.png", content: btoa(text) });
  }

  function listen() {
    const drop = by("drop");
    by("own-words").textContent = facts.images
      ? `A picture file of any size: it is cropped in the middle and resized to ${facts.shape[0]} x ${facts.shape[1]}.`
      : `${facts.names.length} numbers in the order of the columns${facts.theta.length ? `, with ${facts.theta.map((t) => t.name).join(", ")} behind or where the sliders are` : ""}; or two lines, the first with names.`;
    by("own-text-label").hidden = by("own-go").hidden = facts.images;
    by("own-go").addEventListener("click", () => project("row", { text: by("own-text").value }));
    by("own-file").addEventListener("change", (event) => event.target.files[0] && given(event.target.files[0]));
    addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
    addEventListener("dragleave", () => drop.classList.remove("over"));
    addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      const file = event.dataTransfer.files[0];
      const text = event.dataTransfer.getData("text");
      if (file) given(file);
      else if (text) project("row", { text });
    });
    addEventListener("paste", (event) => {
      if (event.target.matches("input, textarea")) return;
      const file = event.clipboardData.files[0];
      const text = event.clipboardData.getData("text");
      if (file) given(file);
      else if (text) { by("own-text").value = text; project("row", { text }); }
    });
  }

  // Walks ----------------------------------------------------------------------------------------

  const LINES = {
    straight: { color: "var(--ink)", width: 3, dash: "dot" },
    geodesic: { color: "var(--model)", width: 3 },
    "true geodesic": { color: "var(--data)", width: 3, dash: "dash" },
  };
  const ends = {};

  function chooseEnd(which) {
    ends[which] = [...at.u];
    by(which).textContent = which === "start" ? "Start chosen" : "End chosen";
    by("go").disabled = !(ends.start && ends.end);
  }

  async function walk() {
    by("walk-problem").hidden = true;
    by("go").disabled = true;
    by("go").textContent = "Walking ...";
    try {
      walks = await ask("walk", { ...ends, theta: at.theta });
    } catch (error) {
      by("walk-problem").textContent = error.message;
      by("walk-problem").hidden = false;
      return;
    } finally {
      by("go").disabled = false;
      by("go").textContent = "Walk";
    }
    const words = Object.entries(walks).map(([name, each]) => `${name} ${short(each.length)}${each.converged === false ? " (the search has not converged)" : ""}`);
    by("walk-words").textContent = `Length in the units of the data: ${words.join(", ")}.`;
    by("step-label").hidden = false;
    by("step").value = 0;
    const strips = Object.entries(walks).filter(([, each]) => each.picture).map(([name, each]) => {
      const strip = Object.assign(document.createElement("div"), { className: "strip" });
      const cells = document.createElement("div");
      rows(each.picture).forEach((picture, t) => {
        if (t % 2) return;
        picture.shape = each.picture.shape.slice(1);
        const canvas = document.createElement("canvas");
        paint(canvas, picture);
        canvas.dataset.step = t;
        cells.append(canvas);
      });
      strip.append(Object.assign(document.createElement("h3"), { textContent: name }), cells);
      return strip;
    });
    by("strips").replaceChildren(...strips);
    const data = Object.entries(walks).filter(([, each]) => each.log_prob).map(([name, each]) => ({
      type: "scatter", mode: "lines", name, x: Array.from(each.log_prob, (_, t) => t / (each.log_prob.length - 1)), y: each.log_prob, line: LINES[name],
    }));
    by("walk").hidden = !data.length;
    if (data.length) await draw("walk", data, { height: 280, xaxis: { title: { text: "share of the walk" } }, yaxis: { title: { text: "log density (nats)" } } });
    drawPlane();
    drawManifold();
    root.dataset.walked = "yes";
  }

  const walkLines = () => Object.entries(walks).map(([name, each]) => ({
    type: "scatter3d", mode: "lines", x: column(each.x, 0), y: column(each.x, 1), z: column(each.x, 2), line: { ...LINES[name], width: 6 }, name, hoverinfo: "skip",
  }));

  function along() {
    const t = Number(by("step").value);
    at.u.splice(0, n, ...row(walks.geodesic.u, t));
    document.querySelectorAll(".strip canvas").forEach((c) => c.classList.toggle("now", Math.abs(c.dataset.step - t) < 1));
    placed();
  }

  // Start ----------------------------------------------------------------------------------------

  async function drawAll() {
    await drawPairs();
    await Promise.all([histogram("log_prob", facts.log_prob), histogram("condition_number", facts.condition_number), histogram("distance", facts.distance)]);
    if (facts.distance) mark("distance");
    await drawManifold();
    arrange();
    await move();
    await drawPlane();
    root.dataset.ready = "yes";
  }

  // Two figures in a row; the last of an odd number has a row of its own.
  function arrange() {
    const cells = [...document.querySelectorAll(".tour > :not(#judged, #walks, #problem)")].filter((cell) => !cell.hidden);
    cells.forEach((cell) => cell.classList.remove("wide"));
    if (cells.length % 2) cells.at(-1).classList.add("wide");
  }

  drawSliders();
  by("random").addEventListener("click", random);
  by("middle").addEventListener("click", middle);
  by("start").addEventListener("click", () => chooseEnd("start"));
  by("end").addEventListener("click", () => chooseEnd("end"));
  by("go").addEventListener("click", walk);
  by("plane").addEventListener("click", go);
  by("step").addEventListener("input", along);
  by("controls").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input[type=number], textarea, select")) return;
    if (event.key === "r") random();
    if (event.key === "m") middle();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => location.reload());
  if (grid) {
    by("own").hidden = by("walks").hidden = true;
    by("kind").textContent = "This page is complete in itself; between the points of its grid it is linear. To project rows of yours and to walk, run mflows tour on the run.";
  } else {
    listen();
    by("kind").textContent = "Served by mflows on this machine; closing the page ends it.";
  }
  drawAll();
})();
