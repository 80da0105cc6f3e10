//! The semantic file, `gold/_metrics.json`: what the KPIs and views in force are, for tools that read tables.
//!
//! # Guarantees
//! - The same definitions give the same bytes, ordered by key.
//! - The SQL of a KPI gives each of its rows of `gold/kpi_current` that has a value, over a relation `kpi_current`.
//!
//! # Non-guarantees
//! - Definitions that rest are not in it.

use serde_json::{Value, json};
use views::View;

use crate::catalog::Catalog;
use crate::definition::{Definition, Formula};
use crate::view_table;

/// The version of the file's form: it grows when what was there means something else, or is gone.
const FORMAT: u32 = 1;

/// The text of the file for the definitions of a catalog.
pub fn metrics(catalog: &Catalog) -> String {
    let definitions = catalog.definitions().iter();
    let kpis = definitions.zip(catalog.infos()).map(|(definition, info)| {
        let view = match &definition.formula {
            Formula::OfView { view, .. } => catalog.views().iter().find(|own| own.name() == view),
            Formula::Flow { .. } | Formula::Ratio { .. } | Formula::Converted { .. } => None,
        };
        let contracts = catalog.contracts_of(&info.key).into_iter();
        let tables: Vec<String> = contracts.map(|own| format!("silver/{own}")).collect();
        let parts: Vec<&str> = info.parts.iter().map(|part| &*part.kpi).collect();
        let names = |grains: schemas::Grains| grains.iter().map(|g| g.name()).collect::<Vec<_>>();
        json!({
            "key": &*info.key,
            "title": info.title,
            "description": info.description,
            "owner": definition.owner,
            "unit": info.unit.name(),
            "kind": info.kind.name(),
            "good": info.good.name(),
            "group": info.group.as_deref(),
            "dims": info.dims,
            "grains": names(info.grains),
            "windows": names(info.windows),
            "tables": tables,
            "parts": parts,
            "view": view.map(View::name),
            "view_sql": view.map(View::sql),
            "sql": kpi_sql(definition),
        })
    });
    let kpis: Vec<Value> = kpis.collect();
    let views: Vec<Value> = catalog.views().iter().map(|view| view_told(catalog, view)).collect();
    let text = json!({
        "format": FORMAT,
        "current": "gold/kpi_current",
        "history": "gold/kpi_history",
        "kpis": kpis,
        "views": views,
    });
    format!("{text:#}\n")
}

/// SQL that any engine takes. A key is a plain word.
fn kpi_sql(definition: &Definition) -> String {
    format!(
        "SELECT tenant_id, dims, grain, period_start, period_end, value, status FROM kpi_current \
         WHERE kpi = '{}' AND value IS NOT NULL",
        definition.key
    )
}

fn view_told(catalog: &Catalog, view: &View) -> Value {
    let columns = view.columns().iter().map(|column| {
        json!({ "name": column.name, "type": column.ty.to_string(), "role": column.role.name() })
    });
    json!({
        "name": view.name(),
        "reads": view.inputs(),
        "columns": columns.collect::<Vec<_>>(),
        "sql": view.sql(),
        "table": catalog.has_table(view).then(|| view_table::name(view)),
    })
}
