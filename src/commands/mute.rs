//! `weir mute`: nobody is told of some alerts for a while.
//!
//! # Guarantees
//! - Nothing is muted here: the decision is kept, and takes effect in the epoch that reads it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args};
use schemas::answer::{Mute, Unmute};
use schemas::{AlertMatch, Clock, Decision, Micros, Severity};

use super::decisions;
use super::setup::open;
use crate::config::{Config, parse_duration};
use crate::failure::Failure;
use crate::wall_clock::WallClock;

/// Which alerts, and for how long; or which mute to end.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("when").required(true).args(["until", "lasts", "end"])))]
pub(crate) struct Arguments {
    /// Only of this KPI; `*` at the end stands for any rest. May be repeated, as those that follow.
    #[arg(long, value_name = "KPI")]
    kpi: Vec<String>,
    /// Only of this tenant.
    #[arg(long, value_name = "T")]
    tenant: Vec<String>,
    /// Only of this severity: `info`, `warning`, `error` or `critical`.
    #[arg(long, value_name = "S", value_parser = severity)]
    severity: Vec<Severity>,
    /// Only with this value of a dimension.
    #[arg(long, value_name = "NAME=VALUE", value_parser = dim)]
    dim: Vec<(String, String)>,
    /// Until then.
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    until: Option<Micros>,
    /// For so long.
    #[arg(long = "for", value_name = "2h", value_parser = duration)]
    lasts: Option<Duration>,
    /// End this mute instead.
    #[arg(long, value_name = "ID", conflicts_with_all = ["kpi", "tenant", "severity", "dim", "comment"])]
    end: Option<String>,
    /// Why.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// The lake's folder, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    lake: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn severity(text: &str) -> Result<Severity, String> {
    Severity::parse(text).ok_or_else(|| {
        format!("there is no severity `{text}`; there are info, warning, error, critical")
    })
}

fn dim(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(name, _)| !name.is_empty());
    let pair = pair.ok_or_else(|| format!("`{text}` is no dimension; write it as channel=web"))?;
    Ok((pair.0.to_owned(), pair.1.to_owned()))
}

fn instant(text: &str) -> Result<Micros, String> {
    Micros::parse(text)
        .ok_or_else(|| format!("`{text}` is no instant; write it as 2026-11-22T08:00:00Z"))
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text)
        .filter(|lasts| !lasts.is_zero())
        .ok_or_else(|| format!("`{text}` is no duration; write it as 2h"))
}

pub(crate) fn execute(config: &Config, arguments: &Arguments) -> Result<(), Failure> {
    let lake = open(config, arguments.lake.as_deref())?;
    let (decision, what) = match &arguments.end {
        Some(mute) => {
            let mute = mute.clone();
            (Decision::Unmute(Unmute { mute }), "the end of the mute".to_owned())
        }
        None => {
            let mute = mute(arguments, WallClock.now())?;
            let what = format!("the mute until {}", mute.until);
            (Decision::Mute(mute), what)
        }
    };
    let decided = decisions::decide(config, &lake, decision, "weir mute")?;
    decided.print(&what, None, arguments.json);
    Ok(())
}

fn mute(arguments: &Arguments, now: Micros) -> Result<Mute, Failure> {
    let lasts = arguments.lasts.map(|lasts| i64::try_from(lasts.as_micros()).unwrap_or(i64::MAX));
    let until = arguments.until.or(lasts.map(|micros| Micros(now.0.saturating_add(micros))));
    let until = until.unwrap_or(now);
    if until <= now {
        return Err(Failure::Usage(format!("--until {until} is over; name a later instant")));
    }
    let mut dims: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in &arguments.dim {
        dims.entry(name.clone()).or_default().push(value.clone());
    }
    let matching = AlertMatch {
        severity: arguments.severity.clone(),
        tenant: arguments.tenant.clone(),
        kpi: arguments.kpi.clone(),
        dims,
    };
    Ok(Mute { tenant: None, matching, until, comment: arguments.comment.clone() })
}
