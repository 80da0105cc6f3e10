//! KPIs over views: what changes in the rows of views, folded as the rows of contracts are.
//!
//! # Guarantees
//! - All tables of an epoch change at once to a view, and what it changes is of the same epoch.
//! - A row of a view is quiet when only quiet rows made it.

use std::collections::BTreeSet;
use std::sync::Arc;

use schemas::{Contract, Delta, EpochStamp, RowKey, RowLayout, RowRef};
use views::{Graph, Needed, StepError, View};

use super::fold::Mode;
use super::view_tables::ViewTable;
use super::{DeltaError, Engine, EngineError};
use crate::catalog::Catalog;
use crate::definition::DefinitionError;
use crate::view_file;

/// Rows that are loaded before views see them.
const LOADED_AT_ONCE: usize = 1 << 14;

/// The steps of all views, and rows that they have yet to see while a lake is loaded.
#[derive(Debug)]
pub(super) struct Views {
    graph: Graph,
    /// The tables of views, in the order of the views.
    pub(super) tables: Vec<ViewTable>,
    /// By contract; none for those that no view reads.
    loaded: Vec<Option<Delta>>,
    waiting: usize,
    /// The steps that need rows that are loaded, where not all do.
    needed: Option<Needed>,
    /// What could not be taken of rows that were loaded.
    refused: Vec<String>,
}

impl Views {
    /// The views of a catalog; `None` where it has none.
    pub(super) fn of(
        catalog: &Catalog,
        contracts: &[Contract],
    ) -> Result<Option<Views>, DefinitionError> {
        if catalog.views().is_empty() {
            return Ok(None);
        }
        let refused = |refusal| DefinitionError::View {
            file: "gold/views".into(),
            refusal: Box::new(refusal),
        };
        // Of a view with a period rows are grouped for each grain.
        let is_asked = |view: &View| view.period().is_none() && catalog.has_table(view);
        let relations = view_file::relations(contracts);
        let graph = Graph::with_results(catalog.views(), &relations, &is_asked).map_err(refused)?;
        let tabled = catalog.views().iter().enumerate().filter(|(_, view)| catalog.has_table(view));
        let tables = tabled.map(|(at, view)| ViewTable::of(at, view, catalog.calendar()));
        let tables = tables.filter_map(Result::transpose).collect::<Result<_, _>>();
        let views = catalog.relations().iter().filter(|relation| relation.view.is_some());
        let read: BTreeSet<usize> = views.flat_map(|view| view.contracts.clone()).collect();
        let none = |(number, contract): (usize, &Contract)| {
            let layout = Arc::new(RowLayout::new(&contract.columns));
            read.contains(&number).then(|| Delta::new(layout, RowKey::new(contract.key.clone())))
        };
        Ok(Some(Views {
            graph,
            tables: tables.map_err(refused)?,
            loaded: contracts.iter().enumerate().map(none).collect(),
            waiting: 0,
            needed: None,
            refused: Vec::new(),
        }))
    }

    /// From here on rows that are loaded are for steps that keep them, for tables, and for the views that are wanted.
    pub(super) fn need(&mut self, is_wanted: &dyn Fn(usize) -> bool) {
        let has_table = |view: usize| self.tables.iter().any(|table| table.view == view);
        let needed = self.graph.needed(&|view| is_wanted(view) || has_table(view));
        for (contract, loaded) in self.loaded.iter_mut().enumerate() {
            if !needed.reads(contract) {
                *loaded = None;
            }
        }
        self.needed = Some(needed);
    }

    /// Takes what the last step changed of views into their tables. Gives what could not be done.
    fn fill_tables(&mut self) -> Vec<StepError> {
        let Views { graph, tables, .. } = self;
        let filled = tables.iter_mut().filter_map(|table| {
            let changes = graph.changes(table.view)?;
            Some(table.take(changes))
        });
        filled.flatten().collect()
    }
}

