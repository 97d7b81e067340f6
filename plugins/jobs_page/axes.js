// A scale for one parameter of a search: numbers on a line, or on a logarithmic one where they span more than two
// decades; words (and truth values) as evenly spaced names.

import { number } from "./format.js";

/** { place(value) -> 0 (low) … 1 (high) or null, ticks: [[place, label], …], log } */
export function axis(values) {
  const present = values.filter((value) => value !== null && value !== undefined);
  if (!present.length || !present.every((value) => typeof value === "number")) return names(present);
  const [low, high] = [Math.min(...present), Math.max(...present)];
  const log = low > 0 && high / low > 100;
  const to = log ? Math.log10 : (value) => value;
  const span = to(high) - to(low);
  const place = (value) => (typeof value !== "number" ? null : span ? (to(value) - to(low)) / span : 0.5);
  return { place, log, ticks: ticks(low, high, log).map((value) => [place(value), number(value)]) };
}

function names(values) {
  const all = [...new Set(values.map(String))].sort();
  const place = (value) =>
    value === null || value === undefined ? null : all.length > 1 ? all.indexOf(String(value)) / (all.length - 1) : 0.5;
  return { place, log: false, ticks: all.slice(0, 12).map((name) => [place(name), name]) };
}

function ticks(low, high, log) {
  if (low === high) return [low];
  const inner = [];
  if (log) {
    for (let power = Math.ceil(Math.log10(low)); power <= Math.floor(Math.log10(high)); power += 1) inner.push(10 ** power);
  } else {
    const step = 10 ** Math.floor(Math.log10((high - low) / 2));
    const wide = [1, 2, 5, 10].find((times) => (high - low) / (step * times) <= 4) * step;
    for (let at = Math.ceil(low / wide) * wide; at <= high + wide * 1e-9; at += wide) inner.push(Number(at.toPrecision(12)));
  }
  return inner;
}
