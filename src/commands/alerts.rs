//! `weir alerts`: what was told to whom, whether a route works, and who looks after an alert.
//!
//! # Guarantees
//! - Nothing is told to anybody but by `test`, which sends to the named route only.

use std::path::PathBuf;

use alerting::{Delivery, Outbox, RouteSettings};
use clap::Subcommand;
use schemas::answer::Acknowledge;
use schemas::nearest::nearest;
use schemas::{Decision, chain};
use serde_json::{Value, json};

use super::anomalies::alert_id;
use super::decisions;
use super::setup::{open, tokio_runtime};
use crate::config::Config;
use crate::failure::Failure;
use crate::output;
use crate::wall_clock::WallClock;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Notices with what became of them, the newest first.
    List {
        /// The lake's folder, instead of the configured one.
        #[arg(long, value_name = "DIR")]
        lake: Option<PathBuf>,
        /// How many at most.
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: u32,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say that somebody looks after an alert.
    Acknowledge {
        /// The alert's id.
        #[arg(value_parser = alert_id)]
        id: String,
        /// Who looks after it, instead of `weir alerts acknowledge`.
        #[arg(long, value_name = "NAME")]
        by: Option<String>,
        /// What there is to say.
        #[arg(long, value_name = "TEXT")]
        comment: Option<String>,
        /// The lake's folder, instead of the configured one.
        #[arg(long, value_name = "DIR")]
        lake: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Send a notice that says it is a trial, and its end, to a route.
    Test {
        /// The name of the route.
        route: String,
    },
}

pub(crate) fn execute(config: &Config, command: &Command) -> Result<(), Failure> {
    match command {
        Command::List { lake, limit, json } => {
            let lake = open(config, lake.as_deref())?;
            let found = deliveries(config, lake.work_dir(), *limit)?;
            match json {
                true => output::json(&found.iter().map(as_json).collect()),
                false => print(&found),
            }
            Ok(())
        }
        Command::Acknowledge { id, by, comment, lake, json } => {
            let lake = open(config, lake.as_deref())?;
            let acknowledge = Acknowledge { alert: id.clone(), comment: comment.clone() };
            let by = by.as_deref().unwrap_or("weir alerts acknowledge");
            let decision = Decision::Acknowledge(acknowledge);
            let decided = decisions::decide(config, &lake, decision, by)?;
            decided.print(&format!("the acknowledgement of alert {id}"), None, *json);
            Ok(())
        }
        Command::Test { route } => {
            let settings = route_named(&config.alerts.routes, route)?;
            let sent = tokio_runtime()?.block_on(alerting::try_route(settings, &WallClock));
            sent.map_err(Failure::Unreachable)?;
            output::line(&format!("route `{route}` took a trial notice and its end"));
            Ok(())
        }
    }
}

fn route_named<'a>(routes: &'a [RouteSettings], name: &str) -> Result<&'a RouteSettings, Failure> {
    alerting::check(routes).map_err(Failure::Usage)?;
    routes.iter().find(|route| route.name == name).ok_or_else(|| {
        let names = routes.iter().map(|route| route.name.as_str());
        let hint = match routes.is_empty() {
            true => "; no [[alerts.routes]] are configured".to_owned(),
            false => nearest(name, names),
        };
        Failure::Usage(format!("there is no route `{name}`{hint}"))
    })
}

/// What is in the outbox; a store that was never made is empty.
fn deliveries(
    config: &Config,
    work_dir: &std::path::Path,
    limit: u32,
) -> Result<Vec<Delivery>, Failure> {
    let url = config.alerts.store(work_dir);
    if config.alerts.has_own_file() && !config.alerts.file(work_dir).is_file() {
        return Ok(Vec::new());
    }
    let read = async { Outbox::open(&url).await?.list(limit).await };
    let read = tokio_runtime()?.block_on(read);
    read.map_err(|e| Failure::Unreachable(format!("[alerts] store: {}", chain(&e))))
}

fn as_json(delivery: &Delivery) -> Value {
    let notice = &delivery.notice;
    json!({
        "id": notice.id,
        "alert": notice.alert,
        "kind": notice.kind.name(),
        "severity": notice.severity.name(),
        "route": delivery.route,
        "state": delivery.state.name(),
        "made_at": delivery.made_at.to_string(),
        "ended_at": delivery.ended_at.map(|at| at.to_string()),
        "attempts": delivery.attempts,
        "error": delivery.error,
        "summary": notice.summary(),
    })
}

fn print(found: &[Delivery]) {
    let row = |delivery: &Delivery| {
        vec![
            delivery.made_at.to_string(),
            delivery.route.clone(),
            delivery.state.name().to_owned(),
            delivery.attempts.to_string(),
            delivery.notice.title(),
            delivery.notice.id.clone(),
            delivery.error.clone().unwrap_or_default(),
        ]
    };
    let rows: Vec<_> = found.iter().map(row).collect();
    output::table(&["at", "route", "state", "attempts", "notice", "id", "error"], &rows);
}
