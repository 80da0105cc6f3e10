//! Numbers that saved state gives back, so that a start counts no rows for the views that they are of.
//!
//! | part | number | record |
//! |---|---|---|
//! | `gold/kept` | 0 | which numbers the records of each cube have, by what they are computed by |
//! | `gold/kept/<dims>` | cell, or day of a stock's series | what names it, and those numbers |
//!
//! # Guarantees
//! - Where what was saved is damaged, of another version or computed otherwise, it is not used: the numbers are made of
//!   rows as if there were none, and [`Engine::take_unkept`] says of which views and why.
//! - Once a row could not be taken, nothing that is saved is used: what rows alone say is true, and a start says again
//!   which of them fail.
//! - A view is not given rows that it needs for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemas::state::encode;
use schemas::{Records, Saved, StatePart};
use serde::{Deserialize, Serialize};

use super::{Engine, Frozen};
use crate::catalog::Catalog;
use crate::cube::Cube;
use crate::keeping::Keeping;
use crate::plan::Plan;

/// The version of the records.
const VERSION: u8 = 1;
const HEAD: &str = "gold/kept";

/// What is kept, and what of it saved state gave back.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) keeping: Arc<Keeping>,
    /// By selection of rows.
    restored: Vec<bool>,
    /// Views whose rows are read all the same, with the reason.
    unkept: Vec<String>,
    /// Whether any row could not be taken since the start.
    pub(super) is_doubtful: bool,
}

/// By cube the identities of what its records have, in their order.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    version: u8,
    cubes: BTreeMap<String, Vec<String>>,
}

fn part(dims: &[String]) -> String {
    format!("{HEAD}/{}", dims.join(","))
}

impl Kept {
    /// What is kept of these KPIs, which these cubes are told.
    pub(super) fn of(plan: &Plan, catalog: &Catalog, cubes: &mut [Cube]) -> Kept {
        let keeping = Keeping::of(plan, catalog);
        for (number, cube) in cubes.iter_mut().enumerate() {
            let own = keeping.of_cube(number).iter();
            cube.keep(own.map(|keep| keep.numbers.clone()).collect());
        }
        let restored = vec![false; plan.views.len()];
        Kept { keeping: Arc::new(keeping), restored, unkept: Vec::new(), is_doubtful: false }
    }

    /// Whether saved state gave the numbers of a selection of rows back.
    pub(super) fn is_restored(&self, view: usize) -> bool {
        self.restored.get(view).copied().unwrap_or_default()
    }
}

/// The kept numbers of a cube.
struct KeptRecords<'a>(&'a Frozen, usize);

impl Records for KeptRecords<'_> {
    fn changed(&self) -> Option<&[u32]> {
        self.0.kept[self.1].changed.as_deref()
    }

    fn end(&self) -> u32 {
        self.0.kept[self.1].end(&self.0.cubes[self.1])
    }

    fn write(&self, number: u32, out: &mut Vec<u8>) -> bool {
        let record = self.0.kept[self.1].record(&self.0.cubes[self.1], number);
        record.iter().for_each(|record| encode(record, out));
        record.is_some()
    }
}

impl Frozen {
    /// The numbers that are kept, where any are.
    pub(super) fn kept_parts(&self) -> Vec<StatePart<'_>> {
        if self.keeping.is_empty() {
            return Vec::new();
        }
        let kept = self.plan.cubes.iter().enumerate().filter(|(at, _)| !self.kept[*at].is_empty());
        let named: Vec<(usize, Vec<String>)> = kept.map(|(at, cube)| (at, cube.name())).collect();
        let identities =
            |at: usize| self.keeping.of_cube(at).iter().map(|keep| keep.identity.clone()).collect();
        let trusted = named.iter().filter(|_| !self.is_doubtful);
        let cubes = trusted.map(|(at, name)| (name.join(","), identities(*at)));
        let head = Head { version: VERSION, cubes: cubes.collect() };
        let mut parts = vec![StatePart::head(HEAD, &head)];
        parts.extend(
            named.iter().map(|(at, name)| StatePart::new(part(name), KeptRecords(self, *at))),
        );
        parts
    }
}

impl Engine {
    /// Of which views rows are read at a start although their numbers could be kept, and why; since the last call.
    pub fn take_unkept(&mut self) -> Vec<String> {
        std::mem::take(&mut self.kept.unkept)
    }

    /// Puts back the numbers that were saved, and has views see only the rows that they need.
    pub(super) fn load_kept(&mut self, saved: &Saved, is_kept: &dyn Fn(&str) -> bool) {
        let keeping = Arc::clone(&self.kept.keeping);
        let head = match saved.part(HEAD) {
            None => Err("saved state does not have them".to_owned()),
            Some(_) => match saved.head::<Head>(HEAD) {
                Ok(head) if head.version == VERSION => Ok(head),
                Ok(_) => Err("saved state is of another version".to_owned()),
                Err(error) => Err(error.to_string()),
            },
        };
        for cube in 0..self.cubes.len() {
            if keeping.of_cube(cube).is_empty() {
                continue;
            }
            let put_back = match &head {
                Ok(head) => self.load_kept_cube(cube, head, saved, is_kept),
                Err(problem) => Err(problem.clone()),
            };
            let missing = keeping.of_cube(cube).iter().map(|keep| keep.view);
            let missing = missing.filter(|view| !self.kept.is_restored(*view));
            let views: BTreeSet<&str> =
                missing.map(|view| &*self.plan.relations[self.plan.views[view].relation]).collect();
            if !views.is_empty() {
                let views = views.into_iter().collect::<Vec<_>>().join(", ");
                let why = put_back.err().unwrap_or_else(|| {
                    "they are computed otherwise than they were saved, or of tables that are built anew"
                        .to_owned()
                });
                self.kept
                    .unkept
                    .push(format!("the numbers of views {views} are made of rows: {why}"));
            }
        }
        self.need_rows();
    }

    fn load_kept_cube(
        &mut self,
        cube: usize,
        head: &Head,
        saved: &Saved,
        is_kept: &dyn Fn(&str) -> bool,
    ) -> Result<(), String> {
        let name = self.plan.cubes[cube].name();
        let keeping = Arc::clone(&self.kept.keeping);
        let own = keeping.of_cube(cube);
        let was = head.cubes.get(&name.join(","));
        let was = was.ok_or("saved state does not have them, or rows could not be taken")?;
        let place = |identity: &String| {
            let place = own.iter().position(|keep| keep.identity == *identity)?;
            let mut kpis = own.get(place)?.kpis.iter();
            kpis.all(|kpi| is_kept(&self.plan.kpis[*kpi].key)).then_some(place)
        };
        let places: Vec<Option<usize>> = was.iter().map(place).collect();
        if places.iter().all(Option::is_none) {
            return Ok(());
        }
        let is_same = places.iter().copied().eq((0..own.len()).map(Some));
        self.cubes[cube].restore_kept((saved, &part(&name)), &places, is_same)?;
        for keep in places.iter().flatten().filter_map(|place| own.get(*place)) {
            self.kept.restored[keep.view] = true;
        }
        Ok(())
    }

    /// Has views see only rows of tables that they keep, or that are counted for numbers which were not put back.
    fn need_rows(&mut self) {
        let first = self.first_view();
        let Engine { plan, kept, views: Some(views), .. } = self else { return };
        views.need(&|view| {
            let fed = plan.by_relation.get(first + view);
            fed.is_some_and(|fed| fed.iter().any(|own| !kept.is_restored(*own)))
        });
    }
}
