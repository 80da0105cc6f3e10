/**
 * session: the token and the calls of the REST API that carry it.
 *
 * Guarantees
 * - The token lives in this module's memory only: not in the address, not in storage.
 * - A call that fails throws a [`CallError`] whose message is a sentence for people.
 */

const API = "/api/v1";
/** A call takes no longer than this. */
const CALL_MAX_MS = 20_000;

/** A call that got no good answer. `status` is 0 when there was none at all. */
export class CallError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Holds the token and asks for a new one where the server hands them out. */
export class Session {
  #token = null;
  #handedOut = false;
  #asked = null;
  /** Why the last token was not accepted, in the server's words. */
  #refusal = "";
  /** Called with a reason when a person has to give a token: resolves to it. */
  onask;
  /** By how much the server's clock is ahead of this one, ms; below 2 s it cannot be told. */
  skewMs = 0;

  /** @param {(reason: string) => Promise<string>} onask */
  constructor(onask) {
    this.onask = onask;
  }

  /**
   * A token. `refused`: the one before no longer holds; `refresh`: it soon will not, and `null` says
   * that there is no other without asking a person, which is not done early.
   */
  async token({ reason = "connect", detail = "" } = {}) {
    if (detail) this.#refusal = detail;
    if (this.#token && reason === "connect") return this.#token;
    if (reason === "refresh" && !this.#handedOut) return null;
    // However many calls need a token at once, it is asked for once.
    this.#asked ??= this.#ask().finally(() => {
      this.#asked = null;
    });
    return this.#asked;
  }

  async #ask() {
    const handed = await this.#handOut();
        const why = this.#token ? sentence(this.#refusal || "the token has expired or is not accepted") : "";
    this.#token = handed ?? (await this.onask(why));
    this.#refusal = "";
    return this.#token;
  }

  /** A loopback demo hands the page its token; any other server, or name of it, does not. */
  async #handOut() {
    let response;
    try {
      response = await fetch("/ui/session", { cache: "no-store", signal: AbortSignal.timeout(CALL_MAX_MS) });
    } catch {
      throw new CallError(0, "the server cannot be reached");
    }
    if (response.status === 404 || response.status === 403) return null;
    if (!response.ok) throw new CallError(response.status, `the server gave no token (${response.status})`);
    const { token } = await response.json();
    this.#handedOut = true;
    return token;
  }

  /**
   * `GET /api/v1/<path>`; a 401 is answered with a new token: with another of the server's own once, with
   * those of a person until one is accepted.
   *
   * @param {Record<string, string | null | undefined>} [query]
   * @param {AbortSignal} [signal]
   */
  async get(path, query = {}, signal = undefined) {
    return (await this.#call(path, query, { signal })).json();
  }

  /** The same list as a CSV file: a `Blob`. */
  async csv(path, query = {}) {
    return (await this.#call(path, query, { form: "text/csv" })).blob();
  }

  /** A decision: `POST` or `DELETE /api/v1/<path>` with a body. */
  async send(method, path, body = undefined) {
    return (await this.#call(path, {}, { method, body: body && JSON.stringify(body) })).json();
  }

  /** Whether the token says that it has a scope; the server decides whether that is so. */
  may(scope) {
    try {
      const payload = this.#token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
      const { scope: words, scp } = JSON.parse(atob(payload));
      return [words, scp].flat().some((text) => text?.split(" ").includes(scope));
    } catch {
      // No token yet, or one that only the server can read.
      return false;
    }
  }

  async #call(path, query, request) {
    let token = await this.token();
    for (let attempt = 0; ; attempt += 1) {
      const response = await this.#fetch(path, query, request, token);
      if (response.status !== 401 || (attempt > 0 && this.#handedOut)) return this.#good(response);
      const detail = await detailOf(response);
      // Another call may have asked for a token meanwhile.
      token = token === this.#token ? await this.token({ reason: "refused", detail }) : await this.token();
    }
  }

  async #fetch(path, query, { signal, form = "application/json", ...request }, token) {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) {
      if (value !== null && value !== undefined) search.set(name, value);
    }
    const address = `${API}/${path}${search.size ? `?${search}` : ""}`;
    const limits = [AbortSignal.timeout(CALL_MAX_MS), ...(signal ? [signal] : [])];
    try {
      return await fetch(address, {
        ...request,
        headers: { Authorization: `Bearer ${token}`, Accept: form },
        cache: "no-store",
        signal: AbortSignal.any(limits),
      });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new CallError(0, error.name === "TimeoutError" ? "the server does not answer" : "the server cannot be reached");
    }
  }

  async #good(response) {
    const date = Date.parse(response.headers.get("Date") ?? "");
    if (!Number.isNaN(date)) {
      // The header has whole seconds and is as old as the way here took.
      const skew = date + 500 - Date.now();
      this.skewMs = Math.abs(skew) > 2000 ? skew : 0;
    }
    if (response.ok) return response;
    throw new CallError(response.status, (await detailOf(response)) || `the server answered ${response.status}`);
  }
}

async function detailOf(response) {
  try {
    const problem = await response.json();
    return problem.detail ?? problem.title ?? "";
  } catch {
    // An answer without a problem document still has its status.
    return "";
  }
}

const sentence = (words) => `${words.charAt(0).toUpperCase()}${words.slice(1)}${/[.!?]$/.test(words) ? "" : "."}`;
