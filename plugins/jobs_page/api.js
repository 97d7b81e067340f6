// Asking the server: each path is asked every two seconds while the page is seen, and answered with 304 while nothing
// has changed. An action carries the header by which the server knows that this page, and no other, sent it.

const BASE = new URL("api/", document.baseURI);
const PERIOD_MS = 2000;
const AWAY_PERIOD_MS = 6000;
const ANSWER_WITHIN_MS = 20000; // a server that is frozen takes requests and says nothing

/** What the server refused, in its own sentence; status 0: it did not answer at all. */
export class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

const kept = new Map(); // path -> { tag, value }
let ahead_ms = 0; // the server's clock less this one

/** The server's time, in milliseconds. */
export const now = () => Date.now() + ahead_ms;

async function fetched(path, options) {
  let response;
  const patience = new AbortController();
  const late = setTimeout(() => patience.abort(), ANSWER_WITHIN_MS);
  try {
    response = await fetch(new URL(path, BASE), { credentials: "same-origin", cache: "no-store", signal: patience.signal, ...options });
  } catch {
    throw new Refused(0, "The server does not answer.");
  } finally {
    clearTimeout(late);
  }
  const told = Date.parse(response.headers.get("X-Eyewall-Now") ?? "");
  if (!Number.isNaN(told)) ahead_ms = told - Date.now();
  if (response.ok || response.status === 304) return response;
  let sentence = `The server answered ${response.status}.`;
  try {
    const { detail } = await response.json();
    if (typeof detail === "string") sentence = detail;
  } catch { /* no JSON: the number has to do */ }
  throw new Refused(response.status, sentence);
}

/** What is at `path` now. */
export async function look(path) {
  const before = kept.get(path);
  const response = await fetched(path, { headers: before ? { "If-None-Match": before.tag } : {} });
  if (response.status === 304) return before.value;
  const value = await response.json();
  if (kept.size > 40) kept.delete(kept.keys().next().value);
  kept.set(path, { tag: response.headers.get("ETag") ?? "", value });
  return value;
}

/** Do something: act("jobs/17/cancel"). Returns the server's sentence. */
export async function act(path, body = {}) {
  const response = await fetched(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Eyewall-Request": "1" },
    body: JSON.stringify(body),
  });
  return (await response.json()).done;
}

/** Calls `round` now, at once on `hurry()`, and again PERIOD_MS after each end, while the page is seen. */
export function poll(round) {
  let timer = 0;
  let busy = false;
  let again = false;
  async function turn() {
    clearTimeout(timer);
    if (busy) {
      again = true;
      return;
    }
    busy = true;
    const ok = await round();
    busy = false;
    if (again) {
      again = false;
      turn();
    } else if (!document.hidden) timer = setTimeout(turn, ok ? PERIOD_MS : AWAY_PERIOD_MS);
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : turn()));
  return turn;
}
