//! Notices: what a person is told of an alert, in a form that every route can send.
//!
//! # Guarantees
//! - A notice has one id for as long as it exists: of the alert, of what is told of it, and of how often it opened
//!   again. A receiver that keeps ids takes one that was sent twice once.
//! - Labels name the alert and are the same in all its notices; what changes stands in annotations.

use std::collections::BTreeMap;

use schemas::alert_match::dims_of;
use schemas::answer;
use schemas::decimal::{VALUE_SCALE, format};
use schemas::{Alert, Answer, Answers, KpiInfo, Micros, Severity, Unit};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::kpi_infos::KpiInfos;

/// As many other alerts of an incident are named.
const RELATED: usize = 5;

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The alert opened.
    Opened,
    /// It matters more than was told.
    Updated,
    /// It is over.
    Resolved,
    /// It should not have been: what made it open is not in the lake any more.
    Withdrawn,
    /// A digest: what happened since the last one.
    Digest,
}

impl Kind {
    /// The word used in ids, tables and webhooks.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Opened => "opened",
            Kind::Updated => "updated",
            Kind::Resolved => "resolved",
            Kind::Withdrawn => "withdrawn",
            Kind::Digest => "digest",
        }
    }

    /// Whether nothing follows but that it opens again.
    pub fn is_last(self) -> bool {
        matches!(self, Kind::Resolved | Kind::Withdrawn)
    }
}

/// One thing that is told of one alert.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Notice {
    /// The same however often it is sent.
    pub id: String,
    /// The alert.
    pub alert: String,
    /// What is told of it.
    pub kind: Kind,
    /// How much it matters.
    pub severity: Severity,
    /// What it is about, for those who route: a KPI of a tenant; of Weir's own troubles neither.
    pub about: Option<About>,
    /// What names it, for those who group: names and values.
    pub labels: BTreeMap<String, String>,
    /// What is said of it, by name; `summary` is always there.
    pub annotations: BTreeMap<String, String>,
    /// When it began.
    pub starts_at: Micros,
    /// When it ended.
    pub ends_at: Option<Micros>,
    /// Where to look.
    pub link: Option<String>,
    /// The alert as clients of the API see it.
    pub body: Value,
}

/// What a notice is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The KPI.
    pub kpi: String,
    /// Its title.
    pub title: String,
    /// The tenant.
    pub tenant: String,
    /// The dimensions that have a value.
    pub dims: BTreeMap<String, String>,
}

impl Notice {
    /// The one line that says it all.
    pub fn summary(&self) -> &str {
        self.annotations.get("summary").map_or("", String::as_str)
    }

    /// Says that the alert opens and closes again and again.
    pub(crate) fn flaps(&mut self) {
        let text = "it opens and closes again and again; its end is told when it has been over for 20 minutes";
        self.annotations.insert("flapping".to_owned(), text.to_owned());
        if let Some(summary) = self.annotations.get_mut("summary") {
            summary.push_str(" (flapping)");
        }
    }

    /// Says what people have said of the alert so far.
    pub(crate) fn answered(&mut self, answers: &Answers) {
        let acknowledged = answers.acknowledged(&self.alert);
        let muted = self.about.as_ref().and_then(|about| {
            let About { kpi, tenant, dims, .. } = about;
            answers.muted_until(&answer::About { severity: self.severity, kpi, tenant, dims })
        });
        let mut say = |name: &str, text: Option<String>| match text {
            Some(text) => drop(self.annotations.insert(name.to_owned(), text)),
            None => drop(self.annotations.remove(name)),
        };
        say("acknowledged_by", acknowledged.map(|said| said.by.to_string()));
        say("acknowledged_at", acknowledged.map(|said| said.at.to_string()));
        let comment = acknowledged.and_then(|said| said.comment.as_ref());
        say("acknowledged_comment", comment.map(ToString::to_string));
        say("muted_until", muted.map(|until| until.to_string()));
    }

