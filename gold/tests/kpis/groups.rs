//! Groups of cells audited one by one, as a run does it, for tests that audit everything as well.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use gold::audit::group::{Group, audit_group, slices, small_session};
use gold::{Catalog, CellRow};
use schemas::Micros;

/// Some groups of these rows of current values, over these tables by contract: nothing is wrong with any, and each has
/// as many cells as there are rows.
pub(crate) async fn are_as_computed(
    catalog: &Catalog,
    tables: &[(&str, RecordBatch)],
    rows: &[CellRow],
    now: Micros,
    some: usize,
) {
    let mut groups: BTreeMap<Group, usize> = BTreeMap::new();
    for row in rows {
        let group = Group {
            kpi: row.key.kpi.to_string(),
            tenant: row.key.tenant.to_string(),
            grain: row.key.grain,
            period_start: row.period_start,
        };
        *groups.entry(group).or_default() += 1;
    }
    let step = groups.len().div_ceil(some).max(1);
    let first = usize::try_from(now.0 / 1_000_003).unwrap_or(0) % step;
    for (group, cells) in groups.into_iter().skip(first).step_by(step) {
        let context = small_session(64 << 20).unwrap();
        let slices = slices(catalog, &group, now).unwrap();
        for slice in &slices {
            let table = tables.iter().find(|(contract, _)| *contract == slice.contract);
            let (_, batch) = table.unwrap_or_else(|| panic!("{slice:?} is of no table"));
            context.register_batch(slice.registered(), batch.clone()).unwrap();
        }
        let current = gold::table::current_batch(rows).unwrap();
        context.register_batch("kpi_current", current).unwrap();
        let found = audit_group(&context, catalog, &group, &slices, now).await.unwrap();
        assert_eq!((found.mismatches, found.cells), (0, cells), "{group:?}: {found:?}");
    }
}
