/**
 * time: buckets of a grain, which are UTC, and how instants are written.
 *
 * Everything is written in UTC, the zone of the buckets and of the server's sentences: two zones on one
 * page would have to be told apart everywhere. A time that stands alone says so.
 */

import { LOCALE } from "./locale.js";

export const HOUR_MS = 3_600_000;
export const DAY_MS = 24 * HOUR_MS;

/** The start of the bucket that holds an instant. */
export function floorTo(ms, grain) {
  if (grain === "hour") return Math.floor(ms / HOUR_MS) * HOUR_MS;
  if (grain === "day") return Math.floor(ms / DAY_MS) * DAY_MS;
  const date = new Date(ms);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1);
}

/** The start of the bucket `count` buckets later (or earlier). */
export function addBuckets(start, grain, count) {
  if (grain === "hour") return start + count * HOUR_MS;
  if (grain === "day") return start + count * DAY_MS;
  const date = new Date(start);
  return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + count, 1);
}

/** How many buckets lie from one start to another. */
export function countBuckets(from, to, grain) {
  if (grain === "hour") return Math.round((to - from) / HOUR_MS);
  if (grain === "day") return Math.round((to - from) / DAY_MS);
  const [a, b] = [new Date(from), new Date(to)];
  return (b.getUTCFullYear() - a.getUTCFullYear()) * 12 + b.getUTCMonth() - a.getUTCMonth();
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

/** A bucket's short name: `14:00`, `20 Nov`, `Nov 2026`. */
export function bucketShort(ms, grain) {
  if (grain === "hour") return hourMinute(ms);
  if (grain === "day") return format(ms, { day: "numeric", month: "short" });
  return format(ms, { month: "short", year: "numeric" });
}

/** A bucket's name that stands alone: `Fri, Nov 20, 14:00 UTC`, `Fri, Nov 20, 2026`, `November 2026`. */
export function bucketLong(ms, grain) {
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
