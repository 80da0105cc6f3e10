/**
 * app: the page as a whole: what is loaded when, and what is drawn after what has changed.
 *
 *     session -> meta -> figures of the cards and the breakdowns (REST, then stream: values and changes)
 *                     -> series of the cards and the chart (REST: history and bands)
 *                     -> series of the breakdowns (REST)
 *                     -> subscription that goes on from the answers' epoch (stream: live values)
 *
 * Guarantees
 * - What is on screen is of one tenant and grain: another choice starts from an empty store.
 * - Frames only change the store; drawing happens once per animation frame.
 */

import { Activity, buildLines } from "./activity.js";
import { Alerts } from "./alerts.js";
import { Bars, PANELS_MAX, barGrain } from "./bars.js";
import { Cards, SPARK_BUCKETS, cardKpis, isPlain } from "./cards.js";
import { Choice, keptCards } from "./choice.js";
import { askForToken, drawControls, drawTheme, wireControls } from "./controls.js";
import { byId, painter, setAttr, setText, throttled } from "./dom.js";
import { Figures, grainOf } from "./figures.js";
import { Files } from "./files.js";
import { Freshness } from "./freshness.js";
import { KpiStream } from "./kpi-stream.js";
import { Panel } from "./panel.js";
import { Session } from "./session.js";
import { Sources } from "./sources.js";
import { currenciesOf, largest } from "./stats.js";
import { Store } from "./store.js";
import { addBuckets, countBuckets, floorTo, rfc3339, useCalendar } from "./time.js";
import { addressOf, parseView, rangeOf, readFrom, unknownIn, windowFor, withWindow } from "./view.js";

const AGES_EVERY_MS = 1_000;
const RANGE_EVERY_MS = 1_000;
/** Bars are many, and change more often than people look. */
const BARS_EVERY_MS = 500;
/**
 * Drawing the chart costs the most; live values move it this often at most, and less often when it
 * holds so many buckets that the last one is a pixel wide.
 */
const CHART_EVERY_MS = 66;
const LONG_CHART_EVERY_MS = 500;
const LONG_CHART_BUCKETS = 1_000;
const RETRY_MS = 3_000;
/** Tenants come into being while a page is open. */
const META_EVERY_MS = 15_000;
/** A bucket's band is asked for when it has begun; the server may need a moment. */
const BANDS_AFTER_MS = 1_500;

let view = parseView(location.search);
let meta = null;
let store = null;
let loading = null;
let range = null;
let zoom = null;
let subscription = null;
let subscribedFrom = 0;
let alertsSubscription = null;
let isReady = false;
/** What the address named and nobody knows, in sentences, until something else is chosen. */
let unknown = [];

const fresh = new Freshness();
const session = new Session(async (reason) => {
  fresh.phase = "signed-out";
  const token = await askForToken(reason);
  fresh.phase = stream.phase;
  return token;
});

const address = new URL("/api/v1/stream", location.href);
address.protocol = address.protocol.replace("http", "ws");
const stream = new KpiStream({ url: address, token: (why) => session.token(why) });

const figures = new Figures(session, stream);
const cards = new Cards(byId("cards"), (kpi, dims) => change({ kpi, dims, at: null }));
const files = new Files(session, (why) => (fresh.trouble = why));
const choice = new Choice((part) => change(part), () => store && files.cards(view, shownCards()));
const bars = new Bars((kpi, dims) => {
  const { currency, ...rest } = dims;
  change({ kpi: kpi.key, dims: rest, at: null });
});
const panel = new Panel({
  pick: (key) => change({ kpi: key, dims: firstDims(key), at: null }),
  whole: () => change({ at: null }),
  ghost: (ghost) => change({ ghost }),
  save: () => store && range && files.series(view, kpiOf(view.kpi), range.start),
  zoom: (span) => {
    zoom = span;
    ask("bars");
  },
});
const alerts = new Alerts({ open: openAlert, redraw: () => ask("alerts") }, session);
const activity = new Activity(() => (isReady ? session.get("status") : null));
new Sources(() => (isReady ? session.get("sources") : null));

