/**
 * chart: the main chart: a KPI's line with the expected band, anomalies as open circles, the running
 * bucket dashed and, on demand, the window before as a thin line.
 *
 * Pointer: hover reads, dragging zooms, a double click shows all again. Keyboard: arrows, Home and
 * End move the cursor, + and - zoom around it, Escape shows all again.
 */

import { COLUMNS, isolated } from "./chart-data.js";
import { tick } from "./format.js";
import { addBuckets, bucketShort, countBuckets, dayMonth, floorTo, hourMinute, zoneName } from "./time.js";

const { uPlot } = globalThis;
const HEIGHT = 320;
const HEIGHT_NARROW = 240;
const narrow = matchMedia("(max-width: 640px)");
const RING_PX = 5;
/** A band reaches at most this far beyond the values, in spans of theirs. */
const BAND_REACH = 0.5;
/** With at most so many buckets the scale of amounts begins at 0. */
const FROM_ZERO_MAX = 6;
/** How many buckets may lie between two marks of the axis, and the room of a mark's name. */
const STEPS = {
  day: [1, 2, 3, 7, 14, 30, 90, 182, 365],
  week: [1, 2, 4, 13, 26, 52],
  month: [1, 2, 3, 6, 12, 24, 60],
  quarter: [1, 2, 4, 8, 20, 40],
  year: [1, 2, 5, 10, 20, 50],
};
const MARK_PX = 96;
/** uPlot knows where hours begin, and days of UTC. */
const isStepped = (grain) => grain in STEPS && (grain !== "day" || zoneName() !== "UTC");
const index = Object.fromEntries(COLUMNS.map((name, i) => [name, i]));

const isValue = (i) => i === index.closed || i === index.running;

/** The colours of the current theme, from the style sheet. */
function readColours() {
  const style = getComputedStyle(document.documentElement);
  const get = (name) => style.getPropertyValue(name).trim();
  return {
    line: get("--series-1"),
    band: get("--band"),
    expected: get("--expected"),
    ghost: get("--series-6"),
    ring: get("--bad"),
    ringFill: get("--card"),
    grid: get("--grid"),
    text: get("--muted"),
    at: get("--at"),
    font: `12px ${style.getPropertyValue("--font").trim() || "sans-serif"}`,
  };
}

/** See the head of this file. */
export class Chart {
  #host;
  #onread;
  #onzoom;
  #plot = null;
  #colours = readColours();
  #model = null;
  #zoom = null;
  /** The bucket under a cursor that was put there by keys or an alert, not by the pointer. */
  #held = null;

