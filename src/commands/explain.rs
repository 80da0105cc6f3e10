//! `weir explain`: the rows and records that a KPI's cells come from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use engine::explain::{Explained, Group, Record, Row, explain, period_start};
use gold::audit::explain::{Part, Place};
use schemas::decimal::{VALUE_SCALE, format};
use schemas::{Contract, Grain, Micros};

use super::kpis::{find, usual_grain};
use super::setup::{Around, definitions_of, lake_root, open};
use crate::config::Config;
use crate::failure::Failure;
use crate::output;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The KPI's key.
    kpi: String,
    /// The tenant.
    #[arg(long)]
    tenant: String,
    /// The grain: `hour`, `day`, `week`, `month`, `quarter` or `year`; or a window: `last_24h`, `last_7d`,
    /// `last_30d`, `last_90d` or `all`.
    #[arg(long, value_parser = super::kpis::parse_grain)]
    grain: Option<Grain>,
    /// The period: an instant in it, RFC 3339 in UTC, or a date of the tenant. A window needs none.
    #[arg(long, value_name = "TIME")]
    period: Option<String>,
    /// Only cells with this value of a dimension, as `channel=web`; nothing behind `=` for none. May be repeated for
    /// other dimensions.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_dim)]
    dim: Vec<(String, String)>,
    /// At most so many rows of a cell, and of those that a row of a view is made of.
    #[arg(long, default_value_t = 100, value_name = "ROWS")]
    limit: usize,
    /// The lake's folder, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn parse_dim(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, such as channel=web")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) fn execute(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let around = Around { lake: lake_root(config, arguments.lake.as_deref()), topics: None };
    let (contracts, catalog) = definitions_of(config, &around)?;
    let definition = find(&catalog, &arguments.kpi)?;
    let dims: BTreeMap<String, String> = arguments.dim.iter().cloned().collect();
    let known = catalog.dims(definition);
    if let Some(name) = dims.keys().find(|name| !known.contains(name)) {
        let has = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let kpi = &arguments.kpi;
        return Err(Failure::Usage(format!("`{kpi}` has no dimension `{name}`; it has {has}")));
    }
    let grain = arguments.grain.unwrap_or_else(|| usual_grain(definition));
    let kept = definition.grains.or(catalog.windows(definition));
    if !kept.has(grain) {
        let kept: Vec<&str> = kept.iter().map(Grain::name).collect();
        let problem =
            format!("`{}` is not kept by {grain}, but by {}", arguments.kpi, kept.join(", "));
        return Err(Failure::Usage(problem));
    }
    let period = arguments.period.as_deref();
    let start =
        start(grain, period, |text| period_start(&catalog, &arguments.tenant, grain, text))?;
    let tenant = arguments.tenant.clone();
    let place = Place { tenant, grain, start, dims };
    // What cannot be explained is said before the lake is opened.
    gold::audit::explain::parts(&catalog, definition).map_err(Failure::Usage)?;
    let lake = open(config, arguments.lake.as_deref())?;
    let asked = (definition, &place);
    let explained = explain(&lake, &contracts, &catalog, asked, arguments.limit);
    let explained = explained.map_err(Failure::Stopped)?;
    if arguments.json {
        output::json(&explained.to_json(&contracts, arguments.limit));
    } else {
        print(&explained, &contracts, arguments.limit);
    }
    Ok(())
}

/// Where the period starts.
fn start(
    grain: Grain,
    period: Option<&str>,
    of: impl Fn(&str) -> Option<Micros>,
) -> Result<Micros, Failure> {
    let usage = |text: String| Err(Failure::Usage(text));
    match (period, grain.is_window()) {
        (None, true) => Ok(Micros(0)),
        (Some(_), true) => {
            usage(format!("`{grain}` is one period, which moves; leave `--period` out"))
        }
        (None, false) => usage(format!("say which {grain} by `--period`, such as 2026-03-01")),
        (Some(text), false) => match of(text) {
            Some(start) => Ok(start),
            None => usage(format!("`--period` is `{text}`; use RFC 3339 or YYYY-MM-DD")),
        },
    }
}

