//! Rows of Arrow as JSON, in one canonical form: columns in their order, decimals, dates and instants as text.
//!
//! # Guarantees
//! - Exact: a decimal is all its digits, an instant all of its fraction, a float the shortest text that
//!   is it. What JSON has no number for is a text, `NaN` or `Infinity`.

use std::fmt::{Display, LowerExp};

use arrow::array::{
    Array, AsArray, FixedSizeListArray, Float32Array, Float64Array, ListArray, MapArray,
    RecordBatch,
};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::json_text;
/// The rows of a batch.
pub(super) fn rows(batch: &RecordBatch) -> Result<Vec<Vec<u8>>, ArrowError> {
    let mut rows = vec![String::from("{"); batch.num_rows()];
    let schema = batch.schema_ref();
    for (at, (field, column)) in schema.fields().iter().zip(batch.columns()).enumerate() {
        let cells = Cells::of(column)?;
        let name = json_text(field.name());
        for (number, row) in rows.iter_mut().enumerate() {
            if at > 0 {
                row.push(',');
            }
            row.push_str(&name);
            row.push(':');
            cells.write(number, row)?;
        }
    }
    Ok(rows.into_iter().map(|row| (row + "}").into_bytes()).collect())
}

/// One column, as its cells are written.
struct Cells<'a> {
    array: &'a dyn Array,
    form: Form<'a>,
}

