/**
 * store: the KPI cells of one tenant and grain, as they are known to the page.
 *
 * Guarantees
 * - Values are the decimal strings that the server sent; exact units are derived when needed.
 * - Bands (`expected`, `lower`, `upper`) come from the REST series only and survive live updates.
 * - After a snapshot the cells in its reach are exactly those of the snapshot.
 */

import { toNumber, toUnits } from "./decimal.js";

/** Dimensions as one text, whatever order their names came in. */
export function dimsKey(dims) {
  return JSON.stringify(Object.entries(dims).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** One cell. */
class Point {
  value = null;
  status = "no_data";
  expected = null;
  lower = null;
  upper = null;
  /** Expected, lower and upper as floats, for drawing. */
  drawn = { expected: null, lower: null, upper: null };
  /** The snapshot that named it last. */
  seen = 0;
  #units = undefined;

  set(value, status) {
    this.value = value ?? null;
    this.status = status;
    this.#units = undefined;
  }

  setBand(band) {
    for (const name of ["expected", "lower", "upper"]) {
      this[name] = band[name] ?? null;
      this.drawn[name] = this[name] === null ? null : toNumber(toUnits(this[name]));
    }
  }

  /** The exact value, `null` when there is none. */
  get units() {
    if (this.#units === undefined) this.#units = this.value === null ? null : toUnits(this.value);
    return this.#units;
  }

  /** The value as a float, for drawing. */
  get number() {
    return this.units === null ? null : toNumber(this.units);
  }

  /** Whether the value is outside of what was expected; floats decide unless it is close. */
  get isOdd() {
    const { lower, upper } = this.drawn;
    if (this.units === null || lower === null || upper === null) return false;
    if (this.number > lower && this.number < upper) return false;
    return this.units < toUnits(this.lower) || this.units > toUnits(this.upper);
  }
}

/** The cells of one KPI and one set of dimensions. */
class Series {
  points = new Map();
  newest = null;
  oldest = null;

  constructor(kpi, dims) {
    this.kpi = kpi;
    this.dims = dims;
  }

  /** The newest bucket that has begun by an instant: a row may be dated in the future. */
  newestBy(asOf) {
    if (this.newest === null || this.newest <= asOf) return this.newest;
    let newest = null;
    for (const at of this.points.keys()) {
      if (at <= asOf && (newest === null || at > newest)) newest = at;
    }
    return newest;
  }

  at(start) {
    let point = this.points.get(start);
    if (!point) {
      point = new Point();
      this.points.set(start, point);
      if (this.newest === null || start > this.newest) this.newest = start;
      if (this.oldest === null || start < this.oldest) this.oldest = start;
    }
    return point;
  }

  remove(start) {
    if (!this.points.delete(start)) return;
    if (start !== this.newest && start !== this.oldest) return;
    this.newest = null;
    this.oldest = null;
    for (const at of this.points.keys()) {
      if (this.newest === null || at > this.newest) this.newest = at;
      if (this.oldest === null || at < this.oldest) this.oldest = at;
    }
  }
}

/** See the head of this file. */
export class Store {
  #series = new Map();
  #byKpi = new Map();
  #snapshot = 0;
  /** KPIs whose series have been read at least once. */
  loaded = new Set();
  /** Whether any bucket has a band: whether anything is watched. */
  hasBand = false;
  /** When a KPI last changed on this page, by `performance.now()`. */
  changedAt = new Map();

  constructor(tenant, grain) {
    this.tenant = tenant;
    this.grain = grain;
  }

  /** The series of a KPI with exactly these dimensions. */
  series(kpi, dims) {
    return this.#series.get(`${kpi}|${dimsKey(dims)}`) ?? null;
  }

  /** Every series of a KPI. */
  all(kpi) {
    return this.#byKpi.get(kpi) ?? [];
  }

  /** The earliest bucket of any series, `null` when there is none. */
  get earliest() {
    let earliest = null;
    for (const { oldest } of this.#series.values()) {
      if (oldest !== null && (earliest === null || oldest < earliest)) earliest = oldest;
    }
    return earliest;
  }

  /**
   * Takes an answer of the series call. With `bandsOnly`, values that are known already stay: the
   * stream is newer than any answer.
   */
  load(answer, { bandsOnly = false } = {}) {
    for (const { dims, points } of answer.series) {
      const series = this.#open(answer.kpi, dims);
      for (const from of points) {
        const start = Date.parse(from.period_start);
        const isKnown = series.points.has(start);
        const point = series.at(start);
        if (!bandsOnly || !isKnown) point.set(from.value, from.status);
        point.setBand(from);
        this.hasBand ||= point.lower !== null;
      }
    }
    this.loaded.add(answer.kpi);
  }

  /** Begins a snapshot: what it does not name is gone when it ends. */
  beginSnapshot() {
    this.#snapshot += 1;
  }

  /** Ends a snapshot whose filter began at `from`. */
  endSnapshot(from) {
    for (const series of this.#series.values()) {
      for (const [start, point] of [...series.points]) {
        if (start >= from && point.seen !== this.#snapshot) series.remove(start);
      }
    }
  }

  /** Applies changed cells and gives the KPIs that they belong to. */
  apply(upserts, deletes, now = performance.now()) {
    const changed = new Set();
    for (const cell of upserts) {
      if (!this.#holds(cell)) continue;
      const point = this.#open(cell.kpi, cell.dims).at(Date.parse(cell.period_start));
      point.set(cell.value, cell.status);
      point.seen = this.#snapshot;
      changed.add(cell.kpi);
    }
    for (const cell of deletes) {
      if (!this.#holds(cell)) continue;
      this.series(cell.kpi, cell.dims)?.remove(Date.parse(cell.period_start));
      changed.add(cell.kpi);
    }
    for (const kpi of changed) this.changedAt.set(kpi, now);
    return changed;
  }

  #holds(cell) {
    return cell.tenant === this.tenant && cell.grain === this.grain;
  }

  #open(kpi, dims) {
    const key = `${kpi}|${dimsKey(dims)}`;
    let series = this.#series.get(key);
    if (!series) {
      series = new Series(kpi, dims);
      this.#series.set(key, series);
      this.#byKpi.set(kpi, [...this.all(kpi), series]);
    }
    return series;
  }
}
