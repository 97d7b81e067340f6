// The trials of a search: as lines through one axis per parameter (parallel coordinates), and as one cloud of points
// per parameter (slices). The better a trial, the stronger its colour; the leaderboard says the same in words.

import { axis } from "./axes.js";
import { h, s } from "./dom.js";
import { number } from "./format.js";

const TOP = 34;
const BOTTOM = 14;
const clip = (text, most = 14) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

/** Trials with values, best first, each with a class r0 (best fifth) … r4. */
export function ranked(trials, direction) {
  const sign = direction === "maximize" ? -1 : 1;
  const done = trials.filter((trial) => trial.value !== null).sort((a, b) => sign * (a.value - b.value) || a.number - b.number);
  return done.map((trial, place) => ({ ...trial, place: place + 1, rank: `r${Math.min(4, Math.floor((5 * place) / done.length))}` }));
}

/** Names of the parameters, those that differ among trials first. */
export function parameters(trials) {
  const seen = new Map();
  for (const trial of trials) {
    for (const [name, value] of Object.entries(trial.params ?? {})) {
      if (!seen.has(name)) seen.set(name, new Set());
      seen.get(name).add(JSON.stringify(value));
    }
  }
  const differs = (name) => (seen.get(name).size > 1 ? 0 : 1);
  return [...seen.keys()].sort((a, b) => differs(a) - differs(b) || a.localeCompare(b));
}

const plainValue = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : typeof value === "boolean" ? String(value) : value);

/** Lines through the axes; `width` is what there is of it, in px. */
export function parallel(trials, names, goal, width) {
  const columns = [...names, null];
  const wide = Math.max(width, columns.length * 104 + 20);
  const high = 300;
  const inner = high - TOP - BOTTOM;
  const left = (index) => 46 + (index * (wide - 100)) / Math.max(1, columns.length - 1);
  const scales = columns.map((name) => axis(trials.map((trial) => (name === null ? trial.value : plainValue(trial.params[name])))));
  const at = (scale, value) => {
    const place = scale.place(value);
    return place === null ? null : TOP + inner * (1 - place);
  };
  const lines = trials.map((trial) => {
    const points = columns
      .map((name, index) => [left(index), at(scales[index], name === null ? trial.value : plainValue(trial.params[name]))])
      .filter(([, y]) => y !== null);
    return s(
      "path",
      { d: points.map(([x, y], index) => `${index ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join(""), class: `trial ${trial.rank}`, "data-trial": trial.number, "data-key": `p${trial.number}` },
      s("title", {}, `Trial ${trial.number}: ${number(trial.value)}`),
    );
  });
  const drawn = columns.map((name, index) =>
    s(
      "g",
      { class: name === null ? "axis goal" : "axis", transform: `translate(${left(index).toFixed(1)} 0)` },
      s("line", { y1: TOP, y2: high - BOTTOM }),
      s("text", { y: 14, x: name === null ? 44 : 0, "text-anchor": name === null ? "end" : "middle", class: "name" }, clip(name ?? goal), s("title", {}, name ?? goal)),
      scales[index].log && s("text", { y: 26, "text-anchor": "middle", class: "tick" }, "log"),
      scales[index].ticks.map(([place, label]) =>
        s("g", { transform: `translate(0 ${(TOP + inner * (1 - place)).toFixed(1)})` }, s("line", { x1: -3, x2: 3 }), s("text", index ? { x: 6, dy: "0.32em", class: "tick" } : { x: -6, dy: "0.32em", class: "tick", "text-anchor": "end" }, clip(label, index ? 12 : 7))),
      ),
    ),
  );
  return scrolling(
    s(
      "svg",
      { class: "parallel", width: wide, height: high, viewBox: `0 0 ${wide} ${high}`, role: "img", "aria-label": `Parallel coordinates of ${trials.length} trials over ${names.join(", ")} and ${goal}; the leaderboard has the same in words` },
      [...lines].reverse(),
      drawn,
    ),
  );
}

/** One cloud per parameter: its value against the objective. */
export function slices(trials, names, goal) {
  const up = axis(trials.map((trial) => trial.value));
  return h(
    "div",
    { class: "slices" },
    names.map((name) => {
      const across = axis(trials.map((trial) => plainValue(trial.params[name])));
      const dots = trials
        .map((trial) => [across.place(plainValue(trial.params[name])), up.place(trial.value), trial])
        .filter(([x, y]) => x !== null && y !== null)
        .reverse()
        .map(([x, y, trial]) =>
          s("circle", { cx: (34 + 196 * x).toFixed(1), cy: (10 + 104 * (1 - y)).toFixed(1), r: 3.2, class: `dot ${trial.rank}`, "data-trial": trial.number }, s("title", {}, `Trial ${trial.number}: ${name} ${plainValue(trial.params[name])} → ${number(trial.value)}`)),
        );
      const below = across.ticks.length > 3 ? [across.ticks[0], across.ticks.at(-1)] : across.ticks;
      return h(
        "figure",
        { class: "slice", "data-key": `slice-${name}` },
        h("figcaption", {}, h("bdi", {}, name), across.log && h("span", { class: "dim" }, "log")),
        s(
          "svg",
          { viewBox: "0 0 240 134", role: "img", "aria-label": `${goal} by ${name}, ${dots.length} trials` },
          s("path", { d: "M34 6V118H236", class: "frame" }),
          up.ticks.slice(0, 5).map(([place, label]) => s("text", { x: 30, y: (10 + 104 * (1 - place)).toFixed(1), dy: "0.32em", "text-anchor": "end", class: "tick" }, clip(label, 6))),
          below.map(([place, label]) => s("text", { x: (34 + 196 * place).toFixed(1), y: 130, "text-anchor": place > 0.85 ? "end" : place < 0.15 ? "start" : "middle", class: "tick" }, clip(label, 12))),
          dots,
        ),
      );
    }),
  );
}

function scrolling(content) {
  return h("div", { class: "scrolling", tabindex: 0, role: "group", "aria-label": "Plot, scrolls sideways where it is wider than the window" }, content);
}
