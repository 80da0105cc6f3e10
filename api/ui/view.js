/**
 * view: what the page shows, kept in the address, so that a link shows a colleague the same.
 *
 *     /?tenant=tenant-01&grain=hour&window=7d&kpi=orders&currency=USD
 *
 * Optional: `dim.<name>` (a value of a breakdown), `at` (a bucket, RFC 3339), `ghost=1` (the window
 * before, as a thin line), `group` (whose KPIs are cards), `cards` (those chosen for the overview), `show=grain`
 * (cards are of the running bucket and not of the window) and `theme`.
 */

import { addBuckets, floorTo, rfc3339 } from "./time.js";

export const GRAINS = ["hour", "day", "week", "month", "quarter", "year"];
/** Those whose history is read from its beginning. */
const WHOLE = ["week", "month", "quarter", "year"];
/** Windows of the page, each with the server's name of it. */
export const WINDOWS = {
  "24h": { label: "24 h", name: "last_24h" },
  "7d": { label: "7 d", name: "last_7d" },
  "30d": { label: "30 d", name: "last_30d" },
  "90d": { label: "90 d", name: "last_90d" },
  all: { label: "all", name: "all" },
};
/** Buckets of a grain that a window holds; `null`: all there are; 0: too few to show. */
const BUCKETS = {
  hour: { "24h": 24, "7d": 168, "30d": 720, "90d": 2160, all: null },
  day: { "24h": 0, "7d": 7, "30d": 30, "90d": 90, all: null },
  week: { "24h": 0, "7d": 0, "30d": 4, "90d": 13, all: null },
  month: { "24h": 0, "7d": 0, "30d": 0, "90d": 3, all: null },
  quarter: { "24h": 0, "7d": 0, "30d": 0, "90d": 0, all: null },
  year: { "24h": 0, "7d": 0, "30d": 0, "90d": 0, all: null },
};
const FIRST_WINDOW = { hour: "7d", day: "30d", week: "90d", month: "all", quarter: "all", year: "all" };
/** The most buckets that a chart shows: with more, the window `all` begins later. */
export const BUCKETS_MAX = 5_000;

/** How many buckets a window holds: see [`BUCKETS`]. */
export function bucketsOf(grain, window) {
  return BUCKETS[grain][window];
}

/** The view that an address asks for; what it leaves out or gets wrong is `null` or a default. */
export function parseView(search) {
  const query = new URLSearchParams(search);
  const grain = GRAINS.includes(query.get("grain")) ? query.get("grain") : "hour";
  const at = Date.parse(query.get("at") ?? "");
  const dims = [...query].filter(([name]) => name.startsWith("dim."));
  return withWindow({
    tenant: query.get("tenant"),
    grain,
    window: query.get("window"),
    kpi: query.get("kpi"),
    currency: query.get("currency"),
    // An empty value stands for the dimension's null.
    dims: Object.fromEntries(dims.map(([name, value]) => [name.slice(4), value === "" ? null : value])),
    // The bucket is found when the tenant's calendar is known.
    at: Number.isNaN(at) ? null : at,
    ghost: query.get("ghost") === "1",
    group: query.get("group"),
    cards: query.get("cards")?.split(",").filter(Boolean) ?? null,
    show: query.get("show") === "grain" ? "grain" : "window",
    theme: query.get("theme"),
  });
}

/** The same view with a window that its grain has at least two buckets of. */
export function withWindow(view) {
  const fits = view.window in WINDOWS && bucketsOf(view.grain, view.window) !== 0;
  return fits ? view : { ...view, window: FIRST_WINDOW[view.grain] };
}

/** What an address names and the page does not know, in sentences. */
export function unknownIn(search, { tenants, kpis }) {
  const query = new URLSearchParams(search);
  const [tenant, kpi, grain, window] = ["tenant", "kpi", "grain", "window"].map((name) => query.get(name));
  const found = [];
  if (tenant && tenants.length > 0 && !tenants.includes(tenant)) found.push(`There is no tenant \u201c${tenant}\u201d that this token may see.`);
  if (kpi && !kpis.some(({ key }) => key === kpi)) found.push(`There is no KPI \u201c${kpi}\u201d.`);
  if (grain && !GRAINS.includes(grain)) found.push(`\u201c${grain}\u201d is no grain: there are ${GRAINS.join(", ")}.`);
  for (const key of query.get("cards")?.split(",").filter(Boolean) ?? []) {
    if (!kpis.some((own) => own.key === key)) found.push(`There is no KPI \u201c${key}\u201d to make a card of.`);
  }
  const group = query.get("group");
  if (group && !kpis.some((own) => own.group === group)) found.push(`There is no group \u201c${group}\u201d.`);
  if (window && !(window in WINDOWS)) found.push(`\u201c${window}\u201d is no window: there are ${Object.keys(WINDOWS).join(", ")}.`);
  return found;
}

/** The address of a view, relative to the page. */
export function addressOf(view) {
  const query = new URLSearchParams();
  for (const name of ["tenant", "grain", "window", "kpi", "currency"]) {
    if (view[name]) query.set(name, view[name]);
  }
  for (const [name, value] of Object.entries(view.dims)) query.set(`dim.${name}`, value ?? "");
  if (view.at !== null) query.set("at", rfc3339(view.at));
  if (view.ghost) query.set("ghost", "1");
  if (view.group) query.set("group", view.group);
  if (view.cards) query.set("cards", view.cards.join(","));
  if (view.show !== "window") query.set("show", view.show);
  if (view.theme) query.set("theme", view.theme);
  return `?${query}`;
}

/**
 * The buckets of a view at an instant. A window of seven days has seven buckets: `start` to `running`
 * (excluded) are closed, `running` is the last one and runs; `before` is where the seven before begin,
 * `null` when there are none.
 *
 * @param {number | null} earliest the first bucket known, which the window `all` begins with
 */
export function rangeOf(view, now, earliest) {
  const running = floorTo(now, view.grain);
  const buckets = bucketsOf(view.grain, view.window);
  const label = WHOLE.includes(view.grain) ? `${buckets} ${view.grain}s` : WINDOWS[view.window].label;
  if (buckets !== null) {
    const start = addBuckets(running, view.grain, 1 - buckets);
    return { running, start, before: addBuckets(start, view.grain, -buckets), buckets, label };
  }
  const bound = addBuckets(running, view.grain, 1 - BUCKETS_MAX);
  const start = Math.min(running, Math.max(bound, earliest ?? running));
  return { running, start, before: null, buckets: null, label };
}

/** Where to begin reading: the window, the one before and the buckets of a sparkline. */
export function readFrom(view, now, sparkBuckets) {
  const { running, before } = rangeOf(view, now, null);
  if (before === null) return WHOLE.includes(view.grain) ? 0 : addBuckets(running, view.grain, -BUCKETS_MAX);
  return Math.min(before, addBuckets(running, view.grain, -sparkBuckets));
}

/** The shortest window that holds a bucket. */
export function windowFor(grain, at, now) {
  const running = floorTo(now, grain);
  for (const window of Object.keys(WINDOWS)) {
    const buckets = bucketsOf(grain, window);
    if (buckets !== 0 && (buckets === null || addBuckets(running, grain, 1 - buckets) <= at)) return window;
  }
  return "all";
}