const now = () => fresh.asOf ?? Date.now() + session.skewMs;
const kpiOf = (key) => meta.kpis.find((kpi) => kpi.key === key);
const plainKpis = () => meta.kpis.filter((kpi) => isPlain(kpi) && !kpi.breakdown_of);
const brokenKpis = () => meta.kpis.filter((kpi) => !plainKpis().includes(kpi));
const shownCards = () => cardKpis(meta.kpis, view);
/** The breakdowns of a view: those of its group. */
const shownBars = () => brokenKpis().filter((kpi) => !view.group || kpi.group === view.group).slice(0, PANELS_MAX);

/** How far back the history is known. */
const reach = () => ({ earliest: store.earliest, from: readFrom(view, now(), SPARK_BUCKETS) });

const ask = painter({
  controls: () => {
    drawControls(view, meta?.tenants ?? null, store ? currenciesOf(store, meta.kpis) : []);
    choice.draw(view);
    setText(byId("page-title"), `KPIs of ${view.tenant ?? "no tenant yet"}`);
    setAttr(byId("notice"), "hidden", unknown.length > 0 ? null : "");
    setText(byId("notice-words"), unknown.length > 0 ? `${unknown.join(" ")} The defaults are shown instead.` : "");
    document.title = view.tenant ? `${view.tenant} \u00b7 Weir` : "Weir";
  },
  cards: () => {
    if (store && range) cards.draw({ store, figures, view, asOf: now(), reach: reach() });
  },
  chart: () => {
    if (!store || !range) return;
    const kpi = kpiOf(view.kpi);
    if (!kpi) return;
    const dims = { ...(kpi.dims?.includes("currency") ? { currency: view.currency } : {}), ...view.dims };
    const marks = alerts.onSeries(kpi.key, view.tenant, view.grain, dims);
    panel.draw({ store, kpi, view, range, alerts: marks, isLoading: !store.loaded.has(kpi.key) });
  },
  bars: () => {
    if (store && range) bars.draw({ store, figures, view, asOf: now(), reach: reach(), zoom: zoomSpan() });
  },
  alerts: () => {
    const kpis = new Map((meta?.kpis ?? []).map((kpi) => [kpi.key, kpi]));
    const tenants = meta?.tenants.length ?? 1;
    alerts.draw({ tenant: view.tenant, tenants, kpis, isWatched: isWatched(), now: Date.now() + session.skewMs });
  },
});

/** Whether anything of the tenant is watched; `null` while that is not known. Only hours and days have bands. */
function isWatched() {
  if (!store || store.hasBand) return store ? true : null;
  const isKnown = ["hour", "day"].includes(view.grain) && shownCards().every((kpi) => store.loaded.has(kpi.key));
  return isKnown ? false : null;
}

const barsSoon = throttled(() => BARS_EVERY_MS, () => ask("bars"));

const isLong = () => range && countBuckets(range.start, range.running, view.grain) > LONG_CHART_BUCKETS;
const chartSoon = throttled(() => (isLong() ? LONG_CHART_EVERY_MS : CHART_EVERY_MS), () => ask("chart"));

/** The part of the chart that is marked. */
const zoomSpan = () => zoom && { from: zoom.from, last: zoom.to, to: addBuckets(zoom.to, view.grain, 1) };

/** Changes the view, the address and whatever follows from both. */
function change(part, { isHistory = true } = {}) {
  const before = view;
  view = withWindow({ ...view, ...part });
  if (meta) view = withKnown(view);
  unknown = isHistory || !meta ? [] : unknownIn(location.search, meta);
  const target = addressOf(view);
  if (isHistory && target !== location.search) history.pushState(null, "", target);
  const isOther = ["tenant", "grain", "window"].some((name) => before[name] !== view[name]);
  zoom = null;
  if (isOther) load();
  else {
    if (store) loadMissing();
    ask("controls", "cards", "chart", "bars", "alerts");
  }
}

