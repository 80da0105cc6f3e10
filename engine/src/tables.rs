//! The silver and gold tables of a lake.

use gold::anomalies::anomalies_schema;
use gold::table::{current_schema, history_schema};
use lake::{Lake, LakeError, Table, TableSpec};
use pipeline::silver::silver_schema;
use schemas::{Contract, EpochId};

/// The current value of every KPI cell.
pub const CURRENT: &str = "gold/kpi_current";
/// How the cells got there.
pub const HISTORY: &str = "gold/kpi_history";

/// Alerts, one row each.
pub const ANOMALIES: &str = "gold/anomalies";

/// Every silver and gold table as it is created, silver first.
pub(crate) fn specs(contracts: &[Contract]) -> Vec<TableSpec> {
    let silver = |contract: &Contract| TableSpec {
        name: silver_name(contract),
        schema: silver_schema(contract),
        partition_columns: Vec::new(),
        description: format!("one row per live key of {}", contract.name),
    };
    let mut specs: Vec<TableSpec> = contracts.iter().map(silver).collect();
    specs.push(TableSpec {
        name: CURRENT.into(),
        schema: current_schema(),
        partition_columns: Vec::new(),
        description: "the current value of every KPI cell".into(),
    });
    specs.push(TableSpec {
        name: HISTORY.into(),
        schema: history_schema(),
        partition_columns: Vec::new(),
        description: "how KPI cells ran, closed and were restated".into(),
    });
    specs.push(TableSpec {
        name: ANOMALIES.into(),
        schema: anomalies_schema(),
        partition_columns: Vec::new(),
        description: "anomalies of KPI cells, one row per alert".into(),
    });
    specs
}

/// Opens every table for writing at its newest version. Silver tables may be outdated, because their contract
/// has changed, and current values, because this release has other columns: the next barrier writes them whole.
pub(crate) async fn open_all(lake: &Lake, contracts: &[Contract]) -> Result<Vec<Table>, LakeError> {
    let mut tables = Vec::new();
    for (at, spec) in specs(contracts).iter().enumerate() {
        let is_silver = at < contracts.len();
        tables.push(match is_silver || spec.name == CURRENT {
            true => Table::open_or_replace(lake, spec).await?,
            false => Table::open_or_create(lake, spec).await?,
        });
    }
    Ok(tables)
}

/// The silver table of a contract.
pub fn silver_name(contract: &Contract) -> String {
    format!("silver/{}", contract.name)
}

/// The epoch number as tables keep it.
pub(crate) fn number(epoch: EpochId) -> i64 {
    i64::try_from(epoch).unwrap_or(i64::MAX)
}
