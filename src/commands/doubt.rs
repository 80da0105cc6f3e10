//! What waits for somebody in a lake: records that could not be decoded, and rows in doubt, counted; and the next
//! command to run.
//!
//! # Guarantees
//! - Only data files are read that hold any, by their statistics.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray};
use engine::Topics;
use engine::tables::silver_name;
use lake::{At, DataFile, Lake, LakeError, Table};
use pipeline::silver::{DOUBT_COLUMN, ORIGIN_COLUMN};
use schemas::Contract;
use serde_json::{Value, json};

use super::dead_letters::{Wanted, contract_of, visit};
use crate::failure::Failure;
use crate::output;

/// Dead letters of a topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Of {
    /// The contract of the topic, if it has one.
    pub(crate) contract: Option<String>,
    source: String,
    topic: String,
}

/// Rows of an origin whose newest change could not be read, and others that lack a value.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rows {
    outdated: u64,
    unknown: u64,
}

/// What waits in a lake.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) letters: BTreeMap<Of, u64>,
    /// By contract and origin.
    pub(crate) rows: BTreeMap<(String, String), Rows>,
}

/// What is to be said.
#[derive(Debug)]
pub(crate) struct Line {
    /// What it is about: dead letters, or doubt, and the contract.
    pub(crate) about: String,
    /// How many of what.
    pub(crate) text: String,
    /// What to do.
    pub(crate) advice: String,
}

impl Waiting {
    /// Counts it.
    ///
    /// # Errors
    /// When a table cannot be read.
    pub(crate) fn of(
        lake: &Lake,
        contracts: &[Contract],
        topics: &Topics,
    ) -> Result<Waiting, Failure> {
        let mut waiting = Waiting::default();
        visit(lake, topics, Wanted::default(), &mut |letter| {
            let contract = contract_of(topics, &letter.source, &letter.topic).map(str::to_owned);
            let of = Of { contract, source: letter.source, topic: letter.topic };
            *waiting.letters.entry(of).or_default() += 1;
            Ok(())
        })?;
        for contract in contracts {
            for (origin, rows) in rows_of(lake, contract)? {
                waiting.rows.insert((contract.name.clone(), origin), rows);
            }
        }
        Ok(waiting)
    }

    /// What there is in words.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let letters = self.letters.iter().map(|(of, count)| {
            let Of { contract, topic, .. } = of;
            let about = format!("dead letters {}", contract.as_deref().unwrap_or(topic));
            let records = if *count == 1 { "record of" } else { "records of" };
            let text = format!("{} {records} topic `{topic}` could not be decoded", output::count(*count));
            let advice = format!(
                "`weir dead-letters list --topic {topic} --json` says why and names them, `weir dead-letters show ID` \
                 what can be done"
            );
            Line { about, text, advice }
        });
        let rows = self.rows.iter().map(|((contract, origin), rows)| {
            let Rows { outdated, unknown } = *rows;
            let all = outdated + unknown;
            let are = if all == 1 { "row is" } else { "rows are" };
            let text = format!(
                "{} {are} in doubt, of {origin}: the newest change could not be decoded of {}, a value was never sent of {}",
                output::count(all), output::count(outdated), output::count(unknown)
            );
            let advice = match outdated {
                0 => "take an incremental snapshot of the table: it brings what was never sent".to_owned(),
                _ => format!(
                    "`weir dead-letters retry --contract {contract} --dry-run` says what could be read now; a later \
                     change of a row, or a snapshot, ends its doubt too"
                ),
            };
            Line { about: format!("doubt {contract}"), text, advice }
        });
        letters.chain(rows).collect()
    }

    /// The dead letters of a contract, for scripts.
    pub(crate) fn letters_json(&self, contract: &str) -> Value {
        let own = self.letters.iter().filter(|(of, _)| of.contract.as_deref() == Some(contract));
        let one = |(of, count): (&Of, &u64)| json!({ "source": of.source, "topic": of.topic, "dead_letters": count });
        own.map(one).collect()
    }

    /// The rows of an origin that are in doubt, for scripts.
    pub(crate) fn rows_json(&self, contract: &str, origin: &str) -> Value {
        let rows = self.rows.get(&(contract.to_owned(), origin.to_owned()));
        let Rows { outdated, unknown } = rows.copied().unwrap_or_default();
        json!({ "dead_letter": outdated, "unknown": unknown })
    }
}

/// By origin, the rows of the newest version of a contract's table that are in doubt.
fn rows_of(lake: &Lake, contract: &Contract) -> Result<BTreeMap<String, Rows>, LakeError> {
    let mut found: BTreeMap<String, Rows> = BTreeMap::new();
    let table = match Table::open(lake, &silver_name(contract), At::Newest) {
        Err(LakeError::NoTable { .. }) => return Ok(found),
        table => table?,
    };
    let holds_any = |file: &&DataFile| file.null_count(DOUBT_COLUMN).is_none_or(|n| n < file.rows);
    let files: Vec<&DataFile> = table.files().map(AsRef::as_ref).filter(holds_any).collect();
    for batch in table.read(&files, Some(&[ORIGIN_COLUMN, DOUBT_COLUMN]))? {
        let batch = batch?;
        let text = |name| batch.column_by_name(name)?.as_string_opt::<i32>();
        let wrong = || LakeError::Schema {
            table: table.name().to_owned(),
            detail: "has a column of another type than weir writes".to_owned(),
        };
        let (Some(origins), Some(doubts)) = (text(ORIGIN_COLUMN), text(DOUBT_COLUMN)) else {
            return Err(wrong());
        };
        for row in (0..batch.num_rows()).filter(|row| doubts.is_valid(*row)) {
            let own = found.entry(origins.value(row).to_owned()).or_default();
            match doubts.value(row) {
                "unknown" => own.unknown += 1,
                _ => own.outdated += 1,
            }
        }
    }
    Ok(found)
}
