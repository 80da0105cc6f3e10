/**
 * time: buckets of a grain, which are UTC, and how instants are written.
 *
 * Everything is written in UTC, the zone of the buckets and of the server's sentences: two zones on one
 * page would have to be told apart everywhere. A time that stands alone says so.
 */

import { LOCALE } from "./locale.js";

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;
export const WEEK_MS = 7 * DAY_MS;

/** Grains of a fixed length; their buckets follow each other from `FIRST` on. */
const LENGTHS = { hour: HOUR_MS, day: DAY_MS, week: WEEK_MS };
/** Weeks begin on Monday, as 1970-01-05 is. */
const FIRST = { hour: 0, day: 0, week: 4 * DAY_MS };
/** The others, in months. */
const MONTHS = { month: 1, quarter: 3, year: 12 };

/** The months of the civil calendar up to that of an instant. */
function monthOf(ms) {
  const date = new Date(ms);
  return date.getUTCFullYear() * 12 + date.getUTCMonth();
}

/** Where such a month begins. `Date.UTC` would take the years 0 to 99 for those of a century. */
function startOfMonth(month) {
  const date = new Date(0);
  return date.setUTCFullYear(Math.floor(month / 12), ((month % 12) + 12) % 12, 1);
}

/** The start of the bucket that holds an instant. */
export function floorTo(ms, grain) {
  const length = LENGTHS[grain];
  if (length) return Math.floor((ms - FIRST[grain]) / length) * length + FIRST[grain];
  const month = monthOf(ms);
  return startOfMonth(month - (((month % MONTHS[grain]) + MONTHS[grain]) % MONTHS[grain]));
}

/** The start of the bucket `count` buckets later (or earlier). */
export function addBuckets(start, grain, count) {
  const length = LENGTHS[grain];
  return length ? start + count * length : startOfMonth(monthOf(start) + count * MONTHS[grain]);
}

/** How many buckets lie from one start to another. */
export function countBuckets(from, to, grain) {
  const length = LENGTHS[grain];
  return Math.round(length ? (to - from) / length : (monthOf(to) - monthOf(from)) / MONTHS[grain]);
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

/** The week of the year, by ISO 8601: the first has the year's first Thursday. */
function weekOf(ms) {
  const thursday = new Date(ms + 3 * DAY_MS);
  return Math.floor((thursday.getTime() - Date.UTC(thursday.getUTCFullYear(), 0, 1)) / WEEK_MS) + 1;
}

const quarterOf = (ms) => `Q${Math.floor(new Date(ms).getUTCMonth() / 3) + 1} ${new Date(ms).getUTCFullYear()}`;

/** A bucket's short name: `14:00`, `20 Nov`, `W47 16 Nov`, `Nov 2026`, `Q4 2026`, `2026`. */
export function bucketShort(ms, grain) {
  if (grain === "hour") return hourMinute(ms);
  if (grain === "day") return dayMonth(ms);
  if (grain === "week") return `W${weekOf(ms)} ${dayMonth(ms)}`;
  if (grain === "month") return format(ms, { month: "short", year: "numeric" });
  return grain === "quarter" ? quarterOf(ms) : String(new Date(ms).getUTCFullYear());
}

/**
 * A bucket's name that stands alone: `Fri, Nov 20, 14:00 UTC`, `Fri, Nov 20, 2026`,
 * `Week 47: Nov 16 to Nov 22, 2026`, `November 2026`, `Q4 2026`, `2026`.
 */
export function bucketLong(ms, grain) {
  if (grain === "week") {
    const last = format(ms + 6 * DAY_MS, { day: "numeric", month: "short", year: "numeric" });
    return `Week ${weekOf(ms)}: ${dayMonth(ms)} to ${last}`;
  }
  if (grain === "quarter" || grain === "year") return bucketShort(ms, grain);
  if (grain === "hour") {
    const day = { weekday: "short", day: "numeric", month: "short" };
    return `${format(ms, { ...day, hour: "2-digit", minute: "2-digit" })}\u00a0UTC`;
  }
  if (grain === "day") {
    return format(ms, { weekday: "short", day: "numeric", month: "short", year: "numeric" });
  }
  return format(ms, { month: "long", year: "numeric" });
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
