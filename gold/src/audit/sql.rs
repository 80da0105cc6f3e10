//! The SQL that recomputes a KPI.

use std::collections::BTreeSet;

use schemas::Grain;
use schemas::contract::DEFAULT_TENANT;

use schemas::Calendar;
use schemas::civil::Shape;

use crate::catalog::Catalog;
use crate::definition::{Aggregate, Definition, Formula};
use crate::flow::{Computed, Flow, Joined};
use crate::relation::Relation;

use super::converted::converted_sql;
use super::stock::Lasting;

/// Wide enough for any sum of numbers that fit into `decimal(38,10)`: SQL's sums wrap in silence.
pub(super) const NUMBER: &str = "DECIMAL(76,10)";

/// The greatest number of `decimal(38,10)`.
const GREATEST: &str = "9999999999999999999999999999.9999999999";

const HOUR_US: i64 = 3_600_000_000;
const DAY_US: i64 = 86_400_000_000;

/// The SQL that recomputes a KPI at a grain over the tables `silver_<contract>`, with the columns
/// `tenant_id`, one per dimension (`dim_<name>`), `period_start`, then `cnt` (rows that feed the cell),
/// `doubt` (those of them that are in doubt, and rows that would feed it if values were known that were never
/// sent), `above` (a flow's value, a ratio's numerator), `beyond` (how many parts of `above` do not fit into
/// `decimal(38,10)`), `below` and `below_cnt` (a ratio's denominator and the rows that feed it), and where it is divided by
/// another quotient `over_above` and `over_below`; of converted money `exact`, with 20 digits after the point, in the
/// place of `above`. Where periods are not those of UTC it calls `weir_period_start(tenant, grain, microseconds)`, and
/// of what is alive at the end of a period `weir_periods`, of what overlaps it `weir_overlapped` and `weir_allocated`,
/// of converted money `weir_day(tenant, microseconds)`, which [`super::Clocks`] gives.
pub fn recompute_sql(catalog: &Catalog, definition: &Definition, grain: Grain) -> String {
    if let Formula::Converted { to, .. } = &definition.formula {
        return converted_sql(catalog, definition, to, grain);
    }
    // A definition of a catalog comes down to something.
    let Ok(computed) = catalog.computed(definition) else { return String::new() };
    let dims = catalog.dims(definition);
    let Some(over) = &computed.over else { return computed_sql(catalog, &computed, &dims, grain) };
    let keys = keys(&dims);
    let zero = format!("CAST(0 AS {NUMBER})");
    format!(
        "SELECT {keys}, SUM(cnt) AS cnt, SUM(doubt) AS doubt, SUM(above) AS above, SUM(beyond) AS beyond, \
         SUM(below) AS below, SUM(below_cnt) AS below_cnt, SUM(over_above) AS over_above, SUM(over_below) AS over_below \
         FROM (SELECT {keys}, cnt, doubt, above, beyond, below, below_cnt, {zero} AS over_above, {zero} AS over_below \
         FROM ({}) AS one UNION ALL \
         SELECT {keys}, cnt, doubt, {zero} AS above, beyond, {zero} AS below, CAST(0 AS BIGINT) AS below_cnt, \
         other.above AS over_above, other.below AS over_below \
         FROM ({}) AS other) AS quotients GROUP BY {keys}",
        computed_sql(catalog, &Computed { over: None, ..computed.clone() }, &dims, grain),
        computed_sql(catalog, over, &dims, grain),
    )
}

pub(super) fn computed_sql(
    catalog: &Catalog,
    computed: &Computed,
    dims: &[String],
    grain: Grain,
) -> String {
    if let ([(false, flow)], None) = (computed.above.as_slice(), &computed.below) {
        let none = format!("CAST(NULL AS {NUMBER}) AS below, CAST(0 AS BIGINT) AS below_cnt");
        return format!(
            "SELECT flow.*, {} AS beyond, {none} FROM ({}) AS flow",
            beyond(),
            flow_sql(catalog, flow, grain),
        );
    }
    // Tagged parts, added up: the same cells as a full outer join of all parts.
    let mut parts = Vec::new();
    let keys = keys(dims);
    for (minus, flow) in &computed.above {
        let sign = if *minus { "-" } else { "" };
        parts.push(format!(
            "SELECT {keys}, cnt, doubt, {sign}above AS above, {} AS beyond, CAST(0 AS {NUMBER}) AS below, \
             CAST(0 AS BIGINT) AS below_cnt FROM ({}) AS part",
            beyond(),
            flow_sql(catalog, flow, grain),
        ));
    }
    if let Some(flow) = &computed.below {
        parts.push(format!(
            "SELECT {keys}, cnt, doubt, CAST(0 AS {NUMBER}) AS above, CAST(0 AS BIGINT) AS beyond, \
             above AS below, cnt AS below_cnt FROM ({}) AS part",
            flow_sql(catalog, flow, grain),
        ));
    }
    format!(
        "SELECT {keys}, SUM(cnt) AS cnt, SUM(doubt) AS doubt, SUM(above) AS above, SUM(beyond) AS beyond, SUM(below) AS below, \
         SUM(below_cnt) AS below_cnt FROM ({}) AS parts GROUP BY {keys}",
        parts.join(" UNION ALL "),
    )
}

