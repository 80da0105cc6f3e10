/**
 * sources: where the numbers come from: each origin with its lag, how far it was read, and what waits for
 * somebody. It asks the server while it is open, and now and then while it is closed, for the word beside
 * its title. A token for one tenant may not see it: then there is no such panel.
 */

import { byId, el, setAttr, setText } from "./dom.js";
import { count } from "./format.js";
import { ago, span, utc } from "./time.js";

const OPEN_MS = 5_000;
const CLOSED_MS = 30_000;
const FORBIDDEN = 403;

/** What is said of each status; those that wait for somebody first. */
const STATUS = {
  halted: { tone: "bad", words: "halted" },
  asks: { tone: "warn", words: "asks" },
  snapshot: { tone: "flat", words: "snapshot" },
  behind: { tone: "warn", words: "behind" },
  quiet: { tone: "flat", words: "quiet" },
  ok: { tone: "good", words: "live" },
};

/** See the head of this file. */
export class Sources {
  #ask;
  #askedAt = -Infinity;

  /** @param {() => Promise<object> | null} ask asks for the sources; `null` while that is too early */
  constructor(ask) {
    this.#ask = ask;
    byId("sources").addEventListener("toggle", () => this.#poll(true));
    document.addEventListener("visibilitychange", () => this.#poll());
    setInterval(() => this.#poll(), OPEN_MS / 5);
  }

  async #poll(isNow = false) {
    const every = byId("sources").open ? OPEN_MS : CLOSED_MS;
    if (document.hidden || (!isNow && performance.now() - this.#askedAt < every)) return;
    let answer;
    try {
      const asked = this.#ask();
      if (!asked) return;
      this.#askedAt = performance.now();
      answer = await asked;
    } catch (error) {
      // What is wrong with the connection is said at the top.
      if (error.status === FORBIDDEN) byId("sources").hidden = true;
      return;
    }
    this.#draw(answer);
  }

  #draw({ tables }) {
    const used = tables.filter((table) => table.origins.length > 0);
    byId("sources").hidden = false;
    const waiting = used.flatMap((table) => table.origins).filter((own) => own.status === "halted" || own.status === "asks");
    const noted = used.filter((table) => notes(table).length > 0);
    const words = waiting.length > 0 ? `${waiting.length} ${waiting.length === 1 ? "waits" : "wait"} for you` : noted.length > 0 ? "values to look at" : "";
    setText(byId("sources-words"), words);
    setAttr(byId("sources-words"), "data-tone", waiting.length > 0 ? "bad" : "warn");
    if (!byId("sources").open) return;
    const body = used.length > 0 ? used.map(drawTable) : [el("p", { class: "empty-note", text: "Nothing was read yet." })];
    byId("sources-body").replaceChildren(...body);
  }
}

function drawTable(table) {
  const more = table.origins_total - table.origins.length;
  const head = ["Origin", "Status", "Lag", "Last read", "Position"].map((text) => el("th", { scope: "col", text }));
  return el(
    "section",
    { class: "source" },
    el("h3", {}, el("span", { text: table.contract }), el("small", { class: "num", text: `${count(table.rows)} rows` })),
    el(
      "div",
      { class: "source-box", tabindex: "0", role: "region", "aria-label": `Origins of ${table.contract}` },
      el("table", {}, el("thead", {}, el("tr", {}, ...head)), el("tbody", {}, ...table.origins.flatMap(drawOrigin))),
    ),
    ...notes(table).map((text) => el("p", { class: "source-note", text })),
    more > 0 ? el("p", { class: "source-note is-calm", text: `and ${count(more)} more: weir sources list` }) : null,
  );
}

function drawOrigin(own) {
  const { tone, words } = STATUS[own.status] ?? STATUS.ok;
  const topics = own.topics.map((topic) => topic.topic).join(", ");
  const behind = own.lag > 0 ? `${count(own.lag)}${own.lag_seconds === null ? "" : `, ${span(own.lag_seconds * 1000)}`}` : "0";
  const read = own.as_of ? Date.parse(own.as_of) : null;
  const row = el(
    "tr",
    { "data-origin": own.origin },
    el("th", { scope: "row", class: "source-name", title: `by ${topics || "no topic yet"}`, text: own.origin }),
    el("td", {}, el("span", { class: "chip source-status", "data-tone": tone, text: words })),
    el("td", { class: "num", text: behind }),
    el("td", { class: "num", title: read === null ? null : utc(read), text: read === null ? "\u2013" : ago(Date.now() - read) }),
    el("td", { class: "num source-position", title: own.position, text: own.position ?? "\u2013" }),
  );
  if (!own.why) return [row];
  return [row, el("tr", { class: "source-why" }, el("td", { colspan: "5", text: own.why }))];
}

/** What there is to look at in the rows of a table, in sentences. */
function notes(table) {
  const rows = (n) => (n === 1 ? "1 row has" : `${count(n)} rows have`);
  const said = table.outside.flatMap((outside) =>
    outside.values.map(
      (own) => `${outside.column}: ${rows(own.rows)} “${own.value}”, which is not ${outside.allowed} ${own.advice}`.trim(),
    ),
  );
  if (table.empty_tenants > 0) said.push(`${rows(table.empty_tenants)} an empty tenant, taken as “default”.`);
  if (table.unknown > 0) said.push(`${rows(table.unknown)} a value that was never sent.`);
  return said;
}
