//! `weir sources`: where tables come from, as the newest barrier of the lake has it.
//!
//! # Guarantees
//! - Nothing is connected to and nothing is changed: it works beside a running Weir, and without one.
//!
//! # Non-guarantees
//! - What brokers still hold is not asked: lag is in `/api/v1/sources` of a running Weir.

use std::path::PathBuf;

use clap::Subcommand;
use engine::census::{self, Counted};
use schemas::{Contents, OriginState, Outside, chain};
use serde_json::{Value, json};

use super::doubt::Waiting;
use super::in_force;
use super::setup::{Around, definitions_of, lake_root, open, topics};
use crate::config::Config;
use crate::failure::Failure;
use crate::output;
use crate::saved;

/// Rows of larger tables are not looked at.
const ROWS_MAX: u64 = 5_000_000;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Every origin with its topics, position, and what waits for somebody.
    List {
        /// The lake's folder, instead of the configured one.
        #[arg(long, value_name = "DIR")]
        lake: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
}

pub(crate) fn execute(config: &Config, command: &Command) -> Result<(), Failure> {
    let Command::List { lake, json } = command;
    let around = Around { lake: lake_root(config, lake.as_deref()), topics: None };
    let (configured, _) = definitions_of(config, &around)?;
    let lake = open(config, lake.as_deref())?;
    let topics = topics(config, &configured);
    let contracts = in_force::contracts(&lake, configured);
    let read = saved::newest(&lake)?;
    let mut tables = Vec::new();
    for contract in &contracts {
        let counted = census::of_table(&lake, contract, ROWS_MAX);
        let contents = match counted.map_err(|e| Failure::Stopped(chain(&e)))? {
            Counted::Nothing => continue,
            Counted::TooMany(rows) => Contents { rows, ..Contents::default() },
            Counted::All(contents) => contents,
        };
        let origins = saved::origins(read.as_ref(), &contract.name);
        let origins_total = origins.len() as u64;
        let contract = contract.name.clone();
        tables.push(Contents { contract, origins, origins_total, ..contents });
    }
    let waiting = Waiting::of(&lake, &contracts, &topics)?;
    if *json {
        output::json(&tables.iter().map(|table| table_json(table, &waiting)).collect());
    } else {
        print(&tables, &waiting);
    }
    Ok(())
}

/// What an origin is up to, in a word.
fn status(origin: &OriginState) -> &'static str {
    match origin {
        OriginState { halted: Some(_), .. } => "halted",
        OriginState { lacking: 1.., .. } => "asks",
        OriginState { has_snapshot: true, .. } => "snapshot",
        OriginState { is_quiet: true, .. } => "quiet",
        _ => "ok",
    }
}

/// Why it waits for somebody, if it does.
fn why(origin: &OriginState) -> Option<&String> {
    origin.halted.as_ref().or(origin.lacking_why.as_ref())
}

fn print(tables: &[Contents], waiting: &Waiting) {
    let row = |table: &Contents, own: &OriginState| {
        let topics: Vec<&str> = own.topics.iter().map(|(_, topic)| topic.as_str()).collect();
        let none = || "-".to_owned();
        vec![
            table.contract.clone(),
            own.origin.clone(),
            status(own).to_owned(),
            own.clock.map_or_else(none, |clock| clock.to_string()),
            own.position.clone().unwrap_or_else(none),
            topics.join(", "),
        ]
    };
    let of = |table| Contents::clone(table).origins.into_iter().map(move |own| row(table, &own));
    let rows: Vec<_> = tables.iter().flat_map(of).collect();
    output::table(&["table", "origin", "status", "last read", "position", "topics"], &rows);
    for table in tables {
        let waiting = table.origins.iter().filter_map(why).cloned();
        for line in waiting
            .chain(table.lines().into_iter().map(|l| format!("table `{}`: {l}", table.contract)))
        {
            output::line(&line);
        }
    }
    for line in waiting.lines() {
        output::line(&format!("{}: {}; {}", line.about, line.text, line.advice));
    }
}

fn table_json(table: &Contents, waiting: &Waiting) -> Value {
    let contract = table.contract.as_str();
    let origin = |own: &OriginState| {
        let mut told = origin_json(own);
        told["in_doubt"] = waiting.rows_json(contract, &own.origin);
        told
    };
    json!({
        "table": table.contract,
        "rows": table.rows,
        "empty_tenants": table.empty_tenants,
        "outside": table.outside.iter().map(outside_json).collect::<Vec<_>>(),
        "dead_letters": waiting.letters_json(contract),
        "origins": table.origins.iter().map(origin).collect::<Vec<_>>(),
    })
}

fn outside_json(outside: &Outside) -> Value {
    let value = |own: &schemas::OutsideValue| json!({ "value": own.value, "rows": own.rows, "advice": own.hint.trim() });
    json!({
        "column": outside.column,
        "rows": outside.rows,
        "allowed": outside.allowed,
        "strict": outside.is_strict,
        "values": outside.values.iter().map(value).collect::<Vec<_>>(),
    })
}

fn origin_json(origin: &OriginState) -> Value {
    let topic = |(source, topic): &(String, String)| json!({ "source": source, "topic": topic });
    json!({
        "origin": origin.origin,
        "topics": origin.topics.iter().map(topic).collect::<Vec<_>>(),
        "status": status(origin),
        "why": why(origin),
        "position": origin.position,
        "epoch": origin.epoch,
        "as_of": origin.clock.map(|clock| clock.to_string()),
        "quiet": origin.is_quiet,
        "lacking": origin.lacking,
    })
}
