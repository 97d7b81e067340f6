// "Sweeps": the searches, and of one search the leaderboard, the best so far, and how parameters go with the objective.

import { look } from "./api.js";
import { chart, curvesOf } from "./charts.js";
import { bdi, h } from "./dom.js";
import { clock, number } from "./format.js";
import { parallel, parameters, ranked, slices } from "./parallel.js";
import { chip, empty, pager, panel, table, when } from "./parts.js";

const AXES = 9; // parameters that are drawn
const ORDER = ["running", "succeeded", "pruned", "queued", "blocked", "failed", "cancelled"]; // of trials without a value
const BOARD = 20; // trials of the leaderboard, unless all are asked for

export const loadAll = ({ offset = 0 }) => look(`sweeps?offset=${offset}`);
export const loadOne = ({ id }) => look(`sweeps/${id}`);

export function viewAll({ sweeps, offset, page, more }) {
  const columns = [["State"], ["Sweep", "wide"], ["Owner"], ["Trials", "number"], ["Running", "number"], ["Waiting", "number"], ["Pruned", "number"], ["Failed", "number"], ["Best", "number"], ["Started, UTC", "number"]];
  const rows = sweeps.map((one) => [
    `sweep-${one.id}`,
    [
      chip(one.state),
      h("div", { class: "job" }, h("a", { href: `#/sweep/${one.id}` }, bdi(one.name, "name")), one.reason && h("small", { class: "reason" }, bdi(one.reason))),
      bdi(one.owner),
      h("span", {}, one.trials, one.budget_trials && h("small", { class: "dim" }, ` of ${one.budget_trials}`)),
      one.running,
      one.waiting,
      one.pruned,
      one.failed,
      h("span", { title: one.direction }, number(one.best), h("small", { class: "dim" }, " ", bdi(one.metric))),
      when(one.created_at),
    ],
  ]);
  return [
    panel(
      "Sweeps",
      null,
      sweeps.length ? table("Searches", columns, rows) : empty("No search yet.", "eyewall sweep create SPACE.yaml"),
      pager(offset ? `#/sweeps?offset=${Math.max(0, offset - page)}` : null, more ? `#/sweeps?offset=${offset + page}` : null, `${offset + 1} – ${offset + sweeps.length}`),
    ),
  ];
}

export function viewOne({ sweep, trials, curves, more }, { query, width }) {
  const best = ranked(trials, sweep.direction);
  const names = parameters(trials);
  const count = (...states) => trials.filter((trial) => states.includes(trial.state)).length;
  const one = (name, value, note) => h("div", {}, h("dt", {}, name), h("dd", { class: "number" }, value, note && h("small", {}, note)));
  return [
    h(
      "div",
      { class: "heading", "data-key": "heading" },
      h("p", { class: "crumbs" }, h("a", { href: "#/sweeps" }, "Sweeps"), " / ", h("span", { class: "number" }, sweep.id)),
      h("h2", {}, bdi(sweep.name), chip(sweep.state)),
      sweep.reason && h("p", { class: "reason" }, bdi(sweep.reason)),
    ),
    h(
      "dl",
      { class: "figures", "data-key": "figures" },
      one(`Best ${sweep.metric}`, number(best[0]?.value), sweep.direction === "maximize" ? "highest" : "lowest"),
      one("Trials", trials.length, sweep.budget?.trials ? `of ${sweep.budget.trials}` : null),
      one("Running", count("running")),
      one("Waiting", count("queued", "blocked")),
      one("Pruned", count("pruned")),
      one("Failed", count("failed", "cancelled")),
    ),
    plots(sweep, best, names, query, width),
    h("div", { class: "two", "data-key": "two" }, leaderboard(sweep, best, trials, names, query, more), h("div", { class: "stack" }, progress(sweep, trials), learning(sweep, curves, best))),
  ];
}

function plots(sweep, best, names, query, width) {
  const slicing = query.plot === "slices";
  const toggle = (plot, words, on) => h("a", { class: on ? "toggle on" : "toggle", href: `#/sweep/${sweep.id}?plot=${plot}`, "aria-current": on ? "true" : null }, words);
  const shown = names.slice(0, AXES);
  return panel(
    "Parameters",
    [sweep.sampler, sweep.pruner !== "none" && sweep.pruner, names.length > AXES && `${AXES} of ${names.length} drawn`, `${best.length} trials with a value: the better, the stronger the colour`].filter(Boolean).join(" · "),
    h("nav", { class: "toggles", "aria-label": "Kind of plot" }, toggle("lines", "Parallel coordinates", !slicing), toggle("slices", "Slices", slicing)),
    best.length ? (slicing ? slices(best, shown, sweep.metric) : parallel(best, shown, sweep.metric, width)) : empty("No trial has a value yet."),
  );
}

function leaderboard(sweep, best, trials, names, query, more) {
  const all = query.all === "1";
  const open = trials.filter((trial) => trial.value === null).sort((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || (b.step ?? 0) - (a.step ?? 0));
  const list = [...best, ...open];
  const columns = [["", "number place"], ["Trial", "number"], [sweep.metric, "number"], ...names.map((name) => [name, "number"]), ["State"], ["Ran for", "number"]];
  const rows = (all ? list : list.slice(0, BOARD)).map((trial) => [
    `trial-${trial.number}`,
    [
      trial.place ?? "",
      h("a", { href: `#/job/${trial.job}`, "aria-label": `Trial ${trial.number}, job ${trial.job}` }, trial.number),
      trial.value === null && trial.last_value !== null ? h("span", { class: "dim", title: `not ended: at step ${trial.step}` }, number(trial.last_value)) : h("b", {}, number(trial.value)),
      ...names.map((name) => (name in trial.params ? bdi(number(trial.params[name])) : "–")),
      chip(trial.state),
      trial.started_at && trial.ended_at ? clock((Date.parse(trial.ended_at) - Date.parse(trial.started_at)) / 1000) : "–",
    ],
    { "data-trial": trial.number, class: trial.place === 1 ? "best" : null },
  ]);
  const rest = list.length - BOARD;
  return panel(
    "Leaderboard",
    more ? `of the first ${trials.length} trials` : null,
    list.length ? h("div", { class: "scrolling", tabindex: 0, role: "group", "aria-label": "Leaderboard" }, table("Leaderboard", columns, rows)) : empty("No trial yet."),
    rest > 0 && h("p", { class: "pager" }, h("a", { class: "page", href: `#/sweep/${sweep.id}?${all ? "" : "all=1"}` }, all ? `Show the best ${BOARD}` : `Show ${rest} more`)),
  );
}

function progress(sweep, trials) {
  const better = sweep.direction === "maximize" ? Math.max : Math.min;
  const points = [];
  for (const trial of trials) {
    if (trial.value !== null) {
      const before = points.at(-1)?.[1] ?? trial.value;
      points.push([trial.number, before], [trial.number, better(before, trial.value)]); // a step, not a slope
    }
  }
  return panel("Best so far", null, points.length ? h("div", { class: "charts one" }, chart(sweep.metric, points, "trial")) : empty("No trial has a value yet."));
}

function learning(sweep, curves, best) {
  const ranks = new Map(best.map((trial) => [String(trial.number), trial.rank]));
  const lines = Object.entries(curves).map(([number, points]) => ({ number, points, className: `trial ${ranks.get(number) ?? "r4"}` }));
  return lines.length ? panel("Curves of trials", null, h("div", { class: "charts one" }, curvesOf(sweep.metric, lines))) : null;
}