  /**
   * @param {HTMLElement} host
   * @param {(row: object | null, isPointed: boolean) => void} onread the row under the cursor
   * @param {(span: {from: number, to: number} | null) => void} onzoom
   */
  constructor(host, onread, onzoom) {
    this.#host = host;
    this.#onread = onread;
    this.#onzoom = onzoom;
    new ResizeObserver(() => this.#resize()).observe(host);
    host.addEventListener("keydown", (event) => this.#key(event));
    host.addEventListener("dblclick", () => this.unzoom());
    host.addEventListener("pointermove", () => {
      this.#held = null;
    });
  }

  /**
   * @param {object} model what `chartData` gives, with `grain`, `unit`, `currency`, `at` and `key`,
   *   which names what is shown: another key ends the zoom
   */
  draw(model) {
    const isOther = this.#model?.key !== model.key;
    this.#model = model;
    if (isOther) this.#zoom = null;
    if (!this.#plot) this.#create();
    const plot = this.#plot;
    plot.batch(() => {
      plot.setData(model.columns, false);
      plot.setScale("x", this.#bounds());
    });
    if (isOther) {
      this.#held = model.at;
      this.#onzoom(null);
      if (model.at === null) this.#point(null);
    }
    // The axes may have become wider, and the bucket with them somewhere else.
    if (this.#held === null) this.#read();
    else this.#point(model.rows.findIndex((row) => row.start === this.#held));
  }

  /** The cursor stands on buckets, not between them. */
  #snap(plot, left) {
    if (left < 0) return left;
    return plot.valToPos(plot.data[index.x][plot.posToIdx(left)], "x");
  }

  /** Takes over the colours of another theme. */
  retheme() {
    this.#colours = readColours();
    this.#plot?.redraw(true, true);
  }

  /** Shows the whole window again. */
  unzoom() {
    if (this.#zoom === null) return;
    this.#zoom = null;
    this.#plot?.setScale("x", this.#bounds());
    this.#onzoom(null);
  }

  #bounds() {
    const { rows, grain } = this.#model;
    const first = rows[0].start;
    const last = rows.at(-1).start;
    if (this.#zoom) return { min: this.#zoom.from / 1000, max: this.#zoom.to / 1000 };
    return { min: first / 1000, max: Math.max(last, addBuckets(first, grain, 1)) / 1000 };
  }

  #create() {
    const c = () => this.#colours;
    const line = (stroke, more = {}) => ({ stroke, width: 1, points: { show: false }, spanGaps: false, ...more });
    const size = this.#size();
    this.#plot = new uPlot(
      {
        ...size,
        pxAlign: 0,
        padding: [12, () => (isStepped(this.#model.grain) ? 32 : 20), 0, 0],
        legend: { show: false },
        tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
        scales: { x: { time: true, auto: false }, y: { range: (plot, min, max) => this.#rangeY(plot, min, max) } },
        cursor: {
          y: false,
          points: { size: (_, i) => (isValue(i) ? 8 : 0), width: (_, i) => (isValue(i) ? 2 : 0) },
          move: (plot, left, top) => [this.#snap(plot, left), top],
          drag: { x: true, y: false, setScale: false, dist: 6 },
          bind: { dblclick: () => null },
        },
        series: [
          {},
          // The band's edges count for the scale; the band itself is drawn as one shape.
          line(null, { paths: () => null }),
          line(null, { paths: () => null }),
          line(() => c().expected, { width: 1 }),
          line(() => c().ghost, { width: 1.25 }),
          line(() => c().line, { width: 2, points: this.#lonely(index.closed) }),
          line(() => c().line, { width: 2, dash: [5, 4], points: this.#lonely(index.running) }),
        ],
        axes: [this.#axisX(), this.#axisY()],
        hooks: {
          init: [(plot) => this.#mark(plot.axes[0])],
          drawClear: [(plot) => this.#shadeAt(plot)],
          drawAxes: [(plot) => this.#band(plot)],
          draw: [(plot) => this.#ring(plot)],
          setCursor: [() => this.#read()],
          setSelect: [(plot) => this.#select(plot)],
        },
      },
      this.#model.columns,
      this.#host,
    );
  }

  /** Dots for values that have no line to stand on, and for the end of the running bucket. */
  #lonely(column) {
    return {
      show: true,
      size: 6,
      width: 0,
      fill: () => this.#colours.line,
      filter: (plot) => {
        const values = plot.data[column];
        const found = isolated(values);
        if (column === index.running && values.at(-1) !== null && !found.includes(values.length - 1)) {
          found.push(values.length - 1);
        }
        return found;
      },
    };
  }

  #axisX() {
    return {
      stroke: () => this.#colours.text,
      font: this.#colours.font,
      grid: { show: false },
      ticks: { show: true, stroke: () => this.#colours.grid, size: 4, width: 1 },
      gap: 6,
      size: 32,
      space: 72,
      values: (_, splits, __, ___, step) => {
        const { grain } = this.#model;
        return splits.map((seconds) => {
          const ms = seconds * 1000;
          if (grain !== "hour") return bucketShort(ms, grain);
          const date = new Date(ms);
          const isMidnight = date.getUTCHours() === 0 && date.getUTCMinutes() === 0;
          if (step >= 86_400 || isMidnight) return dayMonth(ms);
          return hourMinute(ms);
        });
      },
      incrs: (_, __, ___, ____) => this.#incrs(),
    };
  }

  /** Marks the axis where buckets begin. */
  #mark(axis) {
    const own = axis.splits;
    axis.splits = (plot, at, min, max, ...how) =>
      isStepped(this.#model.grain) ? this.#splits(plot, min, max) : own(plot, at, min, max, ...how);
  }

  /** Where every so many long buckets begin. */
  #splits(plot, min, max) {
    const { grain } = this.#model;
    const found = [];
    const first = floorTo(min * 1000, grain);
    const room = Math.max(1, Math.floor(plot.bbox.width / devicePixelRatio / MARK_PX));
    const many = countBuckets(first, floorTo(max * 1000, grain), grain) / room;
    const every = STEPS[grain].find((count) => count >= many) ?? Math.ceil(many);
    const origin = floorTo(0, grain);
    const before = countBuckets(origin, first, grain);
    for (let n = Math.floor(before / every) * every; ; n += every) {
      const at = addBuckets(origin, grain, n) / 1000;
      if (at > max) return found;
      if (at >= min) found.push(at);
    }
  }

  #incrs() {
    const hour = 3600;
    const day = 86_400;
    const all = [hour, 2 * hour, 3 * hour, 6 * hour, 12 * hour, day, 2 * day, 3 * day, 7 * day, 14 * day];
    const months = [30, 60, 90, 180, 365, 730, 1825].map((days) => days * day);
    if (this.#model.grain === "hour") return [...all, ...months];
    return this.#model.grain === "day" ? [...all.filter((step) => step >= day), ...months] : months;
  }

  #axisY() {
    return {
      stroke: () => this.#colours.text,
      font: this.#colours.font,
      grid: { stroke: () => this.#colours.grid, width: 1 },
      ticks: { show: false },
      gap: 8,
      space: 48,
      size: (_, values) => 20 + 7 * Math.max(3, ...(values ?? []).map((text) => text.length)),
      values: (_, splits, __, ___, step) =>
        splits.map((value) => (this.#model.hasData ? tick(value, this.#model.unit, this.#model.currency, step) : "")),
    };
  }

  /** From 0 when the values are not far above it; with some air otherwise. */
  #rangeY(plot, lowest, highest) {
    if (lowest === null || highest === null) return [0, 1];
    const [min, max] = this.#withinReach(plot, lowest, highest);
    // A line of a few amounts would look like a cliff.
    const isShort = this.#model.rows.length <= FROM_ZERO_MAX && this.#model.unit !== "ratio";
    if (min >= 0 && (isShort || min < max * 0.6)) return [0, max * 1.06];
    const air = (max - min || Math.abs(max) || 1) * 0.1;
    return [min - air, max + air];
  }

  /** The values decide the scale: what was expected is cut off where it is far from them. */
  #withinReach(plot, lowest, highest) {
    const { min: from, max: to } = plot.scales.x;
    let [low, high] = [Infinity, -Infinity];
    for (const name of ["ghost", "closed", "running"]) {
      plot.data[index[name]].forEach((value, at) => {
        const x = plot.data[index.x][at];
        if (value === null || x < from || x > to) return;
        low = Math.min(low, value);
        high = Math.max(high, value);
      });
    }
    if (low > high) return [lowest, highest];
    const reach = (high - low || Math.abs(high) || 1) * BAND_REACH;
    return [Math.max(lowest, low - reach), Math.min(highest, high + reach)];
  }

  #shadeAt(plot) {
    const { at, grain } = this.#model;
    if (at === null) return;
    const { ctx, bbox } = plot;
    const half = (addBuckets(at, grain, 1) - at) / 2000;
    const left = plot.valToPos(at / 1000 - half, "x", true);
    const right = plot.valToPos(at / 1000 + half, "x", true);
    const from = Math.max(left, bbox.left);
    const to = Math.min(Math.max(right, left + 3), bbox.left + bbox.width);
    if (to <= from) return;
    ctx.save();
    ctx.fillStyle = this.#colours.at;
    ctx.fillRect(from, bbox.top, to - from, bbox.height);
    ctx.restore();
  }

  /**
   * The expected band: a polygon for each run of buckets that have one. The library would clip one
   * area by another, which costs a browser without a graphics card ten times as much.
   */
  #band(plot) {
    const { ctx, bbox, data } = plot;
    const { min } = plot.scales.x;
    const [xs, upper, lower] = [data[index.x], data[index.upper], data[index.lower]];
    const px = (i) => plot.valToPos(xs[i], "x", true);
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.fillStyle = this.#colours.band;
    ctx.beginPath();
    const from = Math.max(0, xs.findIndex((x) => x >= min) - 1);
    for (let i = from; i < xs.length; i += 1) {
      if (upper[i] === null || lower[i] === null) continue;
      const begin = i;
      while (i < xs.length && upper[i] !== null && lower[i] !== null) {
        const y = plot.valToPos(upper[i], "y", true);
        if (i === begin) ctx.moveTo(px(i), y);
        else ctx.lineTo(px(i), y);
        i += 1;
      }
      for (let back = i - 1; back >= begin; back -= 1) ctx.lineTo(px(back), plot.valToPos(lower[back], "y", true));
      ctx.closePath();
    }
    ctx.fill();
    ctx.restore();
  }

  /** Open circles around anomalies. */
  #ring(plot) {
    const { ctx, bbox } = plot;
    const px = devicePixelRatio;
    const { min, max } = plot.scales.x;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left - 8 * px, bbox.top - 8 * px, bbox.width + 16 * px, bbox.height + 16 * px);
    ctx.clip();
    ctx.strokeStyle = this.#colours.ring;
    ctx.fillStyle = this.#colours.ringFill;
    ctx.lineWidth = 2 * px;
    for (const [i, row] of this.#model.rows.entries()) {
      const seconds = row.start / 1000;
      if (!row.isOdd || seconds < min || seconds > max) continue;
      const value = row.isRunning ? plot.data[index.running][i] : plot.data[index.closed][i];
      if (value === null || value === undefined) continue;
      ctx.beginPath();
      ctx.arc(plot.valToPos(seconds, "x", true), plot.valToPos(value, "y", true), RING_PX * px, 0, 2 * Math.PI);
      ctx.fill();
      ctx.stroke();
    }
    ctx.restore();
  }

  #select(plot) {
    if (plot.select.width < 4) return;
    const from = plot.posToVal(plot.select.left, "x") * 1000;
    const to = plot.posToVal(plot.select.left + plot.select.width, "x") * 1000;
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    this.#zoomTo(from, to);
  }

  #zoomTo(from, to) {
    const { rows } = this.#model;
    const inside = rows.filter((row) => row.start >= from && row.start <= to);
    if (inside.length < 2) return;
    this.#zoom = { from: inside[0].start, to: inside.at(-1).start };
    this.#plot.setScale("x", this.#bounds());
    this.#onzoom(this.#zoom);
  }

  #read() {
    const idx = this.#plot?.cursor.idx;
    const isPointed = idx !== null && idx !== undefined && this.#plot.cursor.left >= 0;
    const rows = this.#model.rows;
    this.#onread((isPointed ? rows[idx] : null) ?? rows.findLast((row) => row.point) ?? rows.at(-1), isPointed);
  }

  /** Moves the cursor to a row; `null` takes it away. */
  #point(at) {
    const plot = this.#plot;
    if (at === null || at < 0) {
      this.#held = null;
      plot.setCursor({ left: -10, top: -10 });
      this.#read();
      return;
    }
    const { closed, running } = index;
    this.#held = this.#model.rows[at].start;
    const value = plot.data[closed][at] ?? plot.data[running][at] ?? plot.scales.y.min;
    const left = plot.valToPos(plot.data[index.x][at], "x");
    plot.setCursor({ left, top: value === null ? 0 : plot.valToPos(value, "y") });
  }

  #key(event) {
    if (!this.#plot || event.target !== this.#host) return;
    const { rows } = this.#model;
    const here = this.#plot.cursor.left >= 0 ? this.#plot.cursor.idx : null;
    const { min, max } = this.#plot.scales.x;
    const first = rows.findIndex((row) => row.start / 1000 >= min);
    const last = rows.findLastIndex((row) => row.start / 1000 <= max);
    const moves = { ArrowLeft: (here ?? last + 1) - 1, ArrowRight: (here ?? last - 1) + 1, Home: first, End: last };
    if (event.key in moves && !event.ctrlKey && !event.metaKey && !event.altKey) {
      this.#point(Math.min(last, Math.max(first, moves[event.key])));
    } else if (event.key === "+" || event.key === "-") {
      const around = rows[here ?? last].start;
      const half = ((max - min) * 1000 * (event.key === "+" ? 0.5 : 2)) / 2;
      const wholeMin = rows[0].start;
      const wholeMax = rows.at(-1).start;
      if (half * 2 >= wholeMax - wholeMin) this.unzoom();
      else this.#zoomTo(Math.max(wholeMin, around - half), Math.min(wholeMax, around + half));
    } else if (event.key === "Escape") {
      this.unzoom();
      this.#point(null);
    } else {
      return;
    }
    event.preventDefault();
  }

  #size() {
    const width = Math.max(200, Math.floor(this.#host.clientWidth));
    return { width, height: narrow.matches ? HEIGHT_NARROW : HEIGHT };
  }

  #resize() {
    if (this.#plot && this.#host.clientWidth > 0) this.#plot.setSize(this.#size());
  }
}
