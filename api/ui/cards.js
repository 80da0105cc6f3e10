/**
 * cards: KPI cards: the value of a window, or of the newest bucket that has begun, its change and a sparkline.
 *
 * Value and change are one figure of the server (see figures.js): of the same window, or of the same bucket.
 *
 * For tests: a card is `[data-kpi=<key>]`; its `[data-role=value]` carries `data-raw`, the decimal
 * string as the server sent it (empty without data), `data-grain`, the window or grain that it is of, and
 * `data-period`, where that begins; its `[data-role=change]` carries `data-raw`, the change as it was sent, and
 * `data-previous`, the value that it is against.
 */

import { el, setAttr, setDigits, setText, svg } from "./dom.js";
import { toNumber } from "./decimal.js";
import { grainOf, isRunning, isWindow, labelOf, reaches } from "./figures.js";
import { changeOf, full, short, unitWords } from "./format.js";
import { currencyOf, dimsOf, largest } from "./stats.js";
import { addBuckets, bucketLong, bucketShort, bucketUtc, countBuckets, floorTo, utc, zoneName } from "./time.js";
import { WINDOWS } from "./view.js";

/** Buckets of a sparkline. */
export const SPARK_BUCKETS = 30;
const SPARK_BUCKETS_MIN = 6;
/** Cards of the overview that nobody has chosen. */
const CARDS = 6;
/** The KPIs that say most about a shop and its bill, in this order; others fill the row up. */
const PREFERRED = [
  "revenue_booked",
  "orders",
  "revenue_recognized",
  "total_cost",
  "gross_margin",
  "roi",
  "average_order_value",
];
/** Values of more characters than these are smaller, so that the unit has room beside them. */
const LONG_FROM = 8;
const SPARK = { width: 120, height: 36, inset: 3 };
const ARROWS = { up: "\u25b2", down: "\u25bc", flat: "\u2022" };

/** The KPIs that are cards of the overview, unless somebody chose others. */
export function overviewOf(kpis) {
  const plain = kpis.filter((kpi) => isPlain(kpi) && !kpi.breakdown_of);
  const rank = (kpi) => (PREFERRED.includes(kpi.key) ? PREFERRED.indexOf(kpi.key) : PREFERRED.length);
  return plain
    .map((kpi, i) => ({ kpi, i }))
    .sort((a, b) => rank(a.kpi) - rank(b.kpi) || a.i - b.i)
    .slice(0, CARDS)
    .map(({ kpi }) => kpi);
}

/** The KPIs that are cards in a view: those of its group, or the chosen ones. */
export function cardKpis(kpis, view) {
  const own = kpis.filter((kpi) => kpi.group === view.group);
  if (view.group && own.length > 0) return own;
  const chosen = (view.cards ?? []).map((key) => kpis.find((kpi) => kpi.key === key)).filter(Boolean);
  return chosen.length > 0 ? chosen : overviewOf(kpis);
}

/** Whether a KPI has one series per currency, or one at all. */
export function isPlain(kpi) {
  return (kpi.dims ?? []).every((dim) => dim === "currency");
}

/** The row of cards. */
export class Cards {
  #root;
  #onpick;
  #cards = new Map();

  /** @param {(key: string, dims: object) => void} onpick called when a card is chosen */
  constructor(root, onpick) {
    this.#root = root;
    this.#onpick = onpick;
  }

