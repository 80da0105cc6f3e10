//! Tests of the crate.

mod oracle;

use schemas::{Contract, Micros, RowBuilder, RowLayout};

use super::*;

fn contract() -> Contract {
    Contract::parse(
        "name='t'\nformat='f'\nkey=['a']\ntenant='a'\ncolumns=[{name='a',type='text'},\
         {name='n',type='decimal(18,4)'},{name='at',type='timestamp'},{name='j',type='json'},\
         {name='b',type='text'},{name='m',type='decimal(10,2)'},{name='order',type='text'},\
         {name='k',type='bigint'},{name='d',type='date'},{name='f',type='boolean'},\
         {name='x',type='double'}]",
    )
    .unwrap()
}

fn columns() -> Columns {
    Columns::of(&contract())
}

/// A text, a number in ten-thousandths and an instant.
type Row = (Option<&'static str>, Option<i128>, Option<&'static str>);

/// The value of an expression for a row, as text.
fn value(text: &str, row: Row) -> Result<String, EvalError> {
    let expression = Expression::parse(text, &columns()).unwrap_or_else(|e| panic!("{text}: {e}"));
    let layout = RowLayout::new(&contract().columns);
    let mut builder = RowBuilder::default();
    builder.reset(layout.len());
    row.0.into_iter().for_each(|text| builder.set_text(0, text));
    row.1.into_iter().for_each(|number| builder.set_decimal(1, number));
    row.2.into_iter().for_each(|at| builder.set_timestamp(2, Micros::parse(at).unwrap()));
    let mut bytes = Vec::new();
    builder.finish(&layout, &mut bytes);
    let row = layout.row(&bytes);
    let value = expression.evaluate(row)?;
    let is_true = value == Value::Boolean(true);
    assert_eq!(expression.selects(row), Ok(is_true));
    Ok(match value {
        Value::Null => "null".to_owned(),
        Value::Boolean(value) => value.to_string(),
        Value::Bigint(number) => number.to_string(),
        Value::Decimal(mantissa) => {
            let Type::Decimal { scale, .. } = expression.ty() else { panic!("{text}") };
            schemas::decimal::format(mantissa, u32::from(scale))
        }
        Value::Text(text) => text.into_owned(),
        Value::Date(day) => day.to_string(),
        Value::Timestamp(at) => at.to_string(),
    })
}

