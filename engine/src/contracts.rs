//! The table contracts in force: the built-in ones and those of a folder.
//!
//! # Guarantees
//! - A contract that is loaded can be decoded, and its silver table can be made.

use std::path::Path;

use gold::nearest::nearest;
use pipeline::decode::{Decoder, PreparedContract, registry};
use pipeline::silver::{EPOCH_COLUMN, POSITION_COLUMN};
use schemas::Contract;

/// Every contract, by name, also those that rest. One from `folder` replaces a built-in one of the same name.
///
/// # Errors
/// When a file cannot be read, or is no contract that can be used; the text names it.
pub fn load(folder: Option<&Path>) -> Result<Vec<Contract>, String> {
    let (contracts, refused) = load_all(folder);
    refused.into_iter().next().map_or(Ok(contracts), Err)
}

/// The same, with every file that is refused: why each of them is.
pub fn load_all(folder: Option<&Path>) -> (Vec<Contract>, Vec<String>) {
    let (mut contracts, mut refused): (Vec<Contract>, _) = (Vec::new(), Vec::new());
    for (file, text) in schemas::contract::all_that_come() {
        match Contract::parse(text) {
            Ok(contract) => contracts.push(contract),
            Err(error) => refused.push(format!("built-in `{file}`: {error}")),
        }
    }
    let files = toml_files(folder).unwrap_or_else(|error| {
        refused.push(error);
        Vec::new()
    });
    for path in files {
        match load_one(&path) {
            Ok(contract) => {
                contracts.retain(|built_in| built_in.name != contract.name);
                contracts.push(contract);
            }
            Err(error) => refused.push(error),
        }
    }
    contracts.sort_by(|a, b| a.name.cmp(&b.name));
    (contracts, refused)
}

fn load_one(path: &Path) -> Result<Contract, String> {
    let place = path.display();
    let text = std::fs::read_to_string(path)
        .map_err(|e| format!("could not read contract `{place}`: {e}"))?;
    let refused = |reason: String| format!("contract file `{place}`: {reason}");
    let contract = Contract::parse(&text).map_err(|e| refused(e.to_string()))?;
    usable(&contract).map_err(refused)?;
    Ok(contract)
}

/// The contract with its decoder.
///
/// # Errors
/// When it has none, or names its key, tenant, table or columns in a way that cannot be used.
pub(crate) fn usable(
    contract: &Contract,
) -> Result<(PreparedContract, &'static dyn Decoder), String> {
    let name = &contract.name;
    let decoder = registry::find(&contract.format).ok_or_else(|| {
        let known: Vec<_> = registry::names().collect();
        let format = &contract.format;
        format!("contract `{name}`: no decoder `{format}`; there are {}", known.join(", "))
    })?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.is_empty() || name.starts_with('_') || !name.chars().all(plain) {
        return Err(format!(
            "contract `{name}`: the name is that of a table: use lower-case letters, digits and `_`, \
             not at the beginning"
        ));
    }
    let mut seen: Vec<String> = vec![EPOCH_COLUMN.into(), POSITION_COLUMN.into()];
    for column in &contract.columns {
        let lower = column.name.to_lowercase();
        let problem = match seen.iter().position(|other| *other == lower) {
            _ if lower.is_empty() => "has no name",
            Some(0 | 1) => "has the name of a column that weir adds to the table; rename it",
            Some(_) => "differs from another one in upper and lower case only; rename it",
            None => {
                seen.push(lower);
                continue;
            }
        };
        return Err(format!("contract `{name}`: column `{}` {problem}", column.name));
    }
    let prepared = PreparedContract::new(contract.clone()).map_err(|e| e.to_string())?;
    Ok((prepared, decoder))
}

/// Checks that a contract can be decoded, and its silver table be made.
///
/// # Errors
/// When it cannot; the text says why.
pub fn check(contract: &Contract) -> Result<(), String> {
    usable(contract).map(drop)
}

/// Why a topic that names no contract is refused.
pub fn unknown_contract(topic: &(String, String), name: &str, contracts: &[Contract]) -> String {
    let known: Vec<_> = contracts.iter().map(|contract| contract.name.as_str()).collect();
    let hint = nearest(name, known.iter().copied());
    format!(
        "topic `{}` of source `{}` names contract `{name}`, which does not exist{hint}; there are {}",
        topic.1,
        topic.0,
        known.join(", ")
    )
}

pub(crate) fn toml_files(folder: Option<&Path>) -> Result<Vec<std::path::PathBuf>, String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contracts_that_cannot_be_used_are_refused_with_the_reason() {
        let good = "name='t'\nformat='debezium-json'\nkey=['a']\ntenant='a'\n\
                    columns=[{name='a',type='text'},{name='n',type='decimal(4,2)'}]";
        let read = |text: &str| Contract::parse(text).map_err(|e| e.to_string());
        let try_it = |text: &str| read(text).and_then(|read| usable(&read).map(drop)).err();
        assert_eq!(try_it(good), None);
        for (from, to, says) in [
            ("key=['a']", "key=[]", "no key columns"),
            ("debezium-json", "avro", "there are debezium-json"),
            ("tenant='a'", "tenant='n'", "must be of type text"),
            ("name='n'", "name='_epoch'", "column `_epoch` of contract `t` is one"),
            ("name='n'", "name='_Position'", "column `_Position` has the name"),
            ("name='n'", "name='A'", "upper and lower case"),
            ("name='n'", "name=''", "has no name"),
            ("name='t'", "name='Pay'", "contract `Pay`: the name"),
            ("name='t'", "name='a/b'", "lower-case"),
        ] {
            let refused = try_it(&good.replace(from, to)).unwrap();
            assert!(refused.contains(says), "{refused}");
        }
        let json = good.replace("key=['a']", "key=['n']").replace("decimal(4,2)", "json");
        let refused = try_it(&json).unwrap();
        assert!(refused.contains("key column `n` is json"), "{refused}");
        assert_eq!(try_it(&good.replace("key=['a']", "key=['n', 'a']")), None, "typed, composite");
    }

    #[test]
    fn a_refusal_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("pay.toml"), "name='t'").unwrap();
        assert!(load(Some(folder.path())).unwrap_err().contains("pay.toml"));
        let none = folder.path().join("none");
        assert!(load(Some(&none)).unwrap_err().contains("none"));
        std::fs::write(folder.path().join("sale.toml"), "name='sale").unwrap();
        let (contracts, refused) = load_all(Some(folder.path()));
        assert!(refused.len() == 2 && refused[1].contains("sale.toml"), "{refused:?}");
        assert!(contracts.iter().any(|contract| contract.name == "orders"));
    }
}