  /** Makes the cards of these KPIs, unless they are there; numbers come with `draw`. */
  build(kpis) {
    if (kpis.map((kpi) => kpi.key).join() === [...this.#cards.keys()].join()) return;
    const made = (kpi) => this.#cards.get(kpi.key) ?? new Card(kpi, this.#onpick);
    this.#cards = new Map(kpis.map((kpi) => [kpi.key, made(kpi)]));
    this.#root.replaceChildren(...[...this.#cards.values()].map((card) => card.node));
  }

  /** Draws all cards. */
  draw(of) {
    for (const card of this.#cards.values()) card.draw(of);
  }
}

class Card {
  constructor(kpi, onpick) {
    this.kpi = kpi;
    this.dims = {};
    this.button = el("button", {
      type: "button",
      class: "card-pick",
      text: kpi.title,
      title: kpi.description || null,
      on: { click: () => onpick(kpi.key, this.dims) },
    });
    this.mark = el("span", { class: "chip", text: "so far", hidden: true, title: "This bucket is still running." });
    this.value = el("span", { class: "card-value num", "data-role": "value", "data-raw": "" });
    this.unit = el("span", { class: "card-unit" });
    this.bucket = el("span", { class: "card-bucket" });
    this.arrow = el("span", { class: "arrow", "aria-hidden": "true" });
    this.words = el("span", { class: "num", "data-role": "change" });
    this.change = el("p", { class: "card-change" }, this.arrow, this.words);
    this.label = el("p", { class: "card-label", text: "\u00a0" });
    this.line = svg("path", { class: "spark-line" });
    this.area = svg("path", { class: "spark-area" });
    this.tail = svg("path", { class: "spark-line spark-running" });
    this.dot = svg("path", { class: "spark-dot" });
    this.spark = svg(
      "svg",
      {
        class: "spark",
        viewBox: `0 0 ${SPARK.width} ${SPARK.height}`,
        preserveAspectRatio: "none",
        "aria-hidden": "true",
      },
      this.area,
      this.line,
      this.tail,
      this.dot,
    );
    this.node = el(
      "article",
      { class: "card kpi", "data-kpi": kpi.key, "aria-busy": "true" },
      el("div", { class: "card-head" }, el("h3", {}, this.button)),
      el("p", { class: "card-main" }, this.value, this.unit),
      this.change,
      this.label,
      this.spark,
      el("p", { class: "card-foot" }, this.bucket, this.mark),
    );
  }

  draw({ store, figures, view, asOf, reach }) {
    const { kpi } = this;
    const isChosen = view.kpi === kpi.key;
    setAttr(this.button, "aria-pressed", isChosen ? "true" : "false");
    this.node.classList.toggle("is-chosen", isChosen);
    const grain = grainOf(kpi, view);
    // Which currency is shown is known when series are.
    const isBare = view.currency === null && figures.all(kpi.key, grain, asOf).some((cell) => cell.dims.currency);
    const isLoaded = view.tenant === null || (figures.has(kpi.key, grain) && !isBare);
    setAttr(this.node, "aria-busy", isLoaded ? null : "true");
    this.node.classList.toggle("is-loading", !isLoaded);
    if (!isLoaded) return;
    // A breakdown shows its largest part.
    this.dims = isPlain(kpi) ? {} : largest(kpi, view.currency, figures.all(kpi.key, grain, asOf));
    const dims = dimsOf(kpi, view.currency, this.dims);
    const figure = figures.one(kpi.key, dims, grain, asOf);
    const shown = { figure, grain, view, asOf, reach, isRunning: isRunning(figure, grain, asOf) };
    this.#drawValue(shown);
    this.#drawChange(changeShown(kpi, shown));
    const series = store.series(kpi.key, dims);
    this.#drawSpark(series, series?.newestBy(asOf) ?? null, store.grain, asOf);
  }

  #drawValue({ figure, grain, view, asOf, isRunning }) {
    const { kpi } = this;
    const currency = currencyOf(kpi, view.currency);
    const raw = figure?.value ?? null;
    const shown = short(raw, kpi.unit, currency);
    setDigits(this.value, shown);
    this.value.classList.toggle("is-long", shown.length > LONG_FROM);
    setAttr(this.value, "data-raw", raw ?? "");
    setAttr(this.value, "data-grain", grain);
    setAttr(this.value, "data-period", figure === null ? "" : new Date(figure.period_start).toISOString());
    const inDoubt = figure?.status === "in_doubt";
    const title = raw === null ? whyEmpty(figure, kpi, grain) : full(raw, kpi.unit, currency);
    setAttr(this.value, "title", inDoubt ? `${title}. ${IN_DOUBT}` : title);
    const isError = figure?.status === "error";
    const unit = raw === null ? (isError ? "error" : "no data") : unitWords(raw, kpi.unit, currency);
    // A currency without a symbol of its own is in the value already.
    setText(this.unit, [shown.includes(unit) ? "" : unit, inDoubt ? "in doubt" : ""].filter(Boolean).join(", "));
    this.node.classList.toggle("is-empty", raw === null);
    this.node.classList.toggle("is-error", isError);
    setAttr(this.mark, "hidden", isRunning && !isWindow(grain) ? null : "");
    const parts = Object.values(this.dims).map((value) => value || "(none)");
    setText(this.bucket, [...parts, placeOf(figure, grain, view, asOf)].filter(Boolean).join(" \u00b7 ") || "\u00a0");
    setAttr(this.bucket, "title", placeInFull(figure, grain, view));
  }

  #drawChange({ words, direction, tone, label, tip, raw, previous }) {
    setAttr(this.change, "data-tone", tone ?? "flat");
    setText(this.arrow, direction ? ARROWS[direction] : "");
    setText(this.words, words);
    setAttr(this.words, "data-raw", raw ?? "");
    setAttr(this.words, "data-previous", previous ?? "");
    setText(this.label, label || "\u00a0");
    setAttr(this.change, "title", tip);
    setAttr(this.label, "title", tip);
  }

  #drawSpark(series, newest, grain, asOf) {
    const shape = newest === null ? null : sparkOf(series, newest, grain, asOf);
    setAttr(this.line, "d", shape?.line ?? "");
    setAttr(this.area, "d", shape?.area ?? "");
    setAttr(this.tail, "d", shape?.tail ?? "");
    setAttr(this.dot, "d", shape?.dot ?? "");
  }
}

