/**
 * kpi-stream: the reference client of `kpi.v1`, Weir's push protocol over WebSocket.
 *
 * One file without dependencies; it runs in browsers and in anything else that has `WebSocket`.
 *
 *     import { KpiStream } from "./kpi-stream.js";
 *
 *     const stream = new KpiStream({
 *       url: "wss://weir.example/api/v1/stream",
 *       token: async () => (await fetch("/my/token")).text(),
 *     });
 *     stream.onsnapshot = ({ id, first, last, upserts, alerts }) => { ... };
 *     stream.onupdate   = ({ id, upserts, deletes }) => { ... };
 *     stream.onalert    = ({ id, alert }) => { ... };
 *     stream.onprogress = ({ asOf, watermark, degraded, reasons }) => { ... };
 *     stream.onstate    = ({ phase, retryInMs, verdict }) => { ... };
 *     stream.subscribe("kpi", { tenant: "t1", grain: "day" });
 *     stream.subscribe("alerts", {});
 *     stream.connect();
 *
 * Guarantees
 * - Subscriptions outlive connections. After a break each one is resumed with `since`, so the
 *   server sends only what was missed; when it no longer can, it sends a snapshot, and `first`
 *   says that whatever was known before is to be replaced.
 * - A value is whole in every frame, never a difference. Frames may be conflated: applying only the
 *   newest value of a key gives the same result as applying all of them.
 * - Between two attempts there is a growing, jittered pause, so that a thousand clients do not come
 *   back in the same millisecond.
 * - A handler that throws does not stop the stream; the error goes to `onerror`.
 *
 * Non-guarantees
 * - Values are not stored here, and decimals stay the strings they arrive as.
 * - Alerts may be delivered twice around a resume; they are identified by `alert.id`.
 */

const PROTOCOL = "kpi.v1";
/** The first pause after a break; it doubles with every failure in a row. */
const BACKOFF_BASE_MS = 400;
/** The longest pause between two attempts. */
const BACKOFF_MAX_MS = 15_000;
/** The server pings every 25 s; a connection silent for longer than this is dead. */
const SILENCE_MAX_MS = 40_000;
/** How long a server may take to answer `connect`. */
const CONNECT_MAX_MS = 10_000;
/** A token is refreshed when this share of its life is over. */
const REFRESH_AT = 0.8;
/** The longest delay that timers take without overflow. */
const TIMER_MAX_MS = 2_000_000_000;

/** What a close code means for the client. */
export const CLOSE = Object.freeze({
  SLOW: 4008,
  INSUFFICIENT_STATE: 4010,
  SHUTDOWN: 4012,
  BAD_FRAME: 4400,
  TOKEN: 4401,
  PERMISSION: 4403,
  CONNECT_TIMEOUT: 4408,
  DUPLICATE_ID: 4409,
  TOO_MANY: 4429,
});

/**
 * What to do after a close: `"retry"` (with back-off), `"reauthenticate"` (with a new token) or
 * `"final"` (a person has to change something first).
 *
 * @param {number} code
 * @returns {"retry" | "reauthenticate" | "final"}
 */
export function verdictOf(code) {
  if (code === CLOSE.TOKEN) return "reauthenticate";
  return code >= 4400 && code < 4500 ? "final" : "retry";
}

/**
 * The pause before attempt number `attempt` (0 is the first repeat): between half of and the whole
 * of an exponentially growing bound.
 *
 * @param {number} attempt
 * @param {() => number} [random]
 */
export function backoffMs(attempt, random = Math.random) {
  const bound = Math.min(BACKOFF_MAX_MS, BACKOFF_BASE_MS * 2 ** Math.min(attempt, 10));
  return Math.round(bound * (0.5 + random() / 2));
}

/** A client of one server. Set the `on…` fields before `connect()`. */
export class KpiStream {
  /** The connection changed: `{phase: "connecting"|"live"|"waiting"|"closed", retryInMs, code, verdict, reason}`. */
  onstate = null;
  /** A page of the state: `{id, first, last, generation, offset, asOf, upserts, alerts}`. */
  onsnapshot = null;
  /** Changed KPI cells: `{id, offset, asOf, upserts, deletes}`. */
  onupdate = null;
  /** An alert opened, changed or was resolved: `{id, offset, alert}`. */
  onalert = null;
  /** Nothing changed, and the server is well, or says why not: `{offset, asOf, watermark, degraded, reasons}`. */
  onprogress = null;
  /** Something went wrong that does not end the stream: an `Error`. */
  onerror = null;

  #url;
  #token;
  #WebSocket;
  #socket = null;
  #phase = "closed";
  #attempt = 0;
  #minPauseMs = 0;
  #wantNewToken = false;
  #refusal = "";
  #generation = null;
  #ttlMs = null;
  #nextId = 1;
  #subscriptions = new Map();
  #timers = { retry: null, silence: null, refresh: null };

