//! A replay as text, as JSON and as a drawing.

use std::collections::BTreeSet;
use std::path::Path;

use anomaly::{Fired, Line};
use schemas::decimal::{VALUE_SCALE, format};
use serde_json::{Value, json};

use super::plot::{Mark, PANELS, Panel, svg};
use super::{CANNOT_KNOW, LIMITS, Outcome};
use crate::commands::in_force::FROM_NEXT_START;
use crate::failure::Failure;
use crate::output;

/// Alerts in a JSON document.
const FIRED_JSON: usize = 10_000;

fn decimal(mantissa: Option<i128>) -> Option<String> {
    mantissa.map(|own| format(own, VALUE_SCALE))
}

fn dims(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

fn is_of(fired: &Fired, line: &Line) -> bool {
    let key = &fired.alert.key;
    key.tenant == line.tenant && key.dims == line.dims && key.grain == line.grain
}

fn panel<'a>(line: &'a Line, fired: &[Fired]) -> Panel<'a> {
    let Line { tenant, dims, grain, buckets } = line;
    let marks: Vec<Mark> = fired.iter().filter(|own| is_of(own, line)).map(mark).collect();
    let title = format!("{tenant} {dims} by {grain}: {} alerts", marks.len());
    Panel { title, buckets, marks }
}

impl Outcome<'_> {
    /// Alerts for each series and week.
    fn per_week(&self) -> Option<f64> {
        let (alerts, weeks) = (self.found.fired.len() as f64, self.found.series_weeks);
        (weeks > 0.0).then(|| alerts / weeks)
    }

    fn settings(&self) -> Vec<String> {
        let told = self.kpi.watching.told();
        told.into_iter().map(|(field, value)| format!("{field} {value}")).collect()
    }

    /// Draws it; what there is to say of the file.
    pub(super) fn plot(&self, file: &Path) -> Result<String, Failure> {
        let (lines, fired) = (&self.found.lines, &self.found.fired);
        let alerts = |line: &Line| fired.iter().filter(|own| is_of(own, line)).count();
        let mut chosen: Vec<(usize, &Line)> =
            lines.iter().enumerate().filter(|(_, own)| !own.buckets.is_empty()).collect();
        let all = chosen.len();
        // Those with the most alerts, in the order of all.
        chosen.sort_by_key(|(place, own)| (std::cmp::Reverse(alerts(own)), *place));
        chosen.truncate(PANELS);
        chosen.sort_by_key(|(place, _)| *place);
        let drawn = chosen.iter().map(|(_, line)| *line);
        let panels: Vec<Panel<'_>> = drawn.map(|line| panel(line, fired)).collect();
        let left = all.saturating_sub(panels.len());
        let rest = match left {
            0 => String::new(),
            left => format!("; {left} more series are not drawn, those with the fewest alerts"),
        };
        let title = format!("{}: what would have fired, of final values{rest}", self.kpi.key);
        std::fs::write(file, svg(&title, &panels)).map_err(|e| {
            let text = format!("could not write the plot `{}`: {e}", file.display());
            Failure::Usage(format!("{text}; name a file in a folder that is there"))
        })?;
        Ok(format!(
            "{} series, each grain by itself, are drawn in {}{rest}",
            panels.len(),
            file.display()
        ))
    }

    pub(super) fn to_json(&self, plotted: Option<&str>) -> Value {
        let Outcome { kpi, question, found, as_of: (epoch, as_of), .. } = self;
        let grains: BTreeSet<_> = found.lines.iter().map(|own| own.grain).collect();
        json!({
            "kpi": &*kpi.key,
            "epoch": epoch, "as_of": as_of.to_string(),
            "grains": grains.iter().map(|own| own.name()).collect::<Vec<_>>(),
            "settings": self.settings(),
            "settings_in_force": self.is_in_force,
            "played_from": found.first.map(|at| at.to_string()),
            "from": question.from.map(|at| at.to_string()),
            "to": question.to.to_string(),
            "series": found.series, "series_left_out": found.left_out,
            "is_shortened": found.is_shortened,
            "limits": {"series": LIMITS.lines, "buckets": LIMITS.buckets},
            "buckets": found.buckets, "buckets_judged": found.judged,
            "alerts": found.fired.len(),
            "series_weeks": found.series_weeks,
            "alerts_per_series_week": self.per_week(),
            "cannot_know": CANNOT_KNOW,
            "notes": self.notes.iter().skip(1).collect::<Vec<_>>(),
            "plot": plotted,
            "fired": found.fired.iter().take(FIRED_JSON).map(fired).collect::<Vec<_>>(),
            "more": found.fired.len() > FIRED_JSON,
        })
    }

    pub(super) fn print(&self, limit: usize, plotted: Option<&str>) {
        let Outcome { kpi, question, found, as_of: (epoch, as_of), .. } = self;
        let settings = self.settings();
        let settings =
            if settings.is_empty() { "as usual".to_owned() } else { settings.join("; ") };
        let since = if self.is_in_force { "in force" } else { FROM_NEXT_START };
        output::line(&format!("{}, epoch {epoch}, as of {as_of}", kpi.key));
        output::line(&format!("settings: {settings} ({since})"));
        output::line("");
        let rows: Vec<_> = found.fired.iter().take(limit).map(row).collect();
        match rows.is_empty() {
            true => output::line("nothing would have fired"),
            false => output::table(&HEADER, &rows),
        }
        let more = found.fired.len().saturating_sub(rows.len());
        if more > 0 {
            output::line(&format!("and {more} alerts more; `--limit` shows them"));
        }
        output::line("");
        let first = found.first.map_or_else(|| "-".to_owned(), |at| at.to_string());
        let from = question.from.map(|at| format!(", alerts from {at} on")).unwrap_or_default();
        output::line(&format!("played {first} to {}{from}", question.to));
        let per_week = self.per_week().map_or_else(|| "-".to_owned(), |own| format!("{own:.3}"));
        output::line(&format!(
            "{} series, {} buckets, {} of them judged, {} alerts, {per_week} per series-week",
            found.series,
            output::count(found.buckets as u64),
            output::count(found.judged as u64),
            found.fired.len(),
        ));
        plotted.into_iter().for_each(output::line);
        self.notes.iter().for_each(|note| output::line(&format!("note: {note}")));
    }
}

