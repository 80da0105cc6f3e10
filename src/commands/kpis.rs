//! `weir kpis`: definitions and current values.

mod apply;
mod backfill;
mod cases;
mod explain;
mod get;

use clap::Subcommand;
use gold::audit::recompute_sql;
use gold::catalog::{Resting, Why};
use gold::definition::{Aggregate, Formula, Kind, Term};
use gold::nearest::nearest;
use gold::{Catalog, Definition};
use schemas::{DefinitionChange, DefinitionKind, Grain, Grains, Micros, Watching};
use serde_json::{Value, json};

use super::in_force::{self, FROM_NEXT_START, InForceHere};
use super::setup::{definitions, wanted};
use crate::config::Config;
use crate::failure::Failure;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Every definition: the built-in ones and those of `[gold] definitions`.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// One definition, with the SQL that recomputes it.
    Show {
        /// The KPI's key.
        kpi: String,
        /// The grain or the window of the SQL; `day`, or `all` of a view without a period, unless given.
        #[arg(long, value_parser = parse_grain)]
        grain: Option<Grain>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// What a KPI is made of, what a changed row costs it, and how much it keeps.
    Explain(explain::Explain),
    /// The current values of one KPI.
    Get(get::Get),
    /// Put definitions in force that have changed, also while `weir run` runs: it goes on without a restart.
    Apply(apply::Apply),
    /// Compute a KPI anew from silver, also while `weir run` runs.
    Backfill(backfill::Backfill),
    /// Runs the cases of KPIs: rows in, the cells that they must give.
    Test(cases::Arguments),
}

pub(super) fn parse_grain(text: &str) -> Result<Grain, String> {
    let (all, windows) = (Grain::names(), Grain::window_names());
    Grain::parse(text).ok_or_else(|| format!("use {all}; or a window, {windows}"))
}

/// The grain that is meant when none is given.
pub(super) fn usual_grain(definition: &Definition) -> Grain {
    if definition.grains == Grains::NONE { Grain::Always } else { Grain::Day }
}

pub(super) fn parse_time(text: &str) -> Result<Micros, String> {
    Micros::parse(text).ok_or_else(|| "use RFC 3339 or YYYY-MM-DD, such as 2026-03-01".to_owned())
}

pub(crate) fn execute(config: &Config, command: &Command) -> Result<(), Failure> {
    match command {
        Command::Test(arguments) => return cases::execute(config, arguments),
        Command::Apply(apply) => return apply::execute(config, apply),
        _ => {}
    }
    let (_, catalog) = definitions(config)?;
    match command {
        Command::List { json } => {
            list(&catalog, &wanted(config, &catalog)?, &InForceHere::of(config), *json);
        }
        Command::Show { kpi, grain, json } => show(&catalog, kpi, *grain, *json)?,
        Command::Explain(own) => {
            explain::execute(config, &catalog, find(&catalog, &own.kpi)?, own)?;
        }
        Command::Get(get) => {
            find(&catalog, &get.kpi)?;
            get::execute(config, get)?;
        }
        Command::Backfill(backfill) => {
            find(&catalog, &backfill.kpi)?;
            backfill::execute(config, backfill)?;
        }
        Command::Test(_) | Command::Apply(_) => {}
    }
    Ok(())
}

pub(super) fn find<'a>(catalog: &'a Catalog, key: &str) -> Result<&'a Definition, Failure> {
    catalog.get(key).ok_or_else(|| {
        if let Some(Resting { why, .. }) =
            catalog.resting().iter().find(|own| *own.definition.key == *key)
        {
            return Failure::Usage(format!("KPI `{key}` rests, because {why}"));
        }
        let hint = nearest(key, catalog.definitions().iter().map(|definition| &*definition.key));
        Failure::Usage(format!("there is no KPI `{key}`{hint}; `weir kpis list` names all"))
    })
}

