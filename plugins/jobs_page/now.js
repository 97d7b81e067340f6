// "Now": what runs and on which GPUs, and what waits and why.

import { look } from "./api.js";
import { chart, spark } from "./charts.js";
import { bdi, h } from "./dom.js";
import { demand, memory, plain } from "./format.js";
import { buttons, chip, empty, jobCell, pager, panel, priority, since, table } from "./parts.js";

export const opened = new Set(); // running jobs whose curves and output are shown
const TAIL_LINES = 200;

export async function load({ offset = 0 }) {
  const [live, queue] = await Promise.all([look("now"), look(`queue?offset=${offset}`)]);
  const logs = new Map();
  const wanted = live.running.filter((job) => opened.has(job.id));
  await Promise.all(
    wanted.map(async (job) => logs.set(job.id, await look(`jobs/${job.id}/log/${job.attempt}`).catch(() => null))),
  );
  return { live, queue, logs };
}

export function view({ live, queue, logs }, { me }) {
  return [
    figures(live.counts),
    h("div", { class: "two", "data-key": "two" }, running(live, logs, me), gpus(live.gpus, live.counts)),
    waiting(queue, live.counts, me),
  ];
}

function figures(counts) {
  const one = (name, value, note, className) => h("div", { class: className }, h("dt", {}, name), h("dd", { class: "number" }, value, note && h("small", {}, note)));
  return h(
    "dl",
    { class: "figures", "data-key": "figures" },
    one("Running", counts.running),
    one("Waiting", counts.queued + counts.blocked, counts.blocked ? `${counts.blocked} blocked` : null),
    one("GPUs in use", counts.busy, `of ${counts.gpus}`),
    one("Succeeded", counts.succeeded_1d, "in 24 h"),
    one("Failed", counts.failed_1d, "in 24 h"),
    one("Dispatchers", counts.dispatchers, counts.dispatchers ? null : "none runs", counts.dispatchers || !counts.queued ? null : "warn"),
  );
}

function running({ running: jobs, counts }, logs, me) {
  const columns = [["Job", "wide"], ["Owner", "short"], ["On", "short"], ["For", "number"], ["Last report", "curve-cell"], ["", "act"]];
  const rows = jobs.flatMap((job) => {
    const open = opened.has(job.id);
    const row = [`run-${job.id}`, [
      [disclosure(job, open), jobCell(job)],
      bdi(job.owner),
      h("span", {}, bdi(job.worker), h("small", { class: "dim" }, ` ${gpuNumbers(job.gpu_numbers)}`), job.attempt > 1 && h("small", { class: "dim" }, `, attempt ${job.attempt}`)),
      job.started_at ? since(job.started_at) : chip("claimed", "starting"),
      lastReport(job),
      buttons(job, me),
    ], { class: open ? "open" : null }];
    return open ? [row, [`more-${job.id}`, more(job, logs.get(job.id)), { whole: true, class: "more" }]] : [row];
  });
  return panel(
    "Running",
    counts.running > jobs.length ? `the last ${jobs.length} of ${counts.running}` : null,
    jobs.length ? table("Running jobs", columns, rows) : empty("Nothing runs.", counts.queued ? "Jobs wait: see below why." : "Submit one: eyewall job submit … -- python train.py"),
  );
}

/** "GPU 1", "GPUs 2, 3", in one piece. */
export const gpuNumbers = (numbers) => `${numbers.length > 1 ? "GPUs" : "GPU"} ${numbers.join(", ") || "–"}`.replaceAll(" ", "\u00a0");

function disclosure(job, open) {
  return h("button", { type: "button", class: "disclose", "data-open": job.id, "aria-expanded": String(open), "aria-label": `Curves and output of job ${job.id}` });
}

const first = (curves) => Object.keys(curves).sort((a, b) => curves[b].length - curves[a].length)[0];

function lastReport(job) {
  const name = first(job.curves);
  return name ? spark(name, job.curves[name]) : h("span", { class: "dim" }, "no report yet");
}

function more(job, log) {
  const names = Object.keys(job.curves);
  return h(
    "div",
    { class: "detail" },
    names.length > 0 && h("div", { class: "charts" }, names.slice(0, 4).map((name) => chart(name, job.curves[name]))),
    output(log, job.id),
  );
}

