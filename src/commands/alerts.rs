//! `weir alerts`: what was told to whom, whether a route works, and who looks after an alert.
//!
//! # Guarantees
//! - Nothing is told to anybody but by `test`, which sends to the named route only.

mod told;

use std::path::PathBuf;

use alerting::RouteSettings;
use clap::Subcommand;
use schemas::Decision;
use schemas::answer::Acknowledge;
use schemas::nearest::nearest;

use super::anomalies::alert_id;
use super::setup::{open, tokio_runtime};
use super::{anomalies, decisions};
use crate::config::Config;
use crate::failure::Failure;
use crate::output;
use crate::wall_clock::WallClock;
use told::Wanted;

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
    /// Which routes take an alert, what each was told of it, and what became of that.
    Route {
        /// The alert's id, as in `weir alerts list --json`.
        id: String,
        /// The lake's folder, instead of the configured one.
        #[arg(long, value_name = "DIR")]
        lake: Option<PathBuf>,
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
            let found = told::deliveries(config, lake.work_dir(), &Wanted::Newest(*limit))?;
            told::print_list(&found, *json);
            Ok(())
        }
        Command::Route { id, lake, json } => {
            let lake = open(config, lake.as_deref())?;
            let found = told::deliveries(config, lake.work_dir(), &Wanted::Of(id))?;
            told::print_routes(&config.alerts.routes, &found, id, *json);
            Ok(())
        }
        Command::Acknowledge { id, by, comment, lake, json } => {
            let lake = open(config, lake.as_deref())?;
            let acknowledge = Acknowledge { alert: id.clone(), comment: comment.clone() };
            let by = by.as_deref().unwrap_or("weir alerts acknowledge");
            let decision = Decision::Acknowledge(acknowledge);
            let decided = decisions::decide(config, &lake, decision, by)?;
            let note = anomalies::not_there(&lake, id);
            decided.print(&format!("the acknowledgement of alert {id}"), note.as_deref(), *json);
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
        let names: Vec<&str> = routes.iter().map(|route| route.name.as_str()).collect();
        let hint = match routes.is_empty() {
            true => "; no [[alerts.routes]] are configured".to_owned(),
            false => {
                let hint = nearest(name, names.iter().copied());
                format!("{hint}; there are: {}", names.join(", "))
            }
        };
        Failure::Usage(format!("there is no route `{name}`{hint}"))
    })
}
