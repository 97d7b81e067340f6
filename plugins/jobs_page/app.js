// The page: which part is shown (the address says so), asking for it again and again, and doing what a button says.

import { Refused, act, look, poll } from "./api.js";
import { readCharts } from "./charts.js";
import { h, render } from "./dom.js";
import * as history from "./history.js";
import * as job from "./job.js";
import * as now from "./now.js";
import { tick } from "./parts.js";
import * as sweeps from "./sweeps.js";

const VIEWS = {
  now: [now.load, now.view, "now"],
  history: [history.load, history.view, "history"],
  job: [job.load, job.view, "now"],
  sweeps: [sweeps.loadAll, sweeps.viewAll, "sweeps"],
  sweep: [sweeps.loadOne, sweeps.viewOne, "sweeps"],
};
const main = document.getElementById("main");
const banner = document.getElementById("banner");
const status = document.getElementById("status");
const toast = document.getElementById("toast");
const ask = document.getElementById("ask");
let me = { name: "", owner: "", may_act: false, acts_on_all: false };
let shown = null; // { place, data } of the last good answer
let seen_at = null;

/** The address: #/job/17?attempt=2 -> { view: "job", query: { id: "17", attempt: "2" } } */
function place() {
  const [path, search] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, id] = path.split("/");
  const view = Object.hasOwn(VIEWS, name) ? name : "now";
  return { view, query: { ...Object.fromEntries(new URLSearchParams(search)), ...(id ? { id: encodeURIComponent(id) } : {}) }, hash: location.hash };
}

/** Width that a plot has inside a panel, px. */
function room() {
  return main.clientWidth - 2 * parseFloat(getComputedStyle(main).paddingLeft) - 34;
}

function draw() {
  if (!shown) return;
  const [, view, tab] = VIEWS[shown.place.view];
  render(main, ...view(shown.data, { me, query: shown.place.query, width: room() }));
  main.setAttribute("aria-busy", "false");
  for (const link of document.querySelectorAll("[data-tab]")) {
    if (link.dataset.tab === tab) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

async function round() {
  const wanted = place();
  try {
    if (!me.name) {
      me = await look("me");
      render(document.getElementById("who"), me.name, !me.may_act && h("span", { class: "tag", title: "Acting needs permission to edit the DAG job" }, "may look"));
    }
    const data = await VIEWS[wanted.view][0](wanted.query);
    if (wanted.hash !== location.hash) return true; // the reader is elsewhere by now
    const moved = shown && (shown.place.view !== wanted.view || shown.place.query.id !== wanted.query.id);
    const elsewhere = shown && shown.place.hash !== wanted.hash;
    const same = shown && !elsewhere && Object.entries(data).every(([name, value]) => shown.data[name] === value);
    shown = { place: wanted, data };
    seen_at = new Date();
    trouble(null);
    if (!same) draw();
    if (moved) arrived(wanted);
    announce();
    return true;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    trouble(error, wanted);
    return false;
  }
}

/** Another part is shown: it begins at its top, and the keyboard and the screen reader begin there as well. */
function arrived({ view, query }) {
  scrollTo(0, 0);
  main.focus({ preventScroll: true });
  const names = { now: "Jobs", history: "History", job: `Job ${query.id}`, sweeps: "Sweeps", sweep: `Sweep ${query.id}` };
  document.title = `${names[view]} · Eyewall`;
}

function trouble(error, wanted) {
  main.classList.toggle("stale", Boolean(error) && Boolean(shown));
  if (!error) return render(banner);
  const since = seen_at && shown ? ` Shown: as of ${seen_at.toISOString().slice(11, 19)} UTC.` : "";
  if (error.status === 401) return render(banner, h("p", {}, "You are no longer signed in. ", h("a", { href: "./", "data-reload": true }, "Sign in")));
  if (error.status === 404 && wanted) {
    shown = null;
    render(main, h("div", { class: "empty" }, h("strong", {}, error.message), h("p", {}, h("a", { href: "#/now" }, "Back to the jobs"))));
    main.setAttribute("aria-busy", "false");
    return render(banner);
  }
  if (!shown) render(main, h("p", { class: "empty" }, "Nothing to show yet."));
  return render(banner, h("p", {}, h("strong", {}, error.message), ` Trying again every few seconds.${since}`));
}

let told = "";
let told_at = 0;
/** What a reader who does not see the page should hear: changes of the counts, not each tick of a clock. */
function announce() {
  const counts = shown.data.live?.counts;
  if (!counts) return;
  const words = `${counts.running} running, ${counts.queued + counts.blocked} waiting`;
  if (words === told || Date.now() - told_at < 10_000) return;
  told = words;
  told_at = Date.now();
  status.textContent = words;
}

let fading = 0;
function say(words, bad = false) {
  clearTimeout(fading);
  render(toast, h("p", { class: bad ? "bad" : null }, words));
  fading = setTimeout(() => render(toast), 6000);
}

async function doing(path, body) {
  try {
    say(await act(path, body));
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    say(error.message, true);
  }
  hurry();
}

function confirmed(title, text) {
  document.getElementById("ask-title").textContent = title;
  document.getElementById("ask-text").textContent = text;
  ask.returnValue = "no";
  ask.showModal();
  return new Promise((resolve) => ask.addEventListener("close", () => resolve(ask.returnValue === "yes"), { once: true }));
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-act], [data-open], [data-reload]");
  if (!button || button.tagName === "SELECT") return;
  if (button.dataset.open) {
    const id = Number(button.dataset.open);
    if (!now.opened.delete(id)) now.opened.add(id);
    draw();
    hurry();
  } else if (button.dataset.reload !== undefined) {
    event.preventDefault();
    location.reload();
  } else if (button.dataset.act === "cancel") {
    const id = button.dataset.job;
    if (await confirmed(`Cancel ${button.dataset.about}?`, "If it runs, it is asked to end, and ended after its time of grace. It can be put into the queue again.")) await doing(`jobs/${id}/cancel`);
  } else if (button.dataset.act === "requeue") {
    await doing(`jobs/${button.dataset.job}/requeue`);
  }
});