  /**
   * @param {object} options
   * @param {string | URL} options.url the address of `/api/v1/stream`, as `ws:` or `wss:`
   * @param {(why: {reason: "connect" | "refused" | "refresh", detail?: string}) => string | null | Promise<string | null>} options.token
   *   gives a valid token. `refused`: the one before no longer is, and `detail` says why; `refresh`: it soon will not be, and
   *   `null` lets it expire
   * @param {typeof WebSocket} [options.WebSocket] another implementation
   */
  constructor({ url, token, WebSocket = globalThis.WebSocket }) {
    this.#url = String(url);
    this.#token = token;
    this.#WebSocket = WebSocket;
  }

  /** `"connecting"`, `"live"`, `"waiting"` (between attempts) or `"closed"`. */
  get phase() {
    return this.#phase;
  }

  /** The generation of the server's stream, once connected. */
  get generation() {
    return this.#generation;
  }

  /** Opens the connection and keeps it open until `close()`. */
  connect() {
    if (this.#phase === "closed") {
      this.#attempt = 0;
      this.#open();
    }
  }

  /** Ends the connection for good; `connect()` starts anew and resumes. */
  close() {
    this.#drop(1000, "closed by the client");
    this.#to("closed", { code: 1000, verdict: "final", reason: "closed by the client" });
  }