    /// A title of one line: what it is about and what became of it.
    pub fn title(&self) -> String {
        let what = match &self.about {
            Some(about) => format!("{} of {}", about.title, about.tenant),
            None => "Weir".to_owned(),
        };
        match self.kind {
            Kind::Opened | Kind::Updated => format!("[{}] {what}", self.severity.name()),
            Kind::Digest => {
                let date = self.labels.get("date").map_or("", String::as_str);
                format!("Weir, digest of {date}")
            }
            kind => format!("[{}] {what}", kind.name()),
        }
    }
}

/// An alert, of which people said that, as clients of the API see it.
pub(crate) type Body = dyn Fn(&Alert, &Answer) -> Value + Send + Sync;

/// What alerts do not say of themselves.
pub struct Words {
    /// The KPIs that there are.
    pub kpis: KpiInfos,
    /// Where people reach the page, without a `/` at its end.
    pub public_url: Option<String>,
    /// An alert as clients of the API see it.
    pub body: Box<Body>,
}

impl std::fmt::Debug for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Words").field("public_url", &self.public_url).finish_non_exhaustive()
    }
}

impl Words {
    /// What is told of an alert, the `round`th time that it opened, people having said this of alerts.
    pub fn notice(&self, alert: &Alert, kind: Kind, round: u32, answers: &Answers) -> Notice {
        let info = self.kpis.get(&alert.key.kpi);
        let info = info.as_ref();
        let dims = dims_of(&alert.key.dims);
        let about = About {
            kpi: alert.key.kpi.to_string(),
            title: info.map_or_else(|| alert.key.kpi.to_string(), |info| info.title.clone()),
            tenant: alert.key.tenant.to_string(),
            dims: dims.clone(),
        };
        let link = self.link(alert, &dims);
        let is_over = kind.is_last();
        let mut notice = Notice {
            id: id(&alert.id, kind, alert.severity, round),
            alert: alert.id.to_string(),
            kind,
            severity: alert.severity,
            labels: labels(alert, dims),
            annotations: annotations(alert, info, &about, kind),
            about: Some(about),
            starts_at: alert.opened_at,
            ends_at: alert.resolved_at.filter(|_| is_over),
            link,
            body: (self.body)(alert, &answers.of(alert)),
        };
        notice.answered(answers);
        notice
    }
}

impl Words {
    /// Says which other alerts are of the same cause.
    pub(crate) fn relate<'a>(&self, notice: &mut Notice, others: impl Iterator<Item = &'a Alert>) {
        let mut named: Vec<String> = others.map(|own| self.name(own)).collect();
        named.sort();
        named.dedup();
        let beyond = named.len().saturating_sub(RELATED);
        if named.is_empty() {
            return;
        }
        named.truncate(RELATED);
        let mut text = named.join("; ");
        if beyond > 0 {
            text.push_str(&format!("; and {beyond} more"));
        }
        notice.annotations.insert("related".to_owned(), text);
    }

    /// An alert in a list of others.
    fn name(&self, alert: &Alert) -> String {
        let info = self.kpis.get(&alert.key.kpi);
        let title = info.as_ref().map_or(&*alert.key.kpi, |info| info.title.as_str());
        let dims = dims_of(&alert.key.dims).into_values().collect::<Vec<_>>().join(", ");
        let dims = if dims.is_empty() { dims } else { format!(" ({dims})") };
        format!("{title}{dims}, {}", alert.key.grain.name())
    }

    /// The page at the bucket of an alert.
    fn link(&self, alert: &Alert, dims: &BTreeMap<String, String>) -> Option<String> {
        let mut url = reqwest::Url::parse(self.public_url.as_ref()?).ok()?;
        let key = &alert.key;
        let mut query = url.query_pairs_mut();
        query.append_pair("tenant", &key.tenant).append_pair("kpi", &key.kpi);
        query
            .append_pair("grain", key.grain.name())
            .append_pair("at", &key.period_start.to_string());
        for (name, value) in dims {
            match name.as_str() {
                "currency" => query.append_pair("currency", value),
                name => query.append_pair(&format!("dim.{name}"), value),
            };
        }
        drop(query);
        Some(url.into())
    }
}

