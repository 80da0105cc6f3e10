//! Values that definitions name and contracts do not list: a condition on such a one is never true.

use schemas::Contract;

use super::{Catalog, compile_filter, compile_sum};
use crate::definition::{Aggregate, Definition, Formula};

/// A value that a definition compares a column with, and that the column is not meant to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misspelled {
    /// The definition, as `KPI orders` or `view sales`.
    pub of: String,
    /// The comparison and what the contract lists, in words.
    pub text: String,
}

impl Catalog {
    /// The values that KPIs and views name and that `contracts`, which are theirs, do not list.
    pub fn misspelled(&self, contracts: &[Contract]) -> Vec<Misspelled> {
        let mut found = Vec::new();
        let mut note = |of: String, contract: &str, column: &str, text: &str| {
            let problem = contracts.iter().find(|own| own.name == contract);
            let problem = problem.and_then(|own| outside(own, column, text));
            found.extend(problem.map(|text| Misspelled { of, text }));
        };
        for definition in self.definitions() {
            for (contract, column, text) in self.named_by(definition) {
                note(format!("KPI {}", definition.key), &contract, &column, &text);
            }
        }
        for view in self.views().iter() {
            for own in view.compared() {
                let (contract, column) = self.source(&own.relation, &own.column);
                note(format!("view {}", view.name()), contract, column, &own.text);
            }
        }
        found.dedup();
        found
    }

    /// The column of a contract that a column of a relation is, looked for through views.
    fn source<'a>(&'a self, relation: &'a str, column: &'a str) -> (&'a str, &'a str) {
        let view = self.views().iter().find(|own| own.name() == relation);
        match view.and_then(|own| own.source(column)) {
            Some((relation, column)) => self.source(relation, column),
            None => (relation, column),
        }
    }

    /// Contract, column and text of what a KPI of a contract compares.
    fn named_by(&self, definition: &Definition) -> Vec<(String, String, String)> {
        let Formula::Flow { contract, filter, aggregate, .. } = &definition.formula else {
            return Vec::new();
        };
        let Some(relation) = self.relation(contract) else { return Vec::new() };
        // What does not compile is refused elsewhere.
        let filter = filter.as_ref();
        let filter =
            filter.and_then(|text| compile_filter(definition, text, &relation.columns).ok());
        let summed = match aggregate {
            Aggregate::Sum(text) => compile_sum(definition, text, &relation.columns).ok(),
            _ => None,
        };
        let all = filter.iter().chain(&summed).flat_map(expr::Expression::compared);
        let named = all.filter_map(|(at, text)| {
            let column = relation.schema.get(at)?.name.clone();
            Some((contract.clone(), column, text.to_owned()))
        });
        named.collect()
    }
}

/// What is wrong with a text that a column of a contract is compared with.
fn outside(contract: &Contract, column: &str, text: &str) -> Option<String> {
    let at = contract.columns.find(column)?;
    let own = contract.vocabularies.iter().find(|own| own.column == at)?;
    // That a column is not empty may be asked of any.
    let is_outside = !text.is_empty() && !own.has(text);
    is_outside.then(|| {
        let (shown, allowed) = (schemas::vocabulary::shown(text), own.allowed());
        format!(
            "compares `{column}` of `{}` with `{shown}`, which is not {allowed}{}",
            contract.name,
            own.nearest(text)
        )
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::Contract;

    use crate::catalog::with_built_in;
    use crate::definition::Definition;
    use crate::view_file::{ViewFile, accept, with_built_in as with_views};

    #[test]
    fn values_that_no_contract_lists_are_named() {
        let contracts: Vec<Contract> = schemas::contract::all_that_come()
            .iter()
            .map(|(_, text)| Contract::parse(text).unwrap())
            .collect();
        let found = |definitions: Vec<Definition>, more: Vec<ViewFile>| {
            let views = accept(&with_views(more), &contracts).unwrap();
            let catalog = with_built_in(definitions, &contracts, Arc::clone(&views)).unwrap();
            let found = catalog.misspelled(&contracts);
            found.into_iter().map(|own| format!("{}: {}", own.of, own.text)).collect::<Vec<_>>()
        };
        assert_eq!(found(Vec::new(), Vec::new()), [""; 0], "what comes with Weir");
        let text = "key='k'\ntitle='T'\ngood='up'\nunit='count'\ncontract='orders'\ntime='placed_at'\n\
                    aggregate='count(*)'\nfilter=\"status in ('paid', 'canceled') and currency <> ''\"\n";
        let kpi = Definition::parse("k.toml", text).unwrap();
        let view = ViewFile {
            name: "v".into(),
            text: "SELECT o.tenant_id, c.country, COUNT(*) FILTER (WHERE o.state = 'payd') AS n
                   FROM (SELECT tenant_id, customer_id, status AS state FROM orders) o
                   LEFT JOIN customers c ON c.customer_id = o.customer_id
                   GROUP BY 1, 2"
                .into(),
            file: "v.sql".into(),
        };
        let found = found(vec![kpi], vec![view]);
        let [kpi, view] = &found[..] else { panic!("{found:?}") };
        assert!(
            kpi.starts_with("KPI k: compares `status` of `orders` with `canceled`, which is"),
            "{kpi}"
        );
        assert!(kpi.ends_with("(did you mean `cancelled`?)"), "{kpi}");
        assert!(
            view.starts_with("view v: compares `status` of `orders` with `payd`, which"),
            "{view}"
        );
    }
}
