/**
 * alert-answers: what people say of an alert, below it in the list: who looks after it, until when it is
 * muted, and what was told of it by which route. With a token that may, it is said here.
 *
 * Guarantees
 * - One form is open at a time. What was typed into it outlives a list that is drawn anew.
 * - What was said is shown when the server's epoch has taken it, and not before.
 */

import { el } from "./dom.js";
import { utc } from "./time.js";

const WRITE = "alerts:write";
const LASTS = [
  [1, "for an hour"],
  [4, "for 4 hours"],
  [24, "for a day"],
  [168, "for a week"],
];
const COMMENT_MAX = 500;
const HOUR_MS = 3_600_000;

/** See the head of this file. */
export class AlertAnswers {
  #session;
  #redraw;
  /** The form or list that is open: `{id, kind, comment, hours, isBusy, error, told}`. */
  #open = null;

  /**
   * @param {import("./session.js").Session} session
   * @param {() => void} redraw the list is to be drawn anew
   */
  constructor(session, redraw) {
    this.#session = session;
    this.#redraw = redraw;
  }

  /** Whether the token may say anything. */
  get canAnswer() {
    return this.#session.may(WRITE);
  }

  /** What the drawn list depends on, besides the alerts. What is being typed is not part of it. */
  get shown() {
    const { id, kind, isBusy, error, told } = this.#open ?? {};
    return [this.canAnswer, id, kind, isBusy, error, told];
  }

  /** The parts below an alert. */
  below(alert) {
    const parts = [...said(alert), this.#acts(alert)];
    if (this.#open?.id === alert.id) parts.push(this.#opened(alert));
    return parts;
  }

  #acts(alert) {
    const isFiring = alert.state === "firing";
    const acts = [];
    if (isFiring && this.canAnswer) {
      acts.push(this.#act(alert, "acknowledge", alert.acknowledged_at ? "acknowledge again" : "acknowledge"));
      if (!alert.muted) acts.push(this.#act(alert, "mute", "mute"));
    }
    acts.push(this.#act(alert, "told", "who was told"));
    return el("p", { class: "alert-acts" }, ...acts);
  }

  #act(alert, kind, text) {
    const isOpen = this.#open?.id === alert.id && this.#open.kind === kind;
    const click = () => {
      this.#open = isOpen ? null : { id: alert.id, kind, comment: "", hours: 1 };
      if (this.#open?.kind === "told") this.#load(this.#open);
      this.#redraw();
    };
    return el("button", { type: "button", class: "link", text, "data-act": kind, "aria-expanded": String(isOpen), on: { click } });
  }

  #opened(alert) {
    const open = this.#open;
    if (open.kind === "told") return toldList(open);
    const isMute = open.kind === "mute";
    const submit = (event) => {
      event.preventDefault();
      if (!open.isBusy) this.#send(alert, open);
    };
    return el(
      "form",
      { class: "alert-form", on: { submit } },
      isMute ? el("p", { class: "alert-note", text: `Nobody is told of ${alert.kpi} of ${alert.tenant}; alerts still show here.` }) : null,
      isMute ? hours(open) : null,
      el("input", {
        type: "text",
        class: "alert-comment",
        name: "comment",
        "data-act": "comment",
        maxlength: COMMENT_MAX,
        value: open.comment,
        placeholder: isMute ? "Why" : "What there is to say",
        "aria-label": "Comment",
        on: { input: (event) => (open.comment = event.target.value) },
      }),
      el("button", { type: "submit", class: "tool", "data-act": "submit", disabled: open.isBusy, text: isMute ? "Mute" : "Acknowledge" }),
      open.error ? el("p", { class: "alert-wrong", role: "alert", text: open.error }) : null,
    );
  }

  async #send(alert, open) {
    open.isBusy = true;
    open.error = null;
    this.#redraw();
    const comment = open.comment.trim() || null;
    try {
      if (open.kind === "mute") {
        const until = new Date(Date.now() + this.#session.skewMs + open.hours * HOUR_MS).toISOString();
        const match = { kpi: [alert.kpi], tenant: [alert.tenant] };
        await this.#session.send("POST", "mutes", { match, until, comment });
      } else {
        await this.#session.send("POST", `alerts/${encodeURIComponent(alert.id)}/acknowledge`, { comment });
      }
      if (this.#open === open) this.#open = null;
    } catch (error) {
      open.error = error.message;
    }
    open.isBusy = false;
    this.#redraw();
  }

  async #load(open) {
    try {
      open.told = (await this.#session.get(`alerts/${encodeURIComponent(open.id)}`)).deliveries ?? [];
    } catch (error) {
      open.error = error.message;
    }
    this.#redraw();
  }
}

/** What was said of an alert, a line each. */
function said(alert) {
  const lines = [];
  if (alert.acknowledged_at) {
    lines.push(line(`${alert.acknowledged_by} looks after it`, alert.acknowledged_comment, alert.acknowledged_at, "acknowledged"));
  }
  if (alert.feedback) {
    const { verdict, by, at, comment } = alert.feedback;
    const words = { yes: "it was right", no: "nothing was wrong", planned: "it was planned" };
    lines.push(line(`${by}: ${words[verdict] ?? verdict}`, comment, at, "feedback"));
  }
  if (alert.muted) {
    const until = Date.parse(alert.muted_until);
    lines.push(el("p", { class: "alert-said", "data-said": "muted", text: `muted until ${utc(until)}` }));
  }
  return lines;
}

function line(words, comment, at, kind) {
  const from = Date.parse(at);
  return el(
    "p",
    { class: "alert-said", "data-said": kind },
    `${words}, `,
    el("time", { "data-from": from, datetime: at, title: utc(from) }),
    comment ? `: ${comment}` : "",
  );
}

function hours(open) {
  const change = (event) => (open.hours = Number(event.target.value));
  const choices = LASTS.map(([value, text]) => el("option", { value, text, selected: value === open.hours }));
  return el("select", { class: "alert-hours", "data-act": "hours", "aria-label": "How long", on: { change } }, ...choices);
}

function toldList(open) {
  if (open.error) return el("p", { class: "alert-wrong", role: "alert", text: open.error });
  if (!open.told) return el("p", { class: "alert-note", text: "Looking." });
  if (open.told.length === 0) return el("p", { class: "alert-note", text: "Nobody was told." });
  const item = (told) => {
    const at = Date.parse(told.ended_at ?? told.made_at);
    const tries = told.attempts > 1 ? `, ${told.attempts} tries` : "";
    return el(
      "li",
      {},
      `${told.route}: ${told.kind}, ${told.state}${tries}, `,
      el("time", { "data-from": at, title: utc(at) }),
      told.quiet_until ? `, quiet hours until ${utc(Date.parse(told.quiet_until))}` : "",
      told.silenced_by?.length ? `, silenced by ${told.silenced_by.join(", ")}` : "",
      told.inhibited_by?.length ? `, inhibited by ${told.inhibited_by.join(", ")}` : "",
      told.error ? el("span", { class: "alert-wrong", text: ` ${told.error}` }) : null,
    );
  };
  return el("ul", { class: "alert-told" }, ...open.told.map(item));
}