/** What `in_doubt` means. */
const IN_DOUBT = "In doubt: a row that feeds it lacks a value, or its newest change could not be read.";

/** What a card says below its value: the change, what it is against, and both in full. */
function changeShown(kpi, { figure, grain, view, reach, isRunning }) {
  if (figure === null) return { words: "no comparison", label: "", tip: "There are no numbers yet." };
  const { previous, change } = figure;
  if (!previous) {
    const tip = grain === "all" ? "There is nothing before all time." : `The calendar has no ${grain} to compare this one with.`;
    return { words: grain === "all" ? "all time" : "no comparison", label: "", tip };
  }
  const before = spanOf(previous, grain);
  const currency = currencyOf(kpi, view.currency);
  const spell = (text) => full(text, kpi.unit, currency);
  const label = isWindow(grain) ? `vs the ${labelOf(grain)} before` : `vs ${before.short}`;
  const told = { raw: change, previous: previous.value };
  if (previous.value === null) {
    const why = before.isPart
      ? `what it was by then cannot be told of this KPI: only whole ${grain}s of it are compared.`
      : `no row feeds this KPI in ${before.long}.`;
    return { ...told, words: "no comparison yet", label, tip: `Nothing to compare with: ${why}` };
  }
  if (!reaches(figure, reach)) {
    const tip = `Nothing to compare with: the history does not reach back over ${before.long}.`;
    return { ...told, words: "no comparison yet", label, tip };
  }
  if (figure.value === null) return { ...told, words: "no comparison", label, tip: `It was ${spell(previous.value)} in ${before.long}.` };
  if (grain === "hour" && isRunning) {
    // A part of an hour is not held against a whole one.
    const tip = `The hour still runs; the whole one before, ${before.long}, had ${spell(previous.value)}.`;
    return { words: "hour so far", label: `hour before: ${short(previous.value, kpi.unit, currency)}`, tip };
  }
  const shown = changeOf(figure, kpi.unit, kpi.good, currency);
  if (shown === null) return { ...told, words: "no comparison", label, tip: "The change is too large a number." };
  const tip = `${spell(figure.value)} against ${spell(previous.value)} in ${before.long}.`;
  return { ...told, ...shown, label, tip };
}

/** The earlier span of a comparison, in few words and in full, and whether it is a part of a bucket. */
function spanOf({ period_start: from, period_end: to }, grain) {
  const [start, end] = [Date.parse(from), Date.parse(to)];
  if (isWindow(grain)) return { short: "", long: `${utc(start)} to ${utc(end)}`, isPart: false };
  const isPart = end < addBuckets(start, grain, 1);
  const name = bucketShort(start, grain);
  const long = isPart ? `${bucketLong(start, grain)} up to ${utc(end)}` : bucketLong(start, grain);
  const part = grain === "day" ? "by now" : "to date";
  return { short: isPart ? `${name} ${part}` : name, long, isPart };
}

