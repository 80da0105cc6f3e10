//! The SQL that recomputes a KPI.

use schemas::Grain;
use schemas::contract::DEFAULT_TENANT;

use schemas::Calendar;
use schemas::civil::Shape;

use crate::catalog::Catalog;
use crate::definition::{Aggregate, Definition, Formula};

/// Wide enough for any sum of numbers that fit into `decimal(38,10)`: SQL's sums wrap in silence.
const NUMBER: &str = "DECIMAL(76,10)";

/// The greatest number of `decimal(38,10)`.
const GREATEST: &str = "9999999999999999999999999999.9999999999";

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 86_400_000_000;

/// The SQL that recomputes a KPI at a grain over the tables `silver_<contract>`, with the columns
/// `tenant_id`, one per dimension (`dim_<name>`), `period_start`, then `cnt` (rows that feed the cell),
/// `doubt` (those of them that are in doubt, and rows that would feed it if values were known that were never
/// sent), `above` (a flow's value, a ratio's numerator), `beyond` (how many parts of `above` do not fit into
/// `decimal(38,10)`), `below` and `below_cnt` (a ratio's denominator and the rows that feed it). Where periods are
/// not those of UTC it calls `weir_period_start(tenant, grain, microseconds)`, which [`super::Clocks`] gives.
pub fn recompute_sql(catalog: &Catalog, definition: &Definition, grain: Grain) -> String {
    let Formula::Ratio { numerator, denominator } = &definition.formula else {
        let none = format!("CAST(NULL AS {NUMBER}) AS below, CAST(0 AS BIGINT) AS below_cnt");
        return format!(
            "SELECT flow.*, {} AS beyond, {none} FROM ({}) AS flow",
            beyond(),
            flow_sql(catalog, definition, grain),
        );
    };
    // Tagged parts, added up: the same cells as a full outer join of all parts.
    let mut parts = Vec::new();
    let keys = keys(catalog, definition);
    for term in numerator {
        let sign = if term.minus { "-" } else { "" };
        if let Some(part) = catalog.get(&term.kpi) {
            parts.push(format!(
                "SELECT {keys}, cnt, doubt, {sign}above AS above, {} AS beyond, CAST(0 AS {NUMBER}) AS below, \
                 CAST(0 AS BIGINT) AS below_cnt FROM ({}) AS part",
                beyond(),
                flow_sql(catalog, part, grain),
            ));
        }
    }
    if let Some(part) = catalog.get(denominator) {
        parts.push(format!(
            "SELECT {keys}, cnt, doubt, CAST(0 AS {NUMBER}) AS above, CAST(0 AS BIGINT) AS beyond, \
             above AS below, cnt AS below_cnt FROM ({}) AS part",
            flow_sql(catalog, part, grain),
        ));
    }
    format!(
        "SELECT {keys}, SUM(cnt) AS cnt, SUM(doubt) AS doubt, SUM(above) AS above, SUM(beyond) AS beyond, SUM(below) AS below, \
         SUM(below_cnt) AS below_cnt FROM ({}) AS parts GROUP BY {keys}",
        parts.join(" UNION ALL "),
    )
}

fn beyond() -> String {
    let greatest = format!("CAST('{GREATEST}' AS {NUMBER})");
    format!("CASE WHEN above BETWEEN -{greatest} AND {greatest} THEN 0 ELSE 1 END")
}

/// The start of the period that `time` is in, by arithmetic on microseconds: `date_trunc` goes through
/// nanoseconds, which end in the year 2262.
fn period_start(time: &str, grain: Grain) -> String {
    let at = format!("CAST(\"{time}\" AS BIGINT)");
    let floor = |unit: i64| format!("({at} - (({at} % {unit}) + {unit}) % {unit})");
    // The day so many days before.
    let back = |days: String| format!("({} - ({days}) * {DAY_US})", floor(DAY_US));
    let part = |name: &str| format!("date_part('{name}', \"{time}\")");
    let start = match grain {
        Grain::Hour => floor(HOUR_US),
        Grain::Day => floor(DAY_US),
        // Sunday is 0.
        Grain::Week => back(format!("({} + 6) % 7", part("dow"))),
        Grain::Month => back(format!("{} - 1", part("day"))),
        Grain::Quarter => {
            let first = format!("(({} - 1) * 3 + 1)", part("quarter"));
            let date = format!("make_date(CAST({} AS INT), CAST({first} AS INT), 1)", part("year"));
            format!("(CAST(CAST({date} AS INT) AS BIGINT) * {DAY_US})")
        }
        Grain::Year => back(format!("{} - 1", part("doy"))),
    };
    format!("to_timestamp_micros({start})")
}

