//! The table contracts in force: the built-in ones and those of a folder.

use std::path::Path;

use schemas::Contract;

/// Every contract, by name. One from `folder` replaces a built-in one of the same name.
///
/// # Errors
/// When a file cannot be read or is no contract; the text names it.
pub(crate) fn load(folder: Option<&Path>) -> Result<Vec<Contract>, String> {
    let mut contracts: Vec<Contract> = Vec::new();
    for (file, text) in schemas::contract::built_in() {
        contracts.push(Contract::parse(text).map_err(|e| format!("built-in `{file}`: {e}"))?);
    }
    for path in toml_files(folder)? {
        let place = path.display();
        let text = std::fs::read_to_string(&path)
            .map_err(|e| format!("could not read contract `{place}`: {e}"))?;
        let contract = Contract::parse(&text).map_err(|e| format!("contract `{place}`: {e}"))?;
        contracts.retain(|built_in| built_in.name != contract.name);
        contracts.push(contract);
    }
    contracts.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(contracts)
}

fn toml_files(folder: Option<&Path>) -> Result<Vec<std::path::PathBuf>, String> {
    let Some(folder) = folder else { return Ok(Vec::new()) };
    let unreadable = |e| format!("could not read contracts folder `{}`: {e}", folder.display());
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}