document.addEventListener("change", async (event) => {
  const field = event.target;
  if (field.dataset.act === "priority") {
    const value = Number(field.value);
    field.blur();
    await doing(`jobs/${field.dataset.job}/priority`, { priority: value });
  } else if (field.form?.dataset.filter) filter(field.form);
});

let typing = 0;
document.addEventListener("input", (event) => {
  const form = event.target.form;
  if (!form?.dataset.filter || event.target.tagName !== "INPUT") return;
  clearTimeout(typing);
  typing = setTimeout(() => filter(form), 350);
});
document.addEventListener("submit", (event) => {
  if (!event.target.dataset.filter) return;
  event.preventDefault();
  filter(event.target);
});

function filter(form) {
  const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
  location.hash = `#/${form.dataset.filter}?${query}`;
}

// A trial under the pointer, or in focus, stands out in the plot and in the leaderboard.
function point(event) {
  const number = event.target.closest?.("[data-trial]")?.dataset.trial;
  const scope = main.querySelectorAll("[data-trial]");
  for (const one of scope) one.classList.toggle("lit", number !== undefined && one.dataset.trial === number);
  main.classList.toggle("pointing", number !== undefined && scope.length > 0);
}
main.addEventListener("pointerover", point);
main.addEventListener("focusin", point);

// Airflow keeps the reader's choice of light or dark under this name; the page is of the same origin.
function theme() {
  let chosen = null;
  try {
    chosen = localStorage.getItem("theme");
  } catch { /* storage is closed to this page */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
  else delete document.documentElement.dataset.theme;
}
addEventListener("storage", theme);
theme();
readCharts(main);
addEventListener("resize", draw);
const hurry = poll(round);
addEventListener("hashchange", () => {
  render(toast);
  hurry();
});
setInterval(() => document.hidden || tick(main), 1000);
hurry();
