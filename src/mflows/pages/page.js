"use strict";
(() => {
  const { figures, template } = JSON.parse(document.getElementById("specs").textContent);
  const root = document.documentElement;
  const narrow = matchMedia("screen and (max-width: 760px)");
  const touch = matchMedia("(pointer: coarse)").matches;
  const webgl = !!document.createElement("canvas").getContext("webgl");

  function put(target, path, value) {
    const keys = path.split(".");
    const last = keys.pop();
    for (const key of keys) target = target[key] ??= {};
    target[last] = value;
  }

  async function draw(index) {
    const plot = document.getElementById(`plot-${index}`);
    const menu = document.getElementById(`menu-${index}`);
    const variant = figures[index][menu ? menu.selectedIndex : 0];
    const style = getComputedStyle(root);
    const { data, layout } = painted({ data: variant.data, layout: { template, ...variant.layout } }, style);
    if (narrow.matches) {
      for (const [path, value] of Object.entries(variant.narrow)) put(layout, path, value);
    }
    for (const scene of ["scene", "scene2"]) {
      // Whoever turned the view keeps it, whatever is drawn next.
      const camera = plot.layout?.[scene]?.camera;
      if (camera && layout[scene]) layout[scene].camera = camera;
    }
    if (touch) layout.dragmode = false;
    if (!webgl) for (const trace of data) if (trace.type === "scattergl") trace.type = "scatter";
    await Plotly.react(plot, data, layout, config);
    if (menu && !menu.onchange) menu.onchange = () => draw(index);
    if (layout.scene2 && !plot.linked) link(plot);
  }

  // Turn one 3-D view and the other turns with it. Setting a camera is itself a change that is
  // heard here, so a view that already looks the same way is left alone.
  function link(plot) {
    plot.linked = true;
    const follow = (change) => {
      for (const [from, to] of [["scene", "scene2"], ["scene2", "scene"]]) {
        const camera = change && change[`${from}.camera`];
        if (!camera || JSON.stringify(camera) === JSON.stringify(plot.layout[to].camera)) continue;
        Plotly.relayout(plot, { [`${to}.camera`]: structuredClone(camera) });
      }
    };
    plot.on("plotly_relayouting", follow);
    plot.on("plotly_relayout", follow);
  }

  async function drawAll() {
    for (let i = 0; i < figures.length; i++) {
      await draw(i);
      await new Promise((done) => setTimeout(done));
    }
    root.dataset.drawn = "yes";
  }

  drawAll();
  narrow.addEventListener("change", drawAll);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  // Paper is light and narrow; the browser does not wait, so all figures are drawn at once.
  addEventListener("beforeprint", () => {
    root.dataset.paper = "yes";
    figures.forEach((_, i) => draw(i));
  });
  addEventListener("afterprint", () => { delete root.dataset.paper; drawAll(); });
})();