#[test]
fn three_valued_logic() {
    let row = (Some("x"), None, Some("2026-03-01T00:00:00Z"));
    for (text, expected) in [
        ("a = 'x'", "true"),
        ("a <> 'x'", "false"),
        ("a != 'y'", "true"),
        ("A = 'x'", "true"),
        ("'w' < a", "true"),
        ("'x' >= a", "true"),
        ("n = 1", "null"),
        ("NOT n = 1", "null"),
        ("n IS NULL", "true"),
        ("n IS NOT NULL", "false"),
        ("(n = 1) IS UNKNOWN", "true"),
        ("(n = 1) IS NOT TRUE", "true"),
        ("n = 1 AND a = 'y'", "false"),
        ("n = 1 AND a = 'x'", "null"),
        ("n = 1 OR a = 'x'", "true"),
        ("n = 1 OR a = 'y'", "null"),
        ("n IN (1, 2)", "null"),
        ("n NOT IN (1, 2)", "null"),
        ("a IN ('y', b)", "null"),
        ("a IN ('y', 'x', b)", "true"),
        ("a NOT IN ('y', 'z')", "true"),
        ("n BETWEEN 1 AND 2", "null"),
        ("1 BETWEEN n AND 0", "false"),
        ("a NOT BETWEEN 'a' AND 'x'", "false"),
        ("NOT (a = 'x' AND (a = 'y' OR a = 'x'))", "false"),
        ("at >= '2026-03-01'", "true"),
        ("at < TIMESTAMP '2026-03-01 00:00:00'", "false"),
        ("CASE WHEN n = 1 THEN 'one' WHEN a = 'x' THEN 'two' END", "two"),
        ("CASE a WHEN 'y' THEN 1 ELSE 2.5 END", "2.5"),
        ("CASE WHEN n > 0 THEN n END", "null"),
        ("COALESCE(n, 1)", "1"),
        ("NULLIF(a, 'x')", "null"),
        ("NULLIF(a, b)", "x"),
        ("a || b", "null"),
        ("concat(a, b, 'z')", "xz"),
        ("k = 1 OR d > '2026-03-01'", "null"),
        ("f", "null"),
        ("x IS NULL", "true"),
    ] {
        assert_eq!(value(text, row).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn arithmetic_is_exact_or_an_error() {
    let row = (Some("12"), Some(-12_500), None);
    for (text, expected) in [
        ("n = -1.25", Ok("true")),
        ("n > -1.2501", Ok("true")),
        ("n = -1.25000000001", Ok("false")),
        ("n IN (0, -1.2500)", Ok("true")),
        ("n * 3 + 0.1", Ok("-3.65")),
        ("-n - n", Ok("2.5")),
        ("n / 3", Ok("-0.41666666")),
        ("7 / 2", Ok("3")),
        ("-7 % 4", Ok("-3")),
        ("n % 1", Ok("-0.25")),
        ("CAST(n AS DECIMAL(5,1))", Ok("-1.3")),
        ("CAST(n AS BIGINT)", Ok("-1")),
        ("CAST(a AS BIGINT) + 1", Ok("13")),
        ("CAST(n AS TEXT) || '!'", Ok("-1.2500!")),
        ("TRY_CAST('x' || a AS BIGINT)", Ok("null")),
        ("CAST('x' || a AS BIGINT)", Err(EvalError::BadCast)),
        ("n / 0", Err(EvalError::DivisionByZero)),
        ("n / NULLIF(0, 0)", Ok("null")),
        ("9223372036854775807 + 1", Err(EvalError::Overflow)),
        (
            "CAST(99999999999999999999999999999999999999 AS DECIMAL(38,0)) + 1",
            Err(EvalError::Overflow),
        ),
        ("CAST(12345.6 AS DECIMAL(4,1))", Err(EvalError::Overflow)),
        ("CASE WHEN n < 0 THEN 1 ELSE 1 / 0 END", Ok("1")),
    ] {
        assert_eq!(value(text, row).as_deref(), expected.as_ref().map(|x| *x), "{text}");
    }
}

#[test]
fn texts_and_the_calendar() {
    let row = (Some(" Straße_1 "), None, Some("2024-02-29T23:59:58.5Z"));
    for (text, expected) in [
        ("trim(a)", "Straße_1"),
        ("'<' || rtrim(a) || '>'", "< Straße_1>"),
        ("upper(trim(a))", "STRASSE_1"),
        ("lower(a) LIKE '%stra_e\\_%'", "true"),
        ("a NOT LIKE '%\\_2%'", "true"),
        ("substr(a, 2, 3)", "Str"),
        ("substring(a FROM -1 FOR 4)", " S"),
        ("date_trunc('month', at)", "2024-02-01T00:00:00Z"),
        ("date_trunc('week', at)", "2024-02-26T00:00:00Z"),
        ("date_trunc('quarter', at)", "2024-01-01T00:00:00Z"),
        ("TIMESTAMP '2024-02-29T10:00:00Z' + INTERVAL '12 months'", "2025-02-28T10:00:00Z"),
        ("TIMESTAMP '2025-08-31T00:00:00Z' - INTERVAL '1 month 2 hours'", "2025-07-30T22:00:00Z"),
        ("INTERVAL '1 year 30 days' + TIMESTAMP '2025-01-01'", "2026-01-31T00:00:00Z"),
        ("extract(day FROM at) + extract(hour FROM at)", "52"),
        ("extract(doy FROM at)", "60"),
        ("extract(week FROM TIMESTAMP '2027-01-01')", "53"),
        ("extract(dow FROM TIMESTAMP '2026-11-29')", "0"),
        ("CAST(at AS DATE) = '2024-02-29'", "true"),
        ("date_trunc('year', TIMESTAMP '0001-06-01T00:00:00Z')", "0001-01-01T00:00:00Z"),
        ("extract(year FROM TIMESTAMP '9999-12-31T23:59:59Z')", "9999"),
    ] {
        assert_eq!(value(text, row).as_deref(), Ok(expected), "{text}");
    }
}

#[test]
fn refuses_with_code_place_and_advice() {
    for (text, code, says) in [
        ("statu = 'x'", Code::UnknownColumn, "contract `t` has no column `statu`"),
        ("aa = 'x'", Code::UnknownColumn, "did you mean `a`?"),
        ("uper(a) = 'x'", Code::UnknownFunction, "no function `uper` here (did you mean `upper`?)"),
        ("sum(n) > 1", Code::UnknownFunction, "no function `sum`"),
        ("now() > at", Code::UnknownFunction, "no function `now`"),
        ("a = n", Code::TypeMismatch, "`a` is text and `n` is a number: they do not compare"),
        ("a = 1", Code::TypeMismatch, "`a` is text and `1` is a number"),
        ("n IN (1, 'x')", Code::TypeMismatch, "`'x'` is text"),
        ("a + 1 = 2", Code::TypeMismatch, "`a` is text, but `+` takes numbers"),
        ("a AND n = 1", Code::TypeMismatch, "`a` is text, but AND takes conditions"),
        ("a", Code::TypeMismatch, "no condition; compare it with something"),
        ("CASE WHEN a = 'x' THEN 1 END = 'y'", Code::TypeMismatch, "do not compare"),
        ("COALESCE(a, 1) = 'x'", Code::TypeMismatch, "`1` is a number"),
        ("a = NULL", Code::NullCompared, "use IS NULL"),
        ("a IN ('x', NULL)", Code::NullCompared, "use IS NULL"),
        ("at > 'soon'", Code::BadLiteral, "'soon' is no timestamp; write '2026-01-31T00:00:00Z'"),
        ("j = '{}'", Code::TypeMismatch, "column `j` is JSON"),
        ("x > 1", Code::TypeMismatch, "column `x` is a double, of which only IS NULL"),
        ("COALESCE(x, 1) > 1", Code::TypeMismatch, "make it a decimal(p,s)"),
        ("k > 'x'", Code::TypeMismatch, ""),
        ("f = 'x'", Code::TypeMismatch, ""),
        ("d > 'soon'", Code::BadLiteral, "'soon' is no date; write '2026-01-31'"),
        ("a = 'x' GROUP BY a", Code::Syntax, "`GROUP` follows the end"),
        ("a = ", Code::Syntax, "Expected"),
        ("a IN (SELECT 1)", Code::NotSupported, "is not accepted"),
        ("a ILIKE 'x'", Code::NotSupported, "use lower(...) LIKE"),
        ("a ~ 'x'", Code::NotSupported, "is not accepted"),
        ("CAST(n AS INT) = 1", Code::NotSupported, "there are BIGINT"),
        ("CAST(n AS DOUBLE) = 1", Code::NotSupported, "there are BIGINT"),
        ("d + INTERVAL '1 day' > d", Code::TypeMismatch, "INTERVAL is added to timestamps"),
        ("at * INTERVAL '1 day' > at", Code::NotSupported, "IntervalMonthDayNano"),
        ("at + INTERVAL '1 nanosecond' > at", Code::BadLiteral, "whole microseconds"),
        ("date_trunc('eon', at) = at", Code::NotSupported, "must be one of second"),
        ("trim(BOTH 'x' FROM a) = 'x'", Code::UnknownFunction, "takes one argument"),
        ("a = ?", Code::Syntax, "Expected"),
    ] {
        let error = Expression::parse_condition(text, &columns()).unwrap_err();
        assert_eq!(error.code, code, "{text}: {error}");
        assert!(error.to_string().contains(says), "{text}: {error}");
    }
}

#[test]
fn the_text_is_canonical() {
    for (text, expected) in [
        ("at - INTERVAL '1 year 2 days' > at", Some("at + INTERVAL '-12 months -2 days' > at")),
        ("status <> 'cancelled'", None),
        ("  (( a<>'it''s' ))", Some("a <> 'it''s'")),
        (
            "A = 'x' and (n>1 or m=2) AND NOT (a = 'y')",
            Some("a = 'x' AND (n > 1 OR m = 2) AND NOT a = 'y'"),
        ),
        ("(a = 'x' AND n = 1) AND m = 2", Some("a = 'x' AND n = 1 AND m = 2")),
        ("\"order\" = 'x'", Some("order = 'x'")),
        ("n - (m - 1) * -2", Some("n - (m - 1) * -2")),
        ("cast(n as numeric(10,2)) is null", Some("CAST(n AS DECIMAL(10,2)) IS NULL")),
        ("at>='2026-03-01'", Some("at >= TIMESTAMP '2026-03-01T00:00:00Z'")),
        (
            "case when n=1 then 'x' else a end = 'y'",
            Some("CASE WHEN n = 1 THEN 'x' ELSE a END = 'y'"),
        ),
        ("extract(HOUR from at) = 3", Some("extract(hour FROM at) = 3")),
        ("a||'x'||b = 'y'", Some("a || 'x' || b = 'y'")),
    ] {
        let Some(expected) = expected else { continue };
        let read = |text: &str| Expression::parse(text, &columns()).unwrap().text().to_owned();
        assert_eq!(read(text), expected);
        assert_eq!(read(expected), expected);
    }
}

#[test]
fn says_what_can_fail() {
    for (text, says) in [
        ("n / m", "write `n / NULLIF(m, 0)`"),
        ("extract(day FROM at) * 2", "such as `2.0`"),
        ("extract(day FROM at) * extract(hour FROM at)", "CAST a side to DECIMAL(20,0)"),
        ("CAST(a AS BIGINT)", "use TRY_CAST"),
        ("n * n * n", "CAST a side to fewer digits"),
        ("CAST(n AS DECIMAL(10,4))", "use TRY_CAST"),
        ("substr(a, extract(day FROM at))", "use literals"),
    ] {
        let expression = Expression::parse(text, &columns()).unwrap();
        let failures = expression.failures();
        assert!(failures.iter().any(|own| own.contains(says)), "{failures:?}");
    }
    for text in [
        "n / NULLIF(m, 0)",
        "n * m + 1",
        "n / 2.5",
        "TRY_CAST(a AS BIGINT)",
        "n + m > 3",
        "extract(day FROM at) % 2 = 1",
        "10 / NULLIF(extract(day FROM at), 0)",
    ] {
        assert_eq!(Expression::parse(text, &columns()).unwrap().failures(), [""; 0], "{text}");
    }
}

#[test]
fn aggregates_and_terms() {
    assert_eq!(Aggregate::parse("count( * )"), Ok(Aggregate::Count));
    assert_eq!(Aggregate::parse("SUM( amount )"), Ok(Aggregate::Sum("amount".into())));
    assert_eq!(Aggregate::parse("sum(a*b)"), Ok(Aggregate::Sum("a * b".into())));
    for text in
        ["max(a)", "sum(*)", "count(a)", "sum(distinct a)", "sum(a) over ()", "a", "sum(a,b)"]
    {
        let error = Aggregate::parse(text).unwrap_err().to_string();
        assert!(error.contains("use sum(expression) or count(*)"), "{error}");
    }
    let read = |text: &str| {
        let terms = parse_terms(text).unwrap();
        terms
            .iter()
            .map(|t| format!("{}{}", if t.minus { '-' } else { '+' }, t.name))
            .collect::<Vec<_>>()
    };
    assert_eq!(read("a - b+c"), ["+a", "-b", "+c"]);
    assert_eq!(read("-a - (b - c)"), ["-a", "-b", "+c"]);
    for text in ["a * b", "a b", "", "a -", "1 + a"] {
        assert!(
            parse_terms(text).unwrap_err().to_string().contains("joined with + and -"),
            "{text}"
        );
    }
}

#[test]
fn a_chain_is_flat_and_what_is_too_deep_is_refused() {
    let chain = vec!["n = 1"; 190].join(" OR ");
    let flat = Expression::parse_condition(&chain, &columns()).unwrap();
    assert_eq!(flat.text(), chain);
    for deep in [vec!["n = 1"; 3_000].join(" OR "), vec!["n"; 300].join(" - ")] {
        let error = Expression::parse(&deep, &columns()).unwrap_err();
        assert!(error.to_string().contains("nested more than"), "{error}");
    }
    let nested = |deep: usize| format!("{}a{}", "lower(".repeat(deep), ")".repeat(deep));
    assert!(Expression::parse(&nested(12), &columns()).is_ok());
    let error = Expression::parse(&nested(40), &columns()).unwrap_err();
    assert!(error.to_string().contains("parentheses"), "{error}");
}

#[test]
fn maps_name_fields_as_they_are_written_and_members_of_json() {
    let fields = Columns::new(
        "the event",
        vec![
            ("Tags".into(), Type::Json),
            ("BilledCost".into(), Type::Text),
            ("a".into(), Type::Text),
        ],
    );
    for (text, canonical, ty) in [
        (
            "COALESCE(Tags ->> 'team', 'none')",
            "coalesce((\"Tags\" ->> 'team'), 'none')",
            Type::Text,
        ),
        ("Tags -> 'a' ->> 'b'", "((\"Tags\" -> 'a') ->> 'b')", Type::Text),
        ("a->>'b' = 'c' || a", "(a ->> 'b') = 'c' || a", Type::Boolean),
        ("Tags->'a'", "(\"Tags\" -> 'a')", Type::Json),
    ] {
        let read = Expression::parse_map(text, &fields).unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!((read.text(), read.ty()), (canonical, ty), "{text}");
        assert_eq!(Expression::parse_map(canonical, &fields).unwrap(), read, "{text}");
        assert!(!read.failures().is_empty(), "{text}");
    }
    let refused = Expression::parse_map("billedcost", &fields).unwrap_err();
    assert_eq!(refused.code, Code::UnknownColumn);
    assert!(Expression::parse("j->>'x'", &columns()).is_err(), "filters have no members");
    let named = names("coalesce(b->>'x', Tags, \"B c\") || b || cast(at as text)").unwrap();
    assert_eq!(named, ["b", "Tags", "B c", "at"]);
}

#[test]
fn sql_has_all_names_in_quotes() {
    let columns =
        Columns::new("t", vec![("end".into(), Type::Bigint), ("a b".into(), Type::Bigint)]);
    let of = |text: &str| Expression::parse(text, &columns).unwrap().sql().to_owned();
    assert_eq!(of("\"end\" + 1"), "\"end\" + 1");
    assert_eq!(
        of("CASE WHEN \"a b\" IN (1, \"end\") AND \"end\" BETWEEN 1 AND 2 THEN -\"end\" END"),
        "CASE WHEN \"a b\" IN (1, \"end\") AND \"end\" BETWEEN 1 AND 2 THEN -\"end\" END"
    );
    assert_eq!(Expression::column(&columns, 0).unwrap().sql(), "\"end\"");
}

#[test]
fn guards_are_of_the_divisions_that_a_row_comes_to() {
    let guards = |text: &str| Expression::parse(text, &columns()).unwrap().guards().to_vec();
    let one = |above: &str, below: &str| {
        format!("(({above}) IS NULL OR ({below}) IS NULL OR ({below}) <> 0)")
    };
    let (by_k, by_m) = (one("\"n\"", "\"k\""), one("\"n\"", "\"m\""));
    let null_at_zero = "\"n\" / CASE WHEN (\"k\") <> 0 THEN (\"k\") END";
    assert_eq!(guards("n / k").join(""), by_k);
    assert_eq!(guards("1 + n % (k + 1)"), [one("\"n\"", "\"k\" + 1")]);
    assert_eq!(
        guards("COALESCE(n / k, n / m)"),
        [by_k.clone(), format!("(({null_at_zero}) IS NOT NULL OR {by_m})")]
    );
    assert_eq!(
        guards("CASE WHEN n / k > 1 THEN n / m END"),
        [by_k.clone(), format!("(({null_at_zero} > 1) IS NOT TRUE OR {by_m})")]
    );
    assert_eq!(guards("a = 'x' AND n / k > 1"), [format!("((\"a\" = 'x') IS FALSE OR {by_k})")]);
    assert_eq!(guards("a = 'x' OR n / k > 1"), [format!("((\"a\" = 'x') IS TRUE OR {by_k})")]);
    assert_eq!(
        guards("n IN (1, n / k)"),
        [format!("((\"n\") IS NULL OR (\"n\") = (1) OR {by_k})")]
    );
    for never in ["n / 2", "n / NULLIF(k, 0)"] {
        assert!(guards(never).is_empty(), "{never}");
    }
    let inner = "\"m\" / CASE WHEN (\"k\") <> 0 THEN (\"k\") END";
    assert_eq!(guards("n / (m / k)"), [one("\"m\"", "\"k\""), one("\"n\"", inner)]);
}
