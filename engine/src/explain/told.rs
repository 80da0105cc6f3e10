//! Cells and what they come from as JSON.

use std::collections::BTreeMap;

use gold::audit::explain::{Input, Part};
use schemas::Contract;
use schemas::decimal::{VALUE_SCALE, format};
use serde_json::{Value, json};

use super::{Explained, Group, Made, Record, Row, number};

impl Explained {
    /// As JSON; with at most so many rows a cell and part.
    pub fn to_json(&self, contracts: &[Contract], most: usize) -> Value {
        let group = |group: &Group| {
            let dims: Value = serde_json::from_str(&group.dims).unwrap_or_default();
            let cell = group.cell.as_ref();
            let parts = self.parts.iter().enumerate();
            let parts = parts.map(|(at, part)| group.part_to_json(at, part, contracts, most));
            json!({
                "dims": dims,
                "period_start": cell.map(|cell| cell.period_start.to_string()),
                "period_end": cell.map(|cell| cell.period_end.to_string()),
                "value": cell.and_then(|cell| shown(cell.value)),
                "numerator": cell.and_then(|cell| shown(cell.numerator)),
                "denominator": cell.and_then(|cell| shown(cell.denominator)),
                "unit": cell.map(|cell| cell.unit.clone()),
                "status": cell.map(|cell| cell.status.clone()),
                "parts": parts.collect::<Vec<_>>(),
            })
        };
        json!({
            "epoch": self.epoch,
            "as_of": self.as_of.to_string(),
            "groups": self.groups.iter().map(group).collect::<Vec<_>>(),
        })
    }
}

fn shown(number: Option<i128>) -> Option<String> {
    number.map(|number| format(number, VALUE_SCALE))
}

impl Group {
    fn part_to_json(&self, at: usize, part: &Part, contracts: &[Contract], most: usize) -> Value {
        let rows = self.rows.get(at).map(Vec::as_slice).unwrap_or_default();
        let told = rows.iter().take(most).map(|row| row.to_json(part, contracts));
        json!({
            "kpi": part.kpi,
            "role": part.role.name(),
            "minus": part.minus,
            "contract": part.contract,
            "view": part.view(),
            "contracts": part.contracts,
            "lineage": part.lineage(),
            "aggregate": part.aggregate,
            "sum": shown(self.sum(at, part)),
            "rows_total": rows.len(),
            "rows": told.collect::<Vec<_>>(),
        })
    }
}

impl Row {
    /// The columns of the row's key with their values.
    pub fn key(&self, part: &Part, contracts: &[Contract]) -> BTreeMap<String, String> {
        self.key_in_order(part, contracts).into_iter().collect()
    }

    /// The same in the order of the contract.
    pub(crate) fn key_in_order(
        &self,
        part: &Part,
        contracts: &[Contract],
    ) -> Vec<(String, String)> {
        let first = self.inputs.first().map(|own| own.input.contract.as_str());
        named(contracts, first.unwrap_or(&part.contract), &self.row.key)
    }

    /// What it brings. Text is shown as it is, a number as short as it can be.
    pub fn shown_amount(&self) -> Option<String> {
        let amount = self.row.amount.as_deref();
        amount.map(|own| number(own).map_or(own.to_owned(), |own| format(own, VALUE_SCALE)))
    }

    fn to_json(&self, part: &Part, contracts: &[Contract]) -> Value {
        json!({
            "key": self.key(part, contracts),
            "origin": self.row.origin,
            "amount": self.shown_amount(),
            "doubt": self.row.doubt,
            "epoch": self.row.epoch,
            "records": self.records.iter().map(Record::to_json).collect::<Vec<_>>(),
            "inputs": self.inputs.iter().map(|own| own.to_json(contracts)).collect::<Vec<_>>(),
            "more_inputs": self.row.has_more,
            "withheld": self.row.withheld,
        })
    }
}

impl Made {
    /// The columns of the row's key with their values, in the order of its contract.
    pub fn key_in_order(&self, contracts: &[Contract]) -> Vec<(String, String)> {
        named(contracts, &self.input.contract, &self.input.key)
    }

    fn to_json(&self, contracts: &[Contract]) -> Value {
        let Input { contract, origin, epoch, doubt, .. } = &*self.input;
        let key: BTreeMap<String, String> = self.key_in_order(contracts).into_iter().collect();
        json!({
            "contract": contract,
            "key": key,
            "origin": origin,
            "doubt": doubt,
            "epoch": epoch,
            "records": self.records.iter().map(Record::to_json).collect::<Vec<_>>(),
        })
    }
}

impl Record {
    fn to_json(&self) -> Value {
        let topic = self.topic.as_ref();
        json!({
            "source": topic.map(|own| own.source.clone()),
            "topic": topic.map(|own| own.topic.clone()),
            "partition": self.partition,
            "offset": self.offset,
            "column": self.column,
        })
    }
}

/// The values of a key with the names of its columns.
fn named(contracts: &[Contract], contract: &str, key: &[String]) -> Vec<(String, String)> {
    let contract = contracts.iter().find(|own| own.name == contract);
    let names = contract.into_iter().flat_map(|own| {
        own.key.iter().filter_map(|at| own.columns.get(*at)).map(|column| column.name.clone())
    });
    names.zip(key.iter().cloned()).collect()
}
