//! What KPIs' cells come from, read from the tables of a running lake for who serves it.
//!
//! # Guarantees
//! - It is what `weir explain` says, within a bound of rows and time.
//!
//! # Non-guarantees
//! - It is of the last barrier, some seconds behind what is served.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gold::Catalog;
use gold::audit::explain::{Place, parts};
use lake::Lake;
use schemas::{
    CellValue, Contract, FedCell, FedInput, FedPart, FeedingRow, KpiProvenance, NotLedBack,
    Provenance, ProvenanceQuestion, SourceRecord, Status, chain,
};

use crate::explain::{
    Bound, Cell, ExplainError, Explained, Group, Made, Record, Row, explain_within,
};

/// How long reading may take.
const TIME: Duration = Duration::from_secs(20);
/// Of what a row of a view is made of, so many rows are told: a hundred records are more than anybody reads.
const INPUTS_MAX: usize = 100;

/// The tables of the lake in a folder, which is only read.
#[derive(Debug, Clone)]
pub struct LakeProvenance {
    /// The lake's folder.
    pub folder: PathBuf,
    /// The contracts in use.
    pub contracts: Vec<Contract>,
    /// The KPIs.
    pub catalog: Catalog,
}

impl KpiProvenance for LakeProvenance {
    fn provenance(
        &self,
        question: &ProvenanceQuestion,
        most: usize,
    ) -> Result<Provenance, NotLedBack> {
        let ProvenanceQuestion { kpi, tenant, grain, start, dims, others } = question.clone();
        let definition = self.catalog.get(&kpi);
        let definition =
            definition.ok_or_else(|| NotLedBack::Never(format!("there is no KPI `{kpi}`")))?;
        parts(&self.catalog, definition).map_err(NotLedBack::Never)?;
        let lake = Lake::open_reader(&self.folder).map_err(|e| NotLedBack::Failed(chain(&e)))?;
        let place = Place { tenant, grain, start, dims };
        let (rows, time) = (Some(most), Some(TIME));
        let bound = Bound { rows, time, inputs: INPUTS_MAX, others };
        let asked = (definition, &place);
        let found = explain_within(&lake, &self.contracts, &self.catalog, asked, bound);
        let found = found.map_err(|error| match error {
            ExplainError::TooLong => NotLedBack::TooLong,
            ExplainError::TooMany => NotLedBack::TooMany,
            error @ ExplainError::Nothing(_) => NotLedBack::NotYet(error.to_string()),
            ExplainError::Failed(text) => NotLedBack::Failed(text),
        })?;
        Ok(self.told(&found))
    }
}

impl LakeProvenance {
    fn told(&self, found: &Explained) -> Provenance {
        let (mut rows, mut inputs) = (Vec::new(), BTreeMap::new());
        for (group, own) in found.groups.iter().enumerate() {
            for (part, (of, own)) in found.parts.iter().zip(&own.rows).enumerate() {
                let told = own.iter().map(|row| FeedingRow {
                    group,
                    part,
                    key: row.key_in_order(of, &self.contracts),
                    inputs: row.inputs.iter().map(|own| self.input(own, &mut inputs)).collect(),
                    ..told_row(row)
                });
                rows.extend(told);
            }
        }
        let groups = found.groups.iter().map(|group| told_cell(found, group)).collect();
        let epoch = u64::try_from(found.epoch).unwrap_or(0);
        Provenance { epoch, as_of: found.as_of, groups, rows }
    }

    /// An input, of which there is one however many rows are made of it.
    fn input(
        &self,
        made: &Arc<Made>,
        known: &mut BTreeMap<*const Made, Arc<FedInput>>,
    ) -> Arc<FedInput> {
        let new = || {
            Arc::new(FedInput {
                contract: made.input.contract.clone(),
                key: made.key_in_order(&self.contracts),
                origin: made.input.origin.clone(),
                doubt: made.input.doubt.clone(),
                epoch: made.input.epoch,
                records: made.records.iter().map(told_record).collect(),
            })
        };
        Arc::clone(known.entry(Arc::as_ptr(made)).or_insert_with(new))
    }
}

fn told_cell(found: &Explained, group: &Group) -> FedCell {
    let cell = |own: &Cell| {
        let Cell { value, numerator, denominator, .. } = *own;
        let status = Status::ALL.into_iter().find(|known| known.name() == own.status);
        let status = status.unwrap_or(Status::NoData);
        (own.period_start, own.period_end, CellValue { value, numerator, denominator, status })
    };
    let parts = found.parts.iter().zip(&group.rows).enumerate();
    let parts = parts.map(|(at, (part, rows))| FedPart {
        kpi: part.kpi.clone(),
        role: part.role.name(),
        minus: part.minus,
        contract: part.contract.clone(),
        view: part.view().map(str::to_owned),
        contracts: part.contracts.clone(),
        lineage: part.lineage(),
        aggregate: part.aggregate,
        sum: group.sum(at, part),
        rows: rows.len(),
    });
    FedCell {
        dims: group.dims.clone(),
        cell: group.cell.as_ref().map(cell),
        parts: parts.collect(),
    }
}

fn told_record(own: &Record) -> SourceRecord {
    SourceRecord {
        topic: own.topic.as_ref().map(|life| (life.source.clone(), life.topic.clone())),
        partition: own.partition,
        offset: own.offset,
        column: own.column.clone(),
    }
}

/// A row without its place, its key and its inputs.
fn told_row(row: &Row) -> FeedingRow {
    FeedingRow {
        group: 0,
        part: 0,
        key: Vec::new(),
        origin: row.row.origin.clone(),
        amount: row.shown_amount(),
        doubt: row.row.doubt.clone(),
        epoch: row.row.epoch,
        records: row.records.iter().map(told_record).collect(),
        inputs: Vec::new(),
        more_inputs: row.row.has_more,
        withheld: row.row.withheld,
        tie: row.row.tie.clone(),
    }
}