/** Replaces what the view names and the server does not know. */
function withKnown(wanted) {
  const tenant = meta.tenants.includes(wanted.tenant) ? wanted.tenant : (meta.tenants[0] ?? null);
  const isKnown = meta.kpis.some((kpi) => kpi.key === wanted.kpi);
  const kpi = isKnown ? wanted.kpi : (cardKpis(meta.kpis, wanted)[0]?.key ?? meta.kpis[0]?.key ?? null);
  useCalendar(meta.calendar, tenant);
  const at = wanted.at === null ? null : floorTo(wanted.at, wanted.grain);
  const group = meta.kpis.some((own) => own.group === wanted.group) ? wanted.group : null;
  return { ...wanted, tenant, kpi, at, group, dims: isKnown ? wanted.dims : {} };
}

function withCurrency() {
  const currencies = currenciesOf(store, meta.kpis);
  if (currencies.includes(view.currency)) return;
  view = { ...view, currency: currencies[0] ?? null };
  history.replaceState(null, "", addressOf(view));
}

function withDims() {
  const kpi = kpiOf(view.kpi);
  if (!kpi || isPlain(kpi) || Object.keys(view.dims).length > 0) return;
  view = { ...view, dims: firstDims(view.kpi) };
  history.replaceState(null, "", addressOf(view));
}

/** The largest value of a breakdown: what the chart shows before one is chosen. */
function firstDims(key) {
  const kpi = kpiOf(key);
  if (isPlain(kpi) || !store) return {};
  const cells = figures.all(key, grainOf(kpi, view), now());
  const newest = (series) => ({ dims: series.dims, value: series.points.get(series.newestBy(now()))?.value ?? null });
  return largest(kpi, view.currency, cells.length > 0 ? cells : store.all(key).map(newest));
}

/** Moves the chart to an alert. */
function openAlert(alert) {
  const { currency, ...dims } = alert.dims;
  useCalendar(meta.calendar, alert.tenant);
  const at = floorTo(Date.parse(alert.period_start), alert.grain);
  const fits = alert.grain === view.grain && range && at >= range.start;
  const window = fits ? view.window : windowFor(alert.grain, at, now());
  const { tenant, kpi, grain } = alert;
  change({ tenant, kpi, grain, window, currency: currency ?? view.currency, dims, at });
  byId("chart-panel").scrollIntoView({ block: "nearest" });
}

/** Reads the history of the view and goes on live from there. */
async function load() {
  loading?.abort();
  const mine = new AbortController();
  loading = mine;
  if (subscription !== null) stream.unsubscribe(subscription);
  subscription = null;
  store = new Store(view.tenant, view.grain);
  range = null;
  newRange();
  build();
  ask("controls", "cards", "chart", "bars", "alerts");
  if (view.tenant === null) return waitForTenants(mine.signal);
  loadFigures();
  try {
    const epochs = await loadSeries(cardAndChartKpis(), mine.signal);
    fresh.trouble = null;
    withCurrency();
    withDims();
    newRange();
    ask("controls", "cards", "chart", "bars");
    epochs.push(...(await loadBreakdowns(mine.signal)));
    newRange();
    ask("controls", "cards", "chart", "bars");
    subscribe(Math.min(...epochs));
  } catch (error) {
    if (mine.signal.aborted) return;
    fresh.trouble = `Could not read ${view.tenant}: ${error.message}. Trying again.`;
    setTimeout(() => !mine.signal.aborted && load(), RETRY_MS);
  }
}

/** The cards and breakdowns of the view. */
function build() {
  cards.build(shownCards());
  bars.build(shownBars());
}

/** Reads the figures of what is shown, and keeps them. */
async function loadFigures(isAgain = false) {
  const { signal } = loading;
  if (view.tenant === null) return;
  const of = { tenant: view.tenant, generation: meta.generation, now: now() };
  const cardsWanted = shownCards().map((kpi) => ({ kpi: kpi.key, grain: grainOf(kpi, view) }));
  const barsWanted = shownBars().map((kpi) => ({ kpi: kpi.key, grain: barGrain(kpi, view), at: view.at }));
  try {
    await figures.want(of, [...cardsWanted, ...barsWanted]);
    if (isAgain) fresh.trouble = null;
    ask("cards", "bars");
  } catch (error) {
    if (signal.aborted) return;
    fresh.trouble = `Could not read the values of ${view.tenant}: ${error.message}. Trying again.`;
    setTimeout(() => !signal.aborted && loadFigures(true), RETRY_MS);
  }
}

