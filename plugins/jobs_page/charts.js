// Curves as small SVGs: the lines are drawn in a square that is stretched, the words around them are HTML.

import { h, s } from "./dom.js";
import { number } from "./format.js";

const finite = (points) => points.filter(([, value]) => value !== null);

function range(values) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  return low === high ? [low - Math.abs(low) * 0.05 - 1e-9, high + Math.abs(high) * 0.05 + 1e-9] : [low, high];
}

/** Path through [[x, y], …] in a box of 100 × 100; a value that is no number is a gap. */
function path(points, [x0, x1], [y0, y1]) {
  let pen = "M";
  let found = "";
  for (const [x, y] of points) {
    if (y === null) {
      pen = "M";
      continue;
    }
    const at = [(100 * (x - x0)) / (x1 - x0), 100 - (100 * (y - y0)) / (y1 - y0)];
    found += `${pen}${at[0].toFixed(2)} ${at[1].toFixed(2)}`;
    pen = "L";
  }
  return found;
}

function words(name, points) {
  const seen = finite(points);
  if (!seen.length) return `${name}: no number yet`;
  return `${name}, ${seen.length} points from step ${seen[0][0]} to ${seen.at(-1)[0]}: first ${number(seen[0][1])}, last ${number(seen.at(-1)[1])}`;
}

function picture(name, points, className) {
  const seen = finite(points);
  const xs = range(points.map(([x]) => x));
  const ys = seen.length ? range(seen.map(([, y]) => y)) : [0, 1];
  return s(
    "svg",
    { class: className, viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": words(name, points) },
    s("path", { d: path(points, xs, ys), class: "line" }),
    seen.length === 1 && s("path", { d: "M0 50H100", class: "line" }),
  );
}

/** A curve a few words high, with its last value beside it. */
export function spark(name, points) {
  const last = finite(points).at(-1);
  return h(
    "span",
    { class: "spark" },
    picture(name, points, "sparkline"),
    h("span", { class: "spark-name" }, name),
    h("b", { class: "number" }, number(last?.[1])),
  );
}

/** A curve with its axes' ends; a pointer on it reads a value. `lower`: name of the x axis. */
export function chart(name, points, lower = "step") {
  const seen = finite(points);
  const values = seen.map(([, y]) => y);
  const last = seen.at(-1);
  return h(
    "figure",
    { class: "chart", "data-key": `chart-${name}` },
    h("figcaption", {}, h("bdi", {}, name), h("b", { class: "number read" }, last ? number(last[1]) : "–")),
    h(
      "div",
      { class: "plot" },
      h("span", { class: "high number" }, values.length ? number(Math.max(...values)) : ""),
      h("span", { class: "low number" }, values.length ? number(Math.min(...values)) : ""),
      h("div", { class: "area", points }, picture(name, points, "curve"), h("i", { class: "cross" })),
      h("span", { class: "left number" }, points.length ? `${lower} ${number(points[0][0])}` : ""),
      h("span", { class: "right number" }, points.length ? number(points.at(-1)[0]) : ""),
    ),
  );
}

/** Many curves over one another: lines are { number, points, className }. */
export function curvesOf(name, lines) {
  const all = lines.flatMap(({ points }) => finite(points));
  if (!all.length) return null;
  const [xs, ys] = [range(all.map(([x]) => x)), range(all.map(([, y]) => y))];
  return h(
    "figure",
    { class: "chart", "data-key": "curves" },
    h("figcaption", {}, h("bdi", {}, name), h("span", {}, `${lines.length} trials`)),
    h(
      "div",
      { class: "plot" },
      h("span", { class: "high number" }, number(Math.max(...all.map(([, y]) => y)))),
      h("span", { class: "low number" }, number(Math.min(...all.map(([, y]) => y)))),
      h("div", { class: "area" }, s("svg", { class: "curve", viewBox: "0 0 100 100", preserveAspectRatio: "none", role: "img", "aria-label": `${name} by step of ${lines.length} trials` },
        lines.map((one) => s("path", { d: path(one.points, xs, ys), class: one.className, "vector-effect": "non-scaling-stroke", "data-trial": one.number, "data-key": `c${one.number}` })))),
      h("span", { class: "left number" }, `step ${number(Math.min(...all.map(([x]) => x)))}`),
      h("span", { class: "right number" }, number(Math.max(...all.map(([x]) => x)))),
    ),
  );
}

/** Reading values off charts by pointer: one listener for all of them. */
export function readCharts(root) {
  root.addEventListener("pointermove", (event) => {
    const area = event.target.closest?.(".area");
    if (!area?.points_?.length) return;
    const box = area.getBoundingClientRect();
    const [first, last] = [area.points_[0][0], area.points_.at(-1)[0]];
    const wanted = first + ((event.clientX - box.left) / box.width) * (last - first);
    const near = finite(area.points_).reduce(
      (best, point) => (!best || Math.abs(point[0] - wanted) < Math.abs(best[0] - wanted) ? point : best),
      null,
    );
    if (!near) return;
    const cross = area.querySelector(".cross");
    cross.style.left = `${last > first ? (100 * (near[0] - first)) / (last - first) : 50}%`;
    cross.classList.add("on");
    area.closest(".chart").querySelector(".read").textContent = `${number(near[0])}: ${number(near[1])}`;
  });
  root.addEventListener("pointerout", (event) => {
    const area = event.target.closest?.(".area");
    if (!area?.points_ || area.contains(event.relatedTarget)) return;
    area.querySelector(".cross").classList.remove("on");
    area.closest(".chart").querySelector(".read").textContent = number(finite(area.points_).at(-1)?.[1]);
  });
}
