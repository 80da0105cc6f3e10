/**
 * freshness: can the numbers be believed: connection, age and trouble, in words and always visible.
 *
 * For tests: `[data-testid=freshness]` is the sentence, `[data-testid=connection]` its first word:
 * `live`, `degraded`, `stale`, `disconnected`, `connecting` or `signed out`; `[data-testid=epoch]`
 * carries the number in `data-raw`.
 *
 * How far behind is measured when a frame arrives: arrival less the instant to which the server has
 * read. The clocks of server and viewer are compared by the Date header, which can tell seconds only.
 */

import { byId, setAttr, setText } from "./dom.js";
import { count } from "./format.js";
import { ago, clock, span, utc } from "./time.js";

/** Progress comes at least every 5 s; a silence of this length means that something is wrong. */
const SILENT_MS = 12_000;
/** Numbers that are further behind than this are not called live, once they have been for a while. */
const BEHIND_MAX_MS = 5_000;
/**
 * A little more than the 5 s in which the server says how far it has read: after its start, or after a
 * change that follows on silence, a frame may be older than what the server knows.
 */
const BEHIND_FOR_MS = 6_000;
const DRAW_EVERY_MS = 250;
/** How long a trouble lasts before the page speaks of it in a banner. */
const BANNER_AFTER_MS = 700;

/** See the head of this file. */
export class Freshness {
  phase = "connecting";
  asOf = null;
  epoch = null;
  degraded = false;
  reasons = [];
  /** A sentence about a call that failed, `null` when all went well. */
  trouble = null;
  skewMs = 0;
  #retryAt = null;
  #closedBecause = null;
  #upTo = null;
  #behindMs = null;
  #behindSince = null;
  #frameAt = null;
  #troubleSince = null;
  #announced = "";

  constructor() {
    setInterval(() => this.draw(), DRAW_EVERY_MS);
  }

  /** The connection changed. */
  state({ phase, retryInMs, verdict, reason, code }) {
    this.phase = phase;
    this.#retryAt = phase === "waiting" ? Date.now() + retryInMs : null;
    this.#closedBecause = phase === "closed" && verdict === "final" ? reason || `closed by the server (${code})` : null;
    if (phase === "live") this.#frameAt = Date.now();
    this.draw();
  }

  /** A frame or an answer says how fresh the numbers are. */
  seen({ asOf, watermark, epoch, degraded, reasons }, isLive = true) {
    const now = Date.now();
    const at = instant(asOf);
    const mark = instant(watermark);
    if (!Number.isNaN(at)) this.asOf = Math.max(this.asOf ?? at, at);
    // While nothing changes, the watermark moves on: all there was up to it has been read.
    const upTo = Math.max(Number.isNaN(at) ? 0 : at, Number.isNaN(mark) ? 0 : mark);
    if (upTo > 0) {
      this.#upTo = Math.max(this.#upTo ?? upTo, upTo);
      if (isLive) {
        this.#behindMs = Math.max(0, now + this.skewMs - this.#upTo);
        this.#behindSince = this.#behindMs > BEHIND_MAX_MS ? (this.#behindSince ?? now) : null;
      }
    }
    if (isLive) this.#frameAt = now;
    if (epoch !== undefined && epoch !== null) this.epoch = Math.max(this.epoch ?? 0, epoch);
    if (degraded !== undefined) {
      this.degraded = degraded;
      this.reasons = reasons ?? [];
    }
  }

  /** Starts over: another generation of the server's stream counts anew. */
  reset() {
    this.epoch = null;
    this.asOf = null;
    this.#upTo = null;
    this.#behindMs = null;
    this.#behindSince = null;
  }

  /** Where the page stands: a word, a sentence, and for trouble a longer one. */
  status(now = Date.now()) {
    const { asOf } = this;
    const since = asOf === null ? null : clock(asOf);
    const numbers = since === null ? "no numbers yet" : `numbers as of ${since}, ${ago(now + this.skewMs - asOf)}`;
    if (this.phase === "signed-out") return { word: "signed out", rest: "", tone: "warn", long: null };
    if (this.phase === "closed") {
      const why = this.#closedBecause ?? "closed";
      return { word: "disconnected", rest: "", tone: "bad", long: `Disconnected for good: ${why}; ${numbers}. Reload the page to try again.` };
    }
    if (this.phase === "waiting") {
      const wait = `reconnecting in ${Math.max(1, Math.ceil((this.#retryAt - now) / 1000))} s`;
      return { word: "disconnected", rest: `, ${wait}`, tone: "bad", long: `The server cannot be reached, ${wait}; ${numbers}.` };
    }
    if (this.phase === "connecting") {
      const long = since === null ? null : `Connecting again; ${numbers}.`;
      return { word: asOf === null ? "connecting" : "disconnected", rest: asOf === null ? "" : ", reconnecting", tone: "warn", long };
    }
    if (this.degraded) {
      const why = this.reasons.length > 0 ? this.reasons.join("; ") : "the server does not say why";
      return { word: "degraded", rest: since ? `, as of ${since}` : "", tone: "warn", long: `Degraded: ${why}; ${numbers}.` };
    }
    const silence = now - (this.#frameAt ?? now);
    if (silence > SILENT_MS) {
      const long = `The server has sent nothing for ${span(silence)}; ${numbers}.`;
      return { word: "stale", rest: since ? ` since ${since}` : "", tone: "warn", long };
    }
    if (this.#behindMs === null) return { word: "live", rest: "", tone: "good", long: null };
    if (this.#behindSince !== null && now - this.#behindSince > BEHIND_FOR_MS) {
      const long = `Nothing newer has been read for ${span(now + this.skewMs - this.#upTo)}; ${numbers}.`;
      return { word: "stale", rest: ` since ${clock(this.#upTo)}`, tone: "warn", long };
    }
    return { word: "live", rest: `, ${span(this.#behindMs)} behind`, tone: "good", long: null };
  }

  draw() {
    const now = Date.now();
    const { word, rest, tone, long } = this.status(now);
    setAttr(byId("freshness-box"), "data-tone", tone);
    setText(byId("connection"), word);
    setText(byId("freshness-rest"), rest);
    setAttr(byId("freshness-box"), "title", this.asOf === null ? null : `numbers as of ${utc(this.asOf)}`);
    setText(byId("epoch"), this.epoch === null ? "" : `epoch ${count(this.epoch)}`);
    setAttr(byId("epoch"), "data-raw", this.epoch);
    setAttr(document.body, "data-fresh", tone === "good" ? "live" : word.replace(" ", "-"));
    this.#drawBanner(this.trouble ?? long, this.trouble ? "bad" : tone, word, now);
  }

  /** The banner waits a moment, so that a reconnect that takes no time does not move the page. */
  #drawBanner(words, tone, word, now) {
    const banner = byId("banner");
    if (words === null) {
      this.#troubleSince = null;
      setAttr(banner, "hidden", "");
      this.#announced = "";
      return;
    }
    this.#troubleSince ??= now;
    if (now - this.#troubleSince < BANNER_AFTER_MS) return;
    setAttr(banner, "hidden", null);
    setAttr(banner, "data-tone", tone);
    setText(byId("banner-words"), words);
    // The words count seconds; a screen reader is told once.
    if (this.#announced !== word) {
      this.#announced = word;
      setText(byId("spoken"), words);
    }
  }
}

/** The instant of a clock; before its first epoch a server's is at the beginning of time, which is none. */
function instant(text) {
  const at = Date.parse(text ?? "");
  return at > 0 ? at : NaN;
}
