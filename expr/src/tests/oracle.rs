//! Random expressions on random rows, against DataFusion's own evaluation.

use std::sync::{Arc, LazyLock};

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float64Array, Int64Array,
    RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::prelude::{SessionConfig, SessionContext};
use proptest::prelude::*;
use schemas::time::Date;

use super::*;

/// Takes choices from a list, which proptest makes shorter and smaller when a test fails.
struct Choices<'a> {
    left: &'a [u16],
}

impl Choices<'_> {
    fn pick(&mut self, among: usize) -> usize {
        let Some((first, rest)) = self.left.split_first() else { return 0 };
        self.left = rest;
        usize::from(*first) % among
    }

    fn word(&mut self, words: &[&str]) -> String {
        words[self.pick(words.len())].to_owned()
    }

    fn condition(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.word(&[
                "a = 'x'",
                "n > 1",
                "b IS NULL",
                "m <> 2.5",
                "TRUE",
                "at < '2026-03-01'",
                "f",
                "d >= '2026-03-01'",
                "k <> 3",
                "x IS NULL",
            ]);
        }
        let d = depth - 1;
        match self.pick(16) {
            0 => format!("({} AND {})", self.condition(d), self.condition(d)),
            1 => format!("({} OR {})", self.condition(d), self.condition(d)),
            2 => format!("(NOT {})", self.condition(d)),
            3 => format!("({} {} {})", self.number(d), self.test(), self.number(d)),
            4 => format!("({} {} {})", self.text(d), self.test(), self.text(d)),
            5 => format!("({} {} {})", self.instant(d), self.test(), self.instant(d)),
            6 => format!(
                "({} {}IN ({}, {}))",
                self.number(d),
                self.not(),
                self.number(0),
                self.number(0)
            ),
            // DataFusion takes a CASE in a list for NULL: lists hold columns and literals.
            7 => {
                format!("({} {}IN ({}, {}))", self.text(d), self.not(), self.text(0), self.text(0))
            }
            8 => {
                let (own, low, high) = (self.number(d), self.number(d), self.number(d));
                format!("({own} {}BETWEEN {low} AND {high})", self.not())
            }
            9 => {
                let pattern =
                    self.word(&["'%'", "'_'", "'%x%'", "'a\\_b%'", "'X\\%'", "''", "'%a_%'", "b"]);
                format!("({} {}LIKE {pattern})", self.text(d), self.not())
            }
            10 => format!("({} IS {}NULL)", self.text(d), self.not()),
            11 => {
                let what = self.word(&["TRUE", "FALSE", "UNKNOWN"]);
                format!("({} IS {}{what})", self.condition(d), self.not())
            }
            12 => format!("({} IS {}NULL)", self.number(d), self.not()),
            13 => format!("(CAST({} AS DATE) {} DATE '2026-03-01')", self.instant(d), self.test()),
            14 => format!("(d {} CAST({} AS DATE))", self.test(), self.instant(d)),
            _ => format!("(f {} {})", self.test(), self.condition(d)),
        }
    }

    fn number(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.word(&[
                "n",
                "m",
                "3",
                "1.5",
                "0",
                "-2",
                "-0.25",
                "extract(day FROM at)",
                "k",
            ]);
        }
        let d = depth - 1;
        match self.pick(12) {
            0 => format!("({} + {})", self.number(d), self.number(d)),
            1 => format!("({} - {})", self.number(d), self.number(d)),
            2 => format!("({} * {})", self.number(d), self.number(d)),
            3 => format!("({} / {})", self.number(d), self.number(d)),
            4 => format!("({} % NULLIF({}, 0))", self.number(d), self.number(d)),
            5 => format!("(- {})", self.number(d)),
            6 => {
                let (when, then, other) = (self.condition(d), self.number(d), self.number(d));
                format!("CASE WHEN {when} THEN {then} ELSE {other} END")
            }
            7 => format!("COALESCE({}, {})", self.number(d), self.number(d)),
            8 => format!(
                "CAST({} AS {})",
                self.number(d),
                self.word(&["DECIMAL(12,2)", "BIGINT", "DECIMAL(20,6)"])
            ),
            9 => {
                format!("TRY_CAST({} AS {})", self.text(d), self.word(&["BIGINT", "DECIMAL(12,2)"]))
            }
            10 => {
                let part = self.word(&[
                    "year", "quarter", "month", "week", "day", "hour", "minute", "second", "dow",
                    "doy",
                ]);
                format!("extract({part} FROM {})", self.instant(d))
            }
            _ => format!("NULLIF({}, {})", self.number(d), self.number(d)),
        }
    }

    fn text(&mut self, depth: usize) -> String {
        if depth == 0 {
            return self.word(&["a", "b", "'x'", "''", "'äß'", "'12'"]);
        }
        let d = depth - 1;
        match self.pick(8) {
            0 => format!("lower({})", self.text(d)),
            1 => format!("upper({})", self.text(d)),
            2 => format!("{}({})", self.word(&["trim", "ltrim", "rtrim"]), self.text(d)),
            3 => format!(
                "substr({}, {}, {})",
                self.text(d),
                self.word(&["1", "0", "-1", "2", "9"]),
                self.word(&["0", "1", "3"])
            ),
            4 => format!("({} || {})", self.text(d), self.text(d)),
            5 => format!("concat({}, {})", self.text(d), self.text(d)),
            6 => format!("CAST({} AS TEXT)", self.number(d)),
            _ => format!("CASE {} WHEN {} THEN {} END", self.text(d), self.text(d), self.text(d)),
        }
    }

    fn instant(&mut self, depth: usize) -> String {
        if depth == 0 || self.pick(3) == 0 {
            return "at".to_owned();
        }
        if self.pick(2) == 0 {
            let by = self.word(&[
                "12 months",
                "1 month",
                "-6 months",
                "30 days",
                "1 month -1 days",
                "0 days",
                "36 hours",
                "13 months 40 days 5 microseconds",
            ]);
            let sign = self.word(&["+", "-"]);
            return format!("({} {sign} INTERVAL '{by}')", self.instant(depth - 1));
        }
        let unit =
            self.word(&["year", "quarter", "month", "week", "day", "hour", "minute", "second"]);
        format!("date_trunc('{unit}', {})", self.instant(depth - 1))
    }

    fn test(&mut self) -> String {
        self.word(&["=", "<>", "<", "<=", ">", ">="])
    }

    fn not(&mut self) -> String {
        self.word(&["", "NOT "])
    }
}

