/**
 * format: decimal strings as people read them.
 *
 * Guarantees
 * - A percentage has a space before its sign that lines are not broken at, as in the server's sentences.
 * - A value is formatted from its decimal string: `Intl.NumberFormat` takes strings and keeps every
 *   digit. No value goes through a float on its way to the screen.
 */

import { ratio, toNumber, toText, toUnits } from "./decimal.js";
import { LOCALE } from "./locale.js";

/** Values at or above this (in absolute terms) are shown compactly, the whole of them on hover. */
const COMPACT_FROM = toUnits("100000");
/** From here on a ratio reads better as a multiple than as a percentage. */
const MULTIPLE_FROM = toUnits("10");
/** Units of time by their seconds, longest first. */
const DURATIONS = [["86400", "d"], ["3600", "h"], ["60", "min"], ["1", "s"], ["0.001", "ms"]];
const MINUS = "\u2212";
const DASH = "\u2013";

const formats = new Map();
function numberFormat(options) {
  const key = JSON.stringify(options);
  let found = formats.get(key);
  if (!found) {
    found = new Intl.NumberFormat(LOCALE, options);
    formats.set(key, found);
  }
  return found;
}

function money(currency) {
  return currency ? { style: "currency", currency, currencyDisplay: "narrowSymbol" } : {};
}

const abs = (units) => (units < 0n ? -units : units);

/** Whether a value is made compact where there is little room. */
export function isCompact(text) {
  return text !== null && text !== undefined && abs(toUnits(text)) >= COMPACT_FROM;
}

/** A decimal string for a place with little room: compact when it, or what it stands beside, is large. */
export function short(text, unit, currency, isLarge = isCompact(text)) {
  return spell(text, unit, currency, isLarge);
}

function percent(number, digits) {
  const options = { style: "percent", minimumFractionDigits: digits, maximumFractionDigits: digits };
  return numberFormat(options).format(number).replace(/\s*%/, "\u00a0%");
}

/** A sentence whose percentages are not torn apart at the end of a line. */
export function unbroken(sentence) {
  return sentence.replace(/(\d) (?=%)/g, "$1\u00a0");
}

/** A decimal string for a column: the same without being made compact. */
export function plain(text, unit, currency) {
  return spell(text, unit, currency, false);
}

function spell(text, unit, currency, isLarge) {
  if (text === null || text === undefined) return DASH;
  const units = toUnits(text);
  const compact = { notation: "compact", minimumFractionDigits: 1, maximumFractionDigits: 1 };
  if (unit === "ratio") {
    if (abs(units) >= MULTIPLE_FROM) return `${numberFormat({ maximumFractionDigits: 1 }).format(text)}\u00d7`;
    return percent(text, 1);
  }
  if (unit === "currency") {
    if (isLarge) return numberFormat({ ...money(currency), ...compact }).format(text);
    return numberFormat({ ...money(currency), minimumFractionDigits: 2, maximumFractionDigits: 2 }).format(text);
  }
  if (unit === "duration") return duration(text);
  if (isLarge) return numberFormat(compact).format(text);
  return numberFormat({ maximumFractionDigits: 2 }).format(text);
}

/** Seconds in the largest unit that they fill. */
function duration(text) {
  const seconds = abs(toUnits(text));
  const fits = DURATIONS.find(([from]) => seconds >= toUnits(from)) ?? DURATIONS[DURATIONS.length - 1];
  const [from, word] = fits;
  const shown = toText(ratio(toUnits(text), toUnits(from)));
  return `${numberFormat({ maximumFractionDigits: 1 }).format(shown)}\u00a0${word}`;
}

/** A decimal string with every digit it has. */
export function full(text, unit, currency) {
  if (text === null || text === undefined) return DASH;
  const digits = { minimumFractionDigits: 0, maximumFractionDigits: 10 };
  if (unit === "ratio") {
    const whole = numberFormat({ style: "percent", maximumFractionDigits: 8 }).format(text);
    return `${whole.replace(/\s*%/, "\u00a0%")} (${text})`;
  }
  if (unit === "currency") return numberFormat({ ...money(currency), ...digits, minimumFractionDigits: 2 }).format(text);
  if (unit === "duration") return `${numberFormat(digits).format(text)}\u00a0s`;
  return numberFormat(digits).format(text);
}

