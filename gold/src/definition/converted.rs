//! Converted KPIs: `convert = true` makes a second KPI of one, its money in the reporting currency.
//!
//! # Guarantees
//! - A converted KPI is a definition like any other, with a key of its own; what it is made of is not changed by it.
//!
//! # Non-guarantees
//! - Whether what is converted adds up is not known here: [`crate::Catalog`] checks that.

use std::sync::Arc;

use schemas::{Grain, Grains, Watching};
use serde::Deserialize;

use super::{Definition, DefinitionError, Formula, Unit};
use crate::catalog::CURRENCY;

/// What the key of a converted KPI has behind that of the other one.
const SUFFIX: &str = "_converted";

/// How the definitions in force say a converted KPI.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    key: String,
    converts: String,
    to: String,
}

/// The definitions and, behind them, the converted KPI of each whose file asks for one; and what is wrong with those
/// that do. `to`: the reporting currency, if there is one.
pub fn with_converted(
    mut definitions: Vec<Definition>,
    to: Option<&str>,
) -> (Vec<Definition>, Vec<DefinitionError>) {
    let (mut made, mut wrong) = (Vec::new(), Vec::new());
    for definition in definitions.iter().filter(|own| own.convert) {
        let key = key_of(&definition.key);
        let taken = definitions.iter().find(|own| *own.key == *key);
        match (taken, to, why_not(definition)) {
            (_, _, Some(problem)) => wrong.push(definition.refuse("convert", problem)),
            (Some(taken), _, None) => {
                let problem =
                    format!("makes a KPI `{key}`, which {} defines; rename one", taken.file);
                wrong.push(definition.refuse("convert", problem));
            }
            (None, None, None) => {
                let problem = "needs a currency to convert to; set `gold.reporting_currency`, such as \"EUR\"";
                wrong.push(definition.refuse("convert", problem));
            }
            (None, Some(to), None) => made.push(definition.converted(to)),
        }
    }
    definitions.extend(made);
    (definitions, wrong)
}

fn key_of(key: &str) -> String {
    format!("{key}{SUFFIX}")
}

/// Why a definition says nothing that can be converted.
fn why_not(definition: &Definition) -> Option<String> {
    let dims = match &definition.formula {
        Formula::Flow { dims, .. } | Formula::OfView { dims, .. } => dims,
        Formula::Ratio { .. } | Formula::Converted { .. } => {
            return Some("is for what adds up, and this is a ratio; convert its parts".to_owned());
        }
    };
    if definition.unit != Unit::Currency {
        let unit = definition.unit.name();
        return Some(format!("is for money, and this has the unit {unit}; leave it out"));
    }
    if !dims.contains_key(CURRENCY) {
        return Some("needs the dimension `currency`, which says what to convert from".to_owned());
    }
    let has_days = definition.grains.iter().any(|grain| grain != Grain::Hour);
    (!has_days).then(|| "needs a grain of `day` or longer: rates are of days".to_owned())
}

impl Definition {
    /// Its money in this currency.
    fn converted(&self, to: &str) -> Definition {
        let without = |all: Grains, one: Grain| all.iter().filter(|own| *own != one).collect();
        let said = self.description.as_ref().map_or_else(String::new, |text| format!("{text} "));
        Definition {
            key: Arc::from(key_of(&self.key)),
            title: format!("{} in {to}", self.title),
            description: Some(format!(
                "{said}Converted to {to} day by day, by the rates of `fx_rates`."
            )),
            formula: Formula::Converted { of: self.key.to_string(), to: to.to_owned() },
            grains: without(self.grains, Grain::Hour),
            windows: self.windows.map(|own| without(own, Grain::Last24Hours)),
            // What is strange in it is strange in what it is made of.
            watching: Watching { enabled: false, ..Watching::default() },
            convert: false,
            ..self.clone()
        }
    }