static CONTEXT: LazyLock<SessionContext> = LazyLock::new(|| {
    let mut config = SessionConfig::new();
    config.options_mut().sql_parser.parse_float_as_decimal = true;
    SessionContext::new_with_config(config)
});

/// The values of `a`, `n`, `at`, `b`, `m`, `k`, `d` and `f`.
type Cells = (
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<i32>,
    Option<bool>,
);

fn rows() -> impl Strategy<Value = Cells> {
    let text = || {
        let words =
            ["", " x ", "x", "X%", "äß", "12", "-3", "1.255", "a_b", "999999999999999999999"];
        proptest::option::weighted(0.8, proptest::sample::select(words.map(str::to_owned).to_vec()))
    };
    let number = || {
        let few = prop_oneof![-30_000_i64..30_000, Just(0), Just(99_999_999)];
        proptest::option::weighted(0.85, few)
    };
    let at = proptest::option::weighted(0.85, -4_000_000_000_000_000_i64..4_000_000_000_000_000);
    let whole = prop_oneof![-30_i64..30, Just(i64::MIN), Just(i64::MAX), Just(1_i64 << 40)];
    let whole = proptest::option::weighted(0.85, whole);
    let day = proptest::option::weighted(0.85, -100_000..100_000);
    let flag = proptest::option::weighted(0.85, any::<bool>());
    (text(), number(), at, text(), number(), whole, day, flag)
}

fn batch(cells: &Cells) -> RecordBatch {
    let (a, n, at, b, m, k, d, f) = cells.clone();
    let decimal = |number: Option<i64>, precision, scale| -> ArrayRef {
        let array = Decimal128Array::from(vec![number.map(i128::from)]);
        Arc::new(array.with_precision_and_scale(precision, scale).unwrap())
    };
    let none: Vec<Option<String>> = vec![None];
    let columns: Vec<ArrayRef> = vec![
        Arc::new(StringArray::from(vec![a])),
        decimal(n, 18, 4),
        Arc::new(TimestampMicrosecondArray::from(vec![at]).with_timezone("UTC")),
        Arc::new(StringArray::from(none.clone())),
        Arc::new(StringArray::from(vec![b])),
        decimal(m, 10, 2),
        Arc::new(StringArray::from(none)),
        Arc::new(Int64Array::from(vec![k])),
        Arc::new(Date32Array::from(vec![d])),
        Arc::new(BooleanArray::from(vec![f])),
        Arc::new(Float64Array::from(vec![None])),
    ];
    RecordBatch::try_new(columns_schema(), columns).unwrap()
}

fn columns_schema() -> Arc<arrow::datatypes::Schema> {
    columns().arrow()
}

fn own(expression: &Expression, cells: &Cells) -> Result<Value<'static>, EvalError> {
    let layout = RowLayout::new(&contract().columns);
    let mut builder = RowBuilder::default();
    builder.reset(layout.len());
    let (a, n, at, b, m, k, d, f) = cells;
    a.iter().for_each(|text| builder.set_text(0, text));
    n.iter().for_each(|number| builder.set_decimal(1, i128::from(*number)));
    at.iter().for_each(|at| builder.set_timestamp(2, Micros(*at)));
    b.iter().for_each(|text| builder.set_text(4, text));
    m.iter().for_each(|number| builder.set_decimal(5, i128::from(*number)));
    k.iter().for_each(|number| builder.set_bigint(7, *number));
    d.iter().for_each(|day| builder.set_date(8, Date(*day)));
    f.iter().for_each(|flag| builder.set_boolean(9, *flag));
    let mut bytes = Vec::new();
    builder.finish(&layout, &mut bytes);
    expression.evaluate(layout.row(&bytes)).map(Value::into_owned)
}