const HEADER: [&str; 11] = [
    "said at",
    "tenant",
    "dims",
    "bucket",
    "rule",
    "severity",
    "value",
    "expected",
    "normal",
    "resolved at",
    "why it ended",
];

/// The band: a side that has no limit is left open.
fn band(fired: &Fired) -> String {
    let side = |own: Option<i128>| decimal(own).unwrap_or_default();
    format!("{} to {}", side(fired.alert.lower), side(fired.alert.upper)).trim().to_owned()
}

fn row(own: &Fired) -> Vec<String> {
    let Fired { said_at, alert, severity, resolved, .. } = own;
    let none = || "-".to_owned();
    let value = decimal(alert.value).unwrap_or_else(|| alert.anomaly_type.to_string());
    let (at, why) = match resolved {
        Some((at, why)) => (at.to_string(), why.to_string()),
        None => ("still open".to_owned(), none()),
    };
    vec![
        said_at.to_string(),
        alert.key.tenant.to_string(),
        alert.key.dims.to_string(),
        format!("{} {}", alert.key.grain, alert.key.period_start),
        alert.rule.to_string(),
        severity.name().to_owned(),
        value,
        decimal(alert.expected).unwrap_or_else(none),
        band(own),
        at,
        why,
    ]
}

fn fired(own: &Fired) -> Value {
    let Fired { said_at, alert, severity, last, resolved } = own;
    json!({
        "said_at": said_at.to_string(),
        "tenant": &*alert.key.tenant, "dims": dims(&alert.key.dims), "grain": alert.key.grain.name(),
        "period_start": alert.key.period_start.to_string(), "last_period_start": last.to_string(),
        "rule": &*alert.rule, "anomaly_type": &*alert.anomaly_type, "severity": severity.name(),
        "value": decimal(alert.value), "expected": decimal(alert.expected),
        "lower": decimal(alert.lower), "upper": decimal(alert.upper),
        "deviation": alert.deviation, "reason": &*alert.reason,
        "resolved_at": resolved.as_ref().map(|(at, _)| at.to_string()),
        "resolution": resolved.as_ref().map(|(_, why)| &**why),
    })
}

fn mark(own: &Fired) -> Mark {
    let alert = &own.alert;
    let text = format!("{} ({}): {}", alert.rule, own.severity.name(), alert.reason);
    Mark { start: alert.key.period_start, severity: own.severity, text }
}
