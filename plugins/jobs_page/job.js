// One job: what it asks for, what happened to it, its curves and its output.

import { look } from "./api.js";
import { chart } from "./charts.js";
import { bdi, h } from "./dom.js";
import { clock, command, demand, duration, moment } from "./format.js";
import { gpuNumbers, output } from "./now.js";
import { buttons, chip, empty, panel, priority, since, table, when } from "./parts.js";

export async function load({ id, attempt }) {
  const found = await look(`jobs/${id}`);
  const shown = found.attempts.find((one) => String(one.number) === attempt) ?? found.attempts[0];
  const log = shown ? await look(`jobs/${id}/log/${shown.number}`).catch(() => null) : null;
  return { ...found, shown, log };
}

export function view({ job, attempts, events, shown, log }, { me }) {
  return [
    h(
      "div",
      { class: "heading", "data-key": "heading" },
      h("p", { class: "crumbs" }, h("a", { href: "#/now" }, "Jobs"), " / ", h("span", { class: "number" }, `#${job.id}`)),
      h("h2", {}, bdi(job.name || `Job ${job.id}`), chip(job.state), job.stop && job.state === "running" && chip("cancelled", "asked to end")),
      (job.why || job.reason) && h("p", { class: "reason" }, bdi(job.why || job.reason)),
      buttons(job, me),
    ),
    h("div", { class: "two", "data-key": "two" }, h("div", { class: "stack" }, curves(shown), printed(job, shown, log)), h("div", { class: "stack" }, facts(job, me), tries(job, attempts, shown))),
    past(events),
  ];
}

function facts(job, me) {
  const list = [
    ["Owner", bdi(job.owner)],
    ["Command", h("code", {}, bdi(command(job.command)))],
    ["Environment", bdi(job.environment)],
    ["Asks for", demand(job)],
    ["Priority", priority(job, me)],
    ["Code", job.code && h("code", {}, bdi(job.code))],
    ["Data", job.data.length > 0 && job.data.map((one) => h("code", {}, bdi(one), " "))],
    ["Variables", job.variables.length > 0 && h("span", {}, job.variables.map((one) => h("code", {}, bdi(one), " ")), h("small", { class: "dim" }, "values are not shown"))],
    ["Waits for", job.after.length > 0 && job.after.map((one) => h("a", { href: `#/job/${one.id}` }, `#${one.id} `, bdi(one.name), " ", chip(one.state), " "))],
    ["Search", job.sweep && h("a", { href: `#/sweep/${job.sweep}` }, bdi(job.sweep_name), `, trial ${job.trial}`)],
    ["At most", job.max_s && duration(job.max_s)],
    ["Submitted", [when(job.submitted_at), " UTC"]],
    ["Ended", job.ended_at && [when(job.ended_at), " UTC"]],
  ];
  return panel("What it is", null, h("dl", { class: "facts" }, list.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))));
}

function curves(shown) {
  const names = Object.keys(shown?.curves ?? {});
  return panel(
    "Curves",
    shown && names.length ? `attempt ${shown.number}` : null,
    names.length ? h("div", { class: "charts" }, names.map((name) => chart(name, shown.curves[name]))) : empty("No report.", "A job reports with eyewall.report(step, loss=…), or by printing an eyewall-report line."),
  );
}

function printed(job, shown, log) {
  return panel("Output", shown ? `attempt ${shown.number}` : null, shown ? output(log, job.id, 1000, "") : empty("Not started yet."));
}

function tries(job, attempts, shown) {
  const columns = [["", "number"], ["State"], ["On"], ["For", "number"], ["Exit", "number"]];
  const rows = attempts.map((one) => [
    `try-${one.number}`,
    [
      h("a", { href: `#/job/${job.id}?attempt=${one.number}`, "aria-current": one === shown ? "true" : null }, one.number),
      [chip(one.state), one.reason && h("small", { class: "reason" }, bdi(one.reason))],
      h("span", {}, bdi(one.worker), h("small", { class: "dim" }, ` ${gpuNumbers(one.gpu_numbers)}`)),
      ran(one),
      one.exit_code ?? "–",
    ],
  ]);
  return panel("Attempts", `at most ${job.max_attempts}`, attempts.length ? table("Attempts", columns, rows) : empty("Not started yet."));
}

function ran({ started_at: from, ended_at: to }) {
  if (!from) return "–";
  return to ? clock((Date.parse(to) - Date.parse(from)) / 1000) : since(from);
}

function past(events) {
  return panel(
    "What happened",
    "UTC, the last first",
    h(
      "ol",
      { class: "events" },
      events.map((one) =>
        h(
          "li",
          {},
          h("time", { class: "number", datetime: one.at }, moment(one.at, true)),
          h("span", {}, one.what.replace(".", "'s "), " ", one.from_state && [bdi(one.from_state), " → "], h("b", {}, bdi(one.to_state || "none"))),
          h("span", { class: "dim" }, [bdi(one.reason), one.actor && [one.reason ? ", by " : "by ", bdi(one.actor)]]),
        ),
      ),
    ),
  );
}
