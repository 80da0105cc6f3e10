//! Values that contracts do not allow, and empty tenants, in the rows of silver as of the newest commit.
//!
//! # Guarantees
//! - Only columns of text that a contract speaks of are read.

use std::path::Path;

use engine::census;
use lake::Lake;
use schemas::{Contract, chain};

use super::{Finding, Level};
use crate::output;

/// Tables with more rows are left to `weir verify`.
const ROWS_MAX: u64 = 5_000_000;

const VALUES: &str = "correct the source, or the `values` of the contract; with `strict = true` such records are \
                      dead letters from the next start on";

/// What helps against empty tenants: the source, or a name for them that the contract gives.
fn tenant_advice(contract: &Contract) -> String {
    let at = contract.tenant;
    let name = contract.column_name(at);
    let field = contract.fields.get(at);
    if contract.key.contains(&at) {
        return format!("have the source send `{name}`; the rows that are there stay as they are");
    }
    let again =
        "the next start then builds the table again from bronze, with the rows that are there";
    if field.is_some_and(|field| field.map.is_some()) {
        return format!("have the `map` of the column give them another name: {again}");
    }
    let sent = field.and_then(|field| field.from.as_deref()).unwrap_or(name);
    let map = format!("coalesce(nullif(\"{}\", ''), 'NAME')", sent.replace('"', "\"\""));
    format!(
        "have the source send it, or name the tenant of such rows in the contract, the column being {{ name = {}, \
         type = \"text\", map = {} }}: {again}",
        quoted(name),
        quoted(&map)
    )
}

/// A text of TOML.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

/// What is found in a lake; nothing where there is none.
pub(super) fn check(root: &Path, contracts: &[Contract]) -> Vec<Finding> {
    let Ok(lake) = Lake::open_reader(root) else { return Vec::new() };
    let mut findings = Vec::new();
    for contract in contracts {
        let subject = format!("values {}", contract.name);
        match census::of_table(&lake, contract, ROWS_MAX) {
            Ok(census::Counted::Nothing) => {}
            Ok(census::Counted::TooMany(rows)) => {
                let rows = output::count(rows);
                let text = format!("{rows} rows are not looked at here; `weir verify` counts them");
                findings.push(Finding::ok(&subject, text));
            }
            Ok(census::Counted::All(contents)) => {
                let warning =
                    |line, advice: String| Finding::new(&subject, Level::Warning, line, advice);
                let lines = contents.outside_lines().into_iter();
                findings.extend(lines.map(|line| warning(line, VALUES.to_owned())));
                let tenants = contents.tenant_line().into_iter();
                findings.extend(tenants.map(|line| warning(line, tenant_advice(contract))));
            }
            // What is wrong with a table is said by the checks of the lake and by `weir verify`.
            Err(error) => {
                let text = format!("cannot be counted: {}", chain(&error));
                let advice = "`weir verify` tells more";
                findings.push(Finding::new(&subject, Level::Warning, text, advice));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use engine::contracts;

    use super::*;

    #[test]
    fn the_contract_that_is_advised_is_one() {
        let text = "name='t'\nformat='rows'\nkey=['id']\ntenant='shop'\n\
                    columns=[{name='id',type='bigint'},TENANT,{name='n',type='bigint'}]";
        let parse = |tenant: &str| Contract::parse(&text.replace("TENANT", tenant)).unwrap();
        let advised = |advice: &str| {
            let (_, rest) = advice.split_once("the column being ").unwrap();
            let (column, _) = rest.split_once("}:").unwrap();
            parse(&format!("{column}}}"))
        };
        for own in ["{name='shop',type='text'}", "{name='shop',type='text',from='The \"Shop'}"] {
            let advice = tenant_advice(&parse(own));
            let contract = advised(&advice);
            contracts::check(&contract).unwrap_or_else(|reason| panic!("{reason}: {advice}"));
            assert_eq!(contract.maps().count(), 1);
        }
        let mapped = tenant_advice(&parse("{name='shop',type='text',map=\"'a'\"}"));
        assert!(mapped.contains("`map`") && !mapped.contains("column being"), "{mapped}");
        let of_key = Contract::parse(&text.replace("TENANT", "{name='shop',type='text'}"));
        let mut of_key = of_key.unwrap();
        of_key.key.push(1);
        assert!(tenant_advice(&of_key).contains("have the source send `shop`; the rows"));
    }
}
