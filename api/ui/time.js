/**
 * time: buckets of a grain, and how instants are written.
 *
 * Hours and instants are written in UTC, as the server's sentences are; one that stands alone says so. Days and
 * longer buckets are those of the tenant's zone, and are written as dates.
 */

import { LOCALE } from "./locale.js";

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
export const WEEK_MS = 7 * DAY_MS;

/** Long grains, in days or in months. */
const DAYS = { day: 1, week: 7 };
const MONTHS = { month: 1, quarter: 3, year: 12 };

/** The calendar of the tenant on screen: hours are those of UTC, days those of its zone. */
let zone = "UTC";
let fromSunday = false;
let yearFrom = 1;
let offsets = null;
const midnights = new Map();

/** Takes the calendar of a tenant, as `meta` gives it. */
export function useCalendar(calendar, tenant) {
  const own = calendar?.zones?.[tenant] ?? calendar?.zone ?? "UTC";
  fromSunday = calendar?.week_start === "sunday";
  yearFrom = calendar?.fiscal_year_start ?? 1;
  if (own === zone) return;
  zone = own;
  midnights.clear();
  const parts = { year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric", second: "numeric" };
  offsets = zone === "UTC" ? null : new Intl.DateTimeFormat("en-US", { ...parts, calendar: "gregory", hourCycle: "h23", timeZone: zone });
}

/** The name of the zone whose days are shown. */
export const zoneName = () => zone;

/** What is added to UTC at an instant. */
function offsetAt(ms) {
  if (offsets === null) return 0;
  const part = Object.fromEntries(offsets.formatToParts(ms).map(({ type, value }) => [type, Number(value)]));
  const shown = Date.UTC(part.year, part.month - 1, part.day, part.hour, part.minute, part.second);
  return shown - Math.floor(ms / 1000) * 1000;
}

/** The day of the zone that holds an instant, counted from 1970-01-01. */
function dayOf(ms) {
  return Math.floor((ms + offsetAt(ms)) / DAY_MS);
}

/** When such a day begins: midnight, or the first instant after it where clocks are put forward over it. */
function midnight(day) {
  if (offsets === null) return day * DAY_MS;
  if (!midnights.has(day)) midnights.set(day, firstOf(day));
  return midnights.get(day);
}

function firstOf(day) {
  const local = day * DAY_MS;
  const near = [offsetAt(local - DAY_MS), offsetAt(local + DAY_MS)];
  const fits = near.map((offset) => local - offset).filter((ms) => ms + offsetAt(ms) === local);
  if (fits.length > 0) return Math.min(...fits);
  let [before, after] = [local - DAY_MS, local + DAY_MS];
  while (before + 1000 < after) {
    const middle = Math.floor((before + after) / 2000) * 1000;
    if (dayOf(middle) < day) before = middle;
    else after = middle;
  }
  return after;
}

/** The months of the civil calendar up to that of a day. */
function monthOf(day) {
  const date = new Date(day * DAY_MS);
  return date.getUTCFullYear() * 12 + date.getUTCMonth();
}

/** The first day of such a month. `Date.UTC` would take the years 0 to 99 for those of a century. */
function firstDayOf(month) {
  return new Date(0).setUTCFullYear(Math.floor(month / 12), modulo(month, 12), 1) / DAY_MS;
}

const modulo = (n, by) => ((n % by) + by) % by;

/** The start of the bucket that holds an instant. */
export function floorTo(ms, grain) {
  if (grain === "hour") return Math.floor(ms / HOUR_MS) * HOUR_MS;
  const day = dayOf(ms);
  if (grain === "day") return midnight(day);
  // 1970-01-01 was a Thursday.
  if (grain === "week") return midnight(day - modulo(day + 3 + Number(fromSunday), 7));
  const month = monthOf(day);
  return midnight(firstDayOf(month - modulo(month - (yearFrom - 1), MONTHS[grain])));
}

/** The start of the bucket `count` buckets later (or earlier). */
export function addBuckets(start, grain, count) {
  if (grain === "hour") return start + count * HOUR_MS;
  const day = dayOf(start);
  if (DAYS[grain]) return midnight(day + count * DAYS[grain]);
  return midnight(firstDayOf(monthOf(day) + count * MONTHS[grain]));
}

/** How many buckets lie from one start to another. */
export function countBuckets(from, to, grain) {
  if (grain === "hour") return Math.round((to - from) / HOUR_MS);
  const [a, b] = [dayOf(from), dayOf(to)];
  return DAYS[grain] ? (b - a) / DAYS[grain] : (monthOf(b) - monthOf(a)) / MONTHS[grain];
}

/** RFC 3339 in UTC, without fractions that are zero. */
export function rfc3339(ms) {
  return new Date(ms).toISOString().replace(".000Z", "Z");
}

const formats = new Map();
function format(ms, options) {
  const key = JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(LOCALE, { ...options, hourCycle: "h23", timeZone: "UTC" }));
  return formats.get(key).format(ms);
}

