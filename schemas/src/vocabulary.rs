//! Vocabularies: the values that a text column of a contract is meant to have.
//!
//! # Guarantees
//! - Values are compared byte for byte: `usd` is not `USD`. Null is never outside.
//! - What is said about a value has a bound, however many values are allowed.
//!
//! # Non-guarantees
//! - A vocabulary changes nothing by itself: values outside are counted and listed, and only where it is
//!   strict is their record a dead letter.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use crate::column::{ColumnType, RowSchema};
use crate::nearest::nearest;

/// As contracts name the codes of currencies.
pub const ISO_4217: &str = "iso4217";

/// A contract lists no more values of a column.
pub const LISTED_MAX: usize = 1_000;

/// How many allowed values a text names, and how much of one that is not.
const NAMED_MAX: usize = 20;
const SHOWN_MAX: usize = 40;

static CURRENCIES: LazyLock<BTreeSet<&'static str>> = LazyLock::new(|| {
    let lines = include_str!("../contracts/iso4217.txt").lines();
    lines.filter(|line| !line.starts_with('#')).flat_map(str::split_ascii_whitespace).collect()
});

/// The values of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    /// The column's index.
    pub column: usize,
    /// Whether a record with another value is a dead letter.
    pub is_strict: bool,
    /// What is allowed.
    pub values: Values,
}

/// What is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Values {
    /// These, as the contract lists them.
    Listed(Vec<String>),
    /// The codes of ISO 4217.
    Currencies,
}

impl Vocabulary {
    /// Whether a value is one of it.
    #[inline]
    pub fn has(&self, value: &str) -> bool {
        match &self.values {
            Values::Listed(listed) => listed.iter().any(|allowed| allowed == value),
            Values::Currencies => CURRENCIES.contains(value),
        }
    }

    /// The same for the column of this name of another schema; `None` when it has no such text.
    pub fn moved(&self, from: &RowSchema, to: &RowSchema) -> Option<Vocabulary> {
        let column = to.find(&from.get(self.column)?.name)?;
        let is_text = to.kind(column) == Some(ColumnType::Text);
        is_text.then(|| Vocabulary { column, ..self.clone() })
    }

    /// The allowed values in words: a few of them when they are many.
    pub fn allowed(&self) -> String {
        let Values::Listed(listed) = &self.values else { return "a code of ISO 4217".to_owned() };
        let named: Vec<&str> = listed.iter().take(NAMED_MAX).map(String::as_str).collect();
        let more = match listed.len().saturating_sub(NAMED_MAX) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("one of {}{more}", named.join(", "))
    }

    /// ` (did you mean `x`?)` for the allowed value that is nearest, or nothing when none is near.
    pub fn nearest(&self, value: &str) -> String {
        let shown = shown(value);
        match &self.values {
            Values::Listed(listed) => nearest(&shown, listed.iter().map(String::as_str)),
            Values::Currencies => nearest(&shown, CURRENCIES.iter().copied()),
        }
    }

    /// Why a value of a column with this name is refused.
    pub fn refusal(&self, column: &str, value: &str) -> String {
        let (shown, allowed, hint) = (shown(value), self.allowed(), self.nearest(value));
        format!(
            "column `{column}`: `{shown}` is not {allowed}{hint}; correct the source, or add the value to `values` \
             of the contract"
        )
    }
}

/// A value, shortened.
pub fn shown(value: &str) -> String {
    let mut chars = value.chars();
    let head: String = chars.by_ref().take(SHOWN_MAX).collect();
    if chars.next().is_none() { head } else { head + "..." }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: Values) -> Vocabulary {
        Vocabulary { column: 0, is_strict: true, values }
    }

    #[test]
    fn values_are_compared_as_they_are_and_the_nearest_is_named() {
        let status = of(Values::Listed(vec!["paid".into(), "cancelled".into()]));
        assert!(status.has("paid") && !status.has("Paid") && !status.has("") && !status.has("pai"));
        assert_eq!(status.nearest("canceled"), " (did you mean `cancelled`?)");
        assert_eq!(status.nearest("PAID"), " (did you mean `paid`?)");
        assert_eq!(status.nearest("shipping"), "");
        let currency = of(Values::Currencies);
        assert!(["USD", "EUR", "XDR", "HRK"].iter().all(|code| currency.has(code)));
        assert!(["usd", "US", "ZZZ", "", "#"].iter().all(|code| !currency.has(code)));
        assert_eq!(currency.nearest("usd"), " (did you mean `USD`?)");
        assert_eq!(currency.nearest("QQQ"), "");
    }

    #[test]
    fn a_refusal_names_column_value_and_what_is_allowed_within_a_bound() {
        let many = of(Values::Listed((0..500).map(|at| format!("value-{at}")).collect()));
        let text = many.refusal("kind", &"x".repeat(10_000));
        assert!(
            text.starts_with("column `kind`: `xxxx") && text.contains("and 480 more"),
            "{text}"
        );
        assert!(text.len() < 500, "{}", text.len());
        let text = of(Values::Currencies).refusal("currency", "usd");
        assert!(text.contains("`usd` is not a code of ISO 4217 (did you mean `USD`?)"), "{text}");
    }

    #[test]
    fn the_codes_are_three_letters_each() {
        assert!(CURRENCIES.len() > 170);
        assert!(CURRENCIES.iter().all(|code| code.len() == 3));
        assert!(CURRENCIES.iter().all(|code| code.bytes().all(|b| b.is_ascii_uppercase())));
    }
}
