//! Identities of KPIs: what they compute, and nothing of what people read.

use schemas::{Fingerprint, Grain, Grains, Identity};

use crate::catalog::{Catalog, RATES};
use crate::definition::{Aggregate, Definition, Formula, Term};

/// A KPI with the flows it is made of and the semantics of the engine that computes it.
#[derive(Debug)]
pub struct Meaning<'a> {
    catalog: &'a Catalog,
    definition: &'a Definition,
}

impl Catalog {
    /// The meaning of the KPI with this key.
    pub fn meaning(&self, key: &str) -> Option<Meaning<'_>> {
        Some(Meaning { catalog: self, definition: self.get(key)? })
    }

    /// The contracts whose rows a KPI is computed from, each once, in order.
    pub fn contracts_of(&self, key: &str) -> Vec<&str> {
        let computed = self.get(key).and_then(|definition| self.computed(definition).ok());
        let mut contracts: Vec<&str> = Vec::new();
        contracts.extend(self.get(key).filter(|own| own.is_converted()).map(|_| RATES));
        for flow in computed.iter().flat_map(|computed| computed.flows()) {
            let numbers = self.relation(&flow.relation).map(|own| own.contracts.iter());
            let relations =
                numbers.into_iter().flatten().filter_map(|at| self.relations().get(*at));
            contracts.extend(relations.map(|relation| relation.name.as_str()));
        }
        contracts.sort_unstable();
        contracts.dedup();
        contracts
    }
}

/// The KPIs that a ratio is made of, the one below the line last; or the one that is converted.
fn parts(formula: &Formula) -> impl Iterator<Item = &str> {
    let (above, below): (&[Term], Option<&str>) = match formula {
        Formula::Flow { .. } | Formula::OfView { .. } => (&[], None),
        Formula::Ratio { numerator, denominator } => {
            (numerator.as_slice(), Some(denominator.as_str()))
        }
        Formula::Converted { of, .. } => (&[], Some(of.as_str())),
    };
    above.iter().map(|term| term.kpi.as_str()).chain(below)
}

impl Identity for Meaning<'_> {
    fn identify(&self, out: &mut Fingerprint) {
        out.number("engine", u64::from(crate::ENGINE_SEMANTICS));
        out.part("definition", self.definition);
        self.catalog.calendar().identify(self.definition.grains, out);
        let parts = parts(&self.definition.formula).filter_map(|key| self.catalog.get(key));
        out.list("parts", parts.map(|part| part as &dyn Identity));
        for part in self::parts(&self.definition.formula).filter_map(|key| self.catalog.get(key)) {
            self.identify_views(part, out);
        }
        self.identify_views(self.definition, out);
    }
}

impl Meaning<'_> {
    /// The view that a definition is over, with all that it reads.
    fn identify_views(&self, definition: &Definition, out: &mut Fingerprint) {
        if let Formula::OfView { view, .. } = &definition.formula {
            let views = self.catalog.relation(view).and_then(|relation| relation.view.as_ref());
            let sql = views.into_iter().flat_map(|rows| rows.sql.iter());
            out.texts("views", sql.map(String::as_str));
        }
    }
}

impl Identity for Definition {
    fn identify(&self, out: &mut Fingerprint) {
        out.text("key", &self.key);
        out.text("unit", self.unit.name());
        out.part("formula", &self.formula);
        if self.grains != Grains::ALL {
            out.texts("grains", self.grains.iter().map(Grain::name));
        }
    }
}

impl Identity for Formula {
    fn identify(&self, out: &mut Fingerprint) {
        match self {
            Formula::Flow { contract, filter, time, aggregate, dims } => {
                out.text("contract", contract);
                out.text("filter", filter.as_deref().unwrap_or_default());
                out.text("time", time);
                out.part("aggregate", aggregate);
                out.texts("dims", dims.keys().map(String::as_str));
                out.texts("dim_columns", dims.values().map(String::as_str));
            }
            Formula::Ratio { numerator, denominator } => {
                out.list("numerator", numerator.iter().map(|term| term as &dyn Identity));
                out.text("denominator", denominator);
            }
            Formula::OfView { view, above, below, dims, kind: _ } => {
                out.text("view", view);
                out.list("above", above.iter().map(|term| term as &dyn Identity));
                out.text("below", below.as_deref().unwrap_or_default());
                out.texts("dims", dims.keys().map(String::as_str));
                out.texts("dim_columns", dims.values().map(String::as_str));
            }
            Formula::Converted { of, to } => {
                out.text("converts", of);
                out.text("to", to);
            }
        }
    }
}

