//! Tests of the module `row`.

use proptest::prelude::*;

use super::*;
use crate::column::Column;
use crate::contract::Contract;
use crate::datum::canonical;

fn orders() -> Contract {
    Contract::parse(include_str!("../../contracts/tables/orders.toml")).unwrap()
}

#[test]
fn reads_back_what_was_set_in_any_order() {
    let contract = orders();
    let layout = RowLayout::new(&contract.columns);
    let column = |name| contract.column(name).unwrap();
    let mut builder = RowBuilder::default();
    builder.reset(layout.len());
    builder.set_text(column("currency"), "EUR");
    builder.set_decimal(column("amount"), -125_000);
    builder.set_text(column("order_id"), "wrong");
    builder.set_text(column("order_id"), "42");
    builder.set_timestamp(column("placed_at"), Micros(7));
    let mut bytes = vec![0xaa];
    builder.finish(&layout, &mut bytes);
    let row = layout.row(&bytes[1..]);
    assert_eq!(row.text(column("order_id")), Some("42"));
    assert_eq!(row.text(column("currency")), Some("EUR"));
    assert_eq!(row.decimal(column("amount")), Some(-125_000));
    assert_eq!(row.timestamp(column("placed_at")), Some(Micros(7)));
    assert_eq!(row.text(column("status")), None);
    assert!(row.is_null(column("recognized_at")));
    assert_eq!(row.decimal(column("currency")), None);
}

#[test]
fn equal_rows_are_equal_bytes() {
    let layout = RowLayout::new(&orders().columns);
    let build = |order: [usize; 2], texts: [&str; 2]| {
        let mut builder = RowBuilder::default();
        builder.reset(layout.len());
        for at in order {
            builder.set_text([0, 3][at], texts[at]);
        }
        let mut bytes = Vec::new();
        builder.finish(&layout, &mut bytes);
        bytes
    };
    assert_eq!(build([0, 1], ["ab", "c"]), build([1, 0], ["ab", "c"]));
    assert_ne!(build([0, 1], ["ab", "c"]), build([0, 1], ["a", "bc"]));
    assert_ne!(build([0, 1], ["", "c"]), build([1, 1], ["", "c"]), "empty text is not null");
}

#[test]
fn rows_of_short_texts_and_common_amounts_are_narrow() {
    let contract = orders();
    let layout = RowLayout::new(&contract.columns);
    let column = |name| contract.column(name).unwrap();
    let length = |texts: usize, amount: i128| {
        let mut builder = RowBuilder::default();
        builder.reset(layout.len());
        builder.set_text(column("order_id"), &"x".repeat(texts - 1));
        builder.set_text(column("status"), "y");
        builder.set_decimal(column("amount"), amount);
        let mut bytes = Vec::new();
        builder.finish(&layout, &mut bytes);
        let row = layout.row(&bytes);
        assert_eq!(row.text(column("order_id")).map(str::len), Some(texts - 1));
        assert_eq!(row.text(column("status")), Some("y"));
        assert_eq!(row.decimal(column("amount")), Some(amount));
        bytes.len() - texts
    };
    // By hand: 2 bytes of bits, 8 texts, 2 decimals, 3 timestamps.
    let (narrow, wide) = (2 + 8 + 2 * 8 + 3 * 8, 2 + 8 * 4 + 2 * 16 + 3 * 8);
    for amount in [0, -1, i128::from(i64::MAX), i128::from(i64::MIN)] {
        assert_eq!((length(255, amount), length(256, amount)), (narrow, wide));
    }
    for amount in [i128::from(i64::MAX) + 1, i128::from(i64::MIN) - 1, i128::MAX] {
        assert_eq!(length(9, amount), wide, "{amount}");
    }
}

/// A column of every type, text twice.
fn every_type() -> RowSchema {
    let kinds =
        ["text", "bigint", "double", "boolean", "date", "timestamp", "decimal(38,9)", "json"];
    let kinds = kinds.map(|kind| ColumnType::parse(kind).unwrap());
    let column = |(at, kind)| Column { name: format!("c{at}"), kind, required: false };
    RowSchema::new(kinds.into_iter().enumerate().map(column).collect())
}

