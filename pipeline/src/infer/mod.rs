//! A contract proposed from a sample of records.
//!
//! # Guarantees
//! - What is proposed is a contract that can be used as it is: every sampled row is decoded by it, unless
//!   it is one that no contract takes.
//! - What the sample cannot tell stands in a comment beside what was taken.
//! - Pure, but for `sample`, which reads a bounded number of records in a bounded time.
//!
//! # Non-guarantees
//! - A sample is no proof: a column without nulls in it may have some elsewhere.

mod column;
mod event;
mod name;
pub mod sample;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use serde_json::{Map, Value};

use self::column::{Proposed, Seen};
use self::event::Event;
use self::name::Names;
pub use self::sample::{Sample, SampleError};

/// Names that columns with a tenant often have, in snake case, the likeliest first.
const TENANTS: [&str; 8] = [
    "tenant_id",
    "tenant",
    "sub_account_id",
    "account_id",
    "organization_id",
    "organisation_id",
    "org_id",
    "billing_account_id",
];

/// One column of the sample.
struct Column {
    field: String,
    name: String,
    seen: Seen,
    proposed: Proposed,
}

/// The text of a contract for these records.
///
/// # Errors
/// When no record of the sample has a row.
pub fn propose(sample: &Sample) -> Result<String, SampleError> {
    let mut events = Vec::new();
    let mut unread = 0_usize;
    for record in &sample.records {
        match event::read(record) {
            Some(event) => events.push(event),
            None => unread += 1,
        }
    }
    let format = match sample.format {
        Some(format) => format,
        None => event::format(&events),
    };
    let events: Vec<Event> = events
        .into_iter()
        .filter(|event| event.is_enveloped == (format == "debezium-json"))
        .collect();
    let rows = events.iter().filter(|event| !event.row.is_empty()).count();
    if rows == 0 {
        let reason = "no record of the sample is a row in JSON; look at one of them first";
        return Err(SampleError::Content(reason.to_owned()));
    }
    let columns = columns(&events, rows, format == "csv");
    let key = key(&events, &columns, rows);
    let mut text = String::new();
    let mut line = |line: &str| {
        text.push_str(line);
        text.push('\n');
    };
    line(&format!("# Proposed from {rows} rows{}; read it before you use it.", sample.origin()));
    if unread > 0 {
        line(&format!(
            "# {unread} records of the sample are no rows in JSON, and nothing here comes from them."
        ));
    }
    line(&format!("name = {}", quoted(&name::table(&sample.name))));
    let about = match format {
        "debezium-flat" => "  # a row with fields of ExtractNewRecordState (`__deleted`, `__op`)",
        "rows" if sample.format.is_none() => {
            "  # plain rows; `debezium-flat` where ExtractNewRecordState made them"
        }
        _ => "",
    };
    line(&format!("format = {}{about}", quoted(format)));
    line(&format!(
        "key = [{}]{}",
        key.names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", "),
        key.about
    ));
    let tenant = tenant(&columns);
    let known = tenant.as_ref().map_or_else(|| free_name(&columns), Clone::clone);
    let about = if tenant.is_some() { "  # by its name" } else { "  # no column looks like one" };
    line(&format!("tenant = {}{about}", quoted(&known)));
    line("columns = [");
    if tenant.is_none() {
        let all = "everything belongs to `default`";
        line(&format!(
            "  {{ name = {}, type = \"text\", map = \"'default'\" }},  # {all}",
            quoted(&known)
        ));
    }
    for column in &columns {
        line(&written(column, *known == column.name, rows));
    }
    line("]");
    Ok(text)
}

/// The columns of all rows, in the order in which they were seen first.
fn columns(events: &[Event], rows: usize, is_text: bool) -> Vec<Column> {
    let mut order: Vec<String> = Vec::new();
    let mut seen: BTreeMap<String, Seen> = BTreeMap::new();
    for event in events {
        for (field, value) in &event.row {
            if !seen.contains_key(field) {
                order.push(field.clone());
            }
            let column = seen.entry(field.clone()).or_default();
            column.take(value, event.schema.get(field));
        }
    }
    let mut names = Names::default();
    let column = |field: String| {
        let seen = seen.remove(&field).unwrap_or_default();
        let name = names.column(&field);
        let proposed = seen.propose(&name, rows, is_text);
        Column { field, name, seen, proposed }
    };
    order.into_iter().map(column).collect()
}

/// The key that is taken, and why.
struct Key {
    names: Vec<String>,
    about: String,
}

fn key(events: &[Event], columns: &[Column], rows: usize) -> Key {
    let named = |field: &String| {
        let column = columns.iter().find(|column| column.field == *field)?;
        column.proposed.is_key().then(|| column.name.clone())
    };
    let fields = events.iter().find_map(|event| event.key.clone()).unwrap_or_default();
    let of_message: Option<Vec<String>> = fields.iter().map(named).collect();
    if let Some(names) = of_message.filter(|names| !names.is_empty()) {
        return Key { names, about: "  # as the message keys name it".to_owned() };
    }
    let unique =
        columns.iter().filter(|column| column.proposed.is_key() && column.seen.is_unique(rows));
    let likely = |column: &&Column| {
        let name = column.name.as_str();
        (name != "id", !name.ends_with("_id"), !name.contains("id"))
    };
    if let Some(column) = unique.min_by_key(likely) {
        let about = format!("  # unique in {rows} rows; nothing else says that it is the key");
        return Key { names: vec![column.name.clone()], about };
    }
    let keys = columns.iter().filter(|column| column.proposed.is_key());
    let any = keys.clone().min_by_key(likely).map(|column| column.name.clone());
    let about =
        "  # NO column is unique in the sample: name the columns that identify a row".to_owned();
    Key { names: any.into_iter().collect(), about }
}

/// The column that looks like the tenant.
fn tenant(columns: &[Column]) -> Option<String> {
    let is_text = |column: &&Column| column.proposed.kind == "text";
    let named = |name: &&&str| columns.iter().filter(is_text).any(|column| column.name == ***name);
    TENANTS.iter().find(named).map(|name| (*name).to_owned())
}

/// A name for a tenant that no column has.
fn free_name(columns: &[Column]) -> String {
    let taken: BTreeSet<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    let names = ["tenant_id", "tenant", "weir_tenant", "weir_tenant_id"].into_iter();
    names.into_iter().find(|name| !taken.contains(name)).unwrap_or("the_tenant_of_weir").to_owned()
}

fn written(column: &Column, is_tenant: bool, rows: usize) -> String {
    let Column { field, name, seen, proposed } = column;
    let mut parts =
        vec![format!("name = {}", quoted(name)), format!("type = {}", quoted(&proposed.kind))];
    if let Some(unit) = proposed.unit {
        parts.push(format!("unit = {}", quoted(unit)));
    }
    if field != name {
        parts.push(format!("from = {}", quoted(field)));
    }
    if seen.is_never_null(rows) && !is_tenant {
        parts.push("required = true".to_owned());
    }
    let mut line = format!("  {{ {} }},", parts.join(", "));
    if let Some(about) = &proposed.about {
        // Writing into a text cannot fail.
        let _written: std::fmt::Result = write!(line, "  # {about}");
    }
    line
}

/// A text of TOML.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// The fields of a row, in their order.
type Fields = Vec<(String, Value)>;

/// The members of an object as they stand there.
fn fields(row: &Map<String, Value>) -> Fields {
    row.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
}
