"use strict";
// What all pages with Plotly share.
const config = {
  displaylogo: false,
  displayModeBar: matchMedia("(hover: none)").matches ? false : "hover",
  responsive: true,
  scrollZoom: false,
  modeBarButtonsToRemove: ["lasso2d", "select2d", "autoScale2d", "tableRotation", "resetCameraLastSave3d"],
};

// A string such as "var(--data)" names a variable of the style sheet: put in its value.
function painted(value, style) {
  if (typeof value === "string") {
    const name = /^var\((--[\w-]+)\)$/.exec(value)?.[1];
    return name ? style.getPropertyValue(name).trim() || value : value;
  }
  if (ArrayBuffer.isView(value)) return value;
  if (Array.isArray(value)) return value.map((v) => painted(v, style));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, painted(v, style)]));
}
