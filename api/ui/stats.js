/**
 * stats: what is derived from the cells: currencies, the dimensions of a series, and the sums of a part of a chart
 * that somebody marked, which is no window of the server's.
 *
 * Guarantees
 * - Sums are exact, and of KPIs whose values add up.
 */

import { toNumber, toUnits } from "./decimal.js";
import { addBuckets } from "./time.js";

/** The exact sum of a series over buckets from `from` to `to` (excluded); `null` without any value. */
function sumOf(series, from, to, grain) {
  let sum = null;
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

/** The currency that a KPI's money is in: its own where it has one, else the one that is shown. */
export const currencyOf = (kpi, currency) => kpi.currency ?? currency;

/** Whether values of several periods may be added. */
export const addsUp = (kpi) => kpi.kind === undefined || kpi.kind === "flow";

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

/** The dimension that a breakdown is by. */
const byOf = (kpi) => (kpi.dims ?? []).find((dim) => dim !== "currency");

const isIn = (dims, currency) => dims.currency === undefined || dims.currency === currency;

function sorted(rows) {
  const byName = (a, b) => (String(a.name) < String(b.name) ? -1 : 1);
  return rows.sort((a, b) => (a.units < b.units ? 1 : a.units > b.units ? -1 : byName(a, b)));
}

/**
 * The rows of a breakdown from its figures, largest first.
 *
 * @returns {{dims: object, name: string | null, units: bigint, cell: object | null}[]}
 */
export function rowsOf(kpi, currency, cells) {
  const own = cells.filter((cell) => isIn(cell.dims, currency) && cell.value !== null);
  return sorted(own.map((cell) => ({ dims: cell.dims, name: cell.dims[byOf(kpi)] ?? null, units: toUnits(cell.value), cell })));
}

/** The same of the sums of a marked part of the chart, from its first bucket to before `to`, without comparisons. */
export function marked(store, kpi, currency, { from, to }) {
  const rows = [];
  for (const series of store.all(kpi.key)) {
    const units = isIn(series.dims, currency) ? sumOf(series, from, to, store.grain) : null;
    if (units !== null) rows.push({ dims: series.dims, name: series.dims[byOf(kpi)] ?? null, units, cell: null });
  }
  return sorted(rows);
}

/** The dimensions of the largest of some figures in a currency, but for the currency; none without a figure. */
export function largest(kpi, currency, cells) {
  const { currency: _, ...rest } = rowsOf(kpi, currency, cells)[0]?.dims ?? {};
  return rest;
}
