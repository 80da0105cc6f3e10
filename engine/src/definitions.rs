//! The definitions that a configuration names, as they are put in force.
//!
//! # Guarantees
//! - A file of a folder takes the place of the built-in one of the same name.

use std::collections::BTreeMap;
use std::path::Path;

use gold::View;
use lake::state::Read;
use lake::{At, Lake, LakeError, Table};
use pipeline::bronze::{FLUSHED, TABLE};
use schemas::in_force::Version;
use schemas::{Contract, DefinitionChange, DefinitionKind, EpochId, InForce, chain};

use crate::contracts::toml_files;
use crate::core::control::PART;
use crate::identities::{self, Identities};

/// Every contract and KPI definition, the built-in ones and those of two folders, and every view.
///
/// # Errors
/// When a file cannot be read or is no definition; the text names it.
pub fn wanted(
    contracts: Option<&Path>,
    kpis: Option<&Path>,
    views: &[View],
) -> Result<Vec<DefinitionChange>, String> {
    let built_in = schemas::contract::all_that_come();
    let mut all = of_kind(DefinitionKind::Contract, &built_in, contracts)?;
    all.extend(of_kind(DefinitionKind::Kpi, gold::definition::built_in_files(), kpis)?);
    all.extend(
        views.iter().map(|view| DefinitionChange::of_view(view.name(), view.sql(), view.sql())),
    );
    Ok(all)
}

fn of_kind(
    of: DefinitionKind,
    built_in: &[(&str, &str)],
    folder: Option<&Path>,
) -> Result<Vec<DefinitionChange>, String> {
    let mut texts: Vec<(String, String)> = Vec::new();
    for (file, text) in built_in {
        texts.push(((*file).to_owned(), (*text).to_owned()));
    }
    for path in toml_files(folder)? {
        let file = path.display().to_string();
        let text = std::fs::read_to_string(&path)
            .map_err(|e| format!("could not read the {of} in `{file}`: {e}"))?;
        texts.push((file, text));
    }
    let mut all: BTreeMap<String, DefinitionChange> = BTreeMap::new();
    for (file, text) in texts {
        let change = DefinitionChange::of_file(of, &text);
        let change = change.map_err(|reason| format!("the {of} in `{file}`: {reason}"))?;
        all.insert(change.name.clone(), change);
    }
    Ok(all.into_values().collect())
}

/// The last complete barrier of a lake; `None` before the first.
///
/// # Errors
/// When the lake cannot be read.
pub fn last_barrier(lake: &Lake) -> Result<Option<EpochId>, LakeError> {
    let bronze = match Table::open(lake, TABLE, At::Newest) {
        Err(LakeError::NoTable { .. }) => return Ok(None),
        table => table?,
    };
    let flushed = bronze.progress(FLUSHED).and_then(|epoch| u64::try_from(epoch).ok());
    Ok(flushed.filter(|epoch| *epoch > 0))
}

/// The definitions in force in a lake, as of its last complete barrier; `None` before the first.
///
/// # Errors
/// When the lake cannot be read.
pub fn in_force(lake: &Lake) -> Result<Option<InForce>, LakeError> {
    let Some(state) = last_state(lake)? else { return Ok(None) };
    let held = state.saved.head::<&str>(PART).ok();
    Ok(held.and_then(|text| serde_json::from_str(text).ok()))
}

/// Whether the cells of a KPI are, as of the last complete barrier, as its definition and silver say, and not to be
/// computed anew by the next run.
///
/// # Errors
/// When the lake cannot be read.
pub fn is_computed(lake: &Lake, kpi: &str) -> Result<bool, LakeError> {
    let Some(state) = last_state(lake)? else { return Ok(false) };
    let identities = state.saved.head::<&str>(identities::PART).ok();
    let identities = identities.and_then(|text| Identities::parse(text.as_bytes()));
    Ok(identities.is_some_and(|identities| identities.owns(kpi)))
}

fn last_state(lake: &Lake) -> Result<Option<Read>, LakeError> {
    let Some(flushed) = last_barrier(lake)? else { return Ok(None) };
    let read = lake::state::read(&lake.work_dir().join("state"), flushed);
    Ok(read
        .map_err(|error| {
            tracing::warn!("could not read the state of barrier {flushed}: {}", chain(&error));
        })
        .ok())
}

/// The contracts among the definitions in force, by their texts.
///
/// # Errors
/// When one is not as this release reads it; the text names it.
pub fn contracts_of(held: &InForce) -> Result<Vec<Contract>, String> {
    let read = |(name, version): (&str, &Version)| {
        let contract = Contract::parse(version.text.as_deref().unwrap_or_default());
        let contract = contract.map_err(|e| e.to_string());
        let contract = contract.and_then(|own| crate::contracts::check(&own).map(|()| own));
        contract.map_err(|e| format!("contract `{name}`: {e}"))
    };
    held.all_newest(DefinitionKind::Contract).map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_takes_the_place_of_a_built_in_one() {
        let folder = tempfile::tempdir().unwrap();
        let built_in = wanted(None, None, &[]).unwrap();
        assert!(built_in.iter().any(|change| change.name == "orders"));
        let (file, text) = schemas::contract::built_in()[0];
        std::fs::write(folder.path().join(file), format!("# mine\n{text}")).unwrap();
        let same = wanted(Some(folder.path()), None, &[]).unwrap();
        let identities = |all: &[DefinitionChange]| -> Vec<Option<String>> {
            all.iter().map(|change| change.identity.clone()).collect()
        };
        assert_eq!(identities(&same), identities(&built_in), "a comment changes no meaning");
        std::fs::write(folder.path().join("x.toml"), "format = 'f'").unwrap();
        let refused = wanted(Some(folder.path()), None, &[]).unwrap_err();
        assert!(refused.contains("x.toml") && refused.contains("`name`"), "{refused}");
    }
}
