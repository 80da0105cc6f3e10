//! `weir tables`: the tables of a lake, from their logs alone; their upkeep is in `upkeep.rs`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use engine::upkeep::offline::Chores;
use lake::{At, Table};
use pipeline::bronze::{CLOCK, EPOCH};
use schemas::{Decision, Micros, chain};
use serde_json::{Value, json};

use super::decisions;
use super::setup::open;
use super::sweep::{self, Sweep};
use super::upkeep::{self, Change, Export, Past, Restore};
use crate::config::Config;
use crate::failure::Failure;
use crate::output;
use crate::saved;

/// Commits shown of one table.
const COMMITS: usize = 10;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Every table with its rows, files, bytes, version and epoch.
    List {
        /// The lake's folder, instead of the configured one.
        #[arg(long, value_name = "DIR")]
        lake: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Columns, progress and last commits of one table.
    Show {
        /// The table, such as `silver/orders`.
        table: String,
        /// The lake's folder, instead of the configured one.
        #[arg(long, value_name = "DIR")]
        lake: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Let a halted table go on: what comes from here on is later than all that it holds.
    Resume {
        /// The table, such as `orders` or `silver/orders`.
        table: String,
        /// The lake's folder, instead of the configured one.
        #[arg(long, value_name = "DIR")]
        lake: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Delete the rows that a complete snapshot lacked, which stay until somebody says that it was whole.
    Sweep(Sweep),
    /// Merge small files of bronze and of the KPI history, as a run does by itself.
    Compact(Change),
    /// Delete data files, log entries and checkpoints that are not needed, as a run does by itself.
    Vacuum(Change),
    /// The commits of one table.
    History(Past),
    /// Move damaged files aside; what bronze can rebuild is given up for that.
    Repair(Change),
    /// Copy the lake to another folder, also while it is in use: a backup.
    Export(Export),
    /// Make a lake of a backup.
    Restore(Restore),
}

pub(crate) fn execute(config: &Config, command: &Command) -> Result<(), Failure> {
    match command {
        Command::List { lake, json } => list(config, lake.as_deref(), *json),
        Command::Show { table, lake, json } => show(config, lake.as_deref(), table, *json),
        Command::Resume { table, lake, json } => resume(config, lake.as_deref(), table, *json),
        Command::Sweep(own) => sweep::execute(config, own),
        Command::Compact(change) => {
            upkeep::tend(config, change, Chores { compact: true, vacuum: false })
        }
        Command::Vacuum(change) => {
            upkeep::tend(config, change, Chores { compact: false, vacuum: true })
        }
        Command::History(past) => upkeep::history(config, past),
        Command::Repair(change) => upkeep::repair(config, change),
        Command::Export(export) => upkeep::export(config, export),
        Command::Restore(restore) => upkeep::restore(config, restore),
    }
}

/// What a listing says of one table: its numbers, or why it cannot be read.
fn list(config: &Config, flag: Option<&Path>, as_json: bool) -> Result<(), Failure> {
    let lake = open(config, flag)?;
    let mut unreadable = Vec::new();
    let (mut objects, mut rows) = (Vec::new(), Vec::new());
    for name in lake.table_names()? {
        match Table::open(&lake, &name, At::Newest) {
            Ok(table) => {
                rows.push(row(&table));
                objects.push(summary(&table));
            }
            Err(error) => {
                let text = chain(&error);
                objects.push(json!({ "table": name, "error": text }));
                rows.push(vec![name.clone(), "cannot be read".to_owned()]);
                unreadable.push(text);
            }
        }
    }
    if as_json {
        output::json(&Value::Array(objects));
    } else {
        output::table(&["table", "rows", "files", "bytes", "version", "epoch", "as of"], &rows);
    }
    if unreadable.is_empty() { Ok(()) } else { Err(Failure::Check(unreadable.join("; "))) }
}

fn row(table: &Table) -> Vec<String> {
    let clock = table.progress(CLOCK).map(|clock| Micros(clock).to_string());
    let epoch = table.progress(EPOCH).map(|epoch| epoch.to_string());
    let none = || "-".to_owned();
    vec![
        table.name().to_owned(),
        output::count(table.row_count()),
        output::count(table.files().count() as u64),
        output::count(table.byte_count()),
        table.version().to_string(),
        epoch.unwrap_or_else(none),
        clock.unwrap_or_else(none),
    ]
}

fn summary(table: &Table) -> Value {
    json!({
        "table": table.name(),
        "rows": table.row_count(),
        "files": table.files().count(),
        "bytes": table.byte_count(),
        "version": table.version(),
        "epoch": table.progress(EPOCH),
        "as_of": table.progress(CLOCK).map(|clock| Micros(clock).to_string()),
    })
}

fn show(config: &Config, flag: Option<&Path>, name: &str, as_json: bool) -> Result<(), Failure> {
    let lake = open(config, flag)?;
    let table = upkeep::open_table(&lake, name)?;
    let history = table.history()?;
    let commits = history.iter().take(COMMITS);
    if as_json {
        let mut object = summary(&table);
        let schema = table.schema();
        let column = |field: &std::sync::Arc<arrow::datatypes::Field>| {
            let (name, kind) = (field.name(), field.data_type().to_string());
            json!({ "name": name, "type": kind, "null": field.is_nullable() })
        };
        if let Some(object) = object.as_object_mut() {
            object.insert("folder".into(), json!(table.folder().display().to_string()));
            object.insert("partition_columns".into(), json!(table.partition_columns()));
            object.insert("columns".into(), schema.fields().iter().map(column).collect());
            object.insert("progress".into(), json!(table.progress_all()));
            object.insert("commits".into(), commits.map(upkeep::commit_json).collect());
        }
        output::json(&object);
        return Ok(());
    }
    output::table(
        &["table", "rows", "files", "bytes", "version", "epoch", "as of"],
        &[row(&table)],
    );
    output::line("");
    let schema = table.schema();
    let columns = schema.fields().iter().map(|field| {
        let null = if field.is_nullable() { "yes" } else { "no" };
        vec![field.name().clone(), field.data_type().to_string(), null.to_owned()]
    });
    output::table(&["column", "type", "null"], &columns.collect::<Vec<_>>());
    output::line("");
    let progress = table.progress_all().iter();
    let progress = progress.map(|(app, value)| vec![app.clone(), value.to_string()]);
    output::table(&["progress", "value"], &progress.collect::<Vec<_>>());
    output::line("");
    upkeep::say_commits(commits);
    Ok(())
}

fn resume(config: &Config, flag: Option<&Path>, name: &str, as_json: bool) -> Result<(), Failure> {
    let lake = open(config, flag)?;
    let contract = upkeep::silver_contract(&lake, name)?;
    // A state that cannot be read says nothing, and hinders nobody from deciding.
    let read = saved::newest(&lake).unwrap_or_default();
    let is_halted = saved::origins(read.as_ref(), &contract).iter().any(|own| own.halted.is_some());
    let decision = Decision::ResumeTable { table: contract.clone() };
    let decided = decisions::decide(config, &lake, decision, "weir tables resume")?;
    let note = format!(
        "as of the last barrier before it table `{contract}` was not halted: unless it had halted since, there was \
         nothing to resume"
    );
    let note = (read.is_some() && !is_halted).then_some(note.as_str());
    decided.print(&format!("the resumption of table `{contract}`"), note, as_json);
    Ok(())
}
