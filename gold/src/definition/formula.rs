//! The three forms of a definition: over a contract, of KPIs, over a view.

use std::collections::BTreeMap;

use super::{Aggregate, DefinitionError, File, Formula, Kind, Term, choice, field};

/// Fields and whether they are there.
type Given = [(&'static str, bool)];

impl Formula {
    /// Whether what is below the line is taken away above it: (revenue - cost) / cost.
    pub(crate) fn is_net(&self) -> bool {
        let (above, below) = match self {
            Formula::Flow { .. } | Formula::Converted { .. } => return false,
            Formula::Ratio { numerator, denominator } => (numerator, Some(denominator)),
            Formula::OfView { above, below, .. } => (above, below.as_ref()),
        };
        let taken =
            |below: &String| above.iter().filter(|term| term.minus && term.kpi == *below).count();
        below.is_some_and(|below| taken(below) == 1)
    }
}

/// Reads what a definition computes.
pub(super) fn read(file: &str, raw: File) -> Result<Formula, DefinitionError> {
    if raw.view.is_some() {
        return of_view(file, raw);
    }
    for (name, is_given) in [("value", raw.value.is_some()), ("kind", raw.kind.is_some())] {
        if is_given {
            return Err(field(file, name, "belongs to a KPI over a view; name the `view`"));
        }
    }
    match (raw.numerator, raw.denominator) {
        (None, None) => {
            let missing = |name| move || field(file, name, "is missing; a flow needs it");
            Ok(Formula::Flow {
                contract: raw.contract.ok_or_else(missing("contract"))?,
                filter: raw.filter,
                time: raw.time.ok_or_else(missing("time"))?,
                aggregate: aggregate(file, &raw.aggregate.ok_or_else(missing("aggregate"))?)?,
                dims: dims(file, raw.dims)?,
            })
        }
        (Some(numerator), Some(denominator)) => {
            let flow_fields = [
                ("contract", raw.contract.is_some()),
                ("filter", raw.filter.is_some()),
                ("time", raw.time.is_some()),
                ("aggregate", raw.aggregate.is_some()),
                ("dims", raw.dims.is_some()),
            ];
            foreign(file, &flow_fields, "belongs to a flow; a ratio takes it from its KPIs")?;
            let numerator = terms(file, &numerator)?;
            if !is_name(denominator.trim()) {
                return Err(field(file, "denominator", "must be the key of one KPI"));
            }
            Ok(Formula::Ratio { numerator, denominator: denominator.trim().into() })
        }
        (None, Some(_)) => Err(field(file, "numerator", "is missing; a ratio needs it")),
        (Some(_), None) => Err(field(file, "denominator", "is missing; a ratio needs it")),
    }
}

fn aggregate(file: &str, text: &str) -> Result<Aggregate, DefinitionError> {
    match expr::Aggregate::parse(text) {
        Ok(expr::Aggregate::Count) => Ok(Aggregate::Count),
        Ok(expr::Aggregate::Sum(argument)) => Ok(Aggregate::Sum(argument)),
        Err(refusal) => Err(field(file, "aggregate", refusal.to_string())),
    }
}

fn dims(
    file: &str,
    value: Option<toml::Value>,
) -> Result<BTreeMap<String, String>, DefinitionError> {
    let wrong = || field(file, "dims", "must be a list of columns or a table of name = \"column\"");
    let pairs: Vec<(String, toml::Value)> = match value {
        None => Vec::new(),
        Some(toml::Value::Table(table)) => table.into_iter().collect(),
        Some(toml::Value::Array(list)) => list
            .into_iter()
            .map(|column| Ok((column.as_str().ok_or_else(wrong)?.to_owned(), column)))
            .collect::<Result<_, DefinitionError>>()?,
        Some(_) => return Err(wrong()),
    };
    let mut dims = BTreeMap::new();
    for (name, column) in pairs {
        let column = column.as_str().ok_or_else(wrong)?.to_owned();
        if !is_name(&name) {
            return Err(field(file, "dims", format!("`{name}` is no name of a dimension")));
        }
        if dims.insert(name.clone(), column).is_some() {
            return Err(field(file, "dims", format!("`{name}` is named twice")));
        }
    }
    Ok(dims)
}

/// Reads `a + b - c`.
fn terms(file: &str, text: &str) -> Result<Vec<Term>, DefinitionError> {
    let terms = expr::parse_terms(text).unwrap_or_default();
    if terms.is_empty() || !terms.iter().all(|term| is_name(&term.name)) {
        let problem = if text.trim_end().ends_with(['+', '-']) {
            format!("`{text}` must end with the key of a KPI")
        } else {
            format!("`{text}` must be keys of KPIs joined with + and -")
        };
        return Err(field(file, "numerator", problem));
    }
    let terms = terms.into_iter().map(|term| Term { minus: term.minus, kpi: term.name });
    Ok(terms.collect())
}

pub(super) fn is_name(text: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(word)
}

/// Refuses the first field that is there.
fn foreign(file: &str, given: &Given, problem: &str) -> Result<(), DefinitionError> {
    match given.iter().find(|(_, is_given)| *is_given) {
        Some((name, _)) => Err(field(file, name, problem)),
        None => Ok(()),
    }
}

/// A KPI over a view.
fn of_view(file: &str, raw: File) -> Result<Formula, DefinitionError> {
    let others = [
        ("contract", raw.contract.is_some()),
        ("filter", raw.filter.is_some()),
        ("time", raw.time.is_some()),
        ("aggregate", raw.aggregate.is_some()),
        ("numerator", raw.numerator.is_some()),
        ("denominator", raw.denominator.is_some()),
    ];
    foreign(file, &others, "belongs to a KPI without a view; the view's SQL says it")?;
    let missing = || field(file, "value", "is missing; name a column of the view");
    let text = raw.value.ok_or_else(missing)?;
    let refused = |refusal: expr::Refusal| field(file, "value", refusal.to_string());
    let (above, below) = expr::parse_quotient(&text).map_err(refused)?;
    let below = match below.as_deref() {
        None => None,
        Some([one]) if !one.minus => Some(one.name.clone()),
        Some(_) => {
            let problem = format!("`{text}`: below the line stands one column; add up in the view");
            return Err(field(file, "value", problem));
        }
    };
    let kinds = Kind::ALL.map(|kind| (kind.name(), kind));
    let kind = raw.kind.map(|text| choice(file, "kind", &text, &kinds)).transpose()?;
    let above = above.into_iter().map(|term| Term { minus: term.minus, kpi: term.name }).collect();
    let view = raw.view.unwrap_or_default();
    Ok(Formula::OfView { view, above, below, dims: dims(file, raw.dims)?, kind })
}