/// Whether periods of a grain are not those of UTC, with weeks from Monday and years from January.
fn is_own(calendar: &Calendar, grain: Grain) -> bool {
    grain != Grain::Hour && !(calendar.is_utc() && calendar.shape() == Shape::default())
}

/// Where the period that starts at `period_start` ends.
pub(super) fn period_end(calendar: &Calendar, grain: Grain) -> String {
    if is_own(calendar, grain) {
        let at = "CAST(period_start AS BIGINT)";
        return format!("to_timestamp_micros(weir_period_end(tenant_id, '{grain}', {at}))");
    }
    let length = match grain {
        Grain::Hour => "1 hour",
        Grain::Day => "1 day",
        Grain::Week => "7 days",
        Grain::Month => "1 month",
        Grain::Quarter => "3 months",
        Grain::Year => "12 months",
    };
    format!("period_start + INTERVAL '{length}'")
}

fn keys(catalog: &Catalog, definition: &Definition) -> String {
    let mut keys = String::from("tenant_id");
    for name in catalog.dims(definition) {
        keys.push_str(&format!(", \"dim_{name}\""));
    }
    keys + ", period_start"
}

/// The condition that a row counts, or would if values were known that were never sent: each part that AND
/// joins holds, or reads such a value.
fn may_count(filter: Option<&str>) -> String {
    let mut parts = vec!["TRUE".to_owned()];
    // A definition whose filter cannot be read is refused before.
    for (part, columns) in filter.and_then(|text| expr::conjuncts(text).ok()).unwrap_or_default() {
        let unknown = columns.iter().map(|column| {
            let name = serde_json::json!(column).to_string().replace('\'', "''");
            format!(" OR strpos(COALESCE(\"_unknown\", ''), '{name}') > 0")
        });
        parts.push(format!("(({part}) IS TRUE{})", unknown.collect::<String>()));
    }
    parts.join(" AND ")
}

fn flow_sql(catalog: &Catalog, definition: &Definition, grain: Grain) -> String {
    let Formula::Flow { contract, filter, time, aggregate, dims } = &definition.formula else {
        return String::new();
    };
    let tenant = catalog.tenant_column(contract);
    let tenant = format!("COALESCE(NULLIF(\"{tenant}\", ''), '{DEFAULT_TENANT}')");
    let mut columns = format!("{tenant} AS tenant_id");
    for (name, column) in dims {
        columns.push_str(&format!(", \"{column}\" AS \"dim_{name}\""));
    }
    let start = match is_own(catalog.calendar(), grain) {
        true => {
            let at = format!("CAST(\"{time}\" AS BIGINT)");
            format!("to_timestamp_micros(weir_period_start({tenant}, '{grain}', {at}))")
        }
        false => period_start(time, grain),
    };
    columns.push_str(&format!(", {start} AS period_start"));
    columns.push_str(", CASE WHEN \"_doubt\" IS NULL THEN 0 ELSE 1 END AS in_doubt");
    let argument = match aggregate {
        Aggregate::Count => "1",
        Aggregate::Sum(argument) => argument,
    };
    let counted = filter.as_deref().unwrap_or("TRUE");
    columns.push_str(&format!(", CASE WHEN {counted} THEN 1 ELSE 0 END AS counted"));
    let above = format!("CASE WHEN {counted} THEN CAST({argument} AS {NUMBER}) END");
    let condition = format!("\"{time}\" IS NOT NULL AND {}", may_count(filter.as_deref()));
    let keys = keys(catalog, definition);
    format!(
        "SELECT {keys}, CAST(SUM(counted) AS BIGINT) AS cnt, CAST(SUM(in_doubt) AS BIGINT) AS doubt, COALESCE(SUM(above), CAST(0 AS {NUMBER})) AS above \
         FROM (SELECT {columns}, {above} AS above FROM \"silver_{contract}\" WHERE {condition}) AS taken \
         GROUP BY {keys}"
    )
}
