/**
 * dom: building elements without HTML strings, so that no text of the server can become markup and
 * a strict Content-Security-Policy holds.
 */

const SVG = "http://www.w3.org/2000/svg";

/**
 * An element. `class`, `text` and `on` (listeners by event) are understood; every other entry is an
 * attribute, which `null`, `undefined` and `false` leave out.
 */
export function el(tag, props = {}, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function svg(tag, props = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") node.textContent = value;
    else if (name === "on") {
      for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    } else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** The element of this page with an id; a missing one is a defect of the page. */
export function byId(id) {
  const node = document.getElementById(id);
  if (!node) throw new Error(`the page has no #${id}`);
  return node;
}

/** Sets a text only when it changes, so that nothing is laid out for nothing. */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** Sets or removes an attribute only when it changes. */
export function setAttr(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, String(value));
  }
}

const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** A digit that changed within this time does not flash again: what always changes needs no mark. */
const FLASH_REST_MS = 1_500;
const flashes = new WeakMap();

/**
 * Shows a number and lets the characters that changed flash. Numbers are compared from their end,
 * where digits keep their place when a number grows.
 */
export function setDigits(node, text, now = performance.now()) {
  const state = flashes.get(node) ?? { text: "", changedAt: [] };
  const before = state.text;
  if (before === text) return;
  state.text = text;
  flashes.set(node, state);
  const shift = before.length - text.length;
  const parts = [];
  for (let i = 0; i < text.length; i += 1) {
    const fromEnd = text.length - i;
    const isChanged = text[i] !== before[i + shift];
    const isFlash = isChanged && now - (state.changedAt[fromEnd] ?? -Infinity) > FLASH_REST_MS;
    if (isChanged) state.changedAt[fromEnd] = now;
    const last = parts.at(-1);
    if (last && last.isFlash === isFlash) last.text += text[i];
    else parts.push({ isFlash, text: text[i] });
  }
  if (before === "" || calm.matches || !parts.some((part) => part.isFlash)) {
    node.textContent = text;
    return;
  }
  node.replaceChildren(
    ...parts.map((part) => (part.isFlash ? el("span", { class: "flash", text: part.text }) : part.text)),
  );
}

/**
 * Batches work per animation frame: `ask(name)` marks a part as dirty, and before the next frame
 * each dirty part is drawn once. In a hidden tab nothing is drawn until it is shown.
 *
 * @param {Record<string, () => void>} parts in drawing order
 */
export function painter(parts) {
  const dirty = new Set();
  let asked = false;
  const paint = () => {
    asked = false;
    const now = [...dirty];
    dirty.clear();
    for (const name of Object.keys(parts)) {
      if (!now.includes(name)) continue;
      try {
        parts[name]();
      } catch (error) {
        // One broken part must not take the others with it.
        console.error(`could not draw ${name}`, error);
      }
    }
  };
  return function ask(...names) {
    for (const name of names) dirty.add(name);
    if (!asked) {
      asked = true;
      requestAnimationFrame(paint);
    }
  };
}

/** Calls `act` at most once per `everyMs()`, at once when it can and else when the time is over. */
export function throttled(everyMs, act) {
  let last = -Infinity;
  let timer = null;
  return () => {
    if (timer !== null) return;
    const wait = last + everyMs() - performance.now();
    const run = () => {
      timer = null;
      last = performance.now();
      act();
    };
    if (wait <= 0) run();
    else timer = setTimeout(run, wait);
  };
}