enum Form<'a> {
    Plain(ArrayFormatter<'a>),
    Text(ArrayFormatter<'a>),
    Float32(&'a Float32Array),
    Float64(&'a Float64Array),
    List(&'a ListArray, Box<Cells<'a>>),
    Fixed(&'a FixedSizeListArray, Box<Cells<'a>>),
    Struct(Vec<(String, Cells<'a>)>),
    Map(&'a MapArray, ArrayFormatter<'a>, Box<Cells<'a>>),
}

impl<'a> Cells<'a> {
    fn of(array: &'a dyn Array) -> Result<Cells<'a>, ArrowError> {
        let form = match array.data_type() {
            DataType::Float32 => Form::Float32(array.as_primitive()),
            DataType::Float64 => Form::Float64(array.as_primitive()),
            DataType::List(_) => {
                let list: &ListArray = array.as_list();
                Form::List(list, Box::new(Cells::of(list.values())?))
            }
            DataType::FixedSizeList(..) => {
                let list = array.as_fixed_size_list();
                Form::Fixed(list, Box::new(Cells::of(list.values())?))
            }
            DataType::Struct(fields) => {
                let columns = fields.iter().zip(array.as_struct().columns());
                let cells = columns
                    .map(|(field, column)| Ok((json_text(field.name()), Cells::of(column)?)));
                Form::Struct(cells.collect::<Result<_, ArrowError>>()?)
            }
            DataType::Map(..) => {
                let map = array.as_map();
                Form::Map(map, formatter(map.keys())?, Box::new(Cells::of(map.values())?))
            }
            kind if kind.is_integer() || *kind == DataType::Boolean => {
                Form::Plain(formatter(array)?)
            }
            kind if kind.is_nested() && !matches!(kind, DataType::Dictionary(..)) => {
                let problem = format!("a column is of type {kind}, which has no form in JSON here");
                return Err(ArrowError::NotYetImplemented(problem));
            }
            _ => Form::Text(formatter(array)?),
        };
        Ok(Cells { array, form })
    }

    fn write(&self, at: usize, out: &mut String) -> Result<(), ArrowError> {
        if self.array.is_null(at) {
            out.push_str("null");
            return Ok(());
        }
        match &self.form {
            Form::Plain(cells) => out.push_str(&cells.value(at).try_to_string()?),
            Form::Text(cells) => out.push_str(&json_text(&cells.value(at).try_to_string()?)),
            Form::Float32(cells) => {
                let number = cells.value(at);
                // Through its own text: the double beside it has other digits.
                out.push_str(&float(f64::from(number), &number));
            }
            Form::Float64(cells) => {
                let number = cells.value(at);
                out.push_str(&float(number, &number));
            }
            Form::List(list, cells) => {
                let ends = list.value_offsets();
                let end = |at: usize| ends.get(at).and_then(|end| usize::try_from(*end).ok());
                cells.list(end(at).unwrap_or(0)..end(at + 1).unwrap_or(0), out)?;
            }
            Form::Fixed(list, cells) => {
                let length = usize::try_from(list.value_length()).unwrap_or(0);
                cells.list(at * length..(at + 1) * length, out)?;
            }
            Form::Struct(fields) => {
                for (field, (name, cells)) in fields.iter().enumerate() {
                    out.push(if field == 0 { '{' } else { ',' });
                    out.push_str(name);
                    out.push(':');
                    cells.write(at, out)?;
                }
                out.push_str(if fields.is_empty() { "{}" } else { "}" });
            }
            Form::Map(map, keys, cells) => {
                let ends = map.value_offsets();
                let end = |at: usize| ends.get(at).and_then(|end| usize::try_from(*end).ok());
                out.push('{');
                let (start, end) = (end(at).unwrap_or(0), end(at + 1).unwrap_or(0));
                for entry in start..end {
                    if entry > start {
                        out.push(',');
                    }
                    out.push_str(&json_text(&keys.value(entry).try_to_string()?));
                    out.push(':');
                    cells.write(entry, out)?;
                }
                out.push('}');
            }
        }
        Ok(())
    }

    fn list(&self, range: std::ops::Range<usize>, out: &mut String) -> Result<(), ArrowError> {
        out.push('[');
        for (number, at) in range.enumerate() {
            if number > 0 {
                out.push(',');
            }
            self.write(at, out)?;
        }
        out.push(']');
        Ok(())
    }
}

fn formatter(array: &dyn Array) -> Result<ArrayFormatter<'_>, ArrowError> {
    ArrayFormatter::try_new(array, &FormatOptions::new().with_display_error(false))
}

/// Numbers of money are written without an exponent, so that an expression can cast them.
fn float(number: f64, shown: &(impl Display + LowerExp)) -> String {
    match number.is_finite() {
        true if number == 0.0 || (1e-20..1e20).contains(&number.abs()) => shown.to_string(),
        true => format!("{shown:e}"),
        false if number.is_nan() => r#""NaN""#.to_owned(),
        false if number < 0.0 => r#""-Infinity""#.to_owned(),
        false => r#""Infinity""#.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int64Array, ListBuilder, MapBuilder,
        StringArray, StringBuilder, StructArray, TimestampMicrosecondArray, UInt64Array,
    };
    use arrow::datatypes::Field;

    use super::*;

    fn of(array: impl Array + 'static) -> Vec<String> {
        let array: ArrayRef = Arc::new(array);
        let batch = RecordBatch::try_from_iter_with_nullable([("x", array, true)]).unwrap();
        let rows = rows(&batch).unwrap().into_iter().map(|row| String::from_utf8(row).unwrap());
        rows.map(|row| row.trim_start_matches("{\"x\":").strip_suffix('}').unwrap().to_owned())
            .collect()
    }

    #[test]
    fn every_type_is_its_exact_text() {
        assert_eq!(
            of(Int64Array::from(vec![Some(i64::MIN), None])),
            ["-9223372036854775808", "null"]
        );
        assert_eq!(of(UInt64Array::from(vec![u64::MAX])), ["18446744073709551615"]);
        assert_eq!(of(BooleanArray::from(vec![true])), ["true"]);
        let floats = vec![0.1, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let texts = ["0.1", "1e300", r#""NaN""#, r#""Infinity""#, r#""-Infinity""#];
        assert_eq!(of(Float64Array::from(floats)), texts);
        let floats = vec![0.1, 2.5e-7, 1e-30, -3.0];
        assert_eq!(of(Float32Array::from(floats)), ["0.1", "0.00000025", "1e-30", "-3"]);
        let decimals = Decimal128Array::from(vec![Some(-5), Some(12_345), None]);
        let decimals = decimals.with_precision_and_scale(10, 4).unwrap();
        assert_eq!(of(decimals), [r#""-0.0005""#, r#""1.2345""#, "null"]);
        assert_eq!(of(StringArray::from(vec!["a\"b\n", ""])), [r#""a\"b\n""#, r#""""#]);
        assert_eq!(of(Date32Array::from(vec![0])), [r#""1970-01-01""#]);
        let at = TimestampMicrosecondArray::from(vec![1_767_323_045_123_456]);
        assert_eq!(of(at.clone()), [r#""2026-01-02T03:04:05.123456""#]);
        assert_eq!(of(at.with_timezone("UTC")), [r#""2026-01-02T03:04:05.123456Z""#]);
    }

    #[test]
    fn lists_maps_and_structs_are_nested() {
        let mut lists = ListBuilder::new(StringBuilder::new());
        lists.append_value([Some("a"), None]);
        lists.append_value([] as [Option<&str>; 0]);
        lists.append_null();
        assert_eq!(of(lists.finish()), [r#"["a",null]"#, "[]", "null"]);
        let mut maps = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
        maps.keys().append_value("team");
        maps.values().append_value("core");
        maps.append(true).unwrap();
        maps.append(true).unwrap();
        assert_eq!(of(maps.finish()), [r#"{"team":"core"}"#, "{}"]);
        let field = Arc::new(Field::new("n", DataType::Int64, true));
        let inner: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None]));
        assert_eq!(of(StructArray::from(vec![(field, inner)])), [r#"{"n":1}"#, r#"{"n":null}"#]);
    }
}
