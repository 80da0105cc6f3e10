/**
 * panel: the frame of the main chart: KPI picker, read-out, legend, table view and what is said when
 * there is nothing to draw.
 */

import { Chart } from "./chart.js";
import { chartData } from "./chart-data.js";
import { groupName, groupsOf } from "./choice.js";
import { byId, el, setAttr, setText } from "./dom.js";
import { full, isCompact, plain, short } from "./format.js";
import { currencyOf, dimsOf } from "./stats.js";
import { bucketLong, bucketUtc, zoneName } from "./time.js";

/** Rows of the table view; older ones are in the API. */
const TABLE_ROWS_MAX = 1000;
const SPEAK_AFTER_MS = 400;
const DASH = "\u2013";

/** See the head of this file. */
export class Panel {
  #chart;
  #act;
  #kpi = null;
  #currency = null;
  #grain = "hour";
  #rows = [];
  #isTable = false;
  #isZoomed = false;
  #at = null;
  #speaking = null;
  /** The bucket that is read out or about to be. */
  #spoken = null;

  /**
   * @param {object} act
   * @param {(key: string) => void} act.pick another KPI is chosen
   * @param {() => void} act.whole no single bucket is wanted any longer
   * @param {(on: boolean) => void} act.ghost the window before is wanted, or no longer
   * @param {(span: {from: number, to: number} | null) => void} act.zoom
   * @param {() => void} act.save the series as a file
   */
  constructor(act) {
    this.#act = act;
    this.#chart = new Chart(
      byId("plot"),
      (row, isPointed) => this.#read(row, isPointed),
      (span) => {
        this.#isZoomed = span !== null;
        this.#drawUnzoom();
        act.zoom(span);
      },
    );
    byId("chart-kpi").addEventListener("change", (event) => act.pick(event.target.value));
    byId("ghost").addEventListener("click", () => act.ghost(byId("ghost").getAttribute("aria-pressed") !== "true"));
    byId("table-toggle").addEventListener("click", () => this.#toggleTable());
    byId("unzoom").addEventListener("click", () => {
      this.#chart.unzoom();
      if (this.#at !== null) act.whole();
    });
    byId("chart-csv").addEventListener("click", () => act.save());
    byId("copy").addEventListener("click", () => this.#copy());
  }

  /** The KPIs to choose from by their groups; breakdowns in a group of their own. */
  build(plain, broken) {
    const option = (kpi) => el("option", { value: kpi.key, text: kpi.title });
    const names = groupsOf(plain);
    const inGroup = (name) => plain.filter((kpi) => kpi.group === name);
    const groups = names.map((name) => el("optgroup", { label: groupName(name) }, ...inGroup(name).map(option)));
    if (broken.length > 0) groups.push(el("optgroup", { label: "Breakdowns" }, ...broken.map(option)));
    byId("chart-kpi").replaceChildren(...groups);
  }

  /** Takes over another theme's colours. */
  retheme() {
    this.#chart.retheme();
  }

  draw({ store, kpi, view, range, alerts, isLoading }) {
    this.#kpi = kpi;
    this.#currency = currencyOf(kpi, view.currency);
    this.#grain = view.grain;
    this.#at = view.at;
    this.#drawUnzoom();
    const picker = byId("chart-kpi");
    if (picker.value !== kpi.key) picker.value = kpi.key;
    const extra = Object.values(view.dims).map((value) => value || "(none)");
    const unit = kpi.unit === "currency" ? this.#currency : kpi.unit === "ratio" ? "ratio" : null;
    setText(byId("chart-about"), [...extra, view.tenant, unit, `per ${view.grain}`, view.grain === "hour" ? "UTC" : zoneName()].filter(Boolean).join(" \u00b7 "));
    setAttr(picker, "title", kpi.description || null);
    setAttr(byId("ghost"), "aria-pressed", view.ghost && range.before !== null ? "true" : "false");
    setAttr(byId("ghost"), "disabled", range.before === null ? "" : null);
    const series = store.series(kpi.key, dimsOf(kpi, view.currency, view.dims));
    const data = chartData(series, range, { grain: view.grain, ghost: view.ghost, alerts });
    this.#rows = data.rows;
    setAttr(byId("legend-band"), "hidden", data.hasBand ? null : "");
    setAttr(byId("legend-ghost"), "hidden", view.ghost && range.before !== null ? null : "");
    byId("chart-panel").classList.toggle("is-loading", isLoading);
    this.#drawEmpty(isLoading || data.hasData ? null : emptyWords(kpi, view));
    const key = [view.tenant, view.grain, view.window, kpi.key, view.currency, JSON.stringify(view.dims), view.at];
    this.#chart.draw({
      ...data,
      key: key.join("|"),
      grain: view.grain,
      unit: kpi.unit,
      currency: this.#currency,
      at: view.at,
    });
    if (this.#isTable) this.#drawTable();
  }

  #drawUnzoom() {
    setAttr(byId("unzoom"), "hidden", this.#isZoomed || this.#at !== null ? null : "");
  }

  #drawEmpty(words) {
    setAttr(byId("chart-empty"), "hidden", words === null ? "" : null);
    setText(byId("chart-empty"), words ?? "");
  }

