//! `weir dead-letters retry`: dead letters that the contract in force can read, read again.
//!
//! # Guarantees
//! - Only what the contract can read is decided about, in decisions of bounded size: the rest stays as it is.
//! - A contract that is configured and not in force is refused: by which the records would be read would depend
//!   on when Weir starts.

use std::io::Write as _;

use engine::Topics;
use engine::letters::LetterReader;
use lake::Lake;
use schemas::letter::{CARRIED_BYTES, CARRIED_MAX};
use schemas::{Contract, Decision, DefinitionKind};
use serde_json::json;

use super::found::{Letter, Wanted, visit};
use super::{Retry, none_of, one, table_of, to_json};
use crate::commands::decisions::{self, Kept};
use crate::commands::setup::{Around, definitions_of, lake_root, open, topics};
use crate::config::Config;
use crate::failure::Failure;
use crate::output;

/// Letters that are shown.
const SHOWN: usize = 100;

/// What is decided, and kept as it comes together.
struct Deciding<'a> {
    config: &'a Config,
    lake: &'a Lake,
    table: String,
    letters: Vec<schemas::Letter>,
    bytes: usize,
    last: Option<Kept>,
}

impl Deciding<'_> {
    fn add(&mut self, letter: schemas::Letter) -> Result<(), Failure> {
        let bytes = letter.size();
        if self.letters.len() >= CARRIED_MAX || self.bytes.saturating_add(bytes) > CARRIED_BYTES {
            self.keep()?;
        }
        self.bytes += bytes;
        self.letters.push(letter);
        Ok(())
    }

    fn keep(&mut self) -> Result<(), Failure> {
        let letters = std::mem::take(&mut self.letters);
        self.bytes = 0;
        if letters.is_empty() {
            return Ok(());
        }
        let decision = Decision::RetryDeadLetters { table: self.table.clone(), letters };
        let kept = decisions::keep(self.config, self.lake, decision, "weir dead-letters retry")?;
        self.last = Some(kept);
        Ok(())
    }
}

/// What became of the letters that were looked at.
#[derive(Default)]
struct Outcome {
    /// The first of them, each with the reason why it cannot be read, if so.
    shown: Vec<(Letter, Option<String>)>,
    readable: u64,
    total: u64,
}

pub(super) fn retry(config: &Config, own: &Retry) -> Result<(), Failure> {
    let lake = open(config, own.lake.as_deref())?;
    let around = Around { lake: lake_root(config, own.lake.as_deref()), topics: None };
    let (contracts, _) = definitions_of(config, &around)?;
    let topics = topics(config, &contracts);
    let (table, single) = match (&own.id, &own.contract) {
        (Some(id), _) => {
            let letter = one(config, &lake, id)?;
            (table_of(&topics, &letter)?, Some(letter))
        }
        (None, contract) => (contract.clone().unwrap_or_default(), None),
    };
    refuse_other(config, &lake, &table)?;
    let deciding = Deciding {
        config,
        lake: &lake,
        table: table.clone(),
        letters: Vec::new(),
        bytes: 0,
        last: None,
    };
    let (outcome, last) =
        look(&lake, (&contracts, &topics), (&table, single), own.consent.yes, deciding)?;
    if outcome.total == 0 {
        return Err(none_of(&table));
    }
    if !own.consent.yes {
        print(&outcome, own.json);
        return own.consent.asked(lake_root(config, own.lake.as_deref()));
    }
    let Some(last) = last else {
        print(&outcome, own.json);
        return Err(Failure::Usage(format!(
            "none of them can be read by the contract `{table}`: nothing was changed"
        )));
    };
    let (readable, rest) = (outcome.readable, outcome.total - outcome.readable);
    let what = format!("the retry of {readable} dead letters of table `{table}`");
    let note =
        (rest > 0).then(|| format!("not tried, because the contract cannot read them: {rest}"));
    decisions::wait(&lake, last)?.print(&what, note.as_deref(), own.json);
    Ok(())
}

/// Refuses a contract that the configuration has otherwise than the lake.
fn refuse_other(config: &Config, lake: &Lake, table: &str) -> Result<(), Failure> {
    let kind = DefinitionKind::Contract;
    let all = engine::definitions::wanted(config.contracts.folder(), None, &[]);
    let all = all.map_err(Failure::Usage)?;
    let own = all.into_iter().find(|own| own.of == kind && own.name == *table);
    let own = own.and_then(|own| own.identity);
    let held = engine::definitions::in_force(lake)?.unwrap_or_default();
    let held = held.newest(kind, table).and_then(|held| held.identity.clone());
    if own == held {
        return Ok(());
    }
    Err(Failure::Usage(format!(
        "the contract `{table}` of the configuration is not the one in force in this lake: a start of `weir run` puts it \
         in force; try again a few seconds later"
    )))
}

/// Reads the letters by the configured contracts; decides about those that can be read, with `yes`.
fn look(
    lake: &Lake,
    (contracts, topics): (&[Contract], &Topics),
    (table, single): (&str, Option<Letter>),
    yes: bool,
    mut deciding: Deciding<'_>,
) -> Result<(Outcome, Option<Kept>), Failure> {
    let mut reader = LetterReader::new(contracts, topics).map_err(Failure::Usage)?;
    let mut outcome = Outcome::default();
    let mut each = |letter: Letter| {
        let carried = letter.carried();
        let reason = reader.read(&carried).err();
        outcome.total += 1;
        if reason.is_none() {
            outcome.readable += 1;
            if yes {
                deciding.add(carried)?;
            }
        }
        if outcome.shown.len() < SHOWN {
            outcome.shown.push((letter, reason));
        }
        Ok(())
    };
    match single {
        Some(letter) => each(letter)?,
        None => {
            let wanted = Wanted { contract: Some(table), ..Wanted::default() };
            visit(lake, topics, wanted, &mut each)?;
        }
    }
    deciding.keep()?;
    Ok((outcome, deciding.last))
}

fn print(outcome: &Outcome, as_json: bool) {
    let Outcome { shown, readable, total } = outcome;
    if as_json {
        let letters = shown.iter().map(|(letter, reason)| {
            let mut shown = to_json(letter);
            shown["readable"] = reason.is_none().into();
            shown["reason"] = reason.clone().into();
            shown
        });
        let letters: Vec<_> = letters.collect();
        let all = json!({ "total": total, "readable": readable, "dead_letters": letters });
        return output::json(&all);
    }
    let row = |(letter, reason): &(Letter, Option<String>)| {
        let would = if reason.is_none() { "yes" } else { "no" };
        vec![letter.id(), would.to_owned(), reason.clone().unwrap_or_else(|| "-".to_owned())]
    };
    let rows: Vec<_> = shown.iter().map(row).collect();
    output::table(&["dead letter", "would be read", "reason"], &rows);
    let (readable, total) = (output::count(*readable), output::count(*total));
    drop(writeln!(std::io::stderr(), "{readable} of {total} dead letters would be read"));
}