/// What DataFusion makes of the text, and the scale of a decimal. Its plan as it is and its simplified plan
/// differ in places: `0 * x` becomes a 0 of another scale. One of them must be right.
fn theirs(text: &str, cells: &Cells, is_simplified: bool) -> Result<(Value<'static>, u8), String> {
    let schema = DFSchema::try_from(columns_schema()).unwrap();
    let expr = CONTEXT.parse_sql_expr(text, &schema).map_err(|e| e.to_string())?;
    let info = SimplifyContext::builder().with_schema(Arc::new(schema.clone())).build();
    let expr = ExprSimplifier::new(info.clone()).coerce(expr, &schema);
    let expr = expr.and_then(|expr| match is_simplified {
        true => ExprSimplifier::new(info.clone()).simplify(expr),
        // COALESCE has no evaluation of its own.
        false => expr.transform_up(|one| without_coalesce(one, &info)).data(),
    });
    let expr = expr.map_err(|e| e.to_string())?;
    let physical = CONTEXT.create_physical_expr(expr, &schema).map_err(|e| e.to_string())?;
    let array = physical.evaluate(&batch(cells)).map_err(|e| e.to_string())?;
    let array = array.into_array(1).unwrap();
    if array.is_null(0) {
        return Ok((Value::Null, 0));
    }
    let value = match array.data_type() {
        DataType::Boolean => Value::Boolean(array.as_boolean().value(0)),
        DataType::Int32 => Value::Bigint(array.as_primitive::<Int32Type>().value(0).into()),
        DataType::Int64 => Value::Bigint(array.as_primitive::<Int64Type>().value(0)),
        DataType::Decimal128(_, scale) => {
            let value = Value::Decimal(array.as_primitive::<Decimal128Type>().value(0));
            return Ok((value, u8::try_from(*scale).unwrap()));
        }
        DataType::Utf8 => Value::Text(array.as_string::<i32>().value(0).to_owned().into()),
        DataType::Utf8View => Value::Text(array.as_string_view().value(0).to_owned().into()),
        DataType::Date32 => Value::Date(array.as_primitive::<Date32Type>().value(0)),
        DataType::Timestamp(..) => {
            Value::Timestamp(Micros(array.as_primitive::<TimestampMicrosecondType>().value(0)))
        }
        other => panic!("{text} is {other}"),
    };
    Ok((value, 0))
}

fn without_coalesce(
    expr: Expr,
    info: &SimplifyContext,
) -> datafusion::common::Result<Transformed<Expr>> {
    match expr {
        Expr::ScalarFunction(call) if call.func.name() == "coalesce" => {
            match call.func.simplify(call.args.clone(), info)? {
                ExprSimplifyResult::Simplified(simple) => Ok(Transformed::yes(simple)),
                ExprSimplifyResult::Original(_) => Ok(Transformed::no(Expr::ScalarFunction(call))),
            }
        }
        other => Ok(Transformed::no(other)),
    }
}

fn check(text: &str, cells: &Cells) -> Result<(), TestCaseError> {
    // What has too many digits is refused, and DataFusion may refuse it, too.
    let Ok(expression) = Expression::parse(text, &columns()) else { return Ok(()) };
    let again = Expression::parse(expression.text(), &columns()).unwrap();
    prop_assert_eq!(again.text(), expression.text());
    let value = own(&expression, cells);
    prop_assert_eq!(&own(&again, cells), &value, "{} reads back as another", text);
    if expression.failures().is_empty() {
        prop_assert!(value.is_ok(), "{} cannot fail: {:?}", text, value);
    }
    let [plain, simplified] = [false, true].map(|how| theirs(text, cells, how));
    if let (Err(why), Err(_)) = (&plain, &simplified) {
        prop_assert!(!expression.failures().is_empty(), "{} fails there only: {}", text, why);
    }
    let Ok(value) = value else { return Ok(()) };
    let is_same = |theirs: &Result<(Value<'static>, u8), String>| match (theirs, &value) {
        (Ok((theirs, scale)), Value::Decimal(_)) => {
            *theirs == value && *scale == expression.ty().scale()
        }
        (Ok((theirs, _)), _) => *theirs == value,
        (Err(_), _) => !expression.failures().is_empty(),
    };
    let agrees = is_same(&plain) || is_same(&simplified);
    prop_assert!(agrees, "{}: {:?}, not {:?} of {:?}", text, value, plain, cells);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: std::env::var("CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(3_000), failure_persistence: None, ..ProptestConfig::default()
    })]
    #[test]
    fn every_value_is_that_of_datafusion(
        choices in proptest::collection::vec(any::<u16>(), 1..60),
        kind in 0..4_u8,
        cells in rows(),
    ) {
        let mut from = Choices { left: &choices };
        let text = match kind {
            0 => from.number(3),
            1 => from.text(3),
            2 => from.instant(3),
            _ => from.condition(3),
        };
        check(&text, &cells)?;
    }
}