/// The SQL that makes the rows of views, `rows_<view>`, over the tables `silver_<contract>`.
pub(super) fn views(catalog: &Catalog) -> Vec<String> {
    if catalog.views().is_empty() {
        return Vec::new();
    }
    views_of(catalog, &|_| true)
}

/// The same for these views and contracts alone.
pub(super) fn views_for(catalog: &Catalog, names: &BTreeSet<String>) -> Vec<String> {
    views_of(catalog, &|name| names.contains(name))
}

fn views_of(catalog: &Catalog, is_needed: &dyn Fn(&str) -> bool) -> Vec<String> {
    let create = |name: &str, sql: &str| format!("CREATE VIEW \"{name}\" AS {sql}");
    let mut all = Vec::new();
    let contracts = catalog.relations().iter().filter(|relation| relation.view.is_none());
    for relation in contracts.filter(|relation| is_needed(&relation.name)) {
        let columns = relation.schema.iter().map(|column| format!("\"{}\"", column.name));
        let columns = columns.collect::<Vec<_>>().join(", ");
        let table = relation.rows_table();
        all.push(create(&relation.name, &format!("SELECT {columns} FROM \"{table}\"")));
    }
    for view in catalog.views().iter().filter(|view| is_needed(view.name())) {
        all.push(create(view.name(), &view.result_sql()));
        all.push(create(&format!("rows_{}", view.name()), &view.rows_sql()));
    }
    all
}

pub(super) fn beyond() -> String {
    let greatest = format!("CAST('{GREATEST}' AS {NUMBER})");
    format!("CASE WHEN above BETWEEN -{greatest} AND {greatest} THEN 0 ELSE 1 END")
}

/// The microseconds since 1970 of a column: what a view computes may be in others, as literals of SQL are.
pub(super) fn micros(column: &str) -> String {
    format!("CAST(arrow_cast(\"{column}\", 'Timestamp(Microsecond, Some(\"UTC\"))') AS BIGINT)")
}

/// The start of the period that `time` is in, by arithmetic on microseconds: `date_trunc` goes through
/// nanoseconds, which end in the year 2262.
fn period_start(time: &str, grain: Grain) -> String {
    let at = micros(time);
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
        // Cut by the clocks of tenants.
        _ => return "CAST(NULL AS TIMESTAMP)".into(),
    };
    format!("to_timestamp_micros({start})")
}

/// Whether periods of a grain are not those of UTC, with weeks from Monday and years from January; or those of a
/// window, which only the clocks of tenants know.
fn is_own(calendar: &Calendar, grain: Grain) -> bool {
    grain.is_window()
        || grain != Grain::Hour && !(calendar.is_utc() && calendar.shape() == Shape::default())
}

/// Where the period that starts at `period_start` ends.
pub(super) fn period_end(calendar: &Calendar, grain: Grain) -> String {
    end_of(calendar, "tenant_id", "period_start", grain)
}

/// Where the period of a tenant ends that starts then, both as SQL.
pub(super) fn end_of(calendar: &Calendar, tenant: &str, start: &str, grain: Grain) -> String {
    if is_own(calendar, grain) {
        let at = format!("CAST({start} AS BIGINT)");
        return format!("to_timestamp_micros(weir_period_end({tenant}, '{grain}', {at}))");
    }
    let length = match grain {
        Grain::Hour => "1 hour",
        Grain::Day => "1 day",
        Grain::Week => "7 days",
        Grain::Month => "1 month",
        Grain::Quarter => "3 months",
        Grain::Year => "12 months",
        _ => "0 days",
    };
    format!("{start} + INTERVAL '{length}'")
}