function cardAndChartKpis() {
  const keys = shownCards().map((kpi) => kpi.key);
  return [...new Set([...keys, view.kpi])].filter((key) => kpiOf(key));
}

/** Reads the series of KPIs side by side; gives the epochs of the answers. */
async function loadSeries(keys, signal, options = {}) {
  const target = store;
  const wanted = options.bandsOnly ? keys : keys.filter((key) => !target.loaded.has(key));
  const from = rfc3339(options.from ?? readFrom(view, now(), SPARK_BUCKETS));
  const query = { tenant: target.tenant, grain: target.grain, from };
  return Promise.all(
    wanted.map(async (key) => {
      const answer = await session.get(`kpis/${encodeURIComponent(key)}/series`, query, signal);
      signal.throwIfAborted();
      target.load(answer, options);
      ask("cards", "chart", "bars", "alerts");
      return answer.epoch;
    }),
  );
}

/** Breakdowns have the most series; one that cannot be read does not keep the page from going live. */
async function loadBreakdowns(signal) {
  const epochs = [];
  for (const kpi of shownBars()) {
    try {
      epochs.push(...(await loadSeries([kpi.key], signal)));
    } catch (error) {
      signal.throwIfAborted();
      fresh.trouble = `Could not read ${kpi.title}: ${error.message}.`;
    }
  }
  return epochs;
}

/** What the view needs and nobody has read yet. */
async function loadMissing() {
  build();
  loadFigures();
  const all = new Set([...cardAndChartKpis(), ...shownBars().map((kpi) => kpi.key)]);
  const missing = [...all].filter((key) => !store.loaded.has(key));
  if (missing.length === 0) return;
  try {
    await loadSeries(missing, loading.signal, { bandsOnly: true });
    withDims();
    ask("cards", "chart");
  } catch (error) {
    if (!loading.signal.aborted) fresh.trouble = `Could not read ${missing.join(", ")}: ${error.message}.`;
  }
}

/**
 * Goes on live. The answers are of `epoch`, so the stream is asked to resume from there and sends
 * only what changed since; a server that cannot do so sends a snapshot, which is as good.
 */
function subscribe(epoch) {
  subscribedFrom = readFrom(view, now(), SPARK_BUCKETS);
  const filter = { tenant: view.tenant, grain: view.grain, from: rfc3339(subscribedFrom) };
  const isSafe = Number.isFinite(epoch) && meta.generation;
  subscription = stream.subscribe("kpi", filter, isSafe ? { since: { generation: meta.generation, offset: epoch } } : {});
}

/** Before the first change event there is no tenant; look again until there is. */
async function waitForTenants(signal) {
  for (const kpi of meta.kpis) store.loaded.add(kpi.key);
  setTimeout(async () => {
    if (signal.aborted) return;
    try {
      await readMeta();
    } catch {
      // The next look tells.
    }
    if (!signal.aborted) (meta.tenants.length > 0 ? change({}) : waitForTenants(signal));
  }, RETRY_MS);
}

/** The range moves when a bucket begins; then the bands of the new one are asked for. */
function newRange() {
  if (!store) return;
  const before = range?.running;
  range = rangeOf(view, now(), store.earliest);
  if (before === undefined || before === range.running || loading?.signal.aborted) return;
  const { signal } = loading;
  const from = addBuckets(range.running, view.grain, -2);
  setTimeout(() => {
    if (signal.aborted || subscription === null) return;
    loadSeries(cardAndChartKpis(), signal, { bandsOnly: true, from }).catch(() => {
      // The band of one bucket is missing until the next one begins.
    });
  }, BANDS_AFTER_MS);
}

