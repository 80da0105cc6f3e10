/**
 * stats: what is derived from the cells: sums of a window, comparisons, currencies, shares.
 *
 * Guarantees
 * - Sums are exact. Ratios of a window are quotients of the window's sums, never means of ratios.
 * - A comparison takes the closed buckets of a window and those in their places in the window before, so
 *   that a bucket that runs is not held against a whole one, and says which.
 */

import { ratio, toNumber, toText } from "./decimal.js";
import { change, full } from "./format.js";
import { addBuckets, bucketLong } from "./time.js";

/** How ratios come from sums: [added and subtracted in the numerator, denominator]. */
const PARTS = {
  average_order_value: { plus: "revenue_booked", over: "orders" },
  gross_margin: { plus: "revenue_recognized", minus: "total_cost", over: "revenue_recognized" },
  roi: { plus: "revenue_recognized", minus: "total_cost", over: "total_cost" },
};

/** The KPIs that have to be read to compare these. */
export function withParts(kpis) {
  const needed = new Set(kpis);
  for (const kpi of kpis) {
    const { plus, minus, over } = PARTS[kpi] ?? {};
    for (const part of [plus, minus, over]) if (part) needed.add(part);
  }
  return [...needed];
}

/** The exact sum of a series over buckets from `from` to `to` (excluded); `null` without any value. */
export function sumOf(series, from, to, grain) {
  let sum = null;
  if (!series) return sum;
  for (let start = from; start < to; start = addBuckets(start, grain, 1)) {
    const units = series.points.get(start)?.units;
    if (units !== undefined && units !== null) sum = (sum ?? 0n) + units;
  }
  return sum;
}

/** The dimensions of a KPI's series in a currency, with values of a breakdown. */
export function dimsOf(kpi, currency, extra = {}) {
  const dims = {};
  for (const name of kpi.dims ?? ["currency"]) {
    if (name === "currency") dims.currency = currency;
    else if (name in extra) dims[name] = extra[name];
  }
  return dims;
}

/** Whether values of several periods may be added. */
export const addsUp = (kpi) => kpi.kind === undefined || kpi.kind === "flow";

/** A KPI over a span: a sum, or a quotient of sums. */
function over(store, kpi, currency, from, to, extra) {
  const sum = (key) => sumOf(store.series(key, { currency }), from, to, store.grain);
  if (!addsUp(kpi) && !kpi.is_ratio) return null;
  if (!kpi.is_ratio) return sumOf(store.series(kpi.key, dimsOf(kpi, currency, extra)), from, to, store.grain);
  const parts = PARTS[kpi.key];
  if (!parts) return null;
  const [plus, minus, under] = [sum(parts.plus), parts.minus ? sum(parts.minus) : 0n, sum(parts.over)];
  if (under === null) return null;
  return ratio((plus ?? 0n) - (minus ?? 0n), under);
}

/**
 * The change of a KPI against the same span before, with a sentence that says what was compared.
 * Without a window before (the window `all`) the last closed bucket is compared with the one before.
 */
export function compare(store, kpi, currency, range, extra = {}) {
  const { grain } = store;
  const isWindow = range.before !== null;
  const nowFrom = isWindow ? range.start : addBuckets(range.running, grain, -1);
  const beforeFrom = isWindow ? range.before : addBuckets(range.running, grain, -2);
  const beforeTo = isWindow ? addBuckets(range.running, grain, -range.buckets) : nowFrom;
  const label = isWindow ? `last ${range.label} vs before` : `last full ${grain} vs before`;
  const { earliest } = store;
  if (earliest === null) return { words: null, label: "", tip: "There are no numbers yet." };
  if (earliest > addBuckets(beforeFrom, grain, isWindow ? Math.ceil(range.buckets / 10) : 0)) {
    return { words: null, label, tip: "Nothing to compare with: the history does not reach back that far." };
  }
  const now = over(store, kpi, currency, nowFrom, range.running, extra);
  const before = over(store, kpi, currency, beforeFrom, beforeTo, extra);
  if (!addsUp(kpi) && !kpi.is_ratio) {
    return { words: null, label, tip: `Different ${grain}s of this KPI do not add up, and are not compared.` };
  }
  if (kpi.is_ratio && !PARTS[kpi.key]) {
    return { words: null, label, tip: "A ratio of parts that this page does not know is not compared." };
  }
  if (now === null || before === null) {
    return { words: null, label, tip: "Nothing to compare: one of the two spans has no data." };
  }
  const spell = (units) => full(toText(units), kpi.unit, currency);
  const spanOf = (from, to) => {
    const last = addBuckets(to, grain, -1);
    return from === last ? bucketLong(from, grain) : `${bucketLong(from, grain)} to ${bucketLong(last, grain)}`;
  };
  const how = kpi.is_ratio ? "from the sums of" : "sum of";
  const tip =
    `${spell(now)} (${how} ${spanOf(nowFrom, range.running)}) against ` +
    `${spell(before)} (${spanOf(beforeFrom, beforeTo)}). Closed ${grain}s only; the running ${grain} is not counted.`;
  return { ...change(now, before, kpi.unit, kpi.good), label, tip };
}

/** The currencies of a tenant, the one with the most revenue first. */
export function currenciesOf(store, kpis) {
  const weight = new Map();
  for (const kpi of kpis) {
    for (const series of store.all(kpi.key)) {
      const { currency } = series.dims;
      if (currency === undefined) continue;
      let sum = weight.get(currency) ?? 0;
      // Different currencies cannot be added or compared; this only picks what is shown first.
      if (kpi.key === "revenue_booked") {
        for (const point of series.points.values()) sum += point.units === null ? 0 : toNumber(point.units);
      }
      weight.set(currency, sum);
    }
  }
  return [...weight].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)).map(([currency]) => currency);
}

/**
 * The rows of a breakdown over a span, largest first. A row's change compares `closed`, its closed
 * buckets, with those from `before` to `beforeTo`.
 *
 * @param {{from: number, to: number, closedTo: number, before: number | null, beforeTo: number | null}} span
 * @returns {{rows: {dims: object, name: string | null, units: bigint, closed: bigint | null, before: bigint | null}[], total: bigint}}
 */
export function breakdown(store, kpi, currency, { from, to, closedTo, before, beforeTo }) {
  const { earliest } = store;
  const isComparable = before !== null && earliest !== null && earliest <= before;
  const name = (kpi.dims ?? []).find((dim) => dim !== "currency");
  const rows = [];
  let total = 0n;
  for (const series of store.all(kpi.key)) {
    if (series.dims.currency !== undefined && series.dims.currency !== currency) continue;
    const units = sumOf(series, from, to, store.grain);
    if (units === null) continue;
    total += units;
    rows.push({
      dims: series.dims,
      name: series.dims[name] ?? null,
      units,
      closed: isComparable ? sumOf(series, from, closedTo, store.grain) : null,
      before: isComparable ? sumOf(series, before, beforeTo, store.grain) : null,
    });
  }
  rows.sort((a, b) => (a.units < b.units ? 1 : a.units > b.units ? -1 : String(a.name) < String(b.name) ? -1 : 1));
  return { rows, total };
}
