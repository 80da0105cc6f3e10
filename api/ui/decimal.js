/**
 * decimal: exact arithmetic on the decimal strings that the server sends.
 *
 * Guarantees
 * - A value is a BigInt count of 10^-10, the scale of every KPI value, so that sums are exact.
 * - `ratio` rounds half to even at ten decimals, as the server does.
 *
 * Non-guarantees
 * - `toNumber` is for pixels (heights, widths, percentages), never for a number that is shown.
 */

/** Decimals of every KPI value. */
export const SCALE = 10;
const ONE = 10n ** BigInt(SCALE);
const SHAPE = /^([+-]?)(\d+)(?:\.(\d+))?$/;

/** `"12.5"` as units; a text that is no plain decimal throws. */
export function toUnits(text) {
  const match = SHAPE.exec(text);
  if (!match) throw new Error(`\`${text}\` is not a decimal`);
  const [, sign, whole, fraction = ""] = match;
  if (fraction.length > SCALE && /[1-9]/.test(fraction.slice(SCALE))) {
    throw new Error(`\`${text}\` has more than ${SCALE} decimals`);
  }
  const units = BigInt(whole + fraction.slice(0, SCALE).padEnd(SCALE, "0"));
  return sign === "-" ? -units : units;
}

/** Units as the shortest decimal string. */
export function toText(units) {
  const negative = units < 0n;
  const digits = (negative ? -units : units).toString().padStart(SCALE + 1, "0");
  const fraction = digits.slice(-SCALE).replace(/0+$/, "");
  return `${negative ? "-" : ""}${digits.slice(0, -SCALE)}${fraction && `.${fraction}`}`;
}

/** Units as a float, for drawing. */
export function toNumber(units) {
  return Number(units) / Number(ONE);
}

/** numerator / denominator in units, rounded half to even; `null` when the denominator is 0. */
export function ratio(numerator, denominator) {
  if (denominator === 0n) return null;
  const negative = numerator < 0n !== denominator < 0n;
  const top = (numerator < 0n ? -numerator : numerator) * ONE;
  const bottom = denominator < 0n ? -denominator : denominator;
  let quotient = top / bottom;
  const twice = (top % bottom) * 2n;
  if (twice > bottom || (twice === bottom && quotient % 2n === 1n)) quotient += 1n;
  return negative ? -quotient : quotient;
}
