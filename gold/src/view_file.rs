//! View files: one SELECT each, named `<view>.sql`.
//!
//! # Guarantees
//! - A file of a folder takes the place of the built-in one of the same name.
//! - Views that are refused are named with their file, the place and what to write instead.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use schemas::Contract;
use views::{Relations, View, accept_all};

use crate::definition::DefinitionError;

/// The text of a view.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewFile {
    /// The view's name, which is that of its file.
    pub name: String,
    /// Its SQL.
    pub text: String,
    /// The file it was read from.
    pub file: String,
}

/// The views that come with Weir, ordered by name.
pub fn built_in() -> Vec<ViewFile> {
    let files: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/built_in_views.rs"));
    let file = |(file, text): &(&str, &str)| ViewFile {
        name: file.trim_end_matches(".sql").to_owned(),
        text: (*text).to_owned(),
        file: (*file).to_owned(),
    };
    files.iter().map(file).collect()
}

/// Every `*.sql` file of a folder, in the order of their names.
///
/// # Errors
/// When the folder or a file cannot be read.
pub fn load_dir(folder: &Path) -> Result<Vec<ViewFile>, DefinitionError> {
    let read =
        |path: &Path, source| DefinitionError::Read { path: path.display().to_string(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| read(folder, error))? {
        let path = entry.map_err(|error| read(folder, error))?.path();
        if path.extension().is_none_or(|extension| extension != "sql") {
            continue;
        }
        let text = std::fs::read_to_string(&path).map_err(|error| read(&path, error))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        files.push(ViewFile { name, text, file: path.display().to_string() });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// The built-in views but those that `more` replaces, then `more`.
pub fn with_built_in(more: Vec<ViewFile>) -> Vec<ViewFile> {
    let mut all: BTreeMap<String, ViewFile> = BTreeMap::new();
    for file in built_in().into_iter().chain(more) {
        all.insert(file.name.clone(), file);
    }
    all.into_values().collect()
}

/// Reads views over contracts and over each other, each behind those that it reads. One that comes with Weir and does
/// not fit contracts of the user's own is left out.
///
/// # Errors
/// All that are refused.
pub fn accept(
    files: &[ViewFile],
    contracts: &[Contract],
) -> Result<Arc<[View]>, Vec<DefinitionError>> {
    let (ours, relations) = (built_in(), relations(contracts));
    let mut files: Vec<&ViewFile> = files.iter().collect();
    loop {
        let texts: Vec<(String, String)> =
            files.iter().map(|file| (file.name.clone(), file.text.clone())).collect();
        let refused = match accept_all(&texts, &relations) {
            Ok(views) => return Ok(views.into()),
            Err(refused) => refused,
        };
        let before = files.len();
        let is_refused = |file: &ViewFile| refused.iter().any(|(name, _)| *name == file.name);
        files.retain(|file| !(ours.contains(file) && is_refused(file)));
        if files.len() == before {
            return Err(refused.into_iter().map(|own| told(&files, own)).collect());
        }
    }
}

/// A refusal with the file of its view.
fn told(files: &[&ViewFile], (name, refusal): (String, views::Refusal)) -> DefinitionError {
    let file = files.iter().find(|file| file.name == name);
    let file = file.map_or(name, |file| file.file.clone());
    DefinitionError::View { file, refusal: Box::new(refusal) }
}

/// Contracts as relations that views may read, in their order.
pub fn relations(contracts: &[Contract]) -> Relations {
    let mut relations = Relations::default();
    for contract in contracts {
        relations.add(contract.name.clone(), contract.columns.clone(), Some(contract.tenant));
    }
    relations
}