/// What a test sets, without borrowing.
#[derive(Debug, Clone, PartialEq)]
enum Set {
    Null,
    Unknown,
    Text(String),
    Bits(u64),
}

fn datum<'a>(kind: ColumnType, set: &'a Set) -> Datum<'a> {
    let Set::Bits(bits) = set else {
        return if let Set::Text(text) = set { Datum::Text(text) } else { Datum::Null };
    };
    let number = i64::from_le_bytes(bits.to_le_bytes());
    match kind {
        ColumnType::Text | ColumnType::Json => Datum::Null,
        ColumnType::Bigint => Datum::Bigint(number),
        ColumnType::Double => Datum::Double(canonical(f64::from_bits(*bits))),
        ColumnType::Boolean => Datum::Boolean(bits % 2 == 1),
        ColumnType::Date => Datum::Date(Date(i32::try_from(number >> 32).unwrap())),
        ColumnType::Timestamp => Datum::Timestamp(Micros(number)),
        // Some need eight bytes, and some more.
        ColumnType::Decimal { .. } => {
            Datum::Decimal(i128::from(number) << if number % 2 == 0 { 60 } else { 0 })
        }
    }
}

fn sets() -> impl Strategy<Value = Vec<Set>> {
    let bits = prop_oneof![any::<u64>(), Just((-0.0_f64).to_bits()), Just(0), Just(u64::MAX)];
    let value = prop_oneof![
        1 => Just(Set::Null),
        1 => Just(Set::Unknown),
        2 => "[a-c]{0,3}".prop_map(Set::Text),
        // Two of them end at 255 or beyond.
        1 => "a{127,128}".prop_map(Set::Text),
        2 => bits.prop_map(Set::Bits),
    ];
    proptest::collection::vec(value, 8)
}

fn build(layout: &RowLayout, sets: &[Set]) -> Vec<u8> {
    let mut builder = RowBuilder::default();
    builder.reset(layout.len());
    for (at, set) in sets.iter().enumerate() {
        match set {
            Set::Unknown => builder.set_unknown(at),
            set => builder.set(at, datum(layout.schema()[at].kind, set)),
        }
    }
    let mut bytes = Vec::new();
    builder.finish(layout, &mut bytes);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn rows_of_every_type_read_back_and_are_canonical(a in sets(), b in sets()) {
        let layout = RowLayout::new(&every_type());
        let read = |sets: &[Set]| {
            let bytes = build(&layout, sets);
            let row = layout.row(&bytes);
            let mut seen = Vec::new();
            for (at, set) in sets.iter().enumerate() {
                // A text in a column of another type is no value.
                let kind = layout.schema()[at].kind;
                let is_text = matches!(kind, ColumnType::Text | ColumnType::Json);
                let should = match datum(kind, set) {
                    Datum::Text(_) if !is_text => Datum::Null,
                    other => other,
                };
                assert_eq!(row.datum(at), should, "column {at}");
                assert_eq!(row.is_null(at), should.is_null());
                assert_eq!(row.is_unknown(at), *set == Set::Unknown);
                // Not its text: dates beyond the calendar have one text.
                seen.push((format!("{should:?}"), should.is_null(), row.is_unknown(at)));
            }
            assert_eq!(row.has_unknown(), sets.contains(&Set::Unknown));
            let mut copied = RowBuilder::default();
            copied.reset(layout.len());
            (0..layout.len()).for_each(|at| copied.copy(at, row));
            let mut copy = Vec::new();
            copied.finish(&layout, &mut copy);
            assert_eq!(copy, bytes);
            (bytes, seen)
        };
        let ((a, a_seen), (b, b_seen)) = (read(&a), read(&b));
        prop_assert_eq!(a == b, a_seen == b_seen);
    }
}
