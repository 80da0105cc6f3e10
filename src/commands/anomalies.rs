//! `weir anomalies`: why an alert is there, and what people think of it.
//!
//! # Guarantees
//! - Nothing is changed here: the decision is kept, and takes effect in the epoch that reads it.

mod explain;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use lake::Lake;
use schemas::Decision;
use schemas::answer::{self, Verdict};

use super::decisions;
use super::setup::open;
use crate::config::Config;
use crate::failure::Failure;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// All that is known of an alert: figures, rule, incident, parts, answers, and the way to its rows.
    Explain(explain::Arguments),
    /// Say whether an alert was right.
    Feedback(Feedback),
}

#[derive(Debug, Args)]
pub(crate) struct Feedback {
    /// The alert's id.
    #[arg(value_parser = alert_id)]
    id: String,
    /// `yes` when it was worth it, `no` when nothing was wrong, `planned` when it was meant to be so.
    #[arg(long, value_name = "V", value_parser = verdict)]
    verdict: Verdict,
    /// What there is to say.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// The lake's folder, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn verdict(text: &str) -> Result<Verdict, String> {
    Verdict::parse(text)
        .ok_or_else(|| format!("there is no verdict `{text}`; there are yes, no, planned"))
}

/// An id of an alert as REST, the page and notices have it.
pub(super) fn alert_id(text: &str) -> Result<String, String> {
    let is_id = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match is_id {
        true => Ok(text.to_ascii_lowercase()),
        false => Err(format!(
            "`{text}` is no id of an alert: 32 hexadecimal digits, as `id` in /api/v1/alerts"
        )),
    }
}

pub(crate) fn execute(config: &Config, command: &Command) -> Result<(), Failure> {
    let Feedback { id, verdict, comment, lake, json } = match command {
        Command::Explain(arguments) => return explain::execute(config, arguments),
        Command::Feedback(feedback) => feedback,
    };
    let lake = open(config, lake.as_deref())?;
    let (alert, comment) = (id.clone(), comment.clone());
    let feedback = answer::Feedback { alert, verdict: *verdict, comment };
    let decided =
        decisions::decide(config, &lake, Decision::Feedback(feedback), "weir anomalies feedback")?;
    let note = not_there(&lake, id);
    decided.print(&format!("the feedback on alert {id}"), note.as_deref(), *json);
    Ok(())
}

/// What is to be known of an answer to an alert that the lake does not have.
pub(super) fn not_there(lake: &Lake, id: &str) -> Option<String> {
    let held = engine::alerts::of(lake).ok()?;
    let is_there = held.alerts.iter().any(|alert| *alert.id == *id);
    (!is_there).then(|| {
        format!(
            "the lake has no alert {id} yet: one that has just opened is there after the next barrier, else look for the id \
             in `weir alerts list --json`"
        )
    })
}
