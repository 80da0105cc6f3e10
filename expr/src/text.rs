//! Text functions: LIKE, substr, trim.

use std::borrow::Cow;

use crate::value::EvalError;

/// Whether a text matches a pattern: `%` is any text, `_` any character, `\` takes away the meaning of the
/// one after it.
pub(crate) fn is_like(text: &str, pattern: &str) -> bool {
    let (mut text_left, mut pattern_left) = (text.chars(), pattern.chars());
    // Where the last `%` can be tried again with one character more.
    let mut again: Option<(std::str::Chars<'_>, std::str::Chars<'_>)> = None;
    loop {
        let mut pattern_next = pattern_left.clone();
        let matches = match pattern_next.next() {
            Some('%') => {
                pattern_left = pattern_next;
                again = Some((text_left.clone(), pattern_left.clone()));
                continue;
            }
            Some('_') => text_left.next().is_some(),
            Some(own) => {
                let own = escaped(own, &mut pattern_next);
                text_left.next() == Some(own)
            }
            None if text_left.as_str().is_empty() => return true,
            None => false,
        };
        if matches {
            pattern_left = pattern_next;
            continue;
        }
        let Some((mut text_from, pattern_from)) = again.take() else { return false };
        if text_from.next().is_none() {
            return false;
        }
        text_left = text_from.clone();
        pattern_left = pattern_from.clone();
        again = Some((text_from, pattern_from));
    }
}

fn escaped(own: char, rest: &mut std::str::Chars<'_>) -> char {
    let is_special = |c: &char| matches!(c, '%' | '_' | '\\');
    match rest.clone().next().filter(is_special) {
        Some(next) if own == '\\' => {
            rest.next();
            next
        }
        _ => own,
    }
}

/// The characters from `start` (the first is 1), `count` of them or all that are left.
pub(crate) fn substr<'a>(
    text: Cow<'a, str>,
    start: i64,
    count: Option<i64>,
) -> Result<Cow<'a, str>, EvalError> {
    if count.is_some_and(|count| count < 0) {
        return Err(EvalError::BadArgument);
    }
    let start = start.checked_sub(1).ok_or(EvalError::BadArgument)?;
    let end = count.map(|count| start.saturating_add(count));
    let skipped = usize::try_from(start.max(0)).unwrap_or(usize::MAX);
    let end = end.map_or(usize::MAX, |end| usize::try_from(end.max(0)).unwrap_or(usize::MAX));
    if skipped == 0 && end == usize::MAX {
        return Ok(text);
    }
    let taken = end.saturating_sub(skipped);
    Ok(Cow::Owned(text.chars().skip(skipped).take(taken).collect()))
}

/// The text without blanks at its ends, or at one of them.
pub(crate) fn trim(text: Cow<'_, str>, start: bool, end: bool) -> Cow<'_, str> {
    let from = if start { text.trim_start_matches(' ') } else { &text };
    let trimmed = if end { from.trim_end_matches(' ') } else { from };
    if trimmed.len() == text.len() { text } else { Cow::Owned(trimmed.to_owned()) }
}
