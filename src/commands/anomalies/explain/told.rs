//! An alert that is explained, as text and as JSON.

use schemas::answer::Said;
use schemas::decimal::{VALUE_SCALE, format};
use schemas::watching::share;
use schemas::{Alert, Contribution, Watching};
use serde_json::{Value, json};

use super::{Explained, Rule, stamp};
use crate::commands::in_force;
use crate::output;

/// Others of an incident that are named.
const OTHERS_TEXT: usize = 20;
const OTHERS_JSON: usize = 100;

fn decimal(mantissa: Option<i128>) -> Option<String> {
    mantissa.map(|own| format(own, VALUE_SCALE))
}

fn dims(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!(text))
}

/// The gap of a part, and its share of the whole one in percent.
fn part(own: &Contribution, impact: Option<i128>) -> (i128, Option<f64>) {
    let gap = own.value.saturating_sub(own.expected);
    let share = impact.filter(|whole| *whole != 0).map(|whole| {
        // Whole tenths of a percent.
        gap.saturating_mul(1_000).checked_div(whole).unwrap_or_default()
    });
    (gap, share.and_then(|own| i32::try_from(own).ok()).map(|own| f64::from(own) / 10.0))
}

/// What a detector compares with.
fn compares(detector: &str) -> &'static str {
    match detector {
        "seasonal" => "the band that the series' own past makes plausible",
        "change_week_before" => "the same day one week before",
        "change_day_before" => "the day before",
        _ => "the same day of the KPI that is its budget",
    }
}

