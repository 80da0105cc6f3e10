/**
 * figures: values with what they are compared with, of windows and of newest periods, as the server tells them.
 *
 * Guarantees
 * - A figure's value, counterpart and change are of one window or one period, and the server's own: nothing is
 *   added up here.
 * - A KPI that is not kept by what is wanted falls back, and `grainOf` says to what: from the window to the grain,
 *   from a grain to the next longer one that the KPI has.
 *
 * Non-guarantees
 * - Of a period the newest one that has begun is known for sure, and those of the last `LOOK_BACK` buckets that
 *   changed meanwhile.
 */

import { dimsKey } from "./store.js";
import { addBuckets, floorTo, rfc3339 } from "./time.js";
import { GRAINS, WINDOWS } from "./view.js";

/** Changes of older buckets than these are not listened to. */
const LOOK_BACK = 30;
/** KPIs that one question may name. */
const KPIS_MAX = 100;

/** Whether a word is one of a window. */
export const isWindow = (grain) => !GRAINS.includes(grain);

/** By which window or grain a KPI is shown in a view. */
export function grainOf(kpi, view) {
  const { name } = WINDOWS[view.window];
  const windows = kpi.windows ?? [];
  if (view.show === "window" && windows.includes(name)) return name;
  const own = kpi.grains ?? [];
  if (own.length === 0) return windows[0] ?? view.grain;
  const longer = GRAINS.slice(GRAINS.indexOf(view.grain));
  return longer.find((grain) => own.includes(grain)) ?? own[own.length - 1];
}

/** Whether a figure is of a period that still runs; a window always does. */
export function isRunning(figure, grain, asOf) {
  if (figure === null || isWindow(grain)) return figure !== null;
  return asOf !== null && Date.parse(figure.period_start) >= floorTo(asOf, grain);
}

/** The words of a window: `7 d`. */
export const labelOf = (grain) => Object.values(WINDOWS).find((window) => window.name === grain)?.label ?? grain;

/**
 * Whether what a figure is compared with lies within the history: a span of which most is missing is none to compare with.
 *
 * @param {{earliest: number | null, from: number}} reach the first bucket that is known, of those that were asked for
 */
export function reaches({ previous }, { earliest, from }) {
  if (!previous) return true;
  const [start, end] = [Date.parse(previous.period_start), Date.parse(previous.period_end)];
  // Of what lies before all that was asked for nothing is known here.
  if (end <= from) return true;
  return earliest !== null && earliest <= Math.max(start, from) + (end - start) / 10;
}

/** One question: KPIs by one window or grain, of one period if `at` names it, else of the newest. */
class Question {
  series = new Map();
  isLoaded = false;
  isDropped = false;
  subscription = null;

  constructor(grain, at) {
    this.grain = grain;
    this.at = at;
    this.kpis = new Set();
  }

