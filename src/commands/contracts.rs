//! `weir contracts`: the source tables that Weir understands.

use clap::Subcommand;
use schemas::vocabulary::ISO_4217;
use schemas::{Column, Contract, DefinitionKind, TimeUnit, Values, Vocabulary};
use serde_json::{Value, json};

use super::in_force::InForceHere;
use crate::config::Config;
use crate::failure::Failure;
use crate::output;
use engine::contracts;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Every contract.
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
        Command::List { json: true } => {
            let held = InForceHere::of(config);
            let told = |c: &Contract| held.add_to(summary(c), DefinitionKind::Contract, &c.name);
            output::json(&known.iter().map(told).collect());
        }
        Command::List { json: false } => {
            let held = InForceHere::of(config);
            let row = |contract: &Contract| {
                let columns = contract.columns.len().to_string();
                let since = held.words(DefinitionKind::Contract, &contract.name);
                vec![contract.name.clone(), contract.format.clone(), key(contract), columns, since]
            };
            let rows: Vec<_> = known.iter().map(row).collect();
            output::table(&["contract", "format", "key", "columns", "in force"], &rows);
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