/// The id of a notice.
pub(crate) fn id(alert: &str, kind: Kind, severity: Severity, round: u32) -> String {
    let mut id = format!("{alert}.{}", kind.name());
    if kind == Kind::Updated {
        id.push('.');
        id.push_str(severity.name());
    }
    if round > 1 {
        id.push_str(&format!(".{round}"));
    }
    id
}

/// Labels: the severity is none of them, because it may rise and labels may not change.
fn labels(alert: &Alert, dims: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let named = [
        ("alertname", "KpiAnomaly"),
        ("kpi", &alert.key.kpi),
        ("tenant", &alert.key.tenant),
        ("grain", alert.key.grain.name()),
        ("weir_alert_id", &alert.id),
        ("incident", &alert.incident),
    ];
    let named = named.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
    named.chain(dims.into_iter().map(|(name, value)| (format!("dim_{name}"), value))).collect()
}

fn annotations(
    alert: &Alert,
    info: Option<&KpiInfo>,
    about: &About,
    kind: Kind,
) -> BTreeMap<String, String> {
    let decimal = |mantissa: i128| format(mantissa, VALUE_SCALE);
    let mut said = BTreeMap::from([("summary".to_owned(), summary(alert, about, kind))]);
    let mut say = |name: &str, what: Option<String>| {
        if let Some(what) = what {
            said.insert(name.to_owned(), what);
        }
    };
    say("description", Some(description(alert, about)));
    say("value", alert.value.map(decimal));
    say("expected", alert.expected.map(decimal));
    say(
        "band",
        alert.lower.zip(alert.upper).map(|(l, u)| format!("{} to {}", decimal(l), decimal(u))),
    );
    let distance =
        alert.value.or(Some(0)).zip(alert.expected).map(|(value, expected)| value - expected);
    // What a ratio is off by is no amount of anything.
    let has_amounts = info.is_some_and(|info| info.unit != Unit::Ratio);
    say("impact", distance.filter(|_| has_amounts).map(decimal));
    if alert.z_score.is_finite() {
        say("z_score", Some(format!("{:.1}", alert.z_score)));
    }
    say("confidence", Some(format!("{:.4}", alert.confidence)));
    say(
        "resolution",
        alert.resolution.as_ref().filter(|_| kind.is_last()).map(ToString::to_string),
    );
    said
}

fn summary(alert: &Alert, about: &About, kind: Kind) -> String {
    let whose = format!("{} of {}", about.title, about.tenant);
    match kind {
        Kind::Opened | Kind::Updated | Kind::Digest => format!("{whose}: {}", alert.reason),
        Kind::Resolved | Kind::Withdrawn => {
            let why = alert.resolution.as_deref().unwrap_or("it is over");
            format!("{whose}: {}, {why}", kind.name())
        }
    }
}

fn description(alert: &Alert, about: &About) -> String {
    let dims: Vec<String> =
        about.dims.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let dims = if dims.is_empty() { String::new() } else { format!(", {}", dims.join(", ")) };
    let key = &alert.key;
    let mut text = format!(
        "{}, tenant {}{dims}, {} from {}.",
        about.title,
        about.tenant,
        key.grain.name(),
        key.period_start
    );
    for part in alert.contributions.iter().take(3) {
        let dims = dims_of(&part.dims).into_values().collect::<Vec<_>>().join(", ");
        let (value, expected) =
            (format(part.value, VALUE_SCALE), format(part.expected, VALUE_SCALE));
        text.push_str(&format!(" {dims}: {value}, expected {expected}."));
    }
    text
}