  /** The place of a cell in its series; a window has one. */
  #place(cell) {
    return isWindow(this.grain) ? 0 : Date.parse(cell.period_start);
  }

  apply(upserts, deletes) {
    for (const cell of upserts) {
      const key = `${cell.kpi}|${dimsKey(cell.dims)}`;
      if (!this.series.has(key)) this.series.set(key, { kpi: cell.kpi, dims: cell.dims, cells: new Map() });
      this.series.get(key).cells.set(this.#place(cell), cell);
    }
    for (const cell of deletes) {
      const key = `${cell.kpi}|${dimsKey(cell.dims)}`;
      this.series.get(key)?.cells.delete(this.#place(cell));
    }
  }

  /** The newest cell of a series that has begun by an instant. */
  newest({ cells }, asOf) {
    let newest = null;
    for (const [at, cell] of cells) {
      if ((asOf === null || at <= asOf) && (newest === null || at > newest.at)) newest = { at, cell };
    }
    return newest?.cell ?? null;
  }
}

/** See the head of this file. */
export class Figures {
  #session;
  #stream;
  #of = "";
  #questions = [];

  constructor(session, stream) {
    this.#session = session;
    this.#stream = stream;
  }

  /**
   * Asks for KPIs by what they are shown by, once and then live. What is known already stays, and what is no longer
   * wanted is forgotten.
   *
   * @param {{tenant: string, generation: string, now: number}} of
   * @param {{kpi: string, grain: string, at?: number | null}[]} wanted
   */
  async want({ tenant, generation, now }, wanted) {
    const of = JSON.stringify([tenant, generation]);
    if (of !== this.#of) this.clear();
    this.#of = of;
    const isWanted = (own) => wanted.some(({ kpi, grain, at = null }) => own.grain === grain && own.at === at && own.kpis.has(kpi));
    this.#drop((own) => !isWanted(own));
    const missing = new Map();
    for (const { kpi, grain, at = null } of wanted) {
      if (this.#find(kpi, grain, at)) continue;
      const name = `${grain}|${at ?? ""}`;
      if (!missing.has(name)) missing.set(name, new Question(grain, at));
      missing.get(name).kpis.add(kpi);
    }
    this.#questions.push(...missing.values());
    await Promise.all([...missing.values()].map((question) => this.#ask(question, tenant, generation, now)));
  }

  /** Forgets everything, as when another tenant is looked at. */
  clear() {
    this.#drop(() => true);
  }

  #drop(isDropped) {
    for (const own of this.#questions.filter(isDropped)) {
      own.isDropped = true;
      if (own.subscription !== null) this.#stream.unsubscribe(own.subscription);
    }
    this.#questions = this.#questions.filter((own) => !own.isDropped);
  }

  async #ask(question, tenant, generation, now) {
    const { grain, at } = question;
    const kpis = [...question.kpis].slice(0, KPIS_MAX);
    const one = at === null ? {} : { from: rfc3339(at), to: rfc3339(addBuckets(at, grain, 1)) };
    let answer;
    try {
      answer = await this.#session.get("kpis", { tenant, grain, kpi: kpis.join(","), compare: "previous", ...one });
    } catch (error) {
      if (question.isDropped) return;
      this.#drop((own) => own === question);
      throw error;
    }
    if (question.isDropped) return;
    question.apply(answer.kpis, []);
    question.isLoaded = true;
    const newest = isWindow(grain) ? {} : { from: rfc3339(addBuckets(floorTo(now, grain), grain, -LOOK_BACK)) };
    const filter = { tenant, grain, kpi: kpis, compare: "previous", ...(at === null ? newest : one) };
    const since = generation ? { since: { generation, offset: answer.epoch } } : {};
    question.subscription = this.#stream.subscribe("kpi", filter, since);
  }

  #find(kpi, grain, at) {
    return this.#questions.find((own) => own.grain === grain && own.at === at && own.kpis.has(kpi)) ?? null;
  }

  #told(id) {
    return this.#questions.find((own) => own.subscription === id) ?? null;
  }

  /** Takes a frame of the stream if it is of figures, and says whether it was. */
  takeSnapshot({ id, first, upserts }) {
    const question = this.#told(id);
    if (question === null) return false;
    if (first) question.series.clear();
    question.apply(upserts, []);
    return true;
  }

  /** The same of changes. */
  takeUpdate({ id, upserts, deletes }) {
    const question = this.#told(id);
    question?.apply(upserts, deletes);
    return question !== null;
  }

  /** Whether a KPI was answered by a window or grain. */
  has(kpi, grain, at = null) {
    return this.#find(kpi, grain, at)?.isLoaded ?? false;
  }

  /** The figures of a KPI, one a series: its window, or its newest period that has begun. */
  all(kpi, grain, asOf, at = null) {
    const question = this.#find(kpi, grain, at);
    const own = [...(question?.series.values() ?? [])].filter((series) => series.kpi === kpi);
    return own.map((series) => question.newest(series, asOf)).filter((cell) => cell !== null);
  }

  /** The one with these dimensions. */
  one(kpi, dims, grain, asOf) {
    const key = dimsKey(dims);
    return this.all(kpi, grain, asOf).find((cell) => dimsKey(cell.dims) === key) ?? null;
  }
}