fn list(catalog: &Catalog, wanted: &[DefinitionChange], held: &InForceHere, as_json: bool) {
    let definitions = catalog.definitions().iter();
    let newest = |key: &str| held.newest(DefinitionKind::Kpi, key);
    let is_same = |key: &str| held.is_same(DefinitionKind::Kpi, key, wanted);
    if as_json {
        let told = |d: &Definition| {
            let version = newest(&d.key).filter(|_| is_same(&d.key));
            in_force::add_to(summary(catalog, d), version)
        };
        output::json(&definitions.map(told).collect());
        return;
    }
    let row = |definition: &Definition| {
        let (dims, time) = (catalog.dims(definition).join(", "), by_time(definition));
        let (key, unit) = (definition.key.to_string(), definition.unit.name().to_owned());
        let since = match newest(&key) {
            None => FROM_NEXT_START.to_owned(),
            Some(version) if is_same(&key) => in_force::words(version),
            Some(version) => {
                format!("another, {}; this one {FROM_NEXT_START}", in_force::words(version))
            }
        };
        vec![key, definition.title.clone(), unit, formula(definition), time, dims, since]
    };
    let mut rows: Vec<_> = definitions.map(row).collect();
    for Resting { definition, why } in catalog.resting() {
        let mut row = row(definition);
        if let Some(since) = row.last_mut() {
            *since = match why {
                Why::NoTopic(contract) => format!("once a topic is of `{contract}`"),
                Why::Unfit(_) => "does not fit the contracts".to_owned(),
            };
        }
        rows.push(row);
    }
    output::table(&["kpi", "title", "unit", "formula", "by time of", "dims", "in force"], &rows);
}

fn show(catalog: &Catalog, key: &str, grain: Option<Grain>, as_json: bool) -> Result<(), Failure> {
    let definition = find(catalog, key)?;
    let grain = grain.unwrap_or_else(|| usual_grain(definition));
    let sql = recompute_sql(catalog, definition, grain);
    if as_json {
        let mut object = summary(catalog, definition);
        if let Some(object) = object.as_object_mut() {
            object.insert("sql".into(), json!(sql));
            object.insert("sql_grain".into(), json!(grain.name()));
        }
        output::json(&object);
        return Ok(());
    }
    let none = || "-".to_owned();
    let optional = |text: &Option<String>| text.clone().unwrap_or_else(none);
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let rows = [
        row("kpi", definition.key.to_string()),
        row("title", definition.title.clone()),
        row("description", optional(&definition.description)),
        row("owner", optional(&definition.owner)),
        row("kind", catalog.kind(definition).name().to_owned()),
        row("formula", formula(definition)),
        row("by time of", by_time(definition)),
        row("dims", catalog.dims(definition).join(", ")),
        row("grains", names(definition.grains).join(", ")),
        row("windows", names(catalog.windows(definition)).join(", ")),
        row("unit", definition.unit.name().to_owned()),
        row("good is", definition.good.name().to_owned()),
        row("group", optional(&definition.group)),
        row("exactness", exactness(catalog, definition).to_owned()),
        row("anomaly", anomaly(&definition.watching)),
        row("defined in", definition.file.clone()),
    ];
    output::table(&["field", "value"], &rows);
    output::line("");
    output::line(&format!("-- recomputed by {grain} over the silver tables"));
    output::line(&sql);
    Ok(())
}

fn summary(catalog: &Catalog, definition: &Definition) -> Value {
    json!({
        "kpi": &*definition.key,
        "title": definition.title,
        "description": definition.description,
        "owner": definition.owner,
        "kind": catalog.kind(definition).name(),
        "formula": formula(definition),
        "time": time_column(definition),
        "dims": catalog.dims(definition),
        "grains": names(definition.grains),
        "windows": names(catalog.windows(definition)),
        "unit": definition.unit.name(),
        "good": definition.good.name(),
        "group": definition.group,
        "exactness": exactness(catalog, definition),
        "anomaly": settings(&definition.watching),
        "file": definition.file,
    })
}

fn names(grains: Grains) -> Vec<&'static str> {
    grains.iter().map(Grain::name).collect()
}

/// How it is watched where that is not as usual.
fn settings(watching: &Watching) -> Value {
    let (rules, told): (Vec<_>, Vec<_>) =
        watching.told().into_iter().partition(|(field, _)| *field == "rule");
    let mut object: serde_json::Map<String, Value> =
        told.into_iter().map(|(field, value)| (field.to_owned(), json!(value))).collect();
    if !rules.is_empty() {
        object.insert("rules".into(), rules.into_iter().map(|(_, told)| json!(told)).collect());
    }
    Value::Object(object)
}

