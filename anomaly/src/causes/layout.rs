//! A layout of cases whose causes are known: `anomaly.yaml` beside a CSV file for each case, by minutes.
//!
//! # Guarantees
//! - Of a case nothing is read but the minute in question and the [`BEFORE`] minutes before it.
//! - What cannot be read is refused, with the line and what is wrong there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ratio::Parts;

/// Minutes whose mean is what was expected.
pub const BEFORE: i64 = 4;
/// Seconds of a minute.
const MINUTE: i64 = 60;
/// Columns that are no dimensions: the minute, what is counted, and of how many.
const FIXED: [&str; 3] = ["min", "value", "cnt"];

/// Why a file is not of this layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct LayoutError {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

impl LayoutError {
    fn new(line: usize, what: impl Into<String>) -> LayoutError {
        LayoutError { line, what: what.into() }
    }
}

/// An element by names: dimensions with the value of each.
pub type Named = BTreeMap<String, String>;

/// A case and what was behind it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truth {
    /// The name of its file, without `.csv`.
    pub data: String,
    /// The second at which its minute starts.
    pub timestamp: i64,
    /// The elements that people said were behind it.
    pub causes: BTreeSet<Named>,
    /// The line at which it is, from 1.
    pub line: usize,
}

/// The leaves of a case at its minute.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// The dimensions, in the order of the columns.
    pub dims: Vec<String>,
    /// The leaves, by the order of their values.
    pub parts: Vec<Parts>,
}

/// Reads `anomaly.yaml`.
///
/// # Errors
/// [`LayoutError`] when a line is no `data`, `timestamp` or `cause`, or a case lacks one of them.
pub fn truths(text: &str) -> Result<Vec<Truth>, LayoutError> {
    let mut truths: Vec<Truth> = Vec::new();
    let mut known = (true, true);
    for (at, line) in text.lines().enumerate() {
        let (number, content) = (at + 1, line.trim());
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let field = content.strip_prefix("- ").unwrap_or(content);
        let Some((name, value)) = field.split_once(':') else {
            return Err(LayoutError::new(number, format!("`{content}` is no `name: value`")));
        };
        let (name, value) = (name.trim(), value.trim());
        if content.starts_with("- ") != (name == "data") {
            let what = format!("each case starts with `- data: FILE`, and not with `{content}`");
            return Err(LayoutError::new(number, what));
        }
        if name == "data" {
            whole(known, truths.last())?;
            truths.push(case_named(value, number)?);
            known = (false, false);
            continue;
        }
        let Some(truth) = truths.last_mut() else {
            return Err(LayoutError::new(number, "`- data: FILE` has to come first"));
        };
        match name {
            "timestamp" => {
                let bad =
                    |_| LayoutError::new(number, format!("`{value}` is no timestamp in seconds"));
                truth.timestamp = value.parse().map_err(bad)?;
                known.0 = true;
            }
            "cause" => {
                truth.causes = elements(value).map_err(|what| LayoutError::new(number, what))?;
                known.1 = true;
            }
            _ => {
                let what = format!("`{name}` is not known: there are data, timestamp and cause");
                return Err(LayoutError::new(number, what));
            }
        }
    }
    whole(known, truths.last())?;
    Ok(truths)
}

fn case_named(data: &str, line: usize) -> Result<Truth, LayoutError> {
    if data.is_empty() || data.contains(['/', '\\']) {
        let what = format!("`{data}` is no name of a file beside this one, without `.csv`");
        return Err(LayoutError::new(line, what));
    }
    Ok(Truth { data: data.to_owned(), timestamp: 0, causes: BTreeSet::new(), line })
}

fn whole(known: (bool, bool), last: Option<&Truth>) -> Result<(), LayoutError> {
    let Some(last) = last else { return Ok(()) };
    let lacking = match known {
        (false, _) => "timestamp",
        (_, false) => "cause",
        _ => return Ok(()),
    };
    Err(LayoutError::new(last.line, format!("`{}` has no {lacking}", last.data)))
}

