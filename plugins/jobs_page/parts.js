// Parts that several views share: a state in words and shape, a table, a job's name, the buttons of a job.

import { now } from "./api.js";
import { bdi, h, s } from "./dom.js";
import { clock, command, duration, moment } from "./format.js";

const SHAPES = {
  running: "M3 2v8l7-4z",
  claimed: "M3 2v8l7-4z",
  succeeded: "M2 6.5 4.8 9 10 3",
  finished: "M2 6.5 4.8 9 10 3",
  failed: "M3 3l6 6M9 3l-6 6",
  lost: "M3 3l6 6M9 3l-6 6",
  cancelled: "M3 6h6",
  stopped: "M3 6h6",
  pruned: "M2.5 9.5l7-7M2.5 5.5v4h4",
  queued: "M6 3v3.2L8.2 7.6",
  blocked: "M4 3v6M8 3v6",
  foreign: "M6 3v3.6M6 8.9v.2",
  unreachable: "M6 3v3.6M6 8.9v.2",
};

/** A state as a word with a shape and a colour: none of them alone. */
export function chip(state, words = state) {
  return h(
    "span",
    { class: `chip ${state}` },
    s("svg", { viewBox: "0 0 12 12", "aria-hidden": "true" }, s("path", { d: SHAPES[state] ?? "M6 6h.01" })),
    words,
  );
}

/** A table that becomes a list of cards on a narrow screen; columns: [name, class?]; rows: [key, cells, attributes?]. */
export function table(caption, columns, rows) {
  return h(
    "table",
    { role: "table", "data-key": `table-${caption}` },
    h("caption", { class: "unseen" }, caption),
    h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, columns.map(([name, className]) => h("th", { scope: "col", role: "columnheader", class: className }, name)))),
    h(
      "tbody",
      { role: "rowgroup" },
      rows.map(([key, cells, attributes]) =>
        attributes?.whole
          ? h("tr", { role: "row", "data-key": key, class: attributes.class }, h("td", { role: "cell", colspan: columns.length, class: "whole" }, cells))
          : h(
              "tr",
              { role: "row", "data-key": key, ...attributes },
              cells.map((cell, index) => h("td", { role: "cell", class: columns[index][1], "data-label": columns[index][0] }, cell)),
            ),
      ),
    ),
  );
}

/** The number, name and command of a job, with a link to it. */
export function jobCell(job) {
  return h(
    "div",
    { class: "job" },
    h("a", { href: `#/job/${job.id}` }, h("span", { class: "id number" }, `#${job.id}`), " ", bdi(job.name || "unnamed", job.name ? "name" : "name dim")),
    job.sweep && h("a", { class: "tag", href: `#/sweep/${job.sweep}` }, `trial ${job.trial}`),
    h("code", { class: "command", title: command(job.command) }, bdi(command(job.command))),
  );
}

export const when = (iso) => (iso ? h("time", { datetime: iso, title: `${moment(iso, true)} UTC` }, moment(iso)) : "–");

/** Time since `iso`, which goes on by itself; `words`: "12 min" instead of "12:08". */
export function since(iso, words = false) {
  return h("time", { datetime: iso, "data-since": words ? "words" : "clock", title: `since ${moment(iso, true)} UTC` }, elapsed(iso, words));
}

/** Brings every running clock below `root` up to date. */
export function tick(root) {
  for (const one of root.querySelectorAll("[data-since]")) {
    const text = elapsed(one.dateTime, one.dataset.since === "words");
    if (one.textContent !== text) one.firstChild.nodeValue = text;
  }
}

const elapsed = (iso, words) => (words ? duration : clock)((now() - Date.parse(iso)) / 1000);

export const empty = (title, text) => h("div", { class: "empty" }, h("strong", {}, title), text && h("p", {}, text));

export function panel(title, note, ...content) {
  const id = `part-${title.toLowerCase().replace(/\W+/g, "-")}`;
  return h("section", { class: "panel", "aria-labelledby": id, "data-key": id }, h("header", {}, h("h2", { id }, title), note && h("span", { class: "note" }, note)), ...content);
}

/** Whether the reader may act on a job: on his own, or on everybody's. */
const mayActOn = (me, job) => me.may_act && (me.acts_on_all || job.owner === me.owner);

/** Buttons of one job, for who may act on it; what cannot be done now is not offered. */
export function buttons(job, me) {
  if (!mayActOn(me, job)) return null;
  const live = ["running", "queued", "blocked"].includes(job.state ?? "running");
  const about = `job ${job.id}${job.name ? `, ${job.name}` : ""}`;
  if (!live) {
    return h("div", { class: "buttons" }, h("button", { type: "button", class: "quiet", "data-act": "requeue", "data-job": job.id, "aria-label": `Requeue ${about}` }, "Requeue"));
  }
  const stopping = Boolean(job.stop);
  return h(
    "div",
    { class: "buttons" },
    h("button", { type: "button", class: "quiet", "data-act": "cancel", "data-job": job.id, "data-about": about, disabled: stopping, "aria-label": `Cancel ${about}` }, stopping ? "Ending …" : "Cancel"),
  );
}

/** The priority of a job that waits: a choice for who may act on it, a number for others. */
export function priority(job, me) {
  if (!mayActOn(me, job) || !["queued", "blocked"].includes(job.state)) return String(job.priority);
  return h(
    "select",
    { "data-act": "priority", "data-job": job.id, "aria-label": `Priority of job ${job.id}, 9 goes first` },
    [9, 8, 7, 6, 5, 4, 3, 2, 1, 0].map((value) => h("option", { value, selected: value === job.priority }, value)),
  );
}

/** "Newer" and "Older", or whatever a list calls them; `at`: hash of each, or null. */
export function pager(newer, older, label) {
  if (!newer && !older) return null;
  const link = (href, text) => (href ? h("a", { class: "page", href }, text) : h("span", { class: "page off", "aria-hidden": "true" }, text));
  return h("nav", { class: "pager", "aria-label": "Pages" }, link(newer, "‹ Before"), h("span", { class: "note number" }, label), link(older, "Next ›"));
}
