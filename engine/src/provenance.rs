//! What KPIs' cells come from, read from the tables of a running lake for who serves it.
//!
//! # Guarantees
//! - It is what `weir explain` says, within a bound of rows and time.
//!
//! # Non-guarantees
//! - It is of the last barrier, some seconds behind what is served.

use std::path::PathBuf;
use std::time::Duration;

use gold::Catalog;
use gold::audit::explain::{Place, parts};
use lake::Lake;
use schemas::{
    CellValue, Contract, FedCell, FedPart, FeedingRow, KpiProvenance, NotLedBack, Provenance,
    ProvenanceQuestion, SourceRecord, Status, chain,
};

use crate::explain::{Bound, Cell, ExplainError, Explained, Group, Row, explain_within};

/// How long reading may take.
const TIME: Duration = Duration::from_secs(20);

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
        let ProvenanceQuestion { kpi, tenant, grain, start, dims } = question.clone();
        let definition = self.catalog.get(&kpi);
        let definition =
            definition.ok_or_else(|| NotLedBack::Never(format!("there is no KPI `{kpi}`")))?;
        parts(&self.catalog, definition).map_err(NotLedBack::Never)?;
        let lake = Lake::open_reader(&self.folder).map_err(|e| NotLedBack::Failed(chain(&e)))?;
        let place = Place { tenant, grain, start, dims };
        let bound = Some(Bound { rows: most, time: TIME });
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
        let mut rows = Vec::new();
        for (group, own) in found.groups.iter().enumerate() {
            for (part, (of, own)) in found.parts.iter().zip(&own.rows).enumerate() {
                let contract = self.contracts.iter().find(|known| known.name == of.contract);
                rows.extend(own.iter().map(|row| told_row(row, (group, part), contract)));
            }
        }
        let groups = found.groups.iter().map(|group| told_cell(found, group)).collect();
        let epoch = u64::try_from(found.epoch).unwrap_or(0);
        Provenance { epoch, as_of: found.as_of, groups, rows }
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

fn told_row(row: &Row, (group, part): (usize, usize), contract: Option<&Contract>) -> FeedingRow {
    let record = |own: &crate::explain::Record| SourceRecord {
        topic: own.topic.as_ref().map(|life| (life.source.clone(), life.topic.clone())),
        partition: own.partition,
        offset: own.offset,
        column: own.column.clone(),
    };
    FeedingRow {
        group,
        part,
        key: row.key_in_order(contract),
        origin: row.row.origin.clone(),
        amount: row.shown_amount(),
        doubt: row.row.doubt.clone(),
        epoch: row.row.epoch,
        records: row.records.iter().map(record).collect(),
    }
}
