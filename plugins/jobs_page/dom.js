// Elements from data, and a page brought up to date without losing focus, scroll or selection.
// Text only ever becomes a text node or an attribute's value: there is no way from a job's name to markup.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "points") element.points_ = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
  return element;
}

/** An HTML element: h("td", { class: "number" }, 42). */
export function h(tag, attributes, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** An SVG element. */
export function s(tag, attributes, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

/** A user's text: its direction and control characters stay inside it. */
export function bdi(text, className) {
  return h("bdi", { class: className }, String(text).replace(/[\u0000-\u001f\u007f-\u009f]/g, "\ufffd"));
}

/** Make `root` hold `nodes`, changing only what differs. Elements with data-key are known again by it. */
export function render(root, ...nodes) {
  const focused = document.activeElement;
  const following = [...root.querySelectorAll("[data-follow]")].filter(
    (pane) => pane.scrollHeight - pane.scrollTop - pane.clientHeight < 8,
  );
  const wanted = h("div", {}, ...nodes);
  syncChildren(root, wanted);
  for (const pane of root.querySelectorAll("[data-follow]")) {
    if (following.includes(pane) || !pane.seen_) pane.scrollTop = pane.scrollHeight;
    pane.seen_ = true;
  }
  if (focused && focused !== document.activeElement && focused.isConnected && root.contains(focused)) {
    focused.focus({ preventScroll: true });
  }
}

function keyOf(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.getAttribute("data-key") : null;
}

function syncChildren(from, to) {
  const keyed = new Map();
  for (const child of from.children) if (keyOf(child)) keyed.set(keyOf(child), child);
  let cursor = from.firstChild;
  for (const next of [...to.childNodes]) {
    const key = keyOf(next);
    let match = key ? keyed.get(key) : cursor && !keyOf(cursor) ? cursor : null;
    if (match && match.nodeName !== next.nodeName) match = null;
    if (!match) {
      from.insertBefore(next, cursor);
      continue;
    }
    if (match === cursor) cursor = cursor.nextSibling;
    else from.insertBefore(match, cursor);
    sync(match, next);
  }
  while (cursor) {
    const gone = cursor;
    cursor = cursor.nextSibling;
    gone.remove();
  }
}

function sync(from, to) {
  if (from.nodeType !== Node.ELEMENT_NODE) {
    if (from.nodeValue !== to.nodeValue) from.nodeValue = to.nodeValue;
    return;
  }
  for (const { name } of [...from.attributes]) if (!to.hasAttribute(name)) from.removeAttribute(name);
  for (const { name, value } of to.attributes) if (from.getAttribute(name) !== value) from.setAttribute(name, value);
  if (to.points_) from.points_ = to.points_;
  const value = "value" in to && (to.nodeName === "SELECT" || to.nodeName === "INPUT") ? to.value : null;
  syncChildren(from, to);
  if (value !== null && from !== document.activeElement && from.value !== value) from.value = value;
}
