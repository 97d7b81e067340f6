// "History": the jobs that have ended, the last first.

import { look } from "./api.js";
import { bdi, h } from "./dom.js";
import { clock } from "./format.js";
import { buttons, chip, empty, jobCell, pager, panel, table, when } from "./parts.js";

const STATES = ["succeeded", "failed", "cancelled", "pruned"];

const asked = ({ state, text, before_at, before_id }) =>
  new URLSearchParams(Object.entries({ state, text, before_at, before_id }).filter(([, value]) => value)).toString();

export const load = (query) => look(`history?${asked(query)}`);

export function view({ jobs, more }, { query, me }) {
  const last = jobs.at(-1);
  const columns = [["State"], ["Job", "wide"], ["Owner", "short"], ["Environment", "short"], ["On", "short"], ["Ran for", "number"], ["Ended, UTC", "number"], ["Why", "why"], ["", "act"]];
  const rows = jobs.map((job) => [
    `past-${job.id}`,
    [
      chip(job.state),
      jobCell(job),
      bdi(job.owner),
      bdi(job.environment),
      job.worker ? bdi(job.worker) : "–",
      job.started_at ? clock((Date.parse(job.ended_at) - Date.parse(job.started_at)) / 1000) : "–",
      when(job.ended_at),
      why(job),
      buttons(job, me),
    ],
  ]);
  const filtered = query.state || query.text;
  return [
    panel(
      "History",
      null,
      filters(query),
      jobs.length ? table("Jobs that have ended", columns, rows) : empty(filtered ? "No job is like that." : "No job has ended yet.", filtered ? "Change the state or the words." : null),
      pager(
        query.before_id ? `#/history?${asked({ ...query, before_at: "", before_id: "" })}` : null,
        more && last ? `#/history?${asked({ ...query, before_at: last.ended_at, before_id: last.id })}` : null,
        query.before_id ? "‹ Before: back to the newest" : "",
      ),
    ),
  ];
}

function why(job) {
  const words = [job.reason, job.exit_code && !job.reason ? `exit code ${job.exit_code}` : "", job.attempts > 1 ? `${job.attempts} attempts` : ""].filter(Boolean);
  return words.length ? bdi(words.join(", ")) : h("span", { class: "dim" }, "–");
}

function filters({ state, text }) {
  return h(
    "form",
    { class: "filters", role: "search", "data-filter": "history", "data-key": "filters" },
    h("label", {}, "State", h("select", { name: "state" }, h("option", { value: "", selected: !state }, "any"), STATES.map((name) => h("option", { value: name, selected: state === name }, name)))),
    h("label", {}, "Words in name, owner or command", h("input", { type: "search", name: "text", maxlength: 200, value: text ?? "" })),
  );
}