impl Engine {
    /// Takes the consolidated changes of all tables into the epoch, by the numbers of their contracts, and
    /// what they change of views.
    ///
    /// # Errors
    /// Rows that left and were never there, and rows that a view cannot take. All other changes are taken in
    /// all the same.
    pub fn step_all(&mut self, stamp: &EpochStamp, deltas: &[&Delta]) -> Vec<DeltaError> {
        let mut wrong = Vec::new();
        for (contract, delta) in deltas.iter().enumerate() {
            wrong.extend(self.step(stamp, contract, delta).err());
        }
        let Some(mut views) = self.views.take() else { return wrong };
        let deltas: Vec<(usize, &Delta)> = deltas.iter().copied().enumerate().collect();
        let refused = views.graph.step(&deltas);
        wrong.extend(refused.into_iter().map(|error| of_view(stamp, error)));
        for number in 0..self.catalog.views().len() {
            let Some(changes) = views.graph.changes(number) else { continue };
            let relation = self.first_view() + number;
            wrong.extend(self.step(stamp, relation, changes.rows).err());
        }
        wrong.extend(views.fill_tables().into_iter().map(|error| of_view(stamp, error)));
        self.kept.is_doubtful |= !wrong.is_empty();
        self.views = Some(views);
        wrong
    }

    /// The number of the first relation that is a view.
    pub(super) fn first_view(&self) -> usize {
        self.plan.relations.len() - self.catalog.views().len()
    }

    /// Gives a loaded row to the views that read it, some time before [`Engine::finish_views`].
    pub(super) fn load_into_views(&mut self, contract: usize, row: RowRef<'_>) {
        let Some(views) = &mut self.views else { return };
        if let Some(Some(loaded)) = views.loaded.get_mut(contract) {
            loaded.add(row, 1);
            views.waiting += 1;
        }
        if views.waiting >= LOADED_AT_ONCE {
            self.finish_views();
        }
    }

    /// What views could not take of the rows that were loaded, since the last call.
    pub fn take_refused(&mut self) -> Vec<String> {
        self.views.as_mut().map(|views| std::mem::take(&mut views.refused)).unwrap_or_default()
    }

    /// Has the views see all rows that were loaded.
    pub(super) fn finish_views(&mut self) {
        let Some(mut views) = self.views.take() else { return };
        views.waiting = 0;
        views.loaded.iter_mut().flatten().for_each(Delta::consolidate);
        let loaded = views.loaded.iter().enumerate();
        let deltas: Vec<(usize, &Delta)> =
            loaded.filter_map(|(contract, delta)| Some((contract, delta.as_ref()?))).collect();
        let refused = views.graph.step_needed(&deltas, views.needed.as_ref());
        views.refused.extend(refused.iter().map(ToString::to_string));
        let refused = views.fill_tables();
        views.refused.extend(refused.iter().map(ToString::to_string));
        views.loaded.iter_mut().flatten().for_each(Delta::clear);
        for number in 0..self.catalog.views().len() {
            let relation = self.first_view() + number;
            let changes = views.graph.changes(number).map(|changes| changes.rows.iter());
            let mut rows: Vec<(RowRef<'_>, i64)> = changes.into_iter().flatten().collect();
            // What goes and what comes may be of one cell, which must not be below nothing in between.
            rows.sort_by_key(|(_, weight)| *weight < 0);
            for (row, weight) in rows {
                let (old, new) = if weight < 0 { (Some(row), None) } else { (None, Some(row)) };
                for _ in 0..weight.unsigned_abs() {
                    if let Err(error) = self.fold_in(relation, old, new, Mode::Rebuild) {
                        views.refused.push(error.to_string());
                    }
                }
            }
        }
        self.kept.is_doubtful |= !views.refused.is_empty();
        self.views = Some(views);
    }
}

/// What a view could not take.
fn of_view(stamp: &EpochStamp, error: StepError) -> DeltaError {
    let StepError { node, row, problem } = error;
    let problem = Box::new(EngineError::View(problem));
    DeltaError { relation: node, key: row, epoch: stamp.id, rows: 1, problem }
}
