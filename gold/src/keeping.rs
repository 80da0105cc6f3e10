//! Which numbers of cells saved state gives back: sums and counts of KPIs over views.
//!
//! What steps of views keep no state has, so that the rows of tables are read for it. But what such a step gives need
//! not be counted again, and a view that only selects rows and computes columns of them needs none at all. Least and
//! greatest values, percentiles and different values are not kept, nor are the sums that stand beside them, nor what
//! overlaps periods.
//!
//! # Guarantees
//! - Numbers have the same identity only where all that they are computed by is the same: the SQL of the view and of
//!   those that it reads, columns, filter, sums, and the meanings of the KPIs that they are for.

use schemas::{Fingerprint, Identity};

use crate::catalog::Catalog;
use crate::cube::KeptNumbers;
use crate::flow::Joined;
use crate::plan::{Plan, View};

/// The version of what is kept: it grows when a step of views gives something else of the same rows.
const VERSION: u64 = 2;

/// Numbers that one selection of rows feeds.
#[derive(Debug)]
pub(crate) struct Keep {
    /// The selection.
    pub(crate) view: usize,
    /// What all of it is computed by.
    pub(crate) identity: String,
    /// The KPIs that they are for.
    pub(crate) kpis: Vec<usize>,
    pub(crate) numbers: KeptNumbers,
}

/// All that are kept, by cube.
#[derive(Debug, Default)]
pub(crate) struct Keeping {
    cubes: Vec<Vec<Keep>>,
    /// By selection, whether its numbers are.
    views: Vec<bool>,
}

impl Keeping {
    /// What is kept of these KPIs.
    pub(crate) fn of(plan: &Plan, catalog: &Catalog) -> Keeping {
        let cubes = plan.cubes.iter().map(|_| Vec::new()).collect();
        let mut keeping = Keeping { cubes, views: vec![false; plan.views.len()] };
        for (number, view) in plan.views.iter().enumerate() {
            let adds_up = view.bags.is_empty() && view.different.is_empty();
            let adds_up = adds_up && view.joined != Joined::Overlap;
            let relation = catalog.relations().get(view.relation);
            if !adds_up || relation.is_none_or(|own| own.view.is_none()) {
                continue;
            }
            let is_of = |kpi: &usize| {
                let own = &plan.kpis[*kpi];
                own.cube == view.cube && own.rule.any(|measure| measure.count == view.count)
            };
            let kpis: Vec<usize> = (0..plan.kpis.len()).filter(is_of).collect();
            let sums = view.sums.iter().map(|(_, sum)| *sum).collect();
            let keep = Keep {
                view: number,
                identity: identity(plan, catalog, view, &kpis),
                kpis,
                numbers: KeptNumbers { count: view.count, sums },
            };
            keeping.views[number] = true;
            keeping.cubes[view.cube].push(keep);
        }
        keeping
    }

    /// Those of a cube, in the order in which they are saved.
    pub(crate) fn of_cube(&self, cube: usize) -> &[Keep] {
        self.cubes.get(cube).map_or(&[], Vec::as_slice)
    }

    /// Whether the numbers of a selection are kept.
    pub(crate) fn has(&self, view: usize) -> bool {
        self.views.get(view).copied().unwrap_or_default()
    }

    /// Whether nothing is.
    pub(crate) fn is_empty(&self) -> bool {
        !self.views.contains(&true)
    }
}

/// All that the numbers of a selection of rows are computed by.
fn identity(plan: &Plan, catalog: &Catalog, view: &View, kpis: &[usize]) -> String {
    let mut out = Fingerprint::default();
    out.number("version", VERSION);
    let relation = catalog.relations().get(view.relation);
    let name = |column: usize| {
        let column = relation.and_then(|own| own.schema.get(column));
        column.map_or("", |own| own.name.as_str())
    };
    if let Some(relation) = relation {
        out.text("relation", &relation.name);
        let sql = relation.view.iter().flat_map(|own| own.sql.iter());
        out.texts("sql", sql.map(String::as_str));
    }
    out.text("time", name(view.time));
    out.text("until", view.until.map(name).unwrap_or_default());
    out.text("tenant", name(view.tenant));
    out.texts("dims", view.dims.iter().map(|column| name(*column)));
    out.text("filter", &view.filter.as_ref().map(ToString::to_string).unwrap_or_default());
    let sums: Vec<String> = view.sums.iter().map(|(summed, _)| summed.to_string()).collect();
    out.texts("sums", sums.iter().map(String::as_str));
    let keys = kpis.iter().map(|kpi| &*plan.kpis[*kpi].key);
    out.texts("kpis", keys.clone());
    let meanings: Vec<String> =
        keys.filter_map(|key| Some(catalog.meaning(key)?.identity())).collect();
    out.texts("meanings", meanings.iter().map(String::as_str));
    out.finish()
}