fn shown(number: Option<i128>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| format(number, VALUE_SCALE))
}

fn print(explained: &Explained, contracts: &[Contract], most: usize) {
    let Explained { epoch, as_of, parts, groups } = explained;
    output::line(&format!("epoch {epoch}, as of {as_of}"));
    if groups.is_empty() {
        output::line("no row feeds such a cell");
    }
    for group in groups {
        output::line("");
        output::line(&heading(group));
        for (at, (part, rows)) in parts.iter().zip(&group.rows).enumerate() {
            output::line(&summary(group, at, part, rows));
            let told = rows.iter().take(most);
            let table: Vec<Vec<String>> =
                told.flat_map(|row| lines(row, part, contracts)).collect();
            if !table.is_empty() {
                output::table(header(part), &table);
            }
            if rows.len() > most {
                output::line(&format!("and {} rows more; `--limit` shows them", rows.len() - most));
            }
        }
    }
}

fn heading(group: &Group) -> String {
    let Some(cell) = &group.cell else { return format!("{}: no cell", group.dims) };
    let span = format!("{} to {}", cell.period_start, cell.period_end);
    let status = if cell.status == "ok" { String::new() } else { format!(", {}", cell.status) };
    format!("{}: {} {}{status}, {span}", group.dims, shown(cell.value), cell.unit)
}

fn summary(group: &Group, at: usize, part: &Part, rows: &[Row]) -> String {
    let sign = if part.minus { "less " } else { "" };
    let sum = match group.sum(at, part) {
        Some(sum) => format!(", which add up to {}", shown(Some(sum))),
        None => String::new(),
    };
    let (role, kpi, contract) = (part.role.name(), &part.kpi, &part.contract);
    let of = if part.is_view { format!("the view {contract}") } else { contract.clone() };
    let superset = match part.is_exact {
        true => "",
        false => "; rows below are all those of a partition, more than decide each",
    };
    let (aggregate, count) = (part.aggregate, rows.len());
    format!("{role}: {sign}{kpi}, {aggregate} of {count} rows of {of}{sum}{superset}")
}

fn header(part: &Part) -> &'static [&'static str] {
    match part.is_view {
        true => &["amount", "contract", "key", "origin", "topic", "partition", "offset"],
        false => &["key", "origin", "amount", "topic", "partition", "offset"],
    }
}

/// A row; of a view with a line for each row that it is made of.
fn lines(row: &Row, part: &Part, contracts: &[Contract]) -> Vec<Vec<String>> {
    let amount = row.shown_amount().unwrap_or_else(|| "-".to_owned());
    if !part.is_view {
        let key: Vec<String> = row.key(part, contracts).into_values().collect();
        let own = vec![key.join(", "), row.row.origin.clone(), amount];
        return vec![[own, place(&row.records).to_vec()].concat()];
    }
    let made = row.inputs.iter().map(|input| {
        let key: Vec<String> =
            input.key_in_order(contracts).into_iter().map(|(_, value)| value).collect();
        let own = vec![input.input.contract.clone(), key.join(", "), input.input.origin.clone()];
        [own, place(&input.records).to_vec()].concat()
    });
    let more = row.row.has_more.then(|| vec!["and more; `--limit` shows them".to_owned()]);
    let mut all: Vec<Vec<String>> = made.chain(more).collect();
    if all.is_empty() {
        all.push(vec!["-".to_owned()]);
    }
    // What it brings stands in its first line.
    let amounts = std::iter::once(amount).chain(std::iter::repeat(String::new()));
    amounts.zip(all).map(|(amount, own)| [vec![amount], own].concat()).collect()
}

/// Topic, partition and offset of the record that wrote a row.
fn place(records: &[Record]) -> [String; 3] {
    let record = records.first();
    let topic = record.and_then(|record| record.topic.as_ref()).map_or("-", |own| &own.topic);
    let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |own| own.to_string());
    let partition = number(record.map(|record| i64::from(record.partition)));
    [topic.to_owned(), partition, number(record.map(|record| record.offset))]
}
