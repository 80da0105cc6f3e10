/**
 * bars: breakdowns as sorted horizontal bars with value, share and change at their end.
 *
 * Values and changes are figures of the server (see figures.js), of the window or of one bucket; of a part of the
 * chart that somebody marked they are its exact sums, without changes. Widths are floats.
 */

import { byId, el, setAttr, setText } from "./dom.js";
import { ratio, toNumber, toText } from "./decimal.js";
import { grainOf, isRunning, isWindow, labelOf, reaches } from "./figures.js";
import { changeOf, full, isCompact, share, short } from "./format.js";
import { addsUp, currencyOf, dimsOf, marked, rowsOf } from "./stats.js";
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

  /** Makes the panels of the first of these KPIs, unless they are there. */
  build(kpis) {
    const shown = kpis.slice(0, PANELS_MAX);
    setAttr(byId("breakdowns"), "hidden", shown.length === 0 ? "" : null);
    const isSame = shown.length === this.#panels.length && shown.every((kpi, i) => this.#panels[i].kpi.key === kpi.key);
    if (isSame && shown.length > 0) return;
    this.#panels = shown.map((kpi) => new BarPanel(kpi, this.#onpick));
    byId("breakdowns").replaceChildren(...this.#panels.map((panel) => panel.node));
  }

  /** @param {{store: object, figures: object, view: object, asOf: number, zoom: {from: number, to: number, last: number} | null}} of */
  draw(of) {
    for (const panel of this.#panels) panel.draw(of);
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

  draw({ store, figures, view, asOf, reach, zoom }) {
    const { kpi } = this;
    const isSum = addsUp(kpi);
    const grain = barGrain(kpi, view);
    // What does not add up is not shown of a marked part.
    const part = isSum ? zoom : null;
    const isLoaded = part ? store.loaded.has(kpi.key) : figures.has(kpi.key, grain, view.at);
    const isLoading = view.tenant !== null && !isLoaded;
    this.node.classList.toggle("is-loading", isLoading);
    if (isLoading) return;
    const cells = part ? [] : figures.all(kpi.key, grain, asOf, view.at);
    const rows = part ? marked(store, kpi, view.currency, part) : rowsOf(kpi, view.currency, cells);
    const total = rows.reduce((all, row) => all + row.units, 0n);
    setText(this.about, part ? partWords(part, view) : placeWords(rows[0]?.cell ?? null, grain));
    this.list.setAttribute("data-grain", part ? "" : grain);
    // One way of writing numbers in one panel.
    this.isLarge = [total, ...rows.map((row) => row.units)].some((units) => isCompact(toText(units)));
    const hasTotal = isSum && rows.length > 0;
    setText(this.total, hasTotal ? this.#short(total, view) : "");
    setAttr(this.total, "title", hasTotal ? this.#full(total, view) : null);
    setAttr(this.empty, "hidden", rows.length === 0 ? null : "");
    setText(this.empty, rows.length === 0 ? `No data in ${isWindow(grain) && !part ? "this window" : "this span"}.` : "");
    const isOpen = (cell) => (grain === "hour" && isRunning(cell, grain, asOf)) || !reaches(cell, reach);
    this.#drawRows(folded(rows, isSum), isSum ? total : 0n, view, isOpen);
  }

  #short(units, view) {
    return short(toText(units), this.kpi.unit, currencyOf(this.kpi, view.currency), this.isLarge);
  }

  #full(units, view) {
    return full(toText(units), this.kpi.unit, currencyOf(this.kpi, view.currency));
  }

  /** `isOpen`: a part of an hour is not held against a whole one, nor anything against what the history lacks. */
  #drawRows(rows, total, view, isOpen) {
    const { unit, good } = this.kpi;
    const currency = currencyOf(this.kpi, view.currency);
    const delta = ({ cell }) => (cell === null || isOpen(cell) ? null : changeOf(cell, unit, good, currency));
    this.list.classList.toggle("is-compared", rows.some((row) => delta(row) !== null));
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
      const change = delta(row);
      const before = row.cell?.previous?.value ?? null;
      const against = () => `${this.#full(row.units, view)} against ${full(before, unit, currency)} before`;
      setText(node.change, change ? change.words : "");
      setAttr(node.change, "data-tone", change ? change.tone : "flat");
      setAttr(node.change, "title", change ? against() : null);
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
  const units = rest.reduce((all, row) => all + row.units, 0n);
  const title = rest.map((row) => row.label).join(", ");
  const others = { key: "others", dims: null, label: `${rest.length} others`, title, units, cell: null };
  return [...named.slice(0, BARS_MAX - 1), others];
}

/** By what a breakdown is shown: one bucket if the view has one, else as a card would be. */
export function barGrain(kpi, view) {
  return view.at === null ? grainOf(kpi, view) : view.grain;
}

/** What figures are of. */
function placeWords(cell, grain) {
  if (grain === "all") return "all time";
  if (isWindow(grain)) return `last ${labelOf(grain)}`;
  return cell === null ? "" : bucketLong(Date.parse(cell.period_start), grain);
}

/** The marked part of the chart. */
function partWords({ from, last }, { grain }) {
  if (from === last) return bucketLong(from, grain);
  if (grain !== "hour") return `${bucketShort(from, grain)} to ${bucketShort(last, grain)}`;
  return `${bucketLong(from, "hour").replace(/\s*UTC$/, "")} to ${bucketLong(last, "hour")}`;
}