  #read(row, isPointed) {
    const facts = row ? this.#facts(row) : [];
    const slots = byId("readout").children;
    setText(slots[0], row ? bucketLong(row.start, this.#grain) : "\u00a0");
    setAttr(slots[0], "title", row ? bucketUtc(row.start, this.#grain) : null);
    for (let i = 1; i < slots.length; i += 1) {
      const [name, value, title] = facts[i - 1] ?? [];
      setAttr(slots[i], "hidden", value === undefined ? "" : null);
      if (value === undefined) continue;
      setText(slots[i].firstElementChild, name);
      setText(slots[i].lastElementChild, value);
      setAttr(slots[i], "title", title ?? null);
    }
    const note = row ? noteOf(row) : "";
    setText(byId("read-note"), note);
    setAttr(byId("read-note"), "hidden", note ? null : "");
    byId("read-note").classList.toggle("is-odd", Boolean(row?.isOdd));
    const isRead = isPointed && document.activeElement === byId("plot");
    if (isRead && row.start !== this.#spoken) this.#speak(row, facts, note);
    this.#spoken = isRead ? row.start : null;
  }

  /** [name, value, hover text] of what can be read at a row; the places are fixed. */
  #facts({ point, before }) {
    const shown = [point?.value, point?.lower, point?.upper, before?.value];
    const isLarge = shown.some(isCompact);
    const spell = (text) => short(text, this.#kpi.unit, this.#currency, isLarge);
    const whole = (text) => (text === null || text === undefined ? null : full(text, this.#kpi.unit, this.#currency));
    const facts = [["actual", spell(point?.value), whole(point?.value)]];
    const hasBand = point && point.lower !== null && point.upper !== null;
    facts.push(hasBand ? ["expected", `${spell(point.lower)} to ${spell(point.upper)}`, whole(point.expected)] : []);
    facts.push(before ? ["window before", spell(before.value), whole(before.value)] : []);
    return facts;
  }

  /** Tells a screen reader what the keyboard cursor is on, when it rests. */
  #speak(row, facts, note) {
    clearTimeout(this.#speaking);
    this.#speaking = setTimeout(() => {
      const said = facts.filter(([, value]) => value !== undefined).map(([name, value]) => `${name} ${value}`);
      setText(byId("spoken"), [bucketLong(row.start, this.#grain), ...said, note].filter(Boolean).join(", "));
    }, SPEAK_AFTER_MS);
  }

  #toggleTable() {
    this.#isTable = !this.#isTable;
    setAttr(byId("table-toggle"), "aria-pressed", String(this.#isTable));
    setAttr(byId("chart-table"), "hidden", this.#isTable ? null : "");
    setAttr(byId("copy"), "hidden", this.#isTable ? null : "");
    setAttr(byId("plot-side"), "hidden", this.#isTable ? "" : null);
    if (this.#isTable) this.#drawTable();
  }

  #shownRows() {
    return this.#rows.filter((row) => row.point || row.isOdd).slice(-TABLE_ROWS_MAX).reverse();
  }

  #drawTable() {
    const { unit } = this.#kpi;
    const cell = (text) =>
      text === null || text === undefined
        ? el("td", { text: DASH })
        : el("td", { text: plain(text, unit, this.#currency), title: full(text, unit, this.#currency) });
    const body = this.#shownRows().map((row) =>
      el(
        "tr",
        {},
        el("th", { scope: "row", text: bucketLong(row.start, this.#grain), title: bucketUtc(row.start, this.#grain) }),
        ...[row.point?.value, row.point?.expected, row.point?.lower, row.point?.upper].map(cell),
        el("td", { class: "words", text: noteOf(row) }),
      ),
    );
    byId("chart-rows").replaceChildren(...body);
    setText(byId("chart-caption"), `${this.#kpi.title}, ${byId("chart-about").textContent}, newest first`);
  }

  /** Copies the table as tab-separated text with the exact decimal strings. */
  async #copy() {
    const head = ["period_start", "value", "expected", "lower", "upper", "status", "note"];
    const lines = this.#shownRows().map((row) => {
      const { value, expected, lower, upper, status } = row.point ?? {};
      const start = new Date(row.start).toISOString();
      return [start, value, expected, lower, upper, status, noteOf(row)].map((text) => text ?? "").join("\t");
    });
    const text = [head.join("\t"), ...lines].join("\n");
    try {
      await navigator.clipboard.writeText(text);
      setText(byId("copy"), "Copied");
    } catch {
      setText(byId("copy"), "Not allowed");
    }
    setTimeout(() => setText(byId("copy"), "Copy"), 1500);
  }
}

function noteOf(row) {
  const notes = [];
  if (row.isRunning) notes.push("so far");
  if (row.alert) notes.push(`${row.alert.severity} alert`);
  else if (row.isOdd) notes.push("outside of the expected range");
  if (row.point?.status === "in_doubt") notes.push("in doubt");
  if (row.point?.status === "no_data") notes.push("no data");
  if (row.point?.status === "error") notes.push("could not be computed");
  return notes.join(", ");
}

function emptyWords(kpi, view) {
  if (view.tenant === null) return "Waiting for the first change event.";
  if (kpi.grains?.length === 0) return `${kpi.title} has no periods: what it is now stands on its card.`;
  if (kpi.grains && !kpi.grains.includes(view.grain)) {
    return `${kpi.title} is not kept by ${view.grain}, but by ${kpi.grains.join(", ")}.`;
  }
  const what = [kpi.title, ...Object.values(view.dims)].join(", ");
  return `No data for ${what} in this window.`;
}