  /** Ends a pause at once, as when the network is back. */
  retryNow() {
    if (this.#phase === "waiting") {
      clearTimeout(this.#timers.retry);
      this.#open();
    }
  }

  /**
   * Subscribes now, or as soon as there is a connection.
   *
   * @param {"kpi" | "alerts"} channel
   * @param {object} filter such as `{tenant, grain, kpi, from}`
   * @param {{since?: {generation: string, offset: number}}} [options] `since`: what is already known
   * @returns {number} the id that the frames of this subscription carry
   */
  subscribe(channel, filter, { since = null } = {}) {
    const id = this.#nextId++;
    const subscription = { id, channel, filter, since, inSnapshot: false };
    this.#subscriptions.set(id, subscription);
    if (this.#phase === "live") this.#sendSubscribe(subscription);
    return id;
  }

  /** Ends a subscription; frames that are still under way are dropped. */
  unsubscribe(id) {
    if (this.#subscriptions.delete(id) && this.#phase === "live") {
      this.#send({ type: "unsubscribe", id });
    }
  }

  async #open() {
    this.#to("connecting");
    let token;
    try {
      const refused = { reason: "refused", detail: this.#refusal };
      token = await this.#token(this.#wantNewToken ? refused : { reason: "connect" });
    } catch (error) {
      if (this.#phase === "connecting") this.#pause({ code: 0, reason: `no token: ${error.message}` });
      return;
    }
    if (this.#phase !== "connecting" || this.#socket) return;
    this.#wantNewToken = false;
    let socket;
    try {
      socket = new this.#WebSocket(this.#url, PROTOCOL);
    } catch (error) {
      this.#pause({ code: 0, reason: error.message });
      return;
    }
    this.#socket = socket;
    this.#watch(CONNECT_MAX_MS);
    // A socket that was given up may still report; only the current one is listened to.
    const current = (act) => (event) => {
      if (this.#socket === socket) act(event);
    };
    socket.onopen = current(() => this.#send({ type: "connect", token }));
    socket.onmessage = current((event) => this.#receive(event.data));
    // A failure is always followed by a close, which says more.
    socket.onerror = () => {};
    socket.onclose = current((event) => this.#lost(event.code, event.reason));
  }

  #receive(text) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      this.#report(new Error("a frame is not JSON"));
      return;
    }
    if (this.#phase === "live") this.#watch(SILENCE_MAX_MS);
    if (frame.type === undefined) {
      this.#send({});
      return;
    }
    if (Number.isFinite(frame.reconnect_after_ms)) this.#minPauseMs = frame.reconnect_after_ms;
    switch (frame.type) {
      case "connected":
        return this.#connected(frame);
      case "refreshed":
        return this.#scheduleRefresh(frame.token_ttl_s);
      case "progress":
        return this.#emit("onprogress", {
          offset: frame.offset,
          asOf: frame.as_of,
          watermark: frame.watermark,
          degraded: Boolean(frame.degraded),
          reasons: frame.reasons ?? [],
        });
      case "error":
        return this.#report(new Error(frame.detail ?? frame.message ?? "the server reports an error"));
      default:
        return this.#subscribed(frame);
    }
  }

  #connected(frame) {
    if (this.#phase === "live") return this.#scheduleRefresh(frame.token_ttl_s);
    this.#attempt = 0;
    this.#generation = frame.generation;
    this.#watch(SILENCE_MAX_MS);
    this.#scheduleRefresh(frame.token_ttl_s);
    this.#to("live");
    for (const subscription of this.#subscriptions.values()) this.#sendSubscribe(subscription);
  }

  /** A frame that belongs to a subscription. */
  #subscribed(frame) {
    const subscription = this.#subscriptions.get(frame.id);
    // Unsubscribed meanwhile, or a frame type of a newer protocol.
    if (!subscription) return;
    const { id } = subscription;
    switch (frame.type) {
      case "snapshot": {
        const first = !subscription.inSnapshot;
        const last = !frame.more;
        subscription.inSnapshot = !last;
        if (frame.generation) this.#generation = frame.generation;
        // A snapshot in pages is a point to resume from only when all of it is here.
        subscription.since = last ? { generation: this.#generation, offset: frame.offset } : null;
        this.#emit("onsnapshot", {
          id,
          first,
          last,
          generation: this.#generation,
          offset: frame.offset,
          asOf: frame.as_of,
          upserts: frame.upserts ?? [],
          alerts: frame.alerts ?? [],
        });
        return;
      }
      case "kpi_update":
        this.#advance(subscription, frame.offset);
        this.#emit("onupdate", {
          id,
          offset: frame.offset,
          asOf: frame.as_of,
          upserts: frame.upserts ?? [],
          deletes: frame.deletes ?? [],
        });
        return;
      case "anomaly_alert":
        this.#advance(subscription, frame.offset);
        this.#emit("onalert", { id, offset: frame.offset, asOf: frame.as_of, alert: frame.alert });
        return;
    }
  }

  /**
   * Moves the point to resume from. Frames of the subscription itself do so, progress frames do
   * not: they are about the server, and a conflated update may still be on its way behind one.
   */
  #advance(subscription, offset) {
    if (!subscription.inSnapshot) subscription.since = { generation: this.#generation, offset };
  }

  #sendSubscribe(subscription) {
    const { id, channel, filter, since } = subscription;
    subscription.inSnapshot = false;
    const resumable = since && since.generation === this.#generation;
    this.#send({ type: "subscribe", id, channel, filter, ...(resumable && { since }) });
  }

  #lost(code, reason) {
    this.#drop();
    const verdict = verdictOf(code);
    if (code === CLOSE.INSUFFICIENT_STATE) {
      for (const subscription of this.#subscriptions.values()) subscription.since = null;
    }
    if (verdict === "final") {
      this.#to("closed", { code, verdict, reason });
      return;
    }
    this.#wantNewToken = verdict === "reauthenticate";
    this.#refusal = reason;
    this.#pause({ code, verdict, reason });
  }

  #pause({ code, verdict = "retry", reason }) {
    const pause = Math.max(backoffMs(this.#attempt), this.#minPauseMs);
    this.#minPauseMs = 0;
    this.#attempt += 1;
    this.#to("waiting", { retryInMs: pause, code, verdict, reason });
    this.#timers.retry = setTimeout(() => this.#open(), pause);
  }

  #watch(limitMs) {
    clearTimeout(this.#timers.silence);
    this.#timers.silence = setTimeout(() => {
      const socket = this.#socket;
      this.#lost(1006, `no frame for ${limitMs / 1000} s`);
      socket?.close();
    }, limitMs);
  }

  #scheduleRefresh(ttlS) {
    if (Number.isFinite(ttlS)) this.#ttlMs = ttlS * 1000;
    clearTimeout(this.#timers.refresh);
    if (!this.#ttlMs) return;
    const wait = Math.min(this.#ttlMs * REFRESH_AT, TIMER_MAX_MS);
    this.#timers.refresh = setTimeout(async () => {
      const socket = this.#socket;
      try {
        const token = await this.#token({ reason: "refresh" });
        if (token && this.#socket === socket) this.#send({ type: "refresh", token });
      } catch (error) {
        // The old token still holds for a while; its end closes with 4401, which asks again.
        this.#report(error);
      }
      if (this.#socket === socket) this.#scheduleRefresh();
    }, wait);
  }

  #send(frame) {
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify(frame));
  }

  /** Lets go of the socket and of everything that waits for it. */
  #drop(code, reason) {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    const socket = this.#socket;
    this.#socket = null;
    if (socket && code) socket.close(code, reason);
  }

  #to(phase, detail = {}) {
    this.#phase = phase;
    this.#emit("onstate", { phase, ...detail });
  }

  #emit(name, event) {
    try {
      this[name]?.(event);
    } catch (error) {
      this.#report(error);
    }
  }

  #report(error) {
    if (this.onerror) this.onerror(error);
    else console.error(error);
  }
}