/// How a KPI is watched, settings that are not said included.
fn settings(own: &Watching) -> [(&'static str, String); 6] {
    let usual = || "as usual".to_owned();
    let impact = decimal(own.least_impact);
    let hours = own.lateness.map(|hours| format!("{hours}h"));
    let detectors = own.detectors.as_ref().map(|named| named.join(", "));
    [
        ("sensitivity", own.sensitivity.name().to_owned()),
        ("direction", own.direction.name().to_owned()),
        ("least_change", own.least_change.map_or_else(usual, share)),
        ("least_impact", impact.unwrap_or_else(|| "none".to_owned())),
        ("lateness", hours.unwrap_or_else(|| "as learned".to_owned())),
        ("detectors", detectors.unwrap_or_else(|| "all".to_owned())),
    ]
}

impl Rule {
    /// Why its settings are not known.
    fn unknown(&self) -> Option<String> {
        match (&self.watching, &self.detector) {
            (Err(why), _) => Some(why.clone()),
            (Ok(own), _) if !own.enabled => Some("its KPI is not watched any more".to_owned()),
            (Ok(_), None) => Some(format!(
                "the definition in force has no rule `{}` any more; it had when the alert opened",
                self.name
            )),
            (Ok(_), Some(_)) => None,
        }
    }

    fn to_json(&self) -> Value {
        let detector = self.detector.as_ref().map(|(name, _)| *name);
        let steps = self.detector.as_ref().map(|(_, steps)| steps.as_slice()).unwrap_or_default();
        let settings = self.watching.as_ref().ok().map(|own| {
            let fields =
                settings(own).into_iter().map(|(name, value)| (name.to_owned(), json!(value)));
            Value::Object(fields.collect())
        });
        let rule = json!({
            "name": self.name,
            "detector": detector,
            "compares_with": detector.map(compares),
            "steps": steps,
            "settings": settings,
            "unknown": self.unknown(),
        });
        in_force::add_to(rule, self.version.as_ref())
    }

    fn told(&self) -> Vec<(&'static str, String)> {
        let name = match &self.detector {
            Some((detector, _)) => {
                format!("{} ({detector}: against {})", self.name, compares(detector))
            }
            None => self.name.clone(),
        };
        let steps = self.detector.iter().flat_map(|(_, steps)| steps);
        let mut all = vec![("rule", name)];
        all.extend(steps.map(|step| ("step in force", step.clone())));
        all.extend(self.unknown().map(|why| ("settings in force", format!("unknown: {why}"))));
        if let Ok(watching) = &self.watching {
            let settings = settings(watching).map(|(name, value)| format!("{name} {value}"));
            all.push(("settings in force", settings.join("; ")));
        }
        all.extend(self.version.as_ref().map(|own| ("in force", in_force::words(own))));
        all
    }
}

fn said(own: &Said) -> Value {
    json!({ "by": &*own.by, "at": own.at.to_string(), "comment": own.comment.as_deref() })
}

fn words(own: &Said) -> String {
    let comment = own.comment.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
    format!("{} at {}{comment}", own.by, own.at)
}

fn other(own: &Alert) -> Value {
    json!({
        "id": &*own.id,
        "leads": own.id == own.incident,
        "kpi": &*own.key.kpi,
        "tenant": &*own.key.tenant,
        "dims": dims(&own.key.dims),
        "grain": own.key.grain.name(),
        "period_start": own.key.period_start.to_string(),
        "rule": &*own.rule,
        "severity": own.severity.name(),
        "state": own.state(),
        "reason": &*own.reason,
    })
}

impl Explained<'_> {
    pub(super) fn to_json(&self) -> Value {
        let Explained { alert, answer, others, rule, unit, .. } = self;
        let (epoch, as_of) = stamp(self.held);
        let chance = self.chance();
        let contribution = |own: &Contribution| {
            let (gap, share) = part(own, self.impact());
            json!({
                "kpi": &*own.kpi, "dims": dims(&own.dims), "value": format(own.value, VALUE_SCALE),
                "expected": format(own.expected, VALUE_SCALE), "impact": format(gap, VALUE_SCALE),
                "share_percent": share,
            })
        };
        let acknowledged = answer.as_ref().and_then(|own| own.acknowledged.as_ref());
        let feedback = answer.as_ref().and_then(|own| own.feedback.as_ref());
        let feedback = feedback.map(|(verdict, own)| {
            let comment = own.comment.as_deref();
            json!({ "verdict": verdict.name(), "by": &*own.by, "at": own.at.to_string(), "comment": comment })
        });
        json!({
            "id": &*alert.id,
            "epoch": epoch, "as_of": as_of.map(|own| own.to_string()),
            "kpi": &*alert.key.kpi, "tenant": &*alert.key.tenant, "dims": dims(&alert.key.dims),
            "grain": alert.key.grain.name(), "period_start": alert.key.period_start.to_string(),
            "reason": &*alert.reason, "anomaly_type": &*alert.anomaly_type,
            "severity": alert.severity.name(), "state": alert.state(),
            "opened_at": alert.opened_at.to_string(),
            "resolved_at": alert.resolved_at.map(|at| at.to_string()),
            "resolution": alert.resolution.as_deref(),
            "unit": unit,
            "value": decimal(alert.value), "expected": decimal(alert.expected),
            "lower": decimal(alert.lower), "upper": decimal(alert.upper),
            "deviation": alert.deviation, "impact": decimal(self.impact()),
            "z_score": chance.map(|(z, _)| z), "p_value": chance.map(|(_, p)| p),
            "rule": rule.to_json(),
            "incident": {
                "id": &*alert.incident,
                "leads": alert.incident == alert.id,
                "leader_held": self.has_leader(),
                "alerts": others.len() + 1,
                "others": others.iter().take(OTHERS_JSON).map(|own| other(own)).collect::<Vec<_>>(),
            },
            "contributions": alert.contributions.iter().map(contribution).collect::<Vec<_>>(),
            "contributions_unknown": self.undivided(),
            "answers_known": answer.is_some(),
            "acknowledged": acknowledged.map(said),
            "feedback": feedback,
            "muted_until": answer.as_ref().and_then(|own| own.muted_until).map(|at| at.to_string()),
            "rows": self.rows.as_ref().ok(),
            "rows_unknown": self.rows.as_ref().err(),
        })
    }

    pub(super) fn print(&self) {
        let (epoch, as_of) = stamp(self.held);
        if let (Some(epoch), Some(as_of)) = (epoch, as_of) {
            output::line(&format!("epoch {epoch}, as of {as_of}"));
        }
        output::line(&self.alert.reason);
        output::line("");
        let all = [self.figures(), self.rule.told(), self.answers()].concat();
        let row = |(name, value): (&str, String)| vec![name.to_owned(), value];
        let rows: Vec<_> = all.into_iter().map(row).collect();
        output::table(&["field", "value"], &rows);
        output::line("");
        self.print_parts();
        self.print_incident();
        output::line("");
        match &self.rows {
            Ok(command) => output::line(&format!("the rows behind it: {command}")),
            Err(why) => output::line(&format!("the rows behind it cannot be told: {why}")),
        }
    }

    fn figures(&self) -> Vec<(&'static str, String)> {
        let alert = self.alert;
        let unknown = |why: &str| format!("unknown: {why}");
        let number = |own: Option<i128>, why: &str| decimal(own).unwrap_or_else(|| unknown(why));
        let (lower, upper) = (decimal(alert.lower), decimal(alert.upper));
        let side = |own: Option<String>| own.unwrap_or_else(|| "no limit".to_owned());
        let chance = self.chance();
        let why = "nothing was forecast yet when it was judged";
        let far = match self.unit {
            Some("ratio") => format!("{:+.1} percentage points", alert.deviation * 100.0),
            _ => format!("{:+.1} %", alert.deviation * 100.0),
        };
        let value = match alert.value {
            None if &*alert.anomaly_type == "missing" => "nothing arrived".to_owned(),
            own => number(own, "the cell has none"),
        };
        let state = match (&alert.resolved_at, alert.resolution.as_deref()) {
            (Some(at), why) => {
                format!("{} at {at}: {}", alert.state(), why.unwrap_or("why is unknown"))
            }
            (None, _) => format!("{} since {}", alert.state(), alert.opened_at),
        };
        let kind = format!("{}, {}", alert.anomaly_type, alert.severity.name());
        let cell = format!(
            "{} of {} {}, {} from {}",
            alert.key.kpi,
            alert.key.tenant,
            alert.key.dims,
            alert.key.grain,
            alert.key.period_start
        );
        vec![
            ("alert", alert.id.to_string()),
            ("cell", cell),
            ("what", kind),
            ("state", state),
            ("value", value),
            ("expected", number(alert.expected, "the alert has none")),
            ("normal from", side(lower)),
            ("normal to", side(upper)),
            ("deviation", far),
            (
                "impact",
                format!(
                    "{}{}",
                    number(self.impact(), "it needs a value and what was expected"),
                    self.unit()
                ),
            ),
            ("p-value", chance.map_or_else(|| unknown(why), |(_, p)| format!("{p:.2e}"))),
            ("z-score", chance.map_or_else(|| unknown(why), |(z, _)| format!("{z:+.2}"))),
        ]
    }

    /// The unit behind a number.
    fn unit(&self) -> String {
        let dims = dims(&self.alert.key.dims);
        match (self.unit, dims.get("currency").and_then(Value::as_str)) {
            (Some("currency"), Some(code)) => format!(" {code}"),
            (Some(unit), _) => format!(" {unit}"),
            (None, _) => String::new(),
        }
    }

    fn answers(&self) -> Vec<(&'static str, String)> {
        let Some(answer) = &self.answer else {
            let why = "unknown: the state of the last barrier, which has what people said, cannot be read";
            return vec![("answers", why.to_owned())];
        };
        let nobody = || "nobody".to_owned();
        let feedback = answer.feedback.as_ref();
        let feedback =
            feedback.map(|(verdict, own)| format!("{}, by {}", verdict.name(), words(own)));
        let mut all = vec![
            ("acknowledged by", answer.acknowledged.as_ref().map_or_else(nobody, words)),
            ("feedback", feedback.unwrap_or_else(|| "none".to_owned())),
        ];
        all.extend(answer.muted_until.map(|until| ("muted until", until.to_string())));
        all
    }

    fn print_parts(&self) {
        if let Some(why) = self.undivided() {
            return output::line(&format!("contributions: {why}"));
        }
        output::line("the largest contributions, when it was judged last:");
        let row = |own: &Contribution| {
            let (gap, share) = part(own, self.impact());
            let share = share.map_or_else(|| "-".to_owned(), |own| format!("{own:.1} %"));
            let number = |own: i128| format(own, VALUE_SCALE);
            let (value, expected) = (number(own.value), number(own.expected));
            vec![own.kpi.to_string(), own.dims.to_string(), value, expected, number(gap), share]
        };
        let rows: Vec<_> = self.alert.contributions.iter().map(row).collect();
        output::table(&["kpi", "dims", "value", "expected", "impact", "share"], &rows);
    }

    fn print_incident(&self) {
        output::line("");
        let Explained { alert, others, .. } = self;
        let lead = match (alert.incident == alert.id, self.has_leader()) {
            (true, _) => "which it leads".to_owned(),
            (false, true) => format!("which {} leads", alert.incident),
            (false, false) => format!("whose leader {} is not in the lake", alert.incident),
        };
        output::line(&format!("incident {}, {lead}: {} alerts", alert.incident, others.len() + 1));
        let row = |own: &&Alert| {
            let text = [&own.id, &own.key.kpi, &own.key.dims].map(|text| text.to_string());
            let more = [own.key.grain.name(), own.severity.name(), own.state()].map(str::to_owned);
            [&text[..], &more[..], &[own.reason.to_string()]].concat()
        };
        let rows: Vec<_> = others.iter().take(OTHERS_TEXT).map(row).collect();
        if !rows.is_empty() {
            output::table(&["alert", "kpi", "dims", "grain", "severity", "state", "reason"], &rows);
        }
        let more = others.len().saturating_sub(OTHERS_TEXT);
        if more > 0 {
            output::line(&format!("and {more} more; `--json` names up to {OTHERS_JSON}"));
        }
    }
}