impl Identity for Aggregate {
    fn identify(&self, out: &mut Fingerprint) {
        match self {
            Aggregate::Count => out.text("function", "count"),
            Aggregate::Sum(column) => {
                out.text("function", "sum");
                out.text("column", column);
            }
            Aggregate::Allocated(column) => {
                out.text("function", "allocated");
                out.text("column", column);
            }
            Aggregate::Distinct(column) => {
                out.text("function", "count distinct");
                out.text("column", column);
            }
            Aggregate::Min(column) => {
                out.text("function", "min");
                out.text("column", column);
            }
            Aggregate::Percentile { of, millionths, cuts } => {
                out.text("function", "percentile");
                out.text("column", of);
                out.number("millionths", u64::from(*millionths));
                out.flag("cuts", *cuts);
            }
            Aggregate::Max(column) => {
                out.text("function", "max");
                out.text("column", column);
            }
        }
    }
}

impl Identity for Term {
    fn identify(&self, out: &mut Fingerprint) {
        out.text("kpi", &self.kpi);
        out.flag("minus", self.minus);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::Contract;

    use super::*;
    use crate::catalog::with_built_in;
    use crate::definition::Kind;

    fn contracts() -> Vec<Contract> {
        let built_in = schemas::contract::built_in();
        built_in.iter().map(|(_, text)| Contract::parse(text).unwrap()).collect()
    }

    const FLOW: &str = "key='k'\ntitle='K'\nunit='count'\ngood='up'\ncontract='orders'\n\
                        time='placed_at'\naggregate='count(*)'\n";

    #[test]
    fn what_is_computed_decides_and_nothing_else() {
        let meaning = |text: &str| {
            let own = Definition::parse("k.toml", text).unwrap();
            with_built_in(vec![own], &contracts(), Arc::from([]))
                .unwrap()
                .meaning("k")
                .unwrap()
                .identity()
        };
        let base = meaning(FLOW);
        for same in [
            ("title='K'", "title='Other'\nowner='me'"),
            ("good='up'", "good='down'"),
            ("good='up'", "good='up'\ngrains=['year','hour','day','week','month','quarter']"),
        ] {
            assert_eq!(meaning(&FLOW.replace(same.0, same.1)), base, "{same:?}");
        }
        for other in [
            ("count(*)'\n", "sum(amount)'\ndims=['currency']\n"),
            ("placed_at", "updated_at"),
            ("count(*)'\n", "count(*)'\ndims=['channel']\n"),
            ("count(*)'\n", "count(*)'\ngrains=['hour','day','week','month','quarter']\n"),
            ("count(*)'\n", "count(*)'\nfilter=\"status = 'paid'\"\n"),
        ] {
            let mut text = FLOW.replace(other.0, other.1);
            if text.contains("sum(") {
                text = text.replace("'count'", "'currency'");
            }
            assert_ne!(meaning(&text), base, "{other:?}");
        }
    }

    #[test]
    fn a_ratio_means_its_parts() {
        let catalog = with_built_in(Vec::new(), &contracts(), Arc::from([])).unwrap();
        let ratio = catalog.definitions().iter().find(|d| catalog.kind(d) == Kind::Ratio).unwrap();
        let contracts = catalog.contracts_of(&ratio.key);
        assert!(!contracts.is_empty() && contracts.is_sorted(), "{contracts:?}");
        assert_eq!(catalog.contracts_of("revenue_booked"), ["orders"]);
        assert_eq!(catalog.contracts_of("none"), [""; 0]);
    }
}
