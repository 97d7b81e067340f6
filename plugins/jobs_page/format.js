// Numbers and times as they are read: aligned, short, and in UTC.

/** 0.00031 -> "3.1e-4", 12.3456 -> "12.35", 1200 -> "1200". */
export function number(value) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return String(value);
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) return value.toExponential(2).replace(/\.?0+e/, "e");
  return Number(value.toPrecision(4)).toString();
}

/** Seconds as "42 s", "12 min", "3 h 12 min", "2 d 4 h". */
export function duration(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min`;
  if (whole < 86400) return `${Math.floor(whole / 3600)} h ${pad(Math.floor(whole / 60) % 60)} min`;
  return `${Math.floor(whole / 86400)} d ${Math.floor(whole / 3600) % 24} h`;
}

/** Seconds as a clock: "0:42", "12:08", "3:12:08". */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const hours = Math.floor(whole / 3600);
  const rest = `${pad(Math.floor(whole / 60) % 60, hours > 0)}:${pad(whole % 60)}`;
  return hours ? `${hours}:${rest}` : rest;
}

function pad(value, yes = true) {
  return yes ? String(value).padStart(2, "0") : String(value);
}

/** "2026-11-21T10:55:26.120Z" -> "21 Nov 10:55"; `full`: "2026-11-21 10:55:26". */
export function moment(iso, full = false) {
  if (!iso) return "–";
  if (full) return iso.slice(0, 19).replace("T", " ");
  const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  return `${Number(iso.slice(8, 10))} ${months[Number(iso.slice(5, 7)) - 1]} ${iso.slice(11, 16)}`;
}

/** 81920 -> "80 GB". */
export const memory = (mb) => (mb >= 1024 ? `${number(Math.round((mb / 1024) * 10) / 10)} GB` : `${mb} MB`);

/** A command as one could type it: words with anything unusual in quotes. */
export function command(words) {
  return words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(" ");
}

/** What a job asks for: "2 × h100 or a100, ≥ 40 GB". */
export function demand(job) {
  const kind = job.generations?.length ? job.generations.join(" or ") : "any";
  return `${job.gpus} × ${kind}${job.memory_mb ? `, ≥ ${memory(job.memory_mb)}` : ""}`;
}

/** Output of a program without the escapes that colour a terminal; other control characters are shown as such. */
export function plain(text) {
  return text
    .replace(/\u001b\[[0-?]*[ -/]*[@-~]|\u001b\][^\u0007\u001b]*(?:\u0007|\u001b\\)/g, "")
    .replace(/[^\n]*\r(?!\n)/g, "") // a progress bar draws over itself: its last state
    .replace(/\r\n/g, "\n")
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g, "\ufffd");
}
