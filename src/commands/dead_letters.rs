//! `weir dead-letters`: records that could not be decoded, shown, read again where they can be, and dropped where
//! nobody waits for them.
//!
//! # Guarantees
//! - Nothing is removed: a drop or a retry is a decision that is kept, and takes effect in the epoch that reads it.
//!   The record stays in bronze.

mod found;
mod retry;

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use engine::Topics;
use schemas::Decision;
use serde_json::{Value, json};

use self::found::{Letter, find};
pub(crate) use self::found::{Wanted, contract_of, visit};
use super::consent::Consent;
use super::decisions;
use super::setup::{definitions, lake_root, open, topics};
use crate::config::Config;
use crate::failure::Failure;
use crate::output;

/// Bytes of a value that are shown.
const SHOWN: usize = 60;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Topic, partition, offset and reason of each, in the order in which they came.
    List(List),
    /// One of them with all that it holds, and what can be done.
    Show {
        /// As `list` calls it: `SOURCE/TOPIC/PARTITION/OFFSET`.
        id: String,
        /// The lake's folder, instead of the configured one.
        #[arg(long, value_name = "DIR")]
        lake: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Read them again by the contract in force, as records that come late.
    Retry(Retry),
    /// Say that they will not be missed: they put nothing in doubt any more, and leave the list.
    Drop(Drop),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only records of this topic.
    #[arg(long)]
    topic: Option<String>,
    /// Those that were dropped or have been read again, too.
    #[arg(long)]
    all: bool,
    /// At most so many.
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// The lake's folder, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Retry {
    /// One of them, as `list` calls it: `SOURCE/TOPIC/PARTITION/OFFSET`.
    #[arg(required_unless_present = "contract", conflicts_with = "contract")]
    id: Option<String>,
    /// All of the table of this contract that can be read.
    #[arg(long)]
    contract: Option<String>,
    #[command(flatten)]
    consent: Consent,
    /// The lake's folder, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Drop {
    /// One of them, as `list` calls it: `SOURCE/TOPIC/PARTITION/OFFSET`.
    #[arg(required_unless_present = "contract", conflicts_with = "contract")]
    id: Option<String>,
    /// All of the table of this contract.
    #[arg(long)]
    contract: Option<String>,
    #[command(flatten)]
    consent: Consent,
    /// The lake's folder, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn execute(config: &Config, command: &Command) -> Result<(), Failure> {
    match command {
        Command::List(list) => {
            let lake = open(config, list.lake.as_deref())?;
            let topic = list.topic.as_deref();
            let wanted = Wanted { topic, all: list.all, ..Wanted::default() };
            let (letters, total) = find(&lake, &mapping(config)?, wanted, list.limit)?;
            print(&letters, total, list.json);
        }
        Command::Show { id, lake, json } => {
            let lake = open(config, lake.as_deref())?;
            let letter = one(config, &lake, id)?;
            let topics = mapping(config)?;
            let contract = contract_of(&topics, &letter.source, &letter.topic);
            show(&letter, contract, *json);
        }
        Command::Retry(own) => retry::retry(config, own)?,
        Command::Drop(drop) => drop_letters(config, drop)?,
    }
    Ok(())
}

/// What all configured topics are.
fn mapping(config: &Config) -> Result<Topics, Failure> {
    let (contracts, _) = definitions(config)?;
    Ok(topics(config, &contracts))
}

/// The newest letter that is called so.
fn one(config: &Config, lake: &lake::Lake, id: &str) -> Result<Letter, Failure> {
    let wanted = Wanted { id: Some(id), all: true, ..Wanted::default() };
    let (letters, _) = find(lake, &mapping(config)?, wanted, usize::MAX)?;
    letters.into_iter().next_back().ok_or_else(|| {
        let list = "`weir dead-letters list --json` names them all";
        Failure::Usage(format!("there is no dead letter `{id}`; {list}"))
    })
}

/// The contract of a letter.
fn table_of(topics: &Topics, letter: &Letter) -> Result<String, Failure> {
    let contract = contract_of(topics, &letter.source, &letter.topic);
    contract.map(str::to_owned).ok_or_else(|| {
        let text = "has no contract, and so changes no table: name one under [sources.topics], and it is read";
        Failure::Usage(format!("topic `{}` {text}", letter.topic))
    })
}

