/**
 * locale: how numbers and dates are written. The page and the server's sentences are in English, so
 * numbers are too: `1.234` must not mean two things on one page. Of the English ways of writing, the
 * viewer's own is taken.
 */
export const LOCALE = (navigator.languages ?? []).find((name) => /^en\b/i.test(name)) ?? "en";
