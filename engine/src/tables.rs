//! The silver and gold tables of a lake.

use gold::Catalog;
use gold::anomalies::anomalies_schema;
use gold::table::{current_schema, history_schema};
use gold::view_table::{self, FOLDER};
use lake::{Lake, LakeError, Table, TableSpec};
use pipeline::silver::silver_schema;
use schemas::{Contract, EpochId};

/// The current value of every KPI cell.
pub const CURRENT: &str = "gold/kpi_current";
/// How the cells got there.
pub const HISTORY: &str = "gold/kpi_history";

/// Alerts, one row each.
pub const ANOMALIES: &str = "gold/anomalies";

/// Groups of cells that were computed again, one row each: written beside barriers.
pub const AUDIT: &str = "gold/audit";

/// Every silver and gold table but those of views, as it is created, silver first.
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

/// The tables of views as they are created.
pub(crate) fn view_specs(catalog: &Catalog) -> Vec<TableSpec> {
    let spec = |view: &gold::View| {
        let columns = view_table::columns(view).ok()?;
        Some(TableSpec {
            name: view_table::name(view),
            schema: view_table::schema(&columns),
            partition_columns: Vec::new(),
            description: format!("the rows of the view {}", view.name()),
        })
    };
    catalog.tabled().filter_map(spec).collect()
}

/// Whether it is the name of the table of a view.
pub(crate) fn is_of_view(name: &str) -> bool {
    name.starts_with(FOLDER)
}

/// Opens every table for writing at its newest version. Silver tables may be outdated, because their contract
/// has changed, and current values, because this release has other columns, and those of views: the next barrier
/// writes them whole.
pub(crate) async fn open_all(
    lake: &Lake,
    contracts: &[Contract],
    catalog: &Catalog,
) -> Result<Vec<Table>, LakeError> {
    let mut tables = Vec::new();
    for (at, spec) in specs(contracts).iter().chain(&view_specs(catalog)).enumerate() {
        let is_silver = at < contracts.len();
        tables.push(match is_silver || spec.name == CURRENT || is_of_view(&spec.name) {
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
