//! Converted KPIs: what they must be made of, and the rates that they need.

use schemas::{ColumnType, decimal};

use super::Catalog;
use crate::definition::{Definition, DefinitionError, Formula, Kind};
use crate::flow::Joined;
use crate::relation::Relation;

/// The contract of rates.
pub(crate) const RATES: &str = "fx_rates";

/// Where the columns of rates are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateColumns {
    pub(crate) from: usize,
    pub(crate) to: usize,
    pub(crate) day: usize,
    pub(crate) rate: usize,
    pub(crate) tenant: usize,
    /// How many digits a rate has after the point.
    pub(crate) scale: u32,
}

impl RateColumns {
    /// Those of a relation.
    fn of(relation: &Relation) -> Result<RateColumns, String> {
        let column = |name: &str, kinds: &str, fits: &dyn Fn(ColumnType) -> bool| {
            let at = relation.schema.find(name);
            let kind = at.and_then(|at| relation.schema.kind(at));
            at.zip(kind).filter(|(_, kind)| fits(*kind)).ok_or_else(|| {
                format!("the contract `{RATES}` has no column `{name}` of type {kinds}")
            })
        };
        let is_text = |kind: ColumnType| kind == ColumnType::Text;
        let is_rate = |kind: ColumnType| match kind {
            ColumnType::Decimal { precision, scale } => {
                let (whole, most) = (precision.saturating_sub(scale), 38 - decimal::VALUE_SCALE);
                u32::from(scale) <= decimal::VALUE_SCALE && u32::from(whole) <= most
            }
            _ => false,
        };
        let digits = "decimal, with at most 28 digits before the point and 10 after it";
        let (rate, kind) = column("rate", digits, &is_rate)?;
        let scale = match kind {
            ColumnType::Decimal { scale, .. } => u32::from(scale),
            _ => 0,
        };
        Ok(RateColumns {
            from: column("from_currency", "text", &is_text)?.0,
            to: column("to_currency", "text", &is_text)?.0,
            day: column("day", "date", &|kind| kind == ColumnType::Date)?.0,
            rate,
            tenant: relation.tenant.ok_or("the contract of rates has no tenant")?,
            scale,
        })
    }
}

impl Definition {
    /// Whether it is the money of another one in one currency.
    pub(crate) fn is_converted(&self) -> bool {
        matches!(self.formula, Formula::Converted { .. })
    }
}

impl Catalog {
    /// The KPI whose money a definition converts.
    pub(crate) fn converts(&self, definition: &Definition) -> Result<&Definition, DefinitionError> {
        let Formula::Converted { of, .. } = &definition.formula else {
            return Err(definition.refuse("convert", "is of no other KPI"));
        };
        let found = self.get(of).filter(|own| !own.is_converted());
        found.ok_or_else(|| definition.refuse("convert", format!("there is no KPI `{of}`")))
    }

    /// The number of the contract of rates, and where its columns are.
    pub(crate) fn rates(
        &self,
        definition: &Definition,
    ) -> Result<(usize, RateColumns), DefinitionError> {
        let is_it = |own: &Relation| own.name == RATES && own.view.is_none();
        let at = self.relations().iter().position(is_it);
        let found = at.and_then(|at| Some((at, self.relations().get(at)?)));
        let (at, relation) = found.ok_or_else(|| {
            definition.refuse("convert", format!("there is no contract `{RATES}`"))
        })?;
        let columns = RateColumns::of(relation);
        Ok((at, columns.map_err(|problem| definition.refuse("convert", problem))?))
    }

