/**
 * chart-data: the columns and rows of the main chart, from the cells up to the bucket that runs.
 *
 * Floats appear here and nowhere else: they are positions of pixels. Every number that is read out
 * comes from the row's decimal string.
 */

import { addBuckets, countBuckets } from "./time.js";

/** The columns in the order in which the chart takes them. */
export const COLUMNS = ["x", "upper", "lower", "expected", "ghost", "closed", "running"];

/**
 * @param {import("./store.js").Series | null} series
 * @param {{start: number, running: number, before: number | null}} range
 * @param {{grain: string, ghost: boolean, alerts: Map<number, object>}} how `alerts` by bucket
 */
export function chartData(series, range, { grain, ghost, alerts }) {
  const columns = Object.fromEntries(COLUMNS.map((name) => [name, []]));
  const rows = [];
  const shift = range.before === null ? null : countBuckets(range.before, range.start, grain);
  for (let start = range.start; start <= range.running; start = addBuckets(start, grain, 1)) {
    const point = series?.points.get(start) ?? null;
    const before = ghost && shift !== null ? series?.points.get(addBuckets(start, grain, -shift)) : null;
    const isRunning = start >= range.running;
    const alert = alerts.get(start) ?? null;
    const row = { start, point, before: before ?? null, isRunning, alert, isOdd: false };
    row.isOdd = alert !== null || (!isRunning && point !== null && point.isOdd);
    rows.push(row);
    columns.x.push(start / 1000);
    columns.upper.push(point?.drawn.upper ?? null);
    columns.lower.push(point?.drawn.lower ?? null);
    columns.expected.push(point?.drawn.expected ?? null);
    columns.ghost.push(before?.number ?? null);
    const value = point?.number ?? null;
    columns.closed.push(isRunning ? null : value);
    columns.running.push(isRunning ? value : null);
  }
  joinRunning(rows, columns);
  const hasData = rows.some((row) => row.point !== null && row.point.value !== null);
  return { columns: COLUMNS.map((name) => columns[name]), rows, hasData, hasBand: columns.upper.some((v) => v !== null) };
}

/** The dashed line begins where the closed one ends. */
function joinRunning(rows, columns) {
  const first = rows.findIndex((row) => row.isRunning);
  if (first > 0 && columns.running[first] !== null) columns.running[first - 1] = columns.closed[first - 1];
}

/** Indices of values without a neighbour on either side: a line does not show them. */
export function isolated(values) {
  const found = [];
  const has = (i) => values[i] !== null && values[i] !== undefined;
  values.forEach((_, i) => {
    if (has(i) && !has(i - 1) && !has(i + 1)) found.push(i);
  });
  return found;
}
