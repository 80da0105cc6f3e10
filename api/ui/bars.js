/**
 * bars: breakdowns as sorted horizontal bars with value, share and change at their end.
 *
 * Widths are floats; values, shares and totals come from exact sums.
 */

import { byId, el, setAttr, setText } from "./dom.js";
import { ratio, toNumber, toText } from "./decimal.js";
import { change, full, isCompact, share, short } from "./format.js";
import { addsUp, breakdown, dimsOf } from "./stats.js";
import { bucketLong, bucketShort } from "./time.js";

/** Bars of a panel; what is smaller is one bar, "others". */
const BARS_MAX = 8;
/** Breakdown panels on the page. */
export const PANELS_MAX = 4;

/** See the head of this file. */
export class Bars {
  #onpick;
  #panels = [];

  /** @param {(kpi: object, dims: object) => void} onpick a bar is chosen */
  constructor(onpick) {
    this.#onpick = onpick;
  }

  build(kpis) {
    this.#panels = kpis.slice(0, PANELS_MAX).map((kpi) => new BarPanel(kpi, this.#onpick));
    byId("breakdowns").replaceChildren(...this.#panels.map((panel) => panel.node));
    setAttr(byId("breakdowns"), "hidden", this.#panels.length === 0 ? "" : null);
  }

  /** @param {{from: number, to: number, closedTo: number, before: number | null, beforeTo: number | null, isWindow: boolean}} span what to sum */
  draw({ store, view, span }) {
    for (const panel of this.#panels) panel.draw(store, view, span);
  }
}

class BarPanel {
  #rows = new Map();
  isLarge = false;

  constructor(kpi, onpick) {
    this.kpi = kpi;
    this.onpick = onpick;
    this.about = el("span", { class: "about" });
    this.total = el("span", { class: "panel-total num" });
    this.list = el("ol", { class: "bars", "data-breakdown": kpi.key });
    this.empty = el("p", { class: "empty-note", hidden: true });
    this.node = el(
      "section",
      { class: "card panel", "aria-label": kpi.title },
      el("header", { class: "panel-head" }, el("h2", { text: kpi.title }), this.about, this.total),
      this.list,
      this.empty,
    );
  }

  draw(store, view, span) {
    const { kpi } = this;
    const isLoading = !store.loaded.has(kpi.key) && store.all(kpi.key).length === 0;
    this.node.classList.toggle("is-loading", isLoading);
    if (isLoading) return;
    // What does not add up is shown for one period, and has neither total nor shares.
    const isSum = addsUp(kpi);
    const own = isSum ? span : { ...span, from: span.last, before: null, beforeTo: null, isWindow: false };
    const { rows, total } = breakdown(store, kpi, view.currency, own);
    setText(this.about, spanWords(view, own));
    // One way of writing numbers in one panel.
    this.isLarge = [total, ...rows.map((row) => row.units)].some((units) => isCompact(toText(units)));
    const all = { units: total };
    const hasTotal = isSum && rows.length > 0;
    setText(this.total, hasTotal ? this.#short(all.units, view) : "");
    setAttr(this.total, "title", hasTotal ? this.#full(all.units, view) : null);
    setAttr(this.empty, "hidden", rows.length === 0 ? null : "");
    setText(this.empty, rows.length === 0 ? `No data in ${own.isWindow ? "this window" : "this span"}.` : "");
    this.#drawRows(folded(rows, isSum), isSum ? total : 0n, view);
  }

  #short(units, view) {
    return short(toText(units), this.kpi.unit, view.currency, this.isLarge);
  }

  #full(units, view) {
    return full(toText(units), this.kpi.unit, view.currency);
  }

  #compared(row, view) {
    const [now, before] = [this.#full(row.closed, view), this.#full(row.before, view)];
    return `${now} against ${before} in the same ${view.grain}s before; closed ${view.grain}s only`;
  }

  #drawRows(rows, total, view) {
    this.list.classList.toggle("is-compared", rows.some((row) => row.before !== null));
    const widest = rows.reduce((most, row) => (abs(row.units) > most ? abs(row.units) : most), 0n);
    const nodes = rows.map((row) => {
      const node = this.#rows.get(row.key) ?? this.#make(row);
      this.#rows.set(row.key, node);
      node.row = row;
      const width = widest === 0n ? 0 : toNumber(ratio(abs(row.units), widest)) * 100;
      node.fill.style.setProperty("width", `${Math.max(width, 0.5).toFixed(2)}%`);
      node.fill.classList.toggle("is-negative", row.units < 0n);
      setText(node.value, this.#short(row.units, view));
      setAttr(node.value, "title", this.#full(row.units, view));
      setAttr(node.value, "data-raw", toText(row.units));
      setText(node.share, share(row.units, total));
      const isCompared = row.before !== null && row.closed !== null;
      const delta = isCompared ? change(row.closed, row.before, this.kpi.unit, this.kpi.good) : null;
      setText(node.change, delta ? delta.words : "");
      setAttr(node.change, "data-tone", delta ? delta.tone : "flat");
      setAttr(node.change, "title", isCompared ? this.#compared(row, view) : null);
      const isChosen = view.kpi === this.kpi.key && row.dims !== null && isSame(row.dims, dimsOf(this.kpi, view.currency, view.dims));
      setAttr(node.pick, "aria-pressed", row.dims === null ? null : String(isChosen));
      return node.item;
    });
    const shown = new Set(rows.map((row) => row.key));
    for (const key of this.#rows.keys()) if (!shown.has(key)) this.#rows.delete(key);
    // Moving nodes takes the focus away; the order changes seldom.
    if (nodes.some((node, i) => this.list.children[i] !== node) || this.list.children.length !== nodes.length) {
      this.list.replaceChildren(...nodes);
    }
  }

  #make(row) {
    const label = { class: "bar-name", text: row.label, title: row.title };
    const made = { row };
    made.pick =
      row.dims === null
        ? el("span", label)
        : el("button", { type: "button", ...label, on: { click: () => this.onpick(this.kpi, made.row.dims) } });
    made.fill = el("span", { class: "bar-fill" });
    made.value = el("span", { class: "bar-value num" });
    made.share = el("span", { class: "bar-share num" });
    made.change = el("span", { class: "bar-change num" });
    made.item = el(
      "li",
      { class: "bar" },
      made.pick,
      el("span", { class: "bar-track" }, made.fill),
      made.value,
      made.share,
      made.change,
    );
    return made;
  }
}

const abs = (units) => (units < 0n ? -units : units);
const isSame = (a, b) => JSON.stringify(Object.entries(a).sort()) === JSON.stringify(Object.entries(b).sort());

/** The rows to show: the largest, and the others as one. */
function folded(rows, isSum) {
  const named = rows.map((row) => {
    const label = row.name === null || row.name === "" ? "(none)" : row.name;
    return { ...row, key: JSON.stringify(row.dims), label, title: label };
  });
  if (named.length <= BARS_MAX) return named;
  if (!isSum) return named.slice(0, BARS_MAX);
  const rest = named.slice(BARS_MAX - 1);
  const sum = (pick) => rest.reduce((all, row) => (pick(row) === null ? all : (all ?? 0n) + pick(row)), null);
  const parts = { units: sum((row) => row.units), closed: sum((row) => row.closed), before: sum((row) => row.before) };
  const title = rest.map((row) => row.label).join(", ");
  const others = { key: "others", dims: null, label: `${rest.length} others`, title };
  return [...named.slice(0, BARS_MAX - 1), { ...others, ...parts }];
}

function spanWords(view, span) {
  if (span.isWindow) return view.window === "all" ? "all time" : `last ${span.label}`;
  const from = bucketShort(span.from, view.grain);
  const last = bucketShort(span.last, view.grain);
  if (from === last && span.from === span.last) return bucketLong(span.from, view.grain);
  if (view.grain !== "hour") return `${from} to ${last}`;
  return `${bucketLong(span.from, "hour").replace(/\s*UTC$/, "")} to ${bucketLong(span.last, "hour")}`;
}
