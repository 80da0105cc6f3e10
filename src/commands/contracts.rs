//! `weir contracts`: the source tables that Weir understands.

use std::borrow::Cow;

use clap::Subcommand;
use schemas::in_force::Version;
use schemas::vocabulary::ISO_4217;
use schemas::{Column, Contract, DefinitionChange, DefinitionKind, TimeUnit, Values, Vocabulary};
use serde_json::{Value, json};

use super::in_force::{self, FROM_NEXT_START, InForceHere};
use crate::config::Config;
use crate::failure::Failure;
use crate::output;
use engine::contracts;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Every contract, as it is configured and as it is in force.
    List {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// The columns of one.
    Show {
        /// The contract.
        contract: String,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Propose one from records of a file or a topic.
    Infer(super::infer::Infer),
}

pub(crate) fn execute(config: &Config, command: &Command) -> Result<(), Failure> {
    let known = contracts::load(config.contracts.folder()).map_err(Failure::Usage)?;
    match command {
        Command::List { json } => {
            let wanted = engine::definitions::wanted(config.contracts.folder(), None, &[]);
            let wanted = wanted.map_err(Failure::Usage)?;
            list(&known, &wanted, &InForceHere::of(config), *json);
        }
        Command::Show { contract: name, json } => {
            let contract = known.iter().find(|contract| contract.name == *name);
            let contract = contract.ok_or_else(|| {
                let names: Vec<_> = known.iter().map(|contract| contract.name.as_str()).collect();
                Failure::Usage(format!("no contract `{name}`; there are {}", names.join(", ")))
            })?;
            show(contract, *json);
        }
        Command::Infer(infer) => super::infer::execute(config, infer)?,
    }
    Ok(())
}

/// A contract as it is configured, or as it is in force; most often both.
struct Listed<'a> {
    contract: Cow<'a, Contract>,
    is_configured: bool,
    version: Option<&'a Version>,
}

/// What is configured; and beside it what is in force where that is something else.
fn listed<'a>(
    known: &'a [Contract],
    wanted: &[DefinitionChange],
    held: &'a InForceHere,
) -> Vec<Listed<'a>> {
    let kind = DefinitionKind::Contract;
    let is_same = |name: &str| held.is_same(kind, name, wanted);
    let configured = known.iter().map(|contract| Listed {
        contract: Cow::Borrowed(contract),
        is_configured: true,
        version: held.newest(kind, &contract.name).filter(|_| is_same(&contract.name)),
    });
    let other = held.all(kind).filter(|(name, _)| !is_same(name)).filter_map(|(name, version)| {
        let contract = Contract::parse(version.text.as_deref().unwrap_or_default());
        let contract = contract.inspect_err(|error| {
            tracing::warn!(
                "the contract `{name}` in force is not as this release reads it: {error}"
            );
        });
        let (contract, version) = (Cow::Owned(contract.ok()?), Some(version));
        Some(Listed { contract, is_configured: false, version })
    });
    let mut all: Vec<Listed<'_>> = configured.chain(other).collect();
    all.sort_by(|a, b| {
        (&a.contract.name, a.is_configured).cmp(&(&b.contract.name, b.is_configured))
    });
    all
}

fn list(known: &[Contract], wanted: &[DefinitionChange], held: &InForceHere, as_json: bool) {
    let all = listed(known, wanted, held);
    if as_json {
        let told = |own: &Listed<'_>| {
            let mut told = in_force::add_to(summary(&own.contract), own.version);
            told["configured"] = own.is_configured.into();
            told
        };
        return output::json(&all.iter().map(told).collect());
    }
    let offered = schemas::contract::offered();
    let offered = offered.iter().filter_map(|(_, text)| Contract::parse(text).ok());
    let offered: Vec<Contract> = offered.collect();
    let row = |Listed { contract, is_configured, version }: &Listed<'_>| {
        let columns = contract.columns.len().to_string();
        let since = match version {
            None if offered.contains(contract) => "once a topic is of it".to_owned(),
            None => FROM_NEXT_START.to_owned(),
            Some(version) if *is_configured => in_force::words(version),
            Some(version) => format!("{}; until the next start", in_force::words(version)),
        };
        vec![contract.name.clone(), contract.format.clone(), key(contract), columns, since]
    };
    let rows: Vec<_> = all.iter().map(row).collect();
    output::table(&["contract", "format", "key", "columns", "in force"], &rows);
}

fn show(contract: &Contract, as_json: bool) {
    if as_json {
        output::json(&summary(contract));
        return;
    }
    let row = |(index, column): (usize, &Column)| {
        let mut notes = Vec::new();
        if contract.key.contains(&index) {
            notes.push("key");
        }
        if contract.tenant == index {
            notes.push("tenant");
        }
        let null = if column.required { "no" } else { "yes" };
        let field = contract.fields.get(index);
        let from = field.and_then(|field| field.from.clone()).unwrap_or_default();
        let unit = field.and_then(|field| field.unit).map_or("", TimeUnit::name);
        let (kind, values) = (column.kind.to_string(), values(contract, index));
        let map = field.and_then(|field| field.map.clone()).unwrap_or_default();
        let notes = notes.join(", ");
        vec![column.name.clone(), kind, null.into(), notes, from, unit.into(), map, values]
    };
    let rows: Vec<_> = contract.columns.iter().enumerate().map(row).collect();
    output::table(&["column", "type", "null", "role", "from", "unit", "map", "values"], &rows);
}

/// The vocabulary of a column, in words.
fn values(contract: &Contract, column: usize) -> String {
    let found = contract.vocabularies.iter().find(|own| own.column == column);
    let strict = |own: &Vocabulary| if own.is_strict { " (strict)" } else { "" };
    found.map_or_else(String::new, |own| own.allowed() + strict(own))
}

fn key(contract: &Contract) -> String {
    let names = contract.key.iter().filter_map(|&at| contract.columns.get(at));
    names.map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn summary(contract: &Contract) -> Value {
    let column = |(index, column): (usize, &Column)| {
        let field = contract.fields.get(index);
        let vocabulary = contract.vocabularies.iter().find(|own| own.column == index);
        let values = vocabulary.map(|own| match &own.values {
            Values::Listed(listed) => json!(listed),
            Values::Currencies => json!(ISO_4217),
        });
        json!({
            "name": column.name, "type": column.kind.to_string(), "required": column.required,
            "from": field.and_then(|field| field.from.as_deref()),
            "unit": field.and_then(|field| field.unit).map(TimeUnit::name),
            "map": field.and_then(|field| field.map.as_deref()),
            "values": values, "strict": vocabulary.is_some_and(|own| own.is_strict),
        })
    };
    json!({
        "contract": contract.name,
        "format": contract.format,
        "key": key(contract),
        "tenant": contract.columns.get(contract.tenant).map(|column| column.name.as_str()),
        "columns": contract.columns.iter().enumerate().map(column).collect::<Vec<_>>(),
    })
}
