//! The definitions in force in a lake, and those before them.
//!
//! # Guarantees
//! - [`InForce`] is a function of the records that it has seen and of their epochs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::contract::Contract;
use crate::definition::{DefinitionChange, DefinitionKind};
use crate::epoch::EpochId;
use crate::identity::Identity;
use crate::time::Micros;

/// One version of a definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Version {
    /// 1 for the first of its name, then one more each.
    pub number: u32,
    /// What its meaning is known by; `None`: there was no such definition from here on.
    pub identity: Option<String>,
    /// The epoch from which on it is in force.
    pub since: EpochId,
    /// That epoch's clock, in microseconds.
    pub clock: i64,
    /// The file's text, of the newest version, and of each before it by which rows of a table were read otherwise:
    /// bronze has the others.
    pub text: Option<String>,
    /// Of a contract: whether its table went on under it with the rows that it had.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub extends: bool,
}

/// The definitions in force, and those before them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InForce {
    contracts: BTreeMap<String, Vec<Version>>,
    kpis: BTreeMap<String, Vec<Version>>,
    #[serde(default)]
    views: BTreeMap<String, Vec<Version>>,
}

impl InForce {
    /// The versions of a definition, oldest first.
    pub fn versions(&self, of: DefinitionKind, name: &str) -> &[Version] {
        self.all(of).get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The version of a definition that is in force.
    pub fn newest(&self, of: DefinitionKind, name: &str) -> Option<&Version> {
        self.versions(of, name).last().filter(|version| version.identity.is_some())
    }

    /// All that are in force, by name.
    pub fn all_newest(&self, of: DefinitionKind) -> impl Iterator<Item = (&str, &Version)> {
        let names = self.all(of).keys();
        names.filter_map(move |name| Some((name.as_str(), self.newest(of, name)?)))
    }

    /// The versions of a contract since its table was built anew, oldest first: rows of the table were read by each of
    /// them, in turn. A version without a text reads as the next one that has one.
    pub fn lineage(&self, contract: &str) -> &[Version] {
        let all = self.versions(DefinitionKind::Contract, contract);
        let base = all.iter().rposition(|version| !version.extends).unwrap_or(0);
        all.get(base..).unwrap_or_default()
    }

    /// What has to change so that exactly `wanted` is in force: kind, name, identity and text of each.
    pub fn changes_to(
        &self,
        wanted: impl IntoIterator<Item = DefinitionChange>,
    ) -> Vec<DefinitionChange> {
        let mut changes = Vec::new();
        let mut seen: Vec<(DefinitionKind, String)> = Vec::new();
        for change in wanted {
            let held = self.newest(change.of, &change.name);
            seen.push((change.of, change.name.clone()));
            if held.map(|held| &held.identity) != Some(&change.identity) {
                let extends = held.is_some_and(|held| is_extended(held, &change));
                changes.push(DefinitionChange { extends, ..change });
            }
        }
        for of in [DefinitionKind::Contract, DefinitionKind::Kpi, DefinitionKind::View] {
            for name in self.all(of).keys().filter(|name| self.newest(of, name).is_some()) {
                if !seen.iter().any(|(kind, seen)| *kind == of && seen == name) {
                    let name = name.clone();
                    let (identity, text) = (None, None);
                    changes.push(DefinitionChange { of, name, identity, text, extends: false });
                }
            }
        }
        changes.sort_by(|a, b| (a.of, &a.name).cmp(&(b.of, &b.name)));
        changes
    }

    /// Takes changes that an epoch brought.
    pub fn take(&mut self, changes: &[DefinitionChange], since: EpochId, clock: Micros) {
        for change in changes {
            let all = match change.of {
                DefinitionKind::Contract => &mut self.contracts,
                DefinitionKind::Kpi => &mut self.kpis,
                DefinitionKind::View => &mut self.views,
            };
            let versions = all.entry(change.name.clone()).or_default();
            let number = versions.last().map_or(0, |last| last.number).saturating_add(1);
            let last = versions.last();
            let extends = change.extends && last.is_some_and(|last| last.text.is_some());
            let is_alike = last.is_some_and(|last| reads_alike(last, change));
            let kept = if extends { versions.len() - usize::from(is_alike) } else { 0 };
            versions.iter_mut().skip(kept).for_each(|before| before.text = None);
            let (identity, text) = (change.identity.clone(), change.text.clone());
            versions.push(Version { number, identity, since, clock: clock.0, text, extends });
        }
    }

    fn all(&self, of: DefinitionKind) -> &BTreeMap<String, Vec<Version>> {
        match of {
            DefinitionKind::Contract => &self.contracts,
            DefinitionKind::Kpi => &self.kpis,
            DefinitionKind::View => &self.views,
        }
    }
}

/// The contracts in a version and in what comes after it.
fn contracts(held: &Version, change: &DefinitionChange) -> Option<(Contract, Contract)> {
    let read = |text: &Option<String>| Contract::parse(text.as_deref()?).ok();
    Some((read(&held.text)?, read(&change.text)?)).filter(|_| change.of == DefinitionKind::Contract)
}

fn is_extended(held: &Version, change: &DefinitionChange) -> bool {
    contracts(held, change).is_some_and(|(held, new)| new.extends(&held))
}

/// Whether every record is read by both to the same row.
fn reads_alike(held: &Version, change: &DefinitionChange) -> bool {
    contracts(held, change).is_some_and(|(held, new)| new.identity() == held.identity())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(of: DefinitionKind, name: &str, identity: Option<&str>) -> DefinitionChange {
        let identity = identity.map(str::to_owned);
        let (name, text) = (name.into(), identity.clone());
        DefinitionChange { of, name, identity, text, extends: false }
    }

    #[test]
    fn definitions_are_in_force_from_their_epoch_on() {
        use DefinitionKind::{Contract, Kpi};
        let wanted = |orders: &str| {
            vec![change(Contract, "orders", Some(orders)), change(Kpi, "roi", Some("k"))]
        };
        let mut held = InForce::default();
        assert_eq!(held.changes_to(wanted("1")), wanted("1"));
        held.take(&wanted("1"), 4, Micros(40));
        assert_eq!(held.changes_to(wanted("1")), []);
        let changes = held.changes_to(wanted("2")[..1].to_vec());
        assert_eq!(changes, [change(Contract, "orders", Some("2")), change(Kpi, "roi", None)]);
        held.take(&changes, 9, Micros(90));
        assert_eq!(held.changes_to(wanted("2")[..1].to_vec()), []);
        assert_eq!(held.newest(Kpi, "roi"), None);
        let orders = held.versions(Contract, "orders");
        let told = |v: &Version| (v.number, v.since, v.clock, v.text.clone());
        let told: Vec<_> = orders.iter().map(told).collect();
        assert_eq!(told, [(1, 4, 40, None), (2, 9, 90, Some("2".into()))]);
        // The same meaning again is a version of its own: it has history from then on.
        held.take(&held.changes_to(wanted("2")), 12, Micros(120));
        assert_eq!(held.newest(Kpi, "roi").map(|v| (v.number, v.since)), Some((3, 12)));
    }

    #[test]
    fn the_versions_that_rows_were_read_by_keep_their_texts() {
        let columns =
            ["", ",{name='b',type='text'}", ",{name='b',type='text'},{name='c',type='text'}"];
        let contract = |more: &str, last: &str| {
            let text = format!(
                "name='t'\nformat='f'\nkey=['a']\ntenant='a'\n{last}\ncolumns=[{{name='a',type='text'}}{more}]"
            );
            DefinitionChange::of_file(DefinitionKind::Contract, &text).unwrap()
        };
        let mut held = InForce::default();
        let told = |held: &InForce| -> Vec<(u32, bool, bool)> {
            let lineage = held.lineage("t").iter();
            lineage.map(|own| (own.number, own.extends, own.text.is_some())).collect()
        };
        let mut take = |change: DefinitionChange, since| {
            let changes = held.changes_to([change]);
            held.take(&changes, since, Micros(0));
            (changes[0].extends, told(&held))
        };
        assert_eq!(take(contract(columns[0], ""), 1), (false, vec![(1, false, true)]));
        let all = vec![(1, false, true), (2, true, true)];
        assert_eq!(take(contract(columns[1], ""), 2), (true, all));
        // It reads as the one before: the rows of both were read by its text.
        let all = vec![(1, false, true), (2, true, false), (3, true, true)];
        assert_eq!(take(contract(columns[1], "lateness='2h'"), 3), (true, all));
        let all = vec![(1, false, true), (2, true, false), (3, true, true), (4, true, true)];
        assert_eq!(take(contract(columns[2], ""), 4), (true, all));
        // A column less: the table is built anew.
        assert_eq!(take(contract(columns[1], ""), 5), (false, vec![(5, false, true)]));
        assert!(
            held.versions(DefinitionKind::Contract, "t")[..4].iter().all(|own| own.text.is_none())
        );
        assert_eq!(held.lineage("u"), []);
    }
}