/** The end of an output; it follows while it is scrolled to its end. */
export function output(log, job, lines = TAIL_LINES, title = "Output, without its reports") {
  if (!log) return h("p", { class: "empty" }, "The output cannot be read now.");
  const all = plain(log.text).replace(/\n$/, "").split("\n").filter((line) => !line.startsWith("eyewall-report {"));
  const shown = all.slice(-lines).join("\n");
  return h(
    "div",
    { class: "output" },
    (title || log.cut || all.length > lines) && h("p", { class: "note" }, log.cut || all.length > lines ? `Last lines of the output; all of it: eyewall job logs ${job}` : title),
    h("pre", { tabindex: 0, "data-follow": true, "aria-label": `Output of job ${job}` }, shown ? shown : h("span", { class: "dim" }, "Nothing printed yet.")),
  );
}

function gpus(all, counts) {
  const workers = Map.groupBy ? Map.groupBy(all, (gpu) => gpu.worker) : grouped(all);
  return panel(
    "GPUs",
    counts.gpus ? `${counts.gpus - counts.busy} free` : null,
    all.length
      ? h("div", { class: "workers", tabindex: 0, role: "group", "aria-label": "GPUs by worker" }, [...workers].map(([name, list]) => worker(name, list)))
      : empty("No GPUs yet.", "eyewall worker add, or start eyewall job dispatch on this machine."),
  );
}

function grouped(all) {
  const found = new Map();
  for (const gpu of all) found.set(gpu.worker, [...(found.get(gpu.worker) ?? []), gpu]);
  return found;
}

function worker(name, list) {
  const { kind, worker_state: state, worker_reason: reason } = list[0];
  return h(
    "div",
    { class: "worker", "data-key": `worker-${name}` },
    h("h3", {}, bdi(name), h("span", { class: "dim" }, ` ${kind}`), state !== "up" && chip(state)),
    state !== "up" && reason && h("p", { class: "reason" }, bdi(reason)),
    h("ul", {}, list.map(gpu)),
  );
}

function gpu(one) {
  const what = [one.generation !== "any" ? one.generation : one.model || "GPU", one.memory_mb ? memory(one.memory_mb) : "", one.declared ? "declared" : ""].filter(Boolean).join(" · ");
  return h(
    "li",
    { class: `gpu ${one.state}`, "data-key": `gpu-${one.worker}-${one.number}` },
    h("span", { class: "slot number" }, one.number),
    h("span", { class: "kind", title: one.model }, what),
    one.job
      ? h("a", { class: "on", href: `#/job/${one.job}` }, h("span", { class: "id number" }, `#${one.job}`), " ", bdi(one.name || one.owner), h("small", { class: "dim" }, " ", bdi(one.name ? one.owner : "")))
      : one.state === "free"
        ? h("span", { class: "on dim" }, one.worker_state === "up" ? (one.reserved_for ? `kept for #${one.reserved_for}` : "free") : "not offered")
        : h("span", { class: "on" }, chip(one.state, one.state === "foreign" ? "in use by others" : one.state), one.reason && h("small", { class: "reason" }, bdi(one.reason))),
  );
}

function waiting(queue, counts, me) {
  const all = counts.queued + counts.blocked;
  const columns = [["", "number place"], ["Job", "wide"], ["Owner", "short"], ["Asks for", "short"], ["Waits", "number"], ["Why it waits", "why"], ["Priority", "pick number"], ["", "act"]];
  const rows = queue.jobs.map((job) => [
    `wait-${job.id}`,
    [
      job.place ?? "–",
      jobCell(job),
      bdi(job.owner),
      demand(job),
      since(job.since, true),
      [job.state === "blocked" && [chip("blocked"), " "], bdi(job.why)],
      priority(job, me),
      buttons(job, me),
    ],
  ]);
  const { offset, page } = queue;
  return panel(
    "Queue",
    all ? `${all} waiting, in the order they would start` : null,
    queue.jobs.length ? table("Waiting jobs", columns, rows) : empty(offset ? "No more jobs wait." : "Nothing waits.", offset ? null : "Every job that was submitted has started or ended."),
    pager(offset ? `#/now?offset=${Math.max(0, offset - page)}` : null, queue.more ? `#/now?offset=${offset + page}` : null, `${offset + 1} – ${offset + queue.jobs.length}`),
  );
}