/// Reads `{'cdn':3, 'bitrate':2000}`, or a list of such in brackets.
fn elements(text: &str) -> Result<BTreeSet<Named>, String> {
    let refuse = || format!("`{text}` is no {{'dimension': value}} and no list of such");
    let inner = match text.strip_prefix('[') {
        Some(list) => list.strip_suffix(']').ok_or_else(refuse)?,
        None => text,
    };
    let mut elements = BTreeSet::new();
    let mut rest = inner.trim();
    while !rest.is_empty() {
        let (element, after) =
            rest.strip_prefix('{').and_then(|own| own.split_once('}')).ok_or_else(refuse)?;
        let mut named = Named::new();
        for pair in element.split(',') {
            let (dim, value) = pair.split_once(':').ok_or_else(refuse)?;
            let (dim, value) = (bare(dim), bare(value));
            if dim.is_empty() || value.is_empty() || named.insert(dim, value).is_some() {
                return Err(refuse());
            }
        }
        elements.insert(named);
        let after = after.trim();
        rest = match after.strip_prefix(',') {
            Some(next) if !next.trim().is_empty() => next.trim(),
            None if after.is_empty() => after,
            _ => return Err(refuse()),
        };
    }
    if elements.is_empty() { Err(refuse()) } else { Ok(elements) }
}

fn bare(text: &str) -> String {
    text.trim().trim_matches(['\'', '"']).to_owned()
}

/// Where the columns of a file are.
struct Columns {
    dims: Vec<usize>,
    fixed: [usize; 3],
    all: usize,
}

/// Reads a case's file at `timestamp`.
///
/// # Errors
/// [`LayoutError`] when a column lacks, a row is no row, or the minute or all before it are not there.
pub fn case(text: &str, timestamp: i64) -> Result<Case, LayoutError> {
    let mut lines = text.lines().enumerate();
    let header = lines.next().map_or("", |(_, line)| line);
    let names: Vec<&str> = header.split(',').map(str::trim).collect();
    let columns = columns(&names)?;
    let mut leaves: BTreeMap<Vec<Arc<str>>, [f64; 4]> = BTreeMap::new();
    let mut before = BTreeSet::new();
    let mut is_there = false;
    for (at, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let (minute, values, [value, count]) =
            row(line, &columns).map_err(|what| LayoutError::new(at + 1, what))?;
        let back = timestamp.saturating_sub(minute);
        if !(0..=BEFORE * MINUTE).contains(&back) {
            continue;
        }
        let leaf = leaves.entry(values).or_default();
        let [actual, of, expected, expected_of] = leaf;
        if back == 0 {
            is_there = true;
            (*actual, *of) = (*actual + value, *of + count);
        } else {
            before.insert(minute);
            (*expected, *expected_of) = (*expected + value, *expected_of + count);
        }
    }
    if !is_there {
        return Err(LayoutError::new(1, format!("no row has the minute {timestamp}")));
    }
    if before.is_empty() {
        let what = format!("no row is of the {BEFORE} minutes before {timestamp}");
        return Err(LayoutError::new(1, what));
    }
    let minutes = before.len() as f64;
    let parts = leaves.into_iter().map(|(values, [actual, of, expected, expected_of])| Parts {
        values,
        numerator: actual,
        denominator: of,
        expected_numerator: expected / minutes,
        expected_denominator: expected_of / minutes,
    });
    let dims = columns.dims.iter().filter_map(|at| names.get(*at)).map(|name| (*name).to_owned());
    Ok(Case { dims: dims.collect(), parts: parts.collect() })
}

fn columns(names: &[&str]) -> Result<Columns, LayoutError> {
    let mut fixed = [0; 3];
    for (place, name) in fixed.iter_mut().zip(FIXED) {
        *place = names.iter().position(|own| own == &name).ok_or_else(|| {
            let what =
                format!("no column `{name}`; there have to be min, value, cnt and dimensions");
            LayoutError::new(1, what)
        })?;
    }
    let dims: Vec<usize> = (0..names.len()).filter(|at| !fixed.contains(at)).collect();
    match dims.is_empty() {
        true => Err(LayoutError::new(1, "no column is a dimension")),
        false => Ok(Columns { dims, fixed, all: names.len() }),
    }
}

/// The minute of a row, its values, and its two numbers.
type Row = (i64, Vec<Arc<str>>, [f64; 2]);

