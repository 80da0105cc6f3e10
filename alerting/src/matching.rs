//! Which route takes which notice.
//!
//! # Guarantees
//! - A list that is left out or empty takes everything but `info`, which nobody is told of who does not ask for it.
//! - `*` at the end of a word stands for any rest.
//! - What is told of Weir itself has no KPI and no tenant: a route takes it by its severity alone.

use schemas::{AlertMatch, Severity};
use serde::Deserialize;

use crate::notice::Notice;

/// What a route takes. All that is named must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Match(pub AlertMatch);

impl Match {
    /// Whether the route takes it.
    pub fn takes(&self, notice: &Notice) -> bool {
        let Match(wanted) = self;
        let is_asked = !wanted.severity.is_empty() || notice.severity > Severity::Info;
        if !is_asked || !wanted.takes_severity(notice.severity) {
            return false;
        }
        let Some(about) = &notice.about else { return true };
        wanted.takes_series(&about.kpi, &about.tenant, &about.dims)
    }
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
