//! `weir tables compact|vacuum|history|repair|export|restore`: upkeep by hand, and backups.
//!
//! # Guarantees
//! - Without `--yes` nothing is changed: what would be done is said, and the command exits with 2
//!   unless `--dry-run` asked for that.
//! - What changes a lake needs its lock, so it is refused while `weir run` has it; `export` is not.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use engine::Stop;
use engine::upkeep::backup::{self, Backup};
use engine::upkeep::offline::{self, Chores, Done};
use gold::nearest::nearest;
use lake::{At, HistoryEntry, Lake, Table};
use pipeline::bronze::{EPOCH, TABLE as BRONZE};
use schemas::{Clock, chain};
use serde_json::{Value, json};

use super::consent::Consent;
use super::setup::{lake_root, open, tokio_runtime};
use crate::config::Config;
use crate::failure::Failure;
use crate::output;
use crate::progress::Progress;
use crate::wall_clock::WallClock;

/// What to change, and whether to.
#[derive(Debug, Args)]
pub(crate) struct Change {
    /// The table, such as `bronze/changes`; all of them without.
    table: Option<String>,
    /// The lake's folder, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    #[command(flatten)]
    consent: Consent,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Whose past to show.
#[derive(Debug, Args)]
pub(crate) struct Past {
    /// The table, such as `silver/orders`.
    table: String,
    /// Commits shown, the newest first.
    #[arg(long, default_value_t = 50, value_name = "N")]
    limit: usize,
    /// The lake's folder, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Where a backup goes.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The folder to make; there is no lake in it.
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// The lake's folder, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Where a backup is.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// The folder that `weir tables export` made.
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// The lake's folder, instead of the configured one; there is no lake in it.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    #[command(flatten)]
    consent: Consent,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Merges small files, or deletes what is not needed.
pub(crate) fn tend(config: &Config, change: &Change, chores: Chores) -> Result<(), Failure> {
    let root = lake_root(config, change.lake.as_deref());
    let lake = writable(config, change.lake.as_deref())?;
    let names = chosen(&lake, change.table.as_deref())?;
    let upkeep = config.settings(lake.work_dir()).upkeep;
    let (runtime, stop, now) = (tokio_runtime()?, Stop::default(), WallClock.now());
    stop.on_signals(runtime.handle()).map_err(|e| Failure::Stopped(e.to_string()))?;
    let mut all = Vec::new();
    let progress = Progress::of(names.len(), "tables");
    for name in &names {
        progress.next(name);
        let mut table = runtime.block_on(Table::open_as_is(&lake, name))?;
        all.push(match change.consent.yes {
            true => offline::tend(&mut table, &upkeep, chores, now, runtime.handle(), &stop)?,
            false => offline::plan(&mut table, &upkeep, chores, now)?,
        });
    }
    drop(progress);
    if change.json {
        output::json(&all.iter().map(done_json).collect());
    } else {
        let header = ["table", "merged files", "into", "deleted files", "bytes", "log files"];
        output::table(&header, &all.iter().map(done_row).collect::<Vec<_>>());
    }
    change.consent.asked(root)
}

/// The writer's lake; one is never made.
fn writable(config: &Config, flag: Option<&Path>) -> Result<Lake, Failure> {
    drop(open(config, flag)?);
    let clock: Arc<dyn Clock> = Arc::new(WallClock);
    Ok(Lake::open_writer(lake_root(config, flag), Duration::ZERO, clock)?)
}

/// The tables that are meant: one that there is, or all.
pub(super) fn chosen(lake: &Lake, table: Option<&str>) -> Result<Vec<String>, Failure> {
    let names = lake.table_names()?;
    match table {
        None => Ok(names),
        Some(table) if names.iter().any(|name| name == table) => Ok(vec![table.to_owned()]),
        Some(table) => {
            let hint = nearest(table, names.iter().map(String::as_str));
            Err(Failure::Usage(format!("there is no table `{table}`{hint}")))
        }
    }
}

fn done_row(done: &Done) -> Vec<String> {
    let count = |number: usize| output::count(number as u64);
    vec![
        done.table.clone(),
        count(done.merged.0),
        count(done.merged.1),
        count(done.vacuumed.files),
        output::count(done.vacuumed.bytes),
        count(done.log_files),
    ]
}

fn done_json(done: &Done) -> Value {
    json!({
        "table": done.table,
        "merged_files": done.merged.0,
        "merged_into": done.merged.1,
        "deleted_files": done.vacuumed.files,
        "deleted_bytes": done.vacuumed.bytes,
        "deleted_log_files": done.log_files,
    })
}

/// The commits of a table whose log entries are kept.
pub(crate) fn history(config: &Config, past: &Past) -> Result<(), Failure> {
    let lake = open(config, past.lake.as_deref())?;
    chosen(&lake, Some(&past.table))?;
    let history = Table::open(&lake, &past.table, At::Newest)?.history()?;
    let commits = history.iter().take(past.limit);
    if past.json {
        output::json(&commits.map(commit_json).collect());
    } else {
        say_commits(commits);
    }
    Ok(())
}

/// A commit as JSON.
pub(super) fn commit_json(entry: &HistoryEntry) -> Value {
    json!({
        "version": entry.version,
        "timestamp": entry.timestamp.to_string(),
        "operation": entry.operation,
        "rows": entry.rows,
        "progress": entry.progress,
    })
}

/// Prints commits, a line each.
pub(super) fn say_commits<'a>(commits: impl Iterator<Item = &'a HistoryEntry>) {
    let row = |entry: &HistoryEntry| {
        let epoch = entry.progress.get(EPOCH).map_or("-".to_owned(), i64::to_string);
        let (version, at) = (entry.version.to_string(), entry.timestamp.to_string());
        vec![version, at, entry.operation.clone(), output::count(entry.rows), epoch]
    };
    let header = ["version", "committed", "operation", "rows added", "epoch"];
    output::table(&header, &commits.map(row).collect::<Vec<_>>());
}

/// What is wrong with a table, and what can be done about it.
#[derive(Debug)]
enum Repair {
    None,
    /// Opening the table for writing moves damaged files aside.
    Open(Vec<String>),
    /// It is built again from bronze when its folder is gone.
    Rebuild(String),
    /// Nothing but a backup helps.
    Restore(String),
}

/// Repairs tables that are damaged at the end of their log, and gives up those that bronze can rebuild.
pub(crate) fn repair(config: &Config, change: &Change) -> Result<(), Failure> {
    let root = lake_root(config, change.lake.as_deref());
    let lake = writable(config, change.lake.as_deref())?;
    let runtime = tokio_runtime()?;
    let (mut rows, mut objects, mut hopeless) = (Vec::new(), Vec::new(), Vec::new());
    let mut needed = false;
    let names = chosen(&lake, change.table.as_deref())?;
    let progress = Progress::of(names.len(), "tables");
    for name in names {
        progress.next(&name);
        let repair = look(&lake, &name);
        let (state, detail) = match &repair {
            Repair::None => ("whole", String::new()),
            Repair::Open(warnings) => ("damaged at its end", warnings.join("; ")),
            Repair::Rebuild(error) => ("built again from bronze at the next run", error.clone()),
            Repair::Restore(error) => ("needs a backup", error.clone()),
        };
        needed |= !matches!(repair, Repair::None | Repair::Restore(_));
        match repair {
            Repair::Open(_) if change.consent.yes => {
                runtime.block_on(Table::open_as_is(&lake, &name))?;
            }
            Repair::Rebuild(_) if change.consent.yes => drop(lake.set_table_aside(&name)?),
            Repair::Restore(error) => hopeless.push(error),
            _ => {}
        }
        objects.push(json!({ "table": name, "state": state, "detail": detail }));
        rows.push(vec![name, state.to_owned(), detail]);
    }
    drop(progress);
    if change.json {
        output::json(&Value::Array(objects));
    } else {
        output::table(&["table", "state", "detail"], &rows);
    }
    if !hopeless.is_empty() {
        return Err(Failure::Check(hopeless.join("; ")));
    }
    if needed { change.consent.asked(root) } else { Ok(()) }
}

fn look(lake: &Lake, name: &str) -> Repair {
    match offline::look(lake, name) {
        Ok(warnings) if warnings.is_empty() => Repair::None,
        Ok(warnings) => Repair::Open(warnings),
        Err(error) if name == BRONZE => Repair::Restore(chain(&error)),
        Err(error) => Repair::Rebuild(chain(&error)),
    }
}

/// Copies a lake, which may be in use, to another folder.
pub(crate) fn export(config: &Config, export: &Export) -> Result<(), Failure> {
    let lake = open(config, export.lake.as_deref())?;
    let progress = Progress::of_bytes("copied");
    let done = backup::export(&lake, &export.to, &mut |done, all| progress.reach(done, all))
        .map_err(|e| Failure::Stopped(chain(&e)))?;
    drop(progress);
    say(&done, &export.to, export.json);
    Ok(())
}

/// Makes a lake of a copy.
pub(crate) fn restore(config: &Config, restore: &Restore) -> Result<(), Failure> {
    let root = lake_root(config, restore.lake.as_deref());
    if !restore.consent.yes {
        let lake = open(config, Some(&restore.from))?;
        for name in lake.table_names()? {
            output::line(&format!("{name} would be restored"));
        }
        return restore.consent.asked(root);
    }
    let progress = Progress::of_bytes("copied");
    let done = backup::restore(&restore.from, root, &mut |done, all| progress.reach(done, all))
        .map_err(|e| Failure::Stopped(chain(&e)))?;
    drop(progress);
    say(&done, root, restore.json);
    Ok(())
}

fn say(done: &Backup, to: &Path, as_json: bool) {
    let Backup { epoch, tables, files, bytes } = *done;
    if as_json {
        output::json(&json!({
            "folder": to.display().to_string(), "epoch": epoch, "tables": tables, "files": files,
            "bytes": bytes,
        }));
        return;
    }
    output::line(&format!(
        "{tables} tables at barrier {epoch} are in `{}`: {} files, {} bytes",
        to.display(),
        output::count(files as u64),
        output::count(bytes)
    ));
}

/// A table, opened as it is now.
pub(super) fn open_table(lake: &Lake, name: &str) -> Result<Table, Failure> {
    chosen(lake, Some(name))?;
    Ok(Table::open(lake, name, At::Newest)?)
}

/// The contract of a silver table, which is named with or without `silver/`.
pub(super) fn silver_contract(lake: &Lake, name: &str) -> Result<String, Failure> {
    let silver = if name.contains('/') { name.to_owned() } else { format!("silver/{name}") };
    let table = open_table(lake, &silver)?;
    let contract = table.name().strip_prefix("silver/").map(str::to_owned);
    contract.ok_or_else(|| {
        Failure::Usage(format!("`{name}` is no silver table: only those halt or lack rows"))
    })
}
