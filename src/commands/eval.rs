//! `weir eval`: how the detector does on series whose truth is known.
//!
//! # Guarantees
//! - It reads no configuration and no lake, and what it prints follows from its flags.

mod labelled;
mod rs;

use anomaly::scenario::{Outcome, Part, Power, names, power, scenario};
use clap::Subcommand;
use schemas::nearest::nearest;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Play scenarios of business series through the detector: alerts, false ones, what is missed.
    Scenarios {
        /// Another seed is other series; the same one is the same.
        #[arg(long, value_name = "N", default_value_t = 1)]
        seed: u64,
        /// Only this scenario.
        #[arg(long, value_name = "NAME")]
        scenario: Option<String>,
        /// Shops of each volume in each scenario.
        #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=1000))]
        shops: u16,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Score the detector as the Numenta Anomaly Benchmark does, beside plain rules.
    Nab(labelled::Arguments),
    /// Events of hourly series with labels of experts: those found, and alerts that were none.
    Ms(labelled::Arguments),
    /// Name the causes of cases whose causes are known: which are found, beside plain methods.
    Rs(rs::Arguments),
}

pub(crate) fn execute(command: &Command) -> Result<(), Failure> {
    let (seed, only, shops, json) = match command {
        Command::Nab(arguments) => return labelled::nab(arguments),
        Command::Ms(arguments) => return labelled::ms(arguments),
        Command::Rs(arguments) => return rs::execute(arguments),
        Command::Scenarios { seed, scenario, shops, json } => (seed, scenario, shops, json),
    };
    let shops = usize::from(*shops);
    let chosen: Vec<&str> = match only {
        None => names().collect(),
        Some(name) => vec![known(name)?],
    };
    let outcomes: Vec<Outcome> =
        chosen.into_iter().filter_map(|name| scenario(name, *seed, shops)).collect();
    let curve = if only.is_none() { power(*seed, shops) } else { Vec::new() };
    match json {
        true => output::json(&as_json(*seed, &outcomes, &curve)),
        false => print(&outcomes, &curve, only.is_some()),
    }
    Ok(())
}

fn known(name: &str) -> Result<&'static str, Failure> {
    names().find(|own| *own == name).ok_or_else(|| {
        let hint = nearest(name, names());
        Failure::Usage(format!("there is no scenario `{name}`{hint}"))
    })
}

fn as_json(seed: u64, outcomes: &[Outcome], curve: &[Power]) -> Value {
    let part = |own: &Part| {
        json!({
            "volume": own.volume,
            "grain": own.grain.name(),
            "alerts": own.alerts,
            "false": own.wrong,
        })
    };
    let outcome = |own: &Outcome| {
        json!({
            "scenario": own.name,
            "what": own.about,
            "series": own.series,
            "alerts": own.alerts,
            "false": own.wrong.len(),
            "false_per_series_week": own.wrong_per_week,
            "causes": own.causes,
            "missed": own.missed,
            "minutes_to_detect": own.minutes,
            "alerts_per_cause": own.per_cause,
            "parts": own.parts.iter().map(part).collect::<Vec<_>>(),
            "false_alerts": own.wrong,
        })
    };
    let power = |own: &Power| {
        json!({
            "grain": own.grain.name(),
            "buckets": own.buckets,
            "sigmas": own.sigmas,
            "tried": own.tried,
            "found": own.found,
        })
    };
    json!({
        "seed": seed,
        "scenarios": outcomes.iter().map(outcome).collect::<Vec<_>>(),
        "power": curve.iter().map(power).collect::<Vec<_>>(),
    })
}

fn print(outcomes: &[Outcome], curve: &[Power], in_full: bool) {
    let or_none = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let row = |own: &Outcome| {
        vec![
            own.name.to_owned(),
            own.series.to_string(),
            own.alerts.to_string(),
            own.wrong.len().to_string(),
            format!("{:.3}", own.wrong_per_week),
            format!("{}/{}", own.missed, own.causes),
            or_none(own.minutes, 1),
            or_none(own.per_cause, 1),
            own.about.to_owned(),
        ]
    };
    let rows: Vec<_> = outcomes.iter().map(row).collect();
    let header = [
        "scenario",
        "series",
        "alerts",
        "false",
        "a week",
        "missed",
        "minutes",
        "per cause",
        "what",
    ];
    output::table(&header, &rows);
    if in_full {
        outcomes.iter().flat_map(|own| &own.wrong).for_each(|text| output::line(text));
    }
    if curve.is_empty() {
        return;
    }
    output::line("");
    let row = |own: &Power| {
        let share = 100.0 * own.found as f64 / own.tried.max(1) as f64;
        vec![
            own.grain.name().to_owned(),
            own.buckets.to_string(),
            own.sigmas.to_string(),
            own.tried.to_string(),
            format!("{share:.1} %"),
        ]
    };
    let rows: Vec<_> = curve.iter().map(row).collect();
    output::table(&["grain", "buckets", "sigmas", "tried", "found"], &rows);
}
