//! Settings: `[alerts]` and its routes.
//!
//! # Guarantees
//! - A secret stands in a file or in the environment, never in the configuration, and is never printed.
//! - Two routes have two names.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use schemas::Severity;
use serde::Deserialize;

use crate::digest::DigestSettings;
use crate::matching::Match;
use crate::notice::Notice;
use crate::quiet::QuietSettings;

/// One route.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteSettings {
    /// Its name.
    pub name: String,
    /// What it is: a word of [`crate::kinds`].
    pub kind: String,
    /// Where it sends to; several for Alertmanager only.
    #[serde(default)]
    pub url: Urls,
    /// What it takes.
    #[serde(default, rename = "match")]
    pub matching: Match,
    /// When its notices wait.
    #[serde(default)]
    pub quiet: Option<QuietSettings>,
    /// When it sends a digest of what it takes, instead of a notice of each.
    #[serde(default)]
    pub digest: Option<DigestSettings>,
    /// The file that its secret is in.
    #[serde(default)]
    pub secret_file: Option<PathBuf>,
    /// The variable of the environment that its secret is in.
    #[serde(default)]
    pub secret_env: Option<String>,
    /// E-mail: who sends.
    #[serde(default)]
    pub from: Option<String>,
    /// E-mail: who receives.
    #[serde(default)]
    pub to: Vec<String>,
}

/// The settings of a route, by name.
pub const ROUTE_KEYS: [&str; 10] =
    ["name", "kind", "url", "match", "quiet", "digest", "secret_file", "secret_env", "from", "to"];

/// One URL or several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "OneOrMany")]
pub struct Urls(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Urls {
    fn from(urls: OneOrMany) -> Urls {
        match urls {
            OneOrMany::One(url) if url.is_empty() => Urls(Vec::new()),
            OneOrMany::One(url) => Urls(vec![url]),
            OneOrMany::Many(urls) => Urls(urls),
        }
    }
}

/// A text that is not printed.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(pub(crate) String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl RouteSettings {
    /// Whether the route takes a notice.
    pub fn takes(&self, notice: &Notice) -> bool {
        self.effective_match().takes(notice)
    }

    /// What it takes: a digest what pages nobody, unless severities are named.
    pub(crate) fn effective_match(&self) -> Match {
        let mut matching = self.matching.clone();
        if self.digest.is_some() && matching.0.severity.is_empty() {
            matching.0.severity = vec![Severity::Info, Severity::Warning];
        }
        matching
    }

    /// Its secret, if it has one.
    ///
    /// # Errors
    /// When it cannot be read; the text says where it was looked for.
    pub(crate) fn secret(&self) -> Result<Option<Secret>, String> {
        let text = match (&self.secret_file, &self.secret_env) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err("has secret_file and secret_env; leave one out".to_owned());
            }
            (Some(file), None) => std::fs::read_to_string(file)
                .map_err(|e| format!("secret_file {}: {e}", file.display()))?,
            (None, Some(name)) => std::env::var(name).map_err(|_| {
                format!("secret_env: the environment has no variable {name} with a text")
            })?,
        };
        match text.trim() {
            "" => Err("its secret is empty".to_owned()),
            text => Ok(Some(Secret(text.to_owned()))),
        }
    }

    /// Its only URL, or this one.
    ///
    /// # Errors
    /// When it has several, or none and there is no other.
    pub(crate) fn one_url(&self, default: Option<&str>) -> Result<String, String> {
        match (self.url.0.as_slice(), default) {
            ([url], _) => Ok(url.clone()),
            ([], Some(url)) => Ok(url.to_owned()),
            ([], None) => Err("needs `url`".to_owned()),
            _ => Err("has one `url` only; add a route for each".to_owned()),
        }
    }
}

/// Refuses routes that cannot be told apart.
///
/// # Errors
/// The name that stands twice or not at all.
pub(crate) fn have_names(routes: &[RouteSettings]) -> Result<(), String> {
    let mut names = BTreeSet::new();
    for route in routes {
        if route.name.trim().is_empty() {
            return Err("[[alerts.routes]]: a route needs a `name`".to_owned());
        }
        if !names.insert(&route.name) {
            return Err(format!(
                "[[alerts.routes]]: two routes are named `{}`; rename one",
                route.name
            ));
        }
    }
    Ok(())
}
