/**
 * alerts: the list of open alerts, the most severe first, and of recently resolved ones. It is of the
 * tenant that is looked at unless all are asked for; how many others have is always said.
 *
 * Guarantees
 * - An alert is known by its id; whatever order its states arrive in, a resolved one stays resolved.
 * - Open alerts of one incident stand together under the one that leads it, folded until they are asked for.
 * - A new alert is announced politely to screen readers, once.
 *
 * Non-guarantees
 * - "Seen" is a note of this browser: it dims the alert here and tells nobody else. It is there for tokens that may
 *   not acknowledge.
 */

import { AlertAnswers } from "./alert-answers.js";
import { byId, el, setAttr, setText } from "./dom.js";
import { full, unbroken } from "./format.js";
import { ago, bucketLong, bucketUtc, utc } from "./time.js";

const KEPT_MAX = 500;
const OPEN_SHOWN_MAX = 100;
const RESOLVED_SHOWN_MAX = 20;
const SEEN_KEY = "weir.seen";
const SEEN_MAX = 500;
const SEVERITIES = ["info", "warning", "error", "critical"];

/** See the head of this file. */
export class Alerts {
  #byId = new Map();
  #act;
  #tenants = 1;
  #kpis = new Map();
  #isOfAll = false;
  #isLoaded = false;
  #seen = readSeen();
  /** Incidents whose other alerts are shown. */
  #unfolded = new Set();
  #shown = "";
  #announced = new Set();
  #answers;

  /**
   * @param {object} act
   * @param {(alert: object) => void} act.open an alert is chosen
   * @param {() => void} act.redraw the list has changed
   * @param {import("./session.js").Session} session
   */
  constructor(act, session) {
    this.#act = act;
    this.#answers = new AlertAnswers(session, act.redraw);
    byId("alerts-scope").addEventListener("click", () => {
      this.#toggle();
    });
  }