    pub(super) fn check_converted(&self, definition: &Definition) -> Result<(), DefinitionError> {
        let of = self.converts(definition)?;
        // What is wrong with that is said there.
        let Ok(computed) = self.computed(of) else { return Ok(()) };
        let is = computed.kind();
        if computed.joined() == Joined::Overlap {
            let problem = "is for what happens at an instant, and rows of this KPI overlap periods; leave it out";
            return Err(definition.refuse("convert", problem));
        }
        if is != Kind::Flow {
            let problem = format!(
                "is for what adds up, and this is a KPI of kind `{}`; leave it out",
                is.name()
            );
            return Err(definition.refuse("convert", problem));
        }
        self.rates(definition).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use schemas::Contract;

    use super::*;
    use crate::catalog::{problems, with_built_in};
    use crate::definition::with_converted;
    use crate::view_file::{ViewFile, accept};

    const MONEY: &str = "key='k'\ntitle='Sales'\nunit='currency'\ngood='up'\ncontract='orders'\n\
                         time='placed_at'\naggregate='sum(amount)'\ndims=['currency']\nconvert=true\n";

    fn contracts(with_rates: bool) -> Vec<Contract> {
        let all = schemas::contract::all_that_come().into_iter();
        let all = all.map(|(_, text)| Contract::parse(text).unwrap());
        all.filter(|own| with_rates || own.name != RATES).collect()
    }

    fn definitions(texts: &[&str], to: &str) -> Vec<Definition> {
        let parse = |text: &&str| {
            let key = text.split('\'').nth(1).unwrap();
            Definition::parse(&format!("{key}.toml"), text).unwrap()
        };
        let (all, wrong) = with_converted(texts.iter().map(parse).collect(), Some(to));
        assert!(wrong.is_empty(), "{wrong:?}");
        all
    }

    #[test]
    fn it_is_known_as_any_kpi() {
        let all = definitions(&[MONEY], "EUR");
        let catalog = with_built_in(all, &contracts(true), Arc::from([])).unwrap();
        let infos = catalog.infos();
        let info = infos.iter().find(|own| *own.key == *"k_converted").unwrap();
        assert_eq!((info.dims.len(), info.kind), (0, Kind::Flow));
        assert_eq!(info.currency.as_deref(), Some("EUR"));
        assert_eq!(info.windows.iter().count(), 4, "all but the last 24 hours");
        assert_eq!(catalog.contracts_of("k_converted"), ["fx_rates", "orders"]);
    }

    #[test]
    fn it_rests_where_no_topic_is_of_rates() {
        let all = definitions(&[MONEY], "EUR");
        let catalog = with_built_in(all, &contracts(false), Arc::from([])).unwrap();
        let resting = catalog.resting().iter().find(|own| *own.definition.key == *"k_converted");
        assert!(resting.unwrap().why.to_string().contains("contract `fx_rates`"), "{resting:?}");
        assert!(catalog.get("k").is_some() && catalog.get("k_converted").is_none());
    }

    #[test]
    fn what_it_means_is_what_it_converts_to_what() {
        let meanings = |text: &str, to: &str| {
            let all = definitions(&[text], to);
            let catalog = with_built_in(all, &contracts(true), Arc::from([])).unwrap();
            let of = |key: &str| {
                use schemas::Identity;
                catalog.meaning(key).map(|meaning| meaning.identity())
            };
            [of("k"), of("k_converted")]
        };
        let [own, converted] = meanings(MONEY, "EUR");
        let plain = meanings(&MONEY.replace("convert=true\n", ""), "EUR");
        assert_eq!(plain, [own.clone(), None], "to convert it changes nothing of it");
        let [other, to_dollars] = meanings(MONEY, "USD");
        assert!(other == own && to_dollars != converted);
        let [other, of_other] = meanings(&MONEY.replace("amount", "cost"), "EUR");
        assert!(other != own && of_other != converted);
    }

    #[test]
    fn what_does_not_add_up_or_lacks_rates_is_refused() {
        let view = "SELECT tenant_id, period(placed_at) AS period, currency, MAX(amount) AS largest FROM orders \
                    GROUP BY 1, 2, 3";
        let view = ViewFile { name: "v".into(), text: view.into(), file: "v.sql".into() };
        let largest = "key='k'\ntitle='K'\nunit='currency'\ngood='up'\nview='v'\nvalue='largest'\n\
                       dims=['currency']\nconvert=true\n";
        let share = "key='share'\ntitle='S'\nunit='ratio'\ngood='up'\nnumerator='k_converted'\n\
                     denominator='orders'\n";
        let own_rates = |from: &str, to: &str| {
            let mut all = contracts(true);
            let rates = all.iter_mut().find(|own| own.name == RATES).unwrap();
            let (_, text) = schemas::contract::offered()
                .into_iter()
                .find(|(file, _)| *file == "fx_rates.toml")
                .unwrap();
            *rates = Contract::parse(&text.replace(from, to)).unwrap();
            all
        };
        for (texts, contracts, says) in [
            (
                &[largest][..],
                contracts(true),
                "k.toml: convert: is for what adds up, and this is a KPI of kind `ex",
            ),
            (&[MONEY, share], contracts(true), "share.toml: numerator: `k_converted` is converted"),
            (&[MONEY], own_rates("decimal(20,10)", "double"), "no column `rate` of type decimal"),
            (
                &[MONEY],
                own_rates("decimal(20,10)", "decimal(38,5)"),
                "no column `rate` of type decimal",
            ),
            (
                &[MONEY],
                own_rates("type = \"date\"", "type = \"timestamp\""),
                "no column `day` of type date",
            ),
        ] {
            let views = accept(std::slice::from_ref(&view), &contracts).unwrap();
            let wrong = problems(definitions(texts, "EUR"), &contracts, views).unwrap();
            let wrong: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            assert!(wrong.len() == 1 && wrong[0].contains(says), "{says}: {wrong:?}");
        }
    }
}