fn row(line: &str, columns: &Columns) -> Result<Row, String> {
    let fields: Vec<&str> = line.split(',').map(str::trim).collect();
    if fields.len() != columns.all {
        return Err(format!("{} fields, and the header has {}", fields.len(), columns.all));
    }
    let field = |at: usize| fields.get(at).copied().unwrap_or_default();
    let number = |at: usize| {
        let known = field(at).parse::<f64>().ok().filter(|own| own.is_finite() && *own >= 0.0);
        known.ok_or_else(|| format!("`{}` is no number of 0 or more", field(at)))
    };
    let [minute, value, count] = columns.fixed;
    let at = field(minute).parse();
    let at = at.map_err(|_| format!("`{}` is no timestamp in seconds", field(minute)))?;
    let values = columns.dims.iter().map(|dim| Arc::from(field(*dim))).collect();
    Ok((at, values, [number(value)?, number(count)?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUTH: &str = "- data: a b+c\n  timestamp: 300\n  cause: {'cdn':3, 'bitrate': 2000}\n\n- data: d\n  timestamp: 600\n  cause: [{'cdn':3}, {\"cdn\": 5}]\n";

    fn named(pairs: &[(&str, &str)]) -> Named {
        pairs.iter().map(|(dim, value)| ((*dim).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn truth_is_read_with_one_element_or_several() {
        let read = truths(TRUTH).unwrap();
        let [first, second] = read.as_slice() else { panic!("{read:?}") };
        assert_eq!((first.data.as_str(), first.timestamp, first.line), ("a b+c", 300, 1));
        assert_eq!(first.causes, BTreeSet::from([named(&[("cdn", "3"), ("bitrate", "2000")])]));
        assert_eq!(second.causes, BTreeSet::from([named(&[("cdn", "3")]), named(&[("cdn", "5")])]));
    }

    #[test]
    fn what_is_no_truth_is_refused_with_its_line() {
        for (text, line, what) in [
            ("hello", 1, "is no `name: value`"),
            ("timestamp: 3", 1, "has to come first"),
            ("- data: ../x", 1, "is no name of a file"),
            ("- data: x\n  timestamp: soon", 2, "is no timestamp"),
            ("- data: x\n  timestamp: 3", 1, "`x` has no cause"),
            ("- data: x\n  cause: {'a': 1}\n- data: y", 1, "`x` has no timestamp"),
            ("- data: x\n  colour: red", 2, "`colour` is not known"),
            ("- data: x\n  cause: {}", 2, "is no {'dimension': value}"),
            ("- data: x\n  cause: [{'a': 1}", 2, "is no {'dimension': value}"),
            ("- data: x\n  cause: {'a': 1},", 2, "is no {'dimension': value}"),
        ] {
            let error = truths(text).unwrap_err();
            assert!(error.line == line && error.what.contains(what), "{text}: {error}");
        }
    }

    #[test]
    fn a_case_is_its_minute_and_the_four_before() {
        let text = "min,cdn,value,device,cnt\n0,3,90,tv,100\n60,3,1,tv,10\n120,3,3,tv,10\n300,3,7,tv,20\n300,5,1,tv,4\n360,3,9,tv,9\n";
        let case = case(text, 300).unwrap();
        assert_eq!(case.dims, ["cdn", "device"]);
        let of = |cdn: &str| case.parts.iter().find(|own| *own.values[0] == *cdn).unwrap();
        let three = of("3");
        assert_eq!((three.numerator, three.denominator), (7.0, 20.0));
        assert_eq!((three.expected_numerator, three.expected_denominator), (2.0, 10.0));
        assert_eq!((of("5").numerator, of("5").expected_denominator), (1.0, 0.0));
    }

    #[test]
    fn what_is_no_case_is_refused_with_its_line() {
        for (text, line, what) in [
            ("", 1, "no column `min`"),
            ("min,value,cnt\n", 1, "no column is a dimension"),
            ("min,cdn,value,cnt\n300,3,1\n", 2, "3 fields, and the header has 4"),
            ("min,cdn,value,cnt\n300,3,-1,2\n", 2, "is no number of 0 or more"),
            ("min,cdn,value,cnt\nnoon,3,1,2\n", 2, "is no timestamp"),
            ("min,cdn,value,cnt\n240,3,1,2\n", 1, "no row has the minute 300"),
            ("min,cdn,value,cnt\n300,3,1,2\n", 1, "of the 4 minutes before 300"),
        ] {
            let error = case(text, 300).unwrap_err();
            assert!(error.line == line && error.what.contains(what), "{text}: {error}");
        }
    }
}