function seen(frame) {
  fresh.skewMs = session.skewMs;
  fresh.seen({ ...frame, epoch: frame.offset });
}

stream.onstate = (state) => {
  fresh.state(state);
  if (state.phase === "live" && meta?.generation && stream.generation !== meta.generation) restart();
};
stream.onsnapshot = (frame) => {
  seen(frame);
  if (frame.id === alertsSubscription) {
    if (frame.first) alerts.replace(frame.alerts);
    else alerts.merge(frame.alerts);
    if (frame.last) loadResolved();
    ask("alerts", "chart");
    return;
  }
  if (figures.takeSnapshot(frame)) ask("cards", "bars");
  if (frame.id !== subscription) return;
  if (frame.first) store.beginSnapshot();
  store.apply(frame.upserts, []);
  if (frame.last) store.endSnapshot(subscribedFrom);
  changed();
};
stream.onupdate = (frame) => {
  seen(frame);
  if (figures.takeUpdate(frame)) {
    ask("cards");
    barsSoon();
  }
  if (frame.id !== subscription) return;
  store.apply(frame.upserts, frame.deletes);
  changed();
};
stream.onalert = (frame) => {
  seen(frame);
  alerts.arrive(frame.alert);
  ask("alerts", "chart");
};
stream.onprogress = seen;

function changed() {
  const running = floorTo(now(), view.grain);
  const isLonger = range?.before === null && store.earliest < range.start;
  if (!range || running !== range.running || isLonger) newRange();
  if (view.currency === null) withCurrency();
  ask("cards");
  chartSoon();
  barsSoon();
}

/** The server's stream has another generation: nothing known so far can be gone on from. */
async function restart() {
  fresh.reset();
  try {
    await readMeta();
  } catch {
    return;
  }
  view = withKnown(view);
  load();
}

async function readMeta() {
  meta = await session.get("meta");
  setText(byId("version"), `Weir ${meta.version}`);
}

async function lookForTenants() {
  if (document.hidden || stream.phase !== "live") return;
  const known = meta.tenants.length;
  try {
    await readMeta();
  } catch {
    // The connection's state says what is wrong, and the next look may do better.
  }
  if (meta.tenants.length !== known) ask("controls", "alerts");
}

async function loadResolved() {
  try {
    alerts.merge((await session.get("alerts", { state: "resolved" })).alerts);
    ask("alerts", "chart");
  } catch {
    // Open alerts come by the stream; resolved ones are a courtesy.
  }
}

async function start() {
  buildLines();
  wireControls(change, (theme) => {
    if (theme && view.theme) change({ theme });
    drawTheme();
    panel.retheme();
  });
  drawControls(view, view.tenant ? [view.tenant] : null, []);
  addEventListener("popstate", () => change(parseView(location.search), { isHistory: false }));
  addEventListener("online", () => stream.retryNow());
  document.addEventListener("visibilitychange", () => !document.hidden && stream.retryNow());
  for (;;) {
    try {
      await readMeta();
      break;
    } catch (error) {
      fresh.trouble = `Could not begin: ${error.message}. Trying again.`;
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }
  fresh.skewMs = session.skewMs;
  fresh.seen({ ...meta, asOf: meta.as_of }, false);
  fresh.trouble = null;
  isReady = true;
  unknown = unknownIn(location.search, meta);
  view = withKnown({ ...view, cards: view.cards ?? keptCards() });
  history.replaceState(null, "", addressOf(view));
  choice.build(meta.kpis);
  panel.build(plainKpis(), brokenKpis());
  byId("chart-kpi").disabled = false;
  alertsSubscription = stream.subscribe("alerts", {});
  stream.connect();
  load();
  setInterval(() => {
    ask("alerts");
    if (store) activity.drawChanges(store, meta.kpis);
  }, AGES_EVERY_MS);
  setInterval(lookForTenants, META_EVERY_MS);
  setInterval(() => {
    if (!range || floorTo(now(), view.grain) === range.running) return;
    newRange();
    ask("cards", "chart", "bars");
  }, RANGE_EVERY_MS);
}

start();