fn drop_letters(config: &Config, drop: &Drop) -> Result<(), Failure> {
    let lake = open(config, drop.lake.as_deref())?;
    let topics = mapping(config)?;
    let (table, letters, letter) = match (&drop.id, &drop.contract) {
        (Some(id), _) => {
            let letter = one(config, &lake, id)?;
            // One without a contract is of no table, and may be dropped all the same.
            let table = contract_of(&topics, &letter.source, &letter.topic).unwrap_or_default();
            let at = letter.at();
            (table.to_owned(), vec![letter], Some(at))
        }
        (None, contract) => {
            let contract = contract.clone().unwrap_or_default();
            let wanted = Wanted { contract: Some(&contract), ..Wanted::default() };
            let (letters, total) = find(&lake, &topics, wanted, 100)?;
            if total == 0 {
                return Err(none_of(&contract));
            }
            (contract, letters, None)
        }
    };
    if !drop.consent.yes {
        let total = letters.len() as u64;
        print(&letters, total, drop.json);
        return drop.consent.asked(lake_root(config, drop.lake.as_deref()));
    }
    let what = match &letter {
        Some(_) if table.is_empty() => "the drop of a dead letter without a table".to_owned(),
        Some(_) => format!("the drop of a dead letter of table `{table}`"),
        None => format!("the drop of the dead letters of table `{table}`"),
    };
    let decision = Decision::DropDeadLetters { table, letter };
    let decided = decisions::decide(config, &lake, decision, "weir dead-letters drop")?;
    decided.print(&what, None, drop.json);
    Ok(())
}

fn none_of(contract: &str) -> Failure {
    Failure::Usage(format!("there are no dead letters of contract `{contract}`"))
}

fn print(letters: &[Letter], total: u64, as_json: bool) {
    if as_json {
        let letters: Vec<_> = letters.iter().map(to_json).collect();
        return output::json(&json!({ "total": total, "dead_letters": letters }));
    }
    let rows: Vec<_> = letters.iter().map(row).collect();
    let header =
        ["topic", "partition", "offset", "epoch", "kafka timestamp", "reason", "value begins with"];
    output::table(&header, &rows);
    let (shown, total) = (output::count(letters.len() as u64), output::count(total));
    drop(writeln!(std::io::stderr(), "{shown} of {total} dead letters"));
}

fn show(letter: &Letter, contract: Option<&str>, as_json: bool) {
    let whole = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| text(bytes));
    let advice = match contract {
        _ if letter.is_dropped => "it was dropped, and puts nothing in doubt",
        _ if letter.is_read => "it has been read again, and puts nothing in doubt",
        Some(_) => {
            "if the contract lacks a `unit` or one of `values`, or names another field (`from`), set it right, start \
             `weir run` and say `weir dead-letters retry ID --yes`. If a type or the topic's `placeholder` is wrong, \
             change it: the table is built again from bronze at the next start, this record included. If the source is \
             wrong, set it right and \
             change the row there, or take a snapshot of it: the next change that can be decoded ends the doubt. If it \
             will not be missed, `weir dead-letters drop ID --yes`"
        }
        None => {
            "its topic has no contract: name one under [sources.topics], or take the topic out; if it will not be \
             missed, `weir dead-letters drop ID --yes`"
        }
    };
    let mut shown = to_json(letter);
    for (name, value) in [("key", whole(&letter.key)), ("value", whole(&letter.value))] {
        shown[name] = value.into();
    }
    shown["contract"] = contract.into();
    shown["incarnation"] = letter.incarnation.clone().into();
    shown["advice"] = advice.into();
    if as_json {
        return output::json(&shown);
    }
    for name in ["id", "contract", "epoch", "kafka_timestamp", "reason", "key", "value", "advice"] {
        let text = match shown.get(name) {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => "-".to_owned(),
            Some(other) => other.to_string(),
        };
        output::line(&format!("{name}: {text}"));
    }
}

fn row(letter: &Letter) -> Vec<String> {
    let none = || "-".to_owned();
    vec![
        letter.topic.clone(),
        letter.partition.to_string(),
        letter.offset.to_string(),
        letter.epoch.to_string(),
        letter.kafka_timestamp.map_or_else(none, |at| at.to_string()),
        letter.reason.clone(),
        letter.value.as_deref().map_or_else(none, beginning),
    ]
}

fn to_json(letter: &Letter) -> Value {
    json!({
        "id": letter.id(),
        "source": letter.source,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "reason": letter.reason,
        "epoch": letter.epoch,
        "kafka_timestamp": letter.kafka_timestamp.map(|at| at.to_string()),
        "value": letter.value.as_deref().map(beginning),
        "dropped": letter.is_dropped,
        "read": letter.is_read,
    })
}

/// Bytes on one line: what is no text is shown as `\u{..}` or `�`.
fn text(bytes: &[u8]) -> String {
    output::escaped(&String::from_utf8_lossy(bytes), |_| false).into_owned()
}

/// The first bytes of a value on one line.
fn beginning(value: &[u8]) -> String {
    let mut line = text(value.get(..SHOWN).unwrap_or(value));
    if value.len() > SHOWN {
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::beginning;

    #[test]
    fn values_are_shown_on_one_line_and_cut() {
        assert_eq!(beginning(b"{\"a\":1}\n\x00"), "{\"a\":1}\\n\\u{0}");
        assert_eq!(beginning(&[0xff, b'a']), "\u{fffd}a");
        let long = beginning(&[b'x'; 100]);
        assert_eq!((long.chars().count(), long.ends_with('…')), (61, true));
    }
}