/// How it is watched, in one line.
fn anomaly(watching: &Watching) -> String {
    let told = watching.told();
    let told: Vec<String> = told.iter().map(|(field, value)| format!("{field} {value}")).collect();
    if told.is_empty() { "as usual".to_owned() } else { told.join("; ") }
}

/// The formula in words of SQL.
fn formula(definition: &Definition) -> String {
    match &definition.formula {
        Formula::Flow { contract, filter, aggregate, .. } => {
            let what = match aggregate {
                Aggregate::Count => "COUNT(*)".to_owned(),
                Aggregate::Sum(column) => format!("SUM({column})"),
                Aggregate::Allocated(column) => format!("SUM(ALLOCATE({column}))"),
                Aggregate::Distinct(column) => format!("COUNT(DISTINCT {column})"),
                Aggregate::Min(column) => format!("MIN({column})"),
                Aggregate::Max(column) => format!("MAX({column})"),
                Aggregate::Percentile { of, millionths, cuts } => {
                    let name = if *cuts { "APPROX_PERCENTILE_CONT" } else { "PERCENTILE_EXACT" };
                    format!("{name}({of}, {})", views::percentile::share(*millionths))
                }
            };
            let filter = filter.as_ref().map(|filter| format!(" WHERE {filter}"));
            format!("{what} FROM {contract}{}", filter.unwrap_or_default())
        }
        Formula::Ratio { numerator, denominator } => quotient(numerator, Some(denominator)),
        Formula::OfView { view, above, below, .. } => {
            format!("{} OF {view}", quotient(above, below.as_deref()))
        }
        Formula::Converted { of, to } => format!("{of} IN {to}"),
    }
}

/// Terms as they are written, over what stands below the line.
fn quotient(terms: &[Term], below: Option<&str>) -> String {
    let mut above = String::new();
    for (at, term) in terms.iter().enumerate() {
        let sign = match (at, term.minus) {
            (0, false) => "",
            (0, true) => "-",
            (_, false) => " + ",
            (_, true) => " - ",
        };
        above.push_str(sign);
        above.push_str(&term.kpi);
    }
    let Some(below) = below else { return above };
    let above = if terms.len() > 1 { format!("({above})") } else { above };
    format!("{above} / {below}")
}

fn time_column(definition: &Definition) -> Option<&str> {
    match &definition.formula {
        Formula::Flow { time, .. } => Some(time),
        Formula::Ratio { .. } | Formula::OfView { .. } | Formula::Converted { .. } => None,
    }
}

fn by_time(definition: &Definition) -> String {
    time_column(definition).unwrap_or("-").to_owned()
}

/// How exact its values are.
fn exactness(catalog: &Catalog, definition: &Definition) -> &'static str {
    if let Formula::Converted { .. } = definition.formula {
        return "exact sums and products, rounded half to even once, at 10 decimals";
    }
    match catalog.kind(definition) {
        Kind::Flow | Kind::Distinct | Kind::Extreme | Kind::Percentile | Kind::Stock => "exact",
        Kind::Ratio | Kind::Retention => {
            "exact parts, one division rounded half to even at 10 decimals"
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn catalog() -> Arc<Catalog> {
        let contracts: Vec<_> = schemas::contract::built_in()
            .iter()
            .map(|(_, text)| schemas::Contract::parse(text).unwrap())
            .collect();
        gold::catalog::with_built_in(Vec::new(), &contracts, Arc::from([])).unwrap()
    }

    #[test]
    fn formulas_are_said_as_people_write_them() {
        let catalog = catalog();
        let said = |key: &str| formula(catalog.get(key).unwrap());
        assert_eq!(said("roi"), "(revenue_recognized - total_cost) / total_cost");
        assert_eq!(said("average_order_value"), "revenue_booked / orders");
        assert!(said("orders").starts_with("COUNT(*) FROM orders WHERE "), "{}", said("orders"));
    }

    #[test]
    fn an_unknown_kpi_is_an_error_of_usage_with_the_nearest_name() {
        let failure = find(&catalog(), "revenue_boked").unwrap_err();
        assert!(matches!(&failure, Failure::Usage(text) if text.contains("`revenue_booked`")));
        assert!(parse_time("2026-03-01").is_ok() && parse_time("soon").is_err());
    }
}
