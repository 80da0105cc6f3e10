//! Tests of the module `expr`.

use schemas::{RowBuilder, RowLayout};

use super::*;

fn contract() -> Contract {
    Contract::parse(
        "name='t'\nformat='f'\nkey=['a']\ntenant='a'\ncolumns=[{name='a',type='text'},\
         {name='n',type='decimal(18,4)'},{name='at',type='timestamp'},{name='j',type='json'}]",
    )
    .unwrap()
}

/// The condition's value for a row: a text, a number in ten-thousandths and an instant.
fn value(text: &str, row: (Option<&str>, Option<i128>, Option<&str>)) -> Option<bool> {
    let contract = contract();
    let filter = Filter::compile(text, &contract).unwrap_or_else(|e| panic!("{text}: {e}"));
    let layout = RowLayout::new(&contract.columns);
    let mut builder = RowBuilder::default();
    builder.reset(layout.len());
    if let Some(text) = row.0 {
        builder.set_text(0, text);
    }
    if let Some(number) = row.1 {
        builder.set_decimal(1, number);
    }
    if let Some(at) = row.2 {
        builder.set_timestamp(2, Micros::parse(at).unwrap());
    }
    let mut bytes = Vec::new();
    builder.finish(&layout, &mut bytes);
    assert_eq!(
        filter.selects(layout.row(&bytes)),
        filter.0.evaluate(layout.row(&bytes)) == Some(true)
    );
    filter.0.evaluate(layout.row(&bytes))
}

#[test]
fn three_valued_logic() {
    let row = (Some("x"), None, Some("2026-03-01T00:00:00Z"));
    for (text, expected) in [
        ("a = 'x'", Some(true)),
        ("a <> 'x'", Some(false)),
        ("a != 'y'", Some(true)),
        ("A = 'x'", Some(true)),
        ("'w' < a", Some(true)),
        ("'x' >= a", Some(true)),
        ("n = 1", None),
        ("NOT n = 1", None),
        ("n <> 1", None),
        ("n IS NULL", Some(true)),
        ("n IS NOT NULL", Some(false)),
        ("n = 1 AND a = 'y'", Some(false)),
        ("n = 1 AND a = 'x'", None),
        ("n = 1 OR a = 'x'", Some(true)),
        ("n = 1 OR a = 'y'", None),
        ("n IN (1, 2)", None),
        ("n NOT IN (1, 2)", None),
        ("a IN ('y', 'x')", Some(true)),
        ("a NOT IN ('y', 'z')", Some(true)),
        ("n BETWEEN 1 AND 2", None),
        ("a BETWEEN 'a' AND 'x'", Some(true)),
        ("a NOT BETWEEN 'a' AND 'x'", Some(false)),
        ("NOT (a = 'x' AND (a = 'y' OR a = 'x'))", Some(false)),
        ("at >= '2026-03-01'", Some(true)),
        ("at < TIMESTAMP '2026-03-01 00:00:00'", Some(false)),
    ] {
        assert_eq!(value(text, row), expected, "{text}");
    }
}

#[test]
fn numbers_compare_exactly() {
    let row = (None, Some(-12_500), None);
    for (text, expected) in [
        ("n = -1.25", Some(true)),
        ("n > -1.2501", Some(true)),
        ("n <= -1.2499", Some(true)),
        ("n IN (0, -1.2500)", Some(true)),
        ("a = 'x'", None),
    ] {
        assert_eq!(value(text, row), expected, "{text}");
    }
}

#[test]
fn refuses_what_it_cannot_promise() {
    for (text, says) in [
        ("statu = 'x'", "has no column `statu`"),
        ("n + 1 = 2", "`n + 1` is not a column"),
        ("lower(a) = 'x'", "not a column"),
        ("a LIKE 'x%'", "not accepted in a filter"),
        ("a = n", "compare with a literal"),
        ("a = 1", "column `a` is no number like 1"),
        ("n = 'x'", "column `n` is no text like 'x'"),
        ("n = 0.00001", "4 digits after the point"),
        ("a = NULL", "use IS NULL"),
        ("a IN ('x', NULL)", "use IS NULL"),
        ("at > 'soon'", "is no timestamp"),
        ("j = '{}'", "is JSON"),
        ("a", "not accepted in a filter"),
        ("1 = 1", "is not a column"),
        ("a = 'x' GROUP BY a", "follows the end"),
        ("a = ", "Expected"),
        ("a IN (SELECT 1)", "not accepted in a filter"),
        ("a || 'x' = 'y'", "is not a column"),
        ("CASE WHEN a = 'x' THEN 1 END = 1", "is not a column"),
    ] {
        let error = Filter::compile(text, &contract()).unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
}
