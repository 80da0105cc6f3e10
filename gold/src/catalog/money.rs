//! Money of several currencies: never added together, nor compared with each other.
//!
//! # Guarantees
//! - A KPI of money has the dimension `currency`, and so has one of a view that is grouped by it and may add up amounts.

use super::{CURRENCY, Catalog};
use crate::definition::{Aggregate, Definition, DefinitionError, Formula, Unit};
use crate::flow::{Computed, Flow};

impl Catalog {
    /// Refuses a KPI of a view that would mix currencies.
    pub(super) fn check_currencies(
        &self,
        definition: &Definition,
        computed: &Computed,
    ) -> Result<(), DefinitionError> {
        let Formula::OfView { view, dims, .. } = &definition.formula else { return Ok(()) };
        let adds = computed.flows().any(|flow| matches!(flow.aggregate, Aggregate::Sum(_)));
        let counts =
            |flow: &Flow| matches!(flow.aggregate, Aggregate::Count | Aggregate::Distinct(_));
        let divides = computed.below.is_some() && !computed.flows().all(counts);
        let rows = self.relation(view).and_then(|relation| relation.view.as_ref());
        let has_currency = rows.is_some_and(|rows| rows.groups.contains_key(CURRENCY));
        let must = match definition.unit {
            Unit::Currency => true,
            // It may be made of money, which is not to be seen; an amount alone has the unit of what it is.
            Unit::Ratio | Unit::Score => has_currency && (adds || divides),
            Unit::Count | Unit::Duration => false,
        };
        if !must || dims.contains_key(CURRENCY) {
            return Ok(());
        }
        let (what, never) = match adds {
            true => ("a sum of money", "added together"),
            false => ("money", "compared with each other"),
        };
        let problem = format!(
            "{what} needs the dimension `currency`, from a column that the view is grouped by: currencies are \
             never {never}"
        );
        Err(definition.refuse("dims", problem))
    }
}

#[cfg(test)]
mod tests {
    use schemas::Contract;

    use crate::Definition;
    use crate::catalog::problems;
    use crate::view_file::{ViewFile, accept};

    const VIEW: &str = "SELECT tenant_id, period(placed_at) AS period, currency, \
                        PERCENTILE_EXACT(amount, 0.95) AS high, MAX(amount) AS most, SUM(amount) AS sold, \
                        COUNT(*) AS n FROM orders GROUP BY 1, 2, 3";

    /// Why a KPI of the view is refused, or nothing.
    fn refused(value: &str, unit: &str, dims: &str) -> String {
        let contracts = schemas::contract::built_in().into_iter();
        let contracts: Vec<Contract> =
            contracts.map(|(_, text)| Contract::parse(text).unwrap()).collect();
        let view = ViewFile { name: "v".into(), text: VIEW.into(), file: "v.sql".into() };
        let views = accept(&[view], &contracts).unwrap();
        let text = format!(
            "key='k'\ntitle='K'\nunit='{unit}'\ngood='up'\nview='v'\nvalue='{value}'\ndims={dims}\n"
        );
        let own = Definition::parse("k.toml", &text).unwrap();
        let wrong = problems(vec![own], &contracts, views).unwrap();
        wrong.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_does_not_mix_currencies_is_accepted() {
        for (value, unit, dims) in [
            ("high", "currency", "['currency']"),
            ("most", "currency", "['currency']"),
            ("sold / n", "currency", "['currency']"),
            ("high", "duration", "[]"),
            ("high", "ratio", "[]"),
            ("high", "score", "[]"),
            ("most", "duration", "[]"),
            ("sold", "duration", "[]"),
            ("n", "count", "[]"),
        ] {
            assert_eq!(refused(value, unit, dims), "", "{value} {unit} {dims}");
        }
    }

    #[test]
    fn what_would_mix_them_is_refused_as_what_it_is() {
        let sum = "k.toml: dims: a sum of money needs the dimension `currency`";
        let other = "k.toml: dims: money needs the dimension `currency`";
        for (value, unit, says) in [
            ("sold", "currency", sum),
            ("sold / n", "ratio", sum),
            ("sold", "score", sum),
            ("high / n", "ratio", other),
            ("high", "currency", other),
            ("most", "currency", other),
        ] {
            let wrong = refused(value, unit, "[]");
            assert!(wrong.contains(says), "{value} {unit}: {wrong}");
        }
    }
}