/** `14:02:11 UTC`. */
export function clock(ms) {
  return `${format(ms, { hour: "2-digit", minute: "2-digit", second: "2-digit" })}\u00a0UTC`;
}

/** `14:02`, for places that name the zone themselves. */
export function hourMinute(ms) {
  return format(ms, { hour: "2-digit", minute: "2-digit" });
}

/** `20 Nov`. */
export function dayMonth(ms) {
  return format(ms, { day: "numeric", month: "short" });
}

/** The date of a bucket's first day, as an instant of UTC. */
const civil = (ms) => dayOf(ms) * DAY_MS;

/** The week of the year, by ISO 8601: the first has the year's first Thursday. */
function weekOf(ms) {
  const thursday = new Date(civil(ms) + (fromSunday ? 4 : 3) * DAY_MS);
  return Math.floor((thursday.getTime() - Date.UTC(thursday.getUTCFullYear(), 0, 1)) / WEEK_MS) + 1;
}

/** `2026`; `FY27` of a year that does not begin in January, by the year in which it ends. */
function yearName(ms) {
  const month = monthOf(dayOf(ms)) - (yearFrom - 1);
  const year = Math.floor(month / 12) + Number(yearFrom !== 1);
  return yearFrom === 1 ? String(year) : `FY${String(year).slice(-2)}`;
}

/** `Q3 2026`, `FY27 Q1`. */
function quarterName(ms) {
  const quarter = `Q${Math.floor(modulo(monthOf(dayOf(ms)) - (yearFrom - 1), 12) / 3) + 1}`;
  return yearFrom === 1 ? `${quarter} ${yearName(ms)}` : `${yearName(ms)} ${quarter}`;
}

/** A bucket's short name: `14:00`, `20 Nov`, `W47 16 Nov`, `Nov 2026`, `Q4 2026`, `2026`. */
export function bucketShort(ms, grain) {
  if (grain === "hour") return hourMinute(ms);
  if (grain === "day") return dayMonth(civil(ms));
  if (grain === "week") return `W${weekOf(ms)} ${dayMonth(civil(ms))}`;
  if (grain === "month") return format(civil(ms), { month: "short", year: "numeric" });
  return grain === "quarter" ? quarterName(ms) : yearName(ms);
}

/**
 * A bucket's name that stands alone: `Fri, Nov 20, 14:00 UTC`, `Fri, Nov 20, 2026`,
 * `Week 47: Nov 16 to Nov 22, 2026`, `November 2026`, `Q4 2026`, `FY27 Q1: Apr 1, 2026 to Jun 30, 2026`.
 */
export function bucketLong(ms, grain) {
  if (grain === "hour") {
    const day = { weekday: "short", day: "numeric", month: "short" };
    return `${format(ms, { ...day, hour: "2-digit", minute: "2-digit" })}\u00a0UTC`;
  }
  const date = { day: "numeric", month: "short", year: "numeric" };
  if (grain === "day") return format(civil(ms), { weekday: "short", ...date });
  if (grain === "month") return format(civil(ms), { month: "long", year: "numeric" });
  const last = format(civil(addBuckets(ms, grain, 1)) - DAY_MS, date);
  if (grain === "week") return `Week ${weekOf(ms)}: ${dayMonth(civil(ms))} to ${last}`;
  const name = bucketShort(ms, grain);
  return yearFrom === 1 ? name : `${name}: ${format(civil(ms), date)} to ${last}`;
}

/** The exact span of a bucket in UTC, for hover texts. */
export function bucketUtc(ms, grain) {
  return `${utc(ms)} to ${utc(addBuckets(ms, grain, 1))}`;
}

/** `2026-11-20 14:00 UTC`, with seconds only when there are any. */
export function utc(ms) {
  const text = new Date(ms).toISOString();
  const seconds = text.slice(17, 19) === "00" ? "" : text.slice(16, 19);
  return `${text.slice(0, 10)} ${text.slice(11, 16)}${seconds} UTC`;
}

/** How long something takes or has taken: `38 ms`, `12 s`, `3 min`, `2 h`, `4 d`. */
export function span(ms) {
  const n = Math.max(0, ms);
  if (n < 1000) return `${Math.round(n)} ms`;
  if (n < 10_000) return `${(n / 1000).toFixed(1)} s`;
  if (n < 120_000) return `${Math.round(n / 1000)} s`;
  if (n < 120 * 60_000) return `${Math.round(n / 60_000)} min`;
  if (n < 48 * HOUR_MS) return `${Math.round(n / HOUR_MS)} h`;
  return `${Math.round(n / DAY_MS)} d`;
}

/** An age in words: `just now`, `12 s ago`, `3 min ago`. */
export function ago(ms) {
  return ms < 1500 ? "just now" : `${span(ms < 10_000 ? Math.round(ms / 1000) * 1000 : ms).replace(".0", "")} ago`;
}