/** Why a card shows a dash. */
function whyEmpty(figure, kpi, grain) {
  const place = isWindow(grain) ? `the window of ${labelOf(grain)}` : `this ${grain}`;
  if (!figure) return isWindow(grain) ? `No row feeds this KPI in ${place}.` : "No row has fed this KPI yet.";
  if (figure.status === "error") return `This KPI could not be computed for ${place}.`;
  if (kpi.is_ratio) return `The denominator is 0 or has no rows in ${place}: there is no ratio.`;
  if (kpi.currency && figure.status === "no_data") return `A rate to ${kpi.currency} is lacking for money of ${place}.`;
  return `No row feeds this KPI in ${place}.`;
}

/** What a figure is of, in few words: `last 7 d`, or its bucket. */
function placeOf(figure, grain, view, asOf) {
  if (grain === "all") return "all time";
  if (isWindow(grain)) return `last ${labelOf(grain)}`;
  return figure === null ? "" : bucketName(Date.parse(figure.period_start), grain, asOf);
}

/** The same in full, with why it is not of the window that was chosen. */
function placeInFull(figure, grain, view) {
  const start = figure === null ? null : Date.parse(figure.period_start);
  if (isWindow(grain)) return figure?.period_end ? `${utc(start)} to ${utc(Date.parse(figure.period_end))}` : null;
  const span = start === null ? "" : `${bucketLong(start, grain)}: ${bucketUtc(start, grain)}`;
  const why = view.show === "window" ? `This KPI has no window of ${WINDOWS[view.window].label}, so it is shown by ${grain}.` : "";
  return [span, why].filter(Boolean).join(". ") || null;
}

/** `today, Sat 21 Nov` for what runs; the bucket's name otherwise. */
function bucketName(start, grain, asOf) {
  if (grain !== "hour") return grain === "day" && zoneName() === "UTC" ? `${bucketShort(start, grain)} UTC` : bucketShort(start, grain);
  const isToday = asOf !== null && floorTo(start, "day") === floorTo(asOf, "day");
  const hours = `${bucketShort(start, grain)}\u2013${bucketShort(addBuckets(start, grain, 1), grain)} UTC`;
  return isToday ? hours : `${bucketLong(start, "hour").replace(/, [^,]*$/, "")}, ${hours}`;
}

/** The paths of a sparkline: closed buckets, their area, the running end and a dot on it. */
function sparkOf(series, newest, grain, asOf) {
  const values = [];
  // A short history is not squeezed into a corner.
  const buckets = Math.min(SPARK_BUCKETS, Math.max(SPARK_BUCKETS_MIN, countBuckets(series.oldest, newest, grain) + 1));
  for (let i = buckets - 1; i >= 0; i -= 1) {
    const units = series.points.get(addBuckets(newest, grain, -i))?.units;
    values.push(units === undefined || units === null ? null : toNumber(units));
  }
  const known = values.filter((value) => value !== null);
  if (known.length === 0) return null;
  const top = Math.max(...known);
  const low = Math.min(...known);
  const bottom = low >= 0 && low < top / 2 ? 0 : low;
  const x = (i) => ((i * (SPARK.width - SPARK.inset)) / (buckets - 1)).toFixed(1);
  const high = SPARK.height - 2 * SPARK.inset;
  const y = (value) => (SPARK.inset + high * (top === bottom ? 0.5 : (top - value) / (top - bottom))).toFixed(1);
  const isRunning = asOf !== null && newest >= floorTo(asOf, grain);
  const last = buckets - 1;
  let line = "";
  let area = "";
  let begin = null;
  const close = (end) => {
    if (begin !== null) area += `L${x(end)} ${SPARK.height}L${x(begin)} ${SPARK.height}Z`;
    begin = null;
  };
  values.forEach((value, i) => {
    if (value === null || (isRunning && i === last)) return close(i - 1);
    line += `${begin === null ? "M" : "L"}${x(i)} ${y(value)}`;
    area += `${begin === null ? "M" : "L"}${x(i)} ${y(value)}`;
    begin ??= i;
  });
  close(last);
  const end = values[last];
  const before = values[last - 1];
  const hasTail = isRunning && end !== null && before !== null;
  return {
    line,
    area,
    tail: hasTail ? `M${x(last - 1)} ${y(before)}L${x(last)} ${y(end)}` : "",
    dot: end === null ? "" : `M${x(last)} ${y(end)}h0.01`,
  };
}