/** A value at a tick of an axis; ticks are floats that the chart chose. */
export function tick(number, unit, currency, step) {
  const size = Math.abs(number);
  if (unit === "ratio") {
    return percent(number, digitsOf(step * 100));
  }
  const symbol = unit === "currency" ? money(currency) : {};
  const large = Math.max(size, step) >= 10_000;
  const scale = large ? 10 ** (3 * Math.floor(Math.log10(Math.max(size, 1)) / 3)) : 1;
  const digits = digitsOf(step / scale);
  const options = { minimumFractionDigits: number === 0 ? 0 : digits, maximumFractionDigits: digits };
  if (large) options.notation = "compact";
  return numberFormat({ ...symbol, ...options }).format(number);
}

/** The decimals that tell multiples of a step apart. */
function digitsOf(step) {
  for (let digits = 0; digits < 4; digits += 1) {
    const scaled = step * 10 ** digits;
    if (Math.abs(scaled - Math.round(scaled)) < 1e-6 * scaled) return digits;
  }
  return 4;
}

/** What a number is in, as it is shown: `USD`, `percent`, `times`, `count`. */
export function unitWords(text, unit, currency) {
  if (unit === "currency") return currency ?? "currency";
  if (unit === "duration") return "";
  if (unit !== "ratio") return unit;
  return text !== null && abs(toUnits(text)) >= MULTIPLE_FROM ? "times" : "percent";
}

/**
 * A change that the server told, as words, direction and tone; `null` where it told none.
 *
 * @param {{change: string | null, change_ratio: string | null, previous: {value: string | null} | null}} cell
 * @param {string} unit a ratio changes by percentage points, anything else by percent
 * @param {"up" | "down"} good the direction that is good
 */
export function changeOf({ change, change_ratio: share, previous }, unit, good, currency = null) {
  if (change === null || change === undefined) return null;
  const difference = toUnits(change);
  let words;
  if (unit === "ratio") words = `${signed(toNumber(difference) * 100)}\u00a0pp`;
  else if (share !== null) words = shareOfChange(toNumber(toUnits(share)) * 100);
  // What was not above zero has no percentage.
  else if (difference === 0n) words = "+0.0\u00a0%";
  else if (toUnits(previous.value) === 0n) words = "new";
  else words = `${difference < 0n ? MINUS : "+"}${short(toText(abs(difference)), unit, currency)}`;
  if (difference === 0n || /^[+\u2212]0(\.0)?\u00a0/.test(words)) return flat(words.replace(/^[+\u2212]/, ""));
  const direction = difference > 0n ? "up" : "down";
  return { words, direction, tone: toneOf(direction, good) };
}

function shareOfChange(hundredths) {
  return Math.abs(hundredths) >= 1000 ? `${signed(hundredths / 100, 0)}\u00d7` : `${signed(hundredths)}\u00a0%`;
}

function flat(words) {
  return { words, direction: "flat", tone: "flat" };
}

function toneOf(direction, good) {
  return direction === good ? "good" : "bad";
}

function signed(number, digits = 1) {
  const sign = number < 0 ? MINUS : "+";
  return sign + numberFormat({ minimumFractionDigits: digits, maximumFractionDigits: digits }).format(Math.abs(number));
}

/** A share of a whole, for display beside a bar. */
export function share(part, whole) {
  if (whole === 0n) return DASH;
  return percent(toText(ratio(part, whole)), 1);
}

/** A whole number of things, grouped. */
export function count(number) {
  return numberFormat({ maximumFractionDigits: 0 }).format(number);
}

/** A large whole number in few characters. */
export function roughly(number) {
  return numberFormat({ notation: "compact", maximumFractionDigits: 1 }).format(number);
}

/** A rate per second, with decimals only when it is small. */
export function rate(number) {
  return numberFormat({ maximumFractionDigits: number < 10 ? 1 : 0 }).format(number);
}
