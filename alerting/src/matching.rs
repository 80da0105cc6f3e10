//! Which route takes which notice.
//!
//! # Guarantees
//! - A list that is left out or empty takes everything but `info`, which nobody is told of who does not ask for it.
//! - `*` at the end of a word stands for any rest.
//! - What is told of Weir itself has no KPI and no tenant: a route takes it by its severity alone.

use std::collections::BTreeMap;

use schemas::Severity;
use serde::Deserialize;

use crate::notice::Notice;

/// What a route takes. All that is named must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// How much it matters.
    #[serde(default)]
    pub severity: Vec<Severity>,
    /// The tenants.
    #[serde(default)]
    pub tenant: Vec<String>,
    /// The KPIs.
    #[serde(default)]
    pub kpi: Vec<String>,
    /// Values of dimensions, by their name.
    #[serde(default)]
    pub dims: BTreeMap<String, Vec<String>>,
}

impl Match {
    /// Whether the route takes it.
    pub fn takes(&self, notice: &Notice) -> bool {
        if !self.takes_severity(notice.severity) {
            return false;
        }
        let Some(about) = &notice.about else { return true };
        let dims = self
            .dims
            .iter()
            .all(|(name, wanted)| about.dims.get(name).is_some_and(|value| any(wanted, value)));
        any(&self.tenant, &about.tenant) && any(&self.kpi, &about.kpi) && dims
    }

    fn takes_severity(&self, severity: Severity) -> bool {
        match self.severity.is_empty() {
            true => severity > Severity::Info,
            false => self.severity.contains(&severity),
        }
    }
}

fn any(wanted: &[String], value: &str) -> bool {
    wanted.is_empty() || wanted.iter().any(|wanted| fits(wanted, value))
}

fn fits(wanted: &str, value: &str) -> bool {
    wanted.strip_suffix('*').map_or(wanted == value, |start| value.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::notice;

    fn takes(toml: &str, severity: Severity) -> bool {
        let matching: Match = toml::from_str(toml).unwrap();
        // Revenue of acme by channel web.
        matching.takes(&notice("a", crate::Kind::Opened, severity))
    }

    #[test]
    fn all_that_is_named_must_hold() {
        let error = Severity::Error;
        for toml in [
            "",
            r#"severity = ["error", "critical"]"#,
            r#"tenant = ["*"]"#,
            r#"tenant = ["other", "ac*"]"#,
            r#"kpi = ["revenue*"]"#,
            r#"dims = { channel = ["web"] }"#,
        ] {
            assert!(takes(toml, error), "{toml}");
        }
        for toml in [
            r#"severity = ["critical"]"#,
            r#"tenant = ["acm"]"#,
            r#"kpi = ["*revenue"]"#,
            r#"dims = { channel = ["shop"] }"#,
            r#"dims = { country = ["*"] }"#,
        ] {
            assert!(!takes(toml, error), "{toml}");
        }
    }

    #[test]
    fn nobody_hears_of_what_is_for_information_who_did_not_ask() {
        assert!(!takes("", Severity::Info));
        assert!(takes(r#"severity = ["info"]"#, Severity::Info));
    }

    #[test]
    fn troubles_of_weir_go_by_severity() {
        let mut notice = notice("a", crate::Kind::Opened, Severity::Error);
        notice.about = None;
        let tenants: Match = toml::from_str(r#"tenant = ["acme"]"#).unwrap();
        assert!(tenants.takes(&notice));
        notice.severity = Severity::Info;
        assert!(!tenants.takes(&notice));
    }
}
