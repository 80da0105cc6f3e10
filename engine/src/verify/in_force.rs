//! The definitions by which a lake is verified: those in force in it, whatever the configuration says by now.
//!
//! # Guarantees
//! - What is configured and was never put in force proves nothing against a lake.
//! - Each definition of which the configuration says something else is named.
//!
//! # Non-guarantees
//! - Where nothing is known to be in force, the configuration is taken at its word.

use std::sync::Arc;

use gold::view_file::{self, ViewFile};
use gold::{Catalog, Definition, DefinitionError};
use schemas::in_force::Version;
use schemas::{Contract, DefinitionChange, DefinitionKind, InForce, chain};

use super::Subject;
use crate::definitions::{contracts_of, in_force};

/// The lake with the definitions in force in it, and what is to be said of others.
pub(super) fn held(subject: &Subject) -> (Subject, Vec<String>) {
    // What is wrong with the lake is said by the checks.
    let held = in_force(&subject.lake).ok().flatten().unwrap_or_default();
    let is_known = held.all_newest(DefinitionKind::Contract).next().is_some();
    let changes = held.changes_to(subject.definitions.iter().cloned());
    if subject.definitions.is_empty() || !is_known || changes.is_empty() {
        return (subject.clone(), Vec::new());
    }
    match read(&held) {
        Ok((contracts, catalog)) => {
            let configured = &subject.catalog;
            let catalog = catalog.with_calendar(Arc::clone(configured.calendar()));
            let catalog = Arc::new(catalog.with_view_tables(configured.view_tables()));
            let notes = changes.iter().map(|change| note(&held, change)).collect();
            (Subject { contracts, catalog, ..subject.clone() }, notes)
        }
        Err(reason) => {
            let text = "the definitions in force are not as this release reads them, those of the configuration are \
                        taken";
            (subject.clone(), vec![format!("{text}: {reason}")])
        }
    }
}

/// The definitions in force, by their texts.
fn read(held: &InForce) -> Result<(Vec<Contract>, Catalog), String> {
    let contracts = contracts_of(held)?;
    let mut definitions = Vec::new();
    // What is converted has a key that comes first.
    for (key, version) in held.all_newest(DefinitionKind::Kpi) {
        let text = version.text.as_deref().unwrap_or_default();
        if let Some(converted) = Definition::of_converted_text(text, &definitions) {
            definitions.push(converted);
            continue;
        }
        definitions.push(Definition::parse(&format!("{key}.toml"), text).map_err(|e| chain(&e))?);
    }
    let file = |(name, version): (&str, &Version)| ViewFile {
        name: name.to_owned(),
        text: version.text.clone().unwrap_or_default(),
        file: format!("{name}.sql"),
    };
    let files: Vec<ViewFile> = held.all_newest(DefinitionKind::View).map(file).collect();
    let first =
        |refused: Vec<DefinitionError>| refused.first().map_or_else(String::new, |e| chain(e));
    let views = view_file::accept(&files, &contracts).map_err(first)?;
    let catalog = Catalog::new(definitions, &contracts, views).map_err(|e| chain(&e))?;
    Ok((contracts, catalog))
}

fn note(held: &InForce, change: &DefinitionChange) -> String {
    let DefinitionChange { of, name, .. } = change;
    let version = held.newest(*of, name);
    match (version, &change.identity) {
        (Some(version), Some(_)) => format!(
            "the {of} `{name}` is configured otherwise than it is in force (version {}, since epoch {}): that is in \
             force from the next start of `weir run`, or `weir kpis apply`, on",
            version.number, version.since
        ),
        (Some(_), None) => format!(
            "the {of} `{name}` is not configured any more: it is in force until the next start of `weir run`, or \
             `weir kpis apply`"
        ),
        (None, _) => {
            format!(
                "the {of} `{name}` is configured, and not in force until the next start of `weir run`, or `weir kpis \
                 apply`"
            )
        }
    }
}
