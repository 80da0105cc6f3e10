/**
 * cards: the row of KPI cards: the value of the newest bucket that has begun, its change and a sparkline.
 *
 * For tests: a card is `[data-kpi=<key>]`; its `[data-role=value]` carries `data-raw`, the decimal
 * string as the server sent it (empty without data), and `data-period`, the bucket it is of.
 */

import { el, setAttr, setDigits, setText, svg } from "./dom.js";
import { toNumber } from "./decimal.js";
import { full, short, unitWords } from "./format.js";
import { compare, dimsOf } from "./stats.js";
import { addBuckets, bucketLong, bucketShort, bucketUtc, countBuckets, floorTo, zoneName } from "./time.js";

/** Buckets of a sparkline. */
export const SPARK_BUCKETS = 30;
const SPARK_BUCKETS_MIN = 6;
/** Cards in the row. */
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
const SPARK = { width: 120, height: 36, inset: 3 };
const ARROWS = { up: "\u25b2", down: "\u25bc", flat: "\u2022" };

/** The KPIs that get a card. */
export function cardKpis(kpis) {
  const plain = kpis.filter((kpi) => isPlain(kpi));
  const rank = (kpi) => (PREFERRED.includes(kpi.key) ? PREFERRED.indexOf(kpi.key) : PREFERRED.length);
  return plain
    .map((kpi, i) => ({ kpi, i }))
    .sort((a, b) => rank(a.kpi) - rank(b.kpi) || a.i - b.i)
    .slice(0, CARDS)
    .map(({ kpi }) => kpi);
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

  /** @param {(key: string) => void} onpick called when a card is chosen */
  constructor(root, onpick) {
    this.#root = root;
    this.#onpick = onpick;
  }

  /** Makes the cards; numbers come with `draw`. */
  build(kpis) {
    this.#cards = new Map(kpis.map((kpi) => [kpi.key, new Card(kpi, this.#onpick)]));
    this.#root.replaceChildren(...[...this.#cards.values()].map((card) => card.node));
  }

  /**
   * Draws all cards. `compared` says that comparisons are to be made anew, which costs more than
   * the rest and changes only when a closed bucket does.
   */
  draw({ store, currency, range, chosen, asOf, compared }) {
    for (const card of this.#cards.values()) {
      card.draw({ store, currency, range, isChosen: card.kpi.key === chosen, asOf, compared });
    }
  }
}

class Card {
  constructor(kpi, onpick) {
    this.kpi = kpi;
    this.button = el("button", {
      type: "button",
      class: "card-pick",
      text: kpi.title,
      title: kpi.description || null,
      on: { click: () => onpick(kpi.key) },
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

  draw({ store, currency, range, isChosen, asOf, compared }) {
    const { kpi } = this;
    setAttr(this.button, "aria-pressed", isChosen ? "true" : "false");
    this.node.classList.toggle("is-chosen", isChosen);
    const isLoaded = store.loaded.has(kpi.key) || store.all(kpi.key).length > 0;
    setAttr(this.node, "aria-busy", isLoaded ? null : "true");
    this.node.classList.toggle("is-loading", !isLoaded);
    if (!isLoaded) return;
    const series = store.series(kpi.key, dimsOf(kpi, currency));
    const newest = series?.newestBy(asOf) ?? null;
    this.#drawValue(series, newest, currency, store.grain, asOf);
    this.#drawSpark(series, newest, store.grain, asOf);
    if (compared) this.#drawChange(compare(store, kpi, currency, range));
  }

  #drawValue(series, newest, currency, grain, asOf) {
    const { kpi } = this;
    const point = newest === null ? null : series.points.get(newest);
    const isRunning = newest !== null && asOf !== null && newest >= floorTo(asOf, grain);
    const raw = point?.value ?? null;
    const shown = short(raw, kpi.unit, currency);
    setDigits(this.value, shown);
    setAttr(this.value, "data-raw", raw ?? "");
    setAttr(this.value, "data-period", newest === null ? "" : new Date(newest).toISOString());
    const inDoubt = point?.status === "in_doubt";
    const title = raw === null ? whyEmpty(point, kpi, grain) : full(raw, kpi.unit, currency);
    setAttr(this.value, "title", inDoubt ? `${title}. ${IN_DOUBT}` : title);
    const isError = point?.status === "error";
    const unit = raw === null ? (isError ? "error" : "no data") : unitWords(raw, kpi.unit, currency);
    // A currency without a symbol of its own is in the value already.
    setText(this.unit, [shown.includes(unit) ? "" : unit, inDoubt ? "in doubt" : ""].filter(Boolean).join(", "));
    this.node.classList.toggle("is-empty", raw === null);
    this.node.classList.toggle("is-error", isError);
    setAttr(this.mark, "hidden", isRunning ? null : "");
    setText(this.bucket, newest === null ? "\u00a0" : bucketName(newest, grain, asOf));
    setAttr(this.bucket, "title", newest === null ? null : `${bucketLong(newest, grain)}: ${bucketUtc(newest, grain)}`);
  }

  #drawChange(result) {
    setAttr(this.change, "data-tone", result.tone ?? "flat");
    setText(this.arrow, result.words === null ? "" : ARROWS[result.direction]);
    setText(this.words, result.words ?? (result.label ? "no comparison yet" : ""));
    setText(this.label, result.label || "\u00a0");
    setAttr(this.change, "title", result.tip);
    setAttr(this.label, "title", result.tip);
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

/** Why a card shows a dash. */
function whyEmpty(point, kpi, grain) {
  if (kpi.grains && !kpi.grains.includes(grain)) return `This KPI is not kept by ${grain}.`;
  if (!point) return "No row has fed this KPI yet.";
  if (point.status === "error") return "This KPI could not be computed for this bucket.";
  if (kpi.is_ratio) return `The denominator is 0 or has no rows in this ${grain}: there is no ratio.`;
  return `No row feeds this KPI in this ${grain}.`;
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