  #toggle() {
    this.#isOfAll = !this.#isOfAll;
    this.#act.redraw();
  }

  /** Takes a whole state: what it does not name is forgotten. */
  replace(alerts) {
    this.#byId.clear();
    this.merge(alerts);
    for (const alert of alerts) this.#announced.add(alert.id);
    this.#isLoaded = true;
  }

  /** Takes changed alerts. */
  merge(alerts) {
    for (const alert of alerts) this.#byId.set(alert.id, alert);
    if (this.#byId.size <= KEPT_MAX) return;
    const oldest = [...this.#byId.values()].sort((a, b) => order(b, a));
    for (const alert of oldest.slice(0, this.#byId.size - KEPT_MAX)) this.#byId.delete(alert.id);
  }

  /** Takes one that has just happened, and says so. */
  arrive(alert) {
    this.merge([alert]);
    if (alert.state === "firing" && !this.#announced.has(alert.id)) {
      this.#announced.add(alert.id);
      setText(byId("spoken"), `New ${alert.severity} alert: ${alert.reason}`);
    }
  }

  /** Alerts on one series by their bucket, for the chart. */
  onSeries(kpi, tenant, grain, dims) {
    const found = new Map();
    for (const alert of this.#byId.values()) {
      if (alert.kpi !== kpi || alert.tenant !== tenant || alert.grain !== grain) continue;
      if (Object.entries(dims).some(([name, value]) => alert.dims[name] !== value)) continue;
      found.set(Date.parse(alert.period_start), alert);
    }
    return found;
  }

  /** `isWatched` says whether anything of the tenant is watched; `null` when that is not known. */
  draw({ tenant, tenants, kpis, isWatched, now }) {
    this.#tenants = tenants;
    this.#kpis = kpis;
    const all = [...this.#byId.values()].sort(order);
    const mine = this.#isOfAll || tenant === null ? all : all.filter((alert) => alert.tenant === tenant);
    const others = all.filter((alert) => alert.state === "firing" && !mine.includes(alert)).length;
    const open = mine.filter((alert) => alert.state === "firing");
    const resolved = mine.filter((alert) => alert.state !== "firing").slice(0, RESOLVED_SHOWN_MAX);
    this.#drawHead(open.length);
    // Ages move on without a rebuild, which would take the focus away from an item.
    const key = JSON.stringify([this.#isLoaded, isWatched, others, [...open, ...resolved], [...this.#seen], [...this.#unfolded], this.#answers.shown]);
    if (key !== this.#shown) {
      this.#shown = key;
      this.#rebuild(open, resolved, others, isWatched);
    }
    for (const age of byId("alerts").querySelectorAll("time[data-from]")) {
      setText(age, ago(now - Number(age.dataset.from)));
    }
  }

  #drawHead(open) {
    setText(byId("alerts-count"), this.#isLoaded ? String(open) : "");
    byId("alerts-count").classList.toggle("is-bad", open > 0);
    const scope = byId("alerts-scope");
    setAttr(scope, "hidden", this.#tenants > 1 ? null : "");
    setAttr(scope, "aria-pressed", String(this.#isOfAll));
  }

  #rebuild(open, resolved, others, isWatched) {
    const list = byId("alerts");
    const active = document.activeElement;
    const focused = active?.closest?.("[data-alert]")?.dataset.alert;
    const act = active?.dataset?.act;
    const caret = active?.selectionStart;
    const incidents = byIncident(open);
    const items = incidents.slice(0, OPEN_SHOWN_MAX).flatMap((alerts) => this.#incident(alerts));
    if (incidents.length > OPEN_SHOWN_MAX) {
      items.push(el("li", { class: "alerts-note", text: `and ${incidents.length - OPEN_SHOWN_MAX} more` }));
    }
    if (this.#isLoaded && open.length === 0) items.push(calmItem(isWatched));
    if (this.#isLoaded && others > 0) items.push(this.#othersItem(others));
    if (resolved.length > 0) items.push(el("li", { class: "alerts-section", text: "Recently resolved" }));
    items.push(...resolved.map((alert) => this.#item(alert)));
    if (!this.#isLoaded) items.push(...[1, 2, 3].map(() => el("li", { class: "alert skeleton-row" })));
    list.replaceChildren(...items);
    if (!focused) return;
    const item = list.querySelector(`[data-alert="${CSS.escape(focused)}"]`);
    const same = (act && item?.querySelector(`[data-act="${act}"]`)) || item?.querySelector("button");
    same?.focus();
    if (act === "comment") same?.setSelectionRange?.(caret, caret);
  }

  #othersItem(others) {
    const text = `${others} more of other tenants`;
    const button = el("button", { type: "button", class: "link", text, on: { click: () => this.#toggle() } });
    return el("li", { class: "alerts-note" }, button);
  }

  /** The alert that leads, how many others there are, and these where they are asked for. */
  #incident([lead, ...others]) {
    const items = [this.#item(lead)];
    if (others.length === 0) return items;
    const isUnfolded = this.#unfolded.has(lead.incident);
    const text = isUnfolded ? "fold" : `${others.length} more of the same cause`;
    const toggle = () => {
      if (!this.#unfolded.delete(lead.incident)) this.#unfolded.add(lead.incident);
      this.#act.redraw();
    };
    const attributes = { type: "button", class: "link", text, "aria-expanded": String(isUnfolded), on: { click: toggle } };
    items[0].append(el("p", { class: "alert-acts" }, el("button", { ...attributes, "data-act": "others" })));
    if (isUnfolded) items.push(...others.slice(0, OPEN_SHOWN_MAX).map((alert) => this.#item(alert, true)));
    return items;
  }

  #item(alert, isUnder = false) {
    const isOpen = alert.state === "firing";
    const severity = SEVERITIES.includes(alert.severity) ? alert.severity : "info";
    const isSeen = this.#seen.has(alert.id);
    const since = Date.parse(isOpen ? alert.opened_at : (alert.resolved_at ?? alert.opened_at));
    const title = this.#kpis.get(alert.kpi)?.title ?? alert.kpi;
    const period = Date.parse(alert.period_start);
    const where = [alert.tenant, title, bucketLong(period, alert.grain)].join(" \u00b7 ");
    const isDim = Boolean(alert.acknowledged_at) || alert.muted || isSeen;
    const note = alert.acknowledged_at ? ", acknowledged" : alert.muted ? ", muted" : isSeen ? ", seen" : "";
    const state = isOpen ? `open${note}` : "resolved";
    return el(
      "li",
      { class: `alert is-${isOpen ? "open" : "resolved"}${isDim && isOpen ? " is-seen" : ""}${isUnder ? " is-under" : ""}`, "data-alert": alert.id },
      el(
        "p",
        { class: "alert-head" },
        el("span", { class: "severity", "data-severity": severity, text: alert.severity }),
        el("span", { class: "alert-state", text: state }),
        el("time", {
          "data-from": since,
          datetime: new Date(since).toISOString(),
          title: `${isOpen ? "opened" : "resolved"} ${utc(since)}`,
        }),
        isOpen && !this.#answers.canAnswer ? this.#seenButton(alert, isSeen) : null,
      ),
      el("button", {
        type: "button",
        class: "alert-open",
        text: unbroken(alert.reason),
        title: expectedWords(alert, this.#kpis.get(alert.kpi)),
        on: { click: () => this.#act.open(alert) },
      }),
      el("p", { class: "alert-where", text: where, title: bucketUtc(period, alert.grain) }),
      ...this.#answers.below(alert),
    );
  }

  #seenButton(alert, isSeen) {
    return el("button", {
      type: "button",
      class: "link",
      text: isSeen ? "undo" : "mark as seen",
      title: "Dims this alert in this browser; it stays open for everybody else.",
      on: {
        click: () => {
          if (isSeen) this.#seen.delete(alert.id);
          else this.#seen.add(alert.id);
          writeSeen(this.#seen);
          this.#act.redraw();
        },
      },
    });
  }
}

function calmItem(isWatched) {
  const watched = "Every watched bucket is within what was expected.";
  const nothing = "Nothing is watched yet: there is too little history to expect anything.";
  return el(
    "li",
    { class: "alerts-calm" },
    el("strong", { text: "No open alerts" }),
    isWatched === null ? null : el("span", { text: isWatched ? watched : nothing }),
  );
}

/** Alerts by incident, in their order, the one that leads first. */
function byIncident(alerts) {
  const incidents = new Map();
  for (const alert of alerts) {
    const same = incidents.get(alert.incident);
    if (!same) incidents.set(alert.incident, [alert]);
    else if (alert.id === alert.incident) same.unshift(alert);
    else same.push(alert);
  }
  return [...incidents.values()];
}

/** Open ones first, those by severity; the newest first among equals. */
function order(a, b) {
  const byState = Number(b.state === "firing") - Number(a.state === "firing");
  if (byState !== 0) return byState;
  const bySeverity = SEVERITIES.indexOf(b.severity) - SEVERITIES.indexOf(a.severity);
  if (a.state === "firing" && bySeverity !== 0) return bySeverity;
  const when = (alert) => (alert.state === "firing" ? alert.opened_at : (alert.resolved_at ?? alert.opened_at));
  return Date.parse(when(b)) - Date.parse(when(a)) || (a.id < b.id ? -1 : 1);
}

function expectedWords(alert, kpi) {
  if (!kpi || alert.value === null || alert.lower === null || alert.upper === null) return null;
  const spell = (text) => full(text, kpi.unit, alert.dims.currency);
  return `${spell(alert.value)}; expected ${spell(alert.lower)} to ${spell(alert.upper)}`;
}

function readSeen() {
  try {
    return new Set(JSON.parse(localStorage.getItem(SEEN_KEY) ?? "[]"));
  } catch {
    return new Set();
  }
}

function writeSeen(seen) {
  try {
    localStorage.setItem(SEEN_KEY, JSON.stringify([...seen].slice(-SEEN_MAX)));
  } catch {
    // Without storage it holds until the page is closed.
  }
}