    /// How the definitions in force say it; `None` of a KPI that has a file.
    pub fn converted_text(&self) -> Option<String> {
        let Formula::Converted { of, to } = &self.formula else { return None };
        Some(format!("key = \"{}\"\nconverts = \"{of}\"\nto = \"{to}\"\n", self.key))
    }

    /// The KPI that such a text says, of one of these; `None` when it says no such thing.
    pub fn of_converted_text(text: &str, definitions: &[Definition]) -> Option<Definition> {
        let Text { key, converts, to } = toml::from_str(text).ok()?;
        let of = definitions.iter().find(|own| *own.key == *converts)?;
        Some(of.converted(&to)).filter(|own| *own.key == *key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONEY: &str = "key='k'\ntitle='Sales'\nunit='currency'\ngood='up'\ncontract='orders'\n\
                         time='placed_at'\naggregate='sum(amount)'\ndims=['currency','channel']\nconvert=true\n";

    fn parse(text: &str) -> Definition {
        Definition::parse("k.toml", text).unwrap()
    }

    #[test]
    fn the_converted_kpi_is_one_of_its_own() {
        let (all, wrong) = with_converted(vec![parse(MONEY)], Some("EUR"));
        assert!(wrong.is_empty(), "{wrong:?}");
        let [own, converted] = &all[..] else { panic!("two of them: {all:?}") };
        assert_eq!((&*own.key, own), ("k", &parse(MONEY)));
        assert_eq!((&*converted.key, &*converted.title), ("k_converted", "Sales in EUR"));
        assert!(!converted.grains.has(Grain::Hour) && converted.grains.has(Grain::Day));
        assert_eq!((converted.convert, converted.watching.enabled), (false, false));
        let text = converted.converted_text().unwrap();
        assert_eq!(Definition::of_converted_text(&text, &all).as_ref(), Some(converted));
        assert_eq!(Definition::of_converted_text(&text.replace("EUR", "USD"), &all[1..]), None);
        assert_eq!(
            (own.converted_text(), Definition::of_converted_text(MONEY, &all)),
            (None, None)
        );
        let windows = format!("windows=['last_24h','last_7d']\n{MONEY}");
        let (all, _) = with_converted(vec![parse(&windows)], Some("EUR"));
        assert_eq!(all[1].windows, Some([Grain::Last7Days].into_iter().collect()));
    }

    #[test]
    fn what_cannot_be_converted_is_refused_with_advice() {
        for (from, to, currency, says) in [
            (
                "convert",
                "convert",
                None,
                "k.toml: convert: needs a currency to convert to; set `gold.rep",
            ),
            ("'currency'\n", "'count'\n", Some("EUR"), "is for money, and this has the unit count"),
            ("'currency',", "", Some("EUR"), "needs the dimension `currency`"),
            ("title", "grains=['hour']\ntitle", Some("EUR"), "needs a grain of `day` or longer"),
        ] {
            let (all, wrong) = with_converted(vec![parse(&MONEY.replacen(from, to, 1))], currency);
            let said = wrong.iter().map(ToString::to_string).collect::<String>();
            assert!(said.contains(says) && all.len() == 1, "{says}: {said}");
        }
        let ratio = "key='k'\ntitle='K'\nunit='currency'\ngood='up'\nnumerator='a'\ndenominator='b'\nconvert=true";
        let (_, wrong) = with_converted(vec![parse(ratio)], Some("EUR"));
        assert!(wrong[0].to_string().contains("k.toml: convert: is for what adds up"), "{wrong:?}");
        let taken = MONEY.replace("key='k'", "key='k_converted'").replace("convert=true\n", "");
        let taken = Definition::parse("x/k_converted.toml", &taken).unwrap();
        let (all, wrong) = with_converted(vec![taken, parse(MONEY)], Some("EUR"));
        let says = "k.toml: convert: makes a KPI `k_converted`, which x/k_converted.toml defines";
        assert!(wrong[0].to_string().contains(says) && all.len() == 2, "{wrong:?}");
        assert!(
            crate::definition::built_in().unwrap().iter().all(|own| !own.key.ends_with(SUFFIX))
        );
    }
}