pub(super) fn keys<'a>(dims: impl IntoIterator<Item = &'a String>) -> String {
    let mut keys = String::from("tenant_id");
    for name in dims {
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

/// Which rows of a flow count, what is taken of each, and what the whole is of that.
pub(super) fn totalled<'a>(
    aggregate: &'a Aggregate,
    filter: Option<&str>,
) -> (String, &'a str, String) {
    let mut counted = filter.unwrap_or("TRUE").to_owned();
    let (argument, total) = match aggregate {
        Aggregate::Count => ("1", format!("COALESCE(SUM(above), CAST(0 AS {NUMBER}))")),
        Aggregate::Sum(argument) | Aggregate::Allocated(argument) => {
            (argument.as_str(), format!("COALESCE(SUM(above), CAST(0 AS {NUMBER}))"))
        }
        Aggregate::Distinct(argument) => {
            (argument.as_str(), format!("CAST(COUNT(DISTINCT above) AS {NUMBER})"))
        }
        Aggregate::Percentile { of, millionths, cuts } => {
            counted = format!("({counted}) AND ({of}) IS NOT NULL");
            let name = if *cuts { "approx_percentile_cont" } else { "percentile_exact" };
            let share = views::percentile::share(*millionths);
            (of.as_str(), format!("CAST({name}(above, {share}) AS {NUMBER})"))
        }
        Aggregate::Min(argument) | Aggregate::Max(argument) => {
            counted = format!("({counted}) AND ({argument}) IS NOT NULL");
            let is_least = matches!(aggregate, Aggregate::Min(_));
            (argument.as_str(), format!("{}(above)", if is_least { "MIN" } else { "MAX" }))
        }
    };
    (counted, argument, total)
}

/// Whose a row of a relation is.
pub(super) fn tenant_of(relation: &Relation) -> String {
    let tenant = relation.tenant.and_then(|at| relation.schema.get(at));
    let tenant = tenant.map_or("tenant_id", |column| &column.name);
    format!("COALESCE(NULLIF(\"{tenant}\", ''), '{DEFAULT_TENANT}')")
}

/// Where the period of a tenant starts that an instant is in.
pub(super) fn start_of(calendar: &Calendar, tenant: &str, time: &str, grain: Grain) -> String {
    if !is_own(calendar, grain) {
        return period_start(time, grain);
    }
    let at = micros(time);
    format!("to_timestamp_micros(weir_period_start({tenant}, '{grain}', {at}))")
}

fn flow_sql(catalog: &Catalog, flow: &Flow, grain: Grain) -> String {
    let Flow { relation: name, filter, time, joined, until, aggregate, dims } = flow;
    let Some(relation) = catalog.relation(name) else { return String::new() };
    let tenant = tenant_of(relation);
    if let Some(went) = until {
        let amount = match aggregate {
            Aggregate::Sum(argument) | Aggregate::Allocated(argument) => argument.as_str(),
            _ => "1",
        };
        let dims = dims.iter().map(|(name, column)| (name.as_str(), column.as_str())).collect();
        let rows = relation.rows_table();
        let lasting = Lasting { rows: &rows, tenant: &tenant, dims, came: time, went, amount };
        let allocates = matches!(aggregate, Aggregate::Allocated(_));
        return match joined {
            Joined::Overlap => lasting.overlapping_sql(grain, allocates),
            _ => lasting.alive_sql(grain),
        };
    }
    let mut columns = format!("{tenant} AS tenant_id");
    for (name, column) in dims {
        columns.push_str(&format!(", \"{column}\" AS \"dim_{name}\""));
    }
    let start = start_of(catalog.calendar(), &tenant, time, grain);
    columns.push_str(&format!(", {start} AS period_start"));
    let is_view = relation.view.is_some();
    // Of the rows of a view SQL does not know which are in doubt.
    columns.push_str(match is_view {
        true => ", 0 AS in_doubt",
        false => ", CASE WHEN \"_doubt\" IS NULL THEN 0 ELSE 1 END AS in_doubt",
    });
    let (counted, argument, total) = totalled(aggregate, filter.as_deref());
    columns.push_str(&format!(", CASE WHEN {counted} THEN 1 ELSE 0 END AS counted"));
    let above = match aggregate {
        Aggregate::Distinct(_) | Aggregate::Percentile { .. } => {
            format!("CASE WHEN {counted} THEN {argument} END")
        }
        _ => format!("CASE WHEN {counted} THEN CAST({argument} AS {NUMBER}) END"),
    };
    let mut condition = format!("\"{time}\" IS NOT NULL AND {}", may_count(filter.as_deref()));
    if grain.is_window() {
        condition.push_str(&format!(" AND {start} IS NOT NULL"));
    }
    let keys = keys(dims.keys());
    let rows = relation.rows_table();
    format!(
        "SELECT {keys}, CAST(SUM(counted) AS BIGINT) AS cnt, CAST(SUM(in_doubt) AS BIGINT) AS doubt, \
         {total} AS above \
         FROM (SELECT {columns}, {above} AS above FROM \"{rows}\" WHERE {condition}) AS taken \
         GROUP BY {keys} HAVING SUM(counted) > 0 OR SUM(in_doubt) > 0 OR {}",
        matches!(aggregate, Aggregate::Count | Aggregate::Sum(_) | Aggregate::Distinct(_))
    )
}
