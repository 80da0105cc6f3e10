/**
 * activity: the strip at the bottom: proof of life for engineers. It asks the server only while it is
 * open and the page is visible.
 */

import { byId, el, setAttr, setText, svg } from "./dom.js";
import { count, rate, roughly } from "./format.js";
import { ago, span } from "./time.js";

const POLL_MS = 2_000;
/** Polls that the small charts show: two minutes. */
const HISTORY = 60;
/** Sources that are listed one by one. */
const SOURCES_MAX = 12;

/** See the head of this file. */
export class Activity {
  #ask;
  #last = null;
  #history = { events: [], epochs: [] };

  /** @param {() => Promise<object> | null} ask asks for the status; `null` while that is too early */
  constructor(ask) {
    this.#ask = ask;
    const strip = byId("activity");
    if (matchMedia("(max-width: 640px)").matches) strip.open = false;
    strip.addEventListener("toggle", () => this.#poll());
    document.addEventListener("visibilitychange", () => this.#poll());
    setInterval(() => this.#poll(), POLL_MS);
  }

  async #poll() {
    if (!byId("activity").open || document.hidden) return;
    let status;
    try {
      status = await this.#ask();
    } catch {
      // The connection's state is shown at the top; here the numbers only stop moving.
      this.#last = null;
      return;
    }
    if (!status) return;
    this.#draw(status, performance.now());
  }

  #draw(status, now) {
    const last = this.#last;
    this.#last = { status, now };
    if (last && now - last.now > POLL_MS / 4) {
      const seconds = (now - last.now) / 1000;
      const perSecond = (name) => Math.max(0, ((status[name] ?? 0) - (last.status[name] ?? 0)) / seconds);
      this.#push("events", perSecond("events_total"));
      this.#push("epochs", perSecond("epochs_total"));
    }
    const ms = (value) => (value === null || value === undefined ? "\u2013" : span(value));
    for (const [name, id] of [["events_total", "act-total"], ["epochs_total", "act-epochs-total"]]) {
      setText(byId(id), `${roughly(status[name] ?? 0)} in all`);
      setAttr(byId(id), "title", count(status[name] ?? 0));
    }
    setText(byId("act-p50"), ms(status.freshness_p50_ms));
    setText(byId("act-p99"), `p99 ${ms(status.freshness_p99_ms)}`);
    const dead = status.dead_letters_total ?? 0;
    setText(byId("act-dead"), count(dead));
    byId("act-dead").classList.toggle("is-bad", dead > 0);
    const lag = (status.sources ?? []).reduce((sum, source) => sum + (source.lag ?? 0), 0);
    setText(byId("act-lag"), count(lag));
    this.#drawSources(status.sources ?? []);
  }

  #push(name, value) {
    const values = this.#history[name];
    values.push(value);
    if (values.length > HISTORY) values.shift();
    setText(byId(`act-${name}`), rate(value));
    const top = Math.max(...values, 1e-9);
    const from = HISTORY - values.length;
    const d = values.map((v, i) => `${i === 0 ? "M" : "L"}${from + i} ${(15 - (14 * v) / top).toFixed(1)}`).join("");
    setAttr(byId(`act-${name}-line`), "d", d);
  }

  #drawSources(sources) {
    const rows = sources.slice(0, SOURCES_MAX).map((source) =>
      el(
        "li",
        {},
        el("span", { class: "source-name", text: `${source.topic} / ${source.partition}`, title: source.name }),
        el("span", { class: "num", text: source.lag === null || source.lag === undefined ? "\u2013" : `lag ${count(source.lag)}` }),
      ),
    );
    if (sources.length > SOURCES_MAX) rows.push(el("li", { text: `and ${sources.length - SOURCES_MAX} more` }));
    byId("act-sources").replaceChildren(...rows);
  }

  /** When each KPI last changed on this page. */
  drawChanges(store, kpis, now = performance.now()) {
    if (!byId("activity").open) return;
    const rows = kpis
      .filter((kpi) => store.changedAt.has(kpi.key))
      .map((kpi) => [kpi, now - store.changedAt.get(kpi.key)])
      .map(([kpi, age]) => el("li", {}, el("span", { text: kpi.title }), el("span", { class: "num", text: ago(age) })));
    byId("act-changes").replaceChildren(...(rows.length > 0 ? rows : [el("li", { text: "nothing since the page opened" })]));
  }
}

/** The small line charts of the strip, which the page's skeleton leaves empty. */
export function buildLines() {
  for (const name of ["events", "epochs"]) {
    const line = svg("path", { id: `act-${name}-line`, class: "spark-line" });
    const box = { class: "act-line", viewBox: `0 0 ${HISTORY - 1} 16`, preserveAspectRatio: "none", "aria-hidden": "true" };
    byId(`act-${name}-box`).append(svg("svg", box, line));
  }
}
