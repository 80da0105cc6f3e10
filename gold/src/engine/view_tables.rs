//! Tables of views: the rows that a view holds, each in a slot, for `gold/views/<view>`.
//!
//! # Guarantees
//! - After every epoch they are what the view's SELECT gives over the rows of that epoch, as often as it gives
//!   them; of a view with a period once for each grain.
//! - Freezing copies no row, and what changed since the last freeze is known by slot.
//!
//! # Non-guarantees
//! - A value that was never sent is null here.

use std::collections::BTreeSet;
use std::sync::Arc;

use foldhash::fast::FixedState;
use hashbrown::HashMap;
use schemas::contract::DEFAULT_TENANT;
use schemas::{
    Calendar, Delta, Grain, Marks, Paged, Periods, RowBuilder, RowKey, RowLayout, RowRef,
};
use views::{Changes, Graph, Refusal, Role, StepError, View};

use super::Engine;
use crate::view_table;

mod frozen;
mod locate;

pub use frozen::FrozenView;
pub use locate::Locator;

/// The bytes of a row.
type Bytes = Arc<[u8]>;

/// The rows that one view holds.
#[derive(Debug)]
pub(super) struct ViewTable {
    /// The view's number.
    pub(super) view: usize,
    name: String,
    by_period: Option<ByPeriod>,
    held: Held,
}

/// Rows by slot.
#[derive(Debug)]
struct Held {
    layout: Arc<RowLayout>,
    rows: Paged<Option<Bytes>>,
    /// The slots that hold a row.
    places: HashMap<Bytes, Places, FixedState>,
    free: BTreeSet<u32>,
    changed: Marks,
}

/// The slots of equal rows.
#[derive(Debug)]
enum Places {
    One(u32),
    Many(Vec<u32>),
}

/// What groups the rows of a view by the periods of each grain.
#[derive(Debug)]
struct ByPeriod {
    calendar: Arc<Calendar>,
    grains: Vec<(Grain, Graph)>,
    /// The columns of a row of the view with its tenant and with the instant that its period is of.
    tenant: Option<usize>,
    at: usize,
    /// The columns of what the view holds with the tenant and the period.
    own_tenant: Option<usize>,
    own_period: usize,
    /// Rows of the view, their instants those at which periods start.
    starts: Delta,
}

impl ViewTable {
    /// The table of a view, empty; `None` when it has none.
    pub(super) fn of(
        number: usize,
        view: &View,
        calendar: &Arc<Calendar>,
    ) -> Result<Option<ViewTable>, Refusal> {
        let Ok(columns) = view_table::columns(view) else { return Ok(None) };
        let by_period = match (view.period(), period_of_rows(view)) {
            (Some(own_period), Some(at)) => Some(ByPeriod::of(view, own_period, at, calendar)?),
            _ => None,
        };
        let held = Held {
            layout: Arc::new(RowLayout::new(&columns)),
            rows: Paged::new(1),
            places: HashMap::default(),
            free: BTreeSet::new(),
            changed: Marks::default(),
        };
        let name = view_table::name(view);
        Ok(Some(ViewTable { view: number, name, by_period, held }))
    }

    /// Takes what changed of the view. Gives what could not be done.
    pub(super) fn take(&mut self, changes: Changes<'_>) -> Vec<StepError> {
        let (mut builder, mut wrong) = (RowBuilder::default(), Vec::new());
        let Some(by_period) = &mut self.by_period else {
            if let Some(result) = changes.result {
                wrong.extend(self.held.take(result, &self.name, &mut builder, &|row, builder| {
                    builder.reset(row.schema().len());
                    (0..row.schema().len()).for_each(|at| builder.set(at, row.datum(at)));
                }));
            }
            return wrong;
        };
        for at in 0..by_period.grains.len() {
            wrong.extend(by_period.step(at, changes.rows, &mut builder));
            let Some((grain, graph)) = by_period.grains.get(at) else { continue };
            let Some(changes) = graph.changes(0) else { continue };
            let fill =
                |row: RowRef<'_>, builder: &mut RowBuilder| by_period.fill(*grain, row, builder);
            wrong.extend(self.held.take(changes.rows, &self.name, &mut builder, &fill));
        }
        wrong
    }
}

/// The column of a view's rows with the instant of its period.
fn period_of_rows(view: &View) -> Option<usize> {
    view.columns().iter().find_map(|column| match column.role {
        Role::Period(at) => Some(at),
        _ => None,
    })
}

impl ByPeriod {
    fn of(
        view: &View,
        own_period: usize,
        at: usize,
        calendar: &Arc<Calendar>,
    ) -> Result<ByPeriod, Refusal> {
        let grain = |grain| Ok((grain, Graph::above_rows(view)?));
        let tenant = view.columns().iter().find_map(|column| match column.role {
            Role::Tenant(at) => Some(at),
            _ => None,
        });
        let layout = Arc::new(RowLayout::new(view.rows_schema()));
        Ok(ByPeriod {
            calendar: Arc::clone(calendar),
            grains: Grain::ALL.into_iter().map(grain).collect::<Result<_, Refusal>>()?,
            tenant,
            at,
            own_tenant: view.tenant(),
            own_period,
            starts: Delta::new(layout, RowKey::default()),
        })
    }

    /// Groups what changed of the view's rows by the periods of one grain.
    fn step(&mut self, grain: usize, rows: &Delta, builder: &mut RowBuilder) -> Vec<StepError> {
        let Some((grain, graph)) = self.grains.get_mut(grain) else { return Vec::new() };
        let mut bytes = Vec::new();
        self.starts.clear();
        for (row, weight) in rows.iter() {
            // What is at no time is in no period.
            let Some(at) = row.timestamp(self.at) else { continue };
            builder.reset(row.schema().len());
            (0..row.schema().len()).for_each(|column| builder.set(column, row.datum(column)));
            let start = periods_of(&self.calendar, self.tenant, row).start(*grain, at);
            builder.set_timestamp(self.at, start);
            bytes.clear();
            let layout = Arc::clone(self.starts.layout());
            builder.finish(&layout, &mut bytes);
            self.starts.add(layout.row(&bytes), weight);
        }
        self.starts.consolidate();
        graph.step(&[(0, &self.starts)])
    }

    /// Sets a row of the table to what the view holds.
    fn fill(&self, grain: Grain, row: RowRef<'_>, builder: &mut RowBuilder) {
        builder.reset(row.schema().len() + 2);
        let mut to = 0;
        for at in 0..row.schema().len() {
            if at != self.own_period {
                builder.set(to, row.datum(at));
                to += 1;
                continue;
            }
            builder.set_text(to, grain.name());
            if let Some(start) = row.timestamp(at) {
                let periods = periods_of(&self.calendar, self.own_tenant, row);
                builder.set_timestamp(to + 1, start);
                builder.set_timestamp(to + 2, periods.end(grain, start));
            }
            to += 3;
        }
    }
}

/// The periods of whom a row is of.
fn periods_of<'a>(
    calendar: &'a Calendar,
    tenant: Option<usize>,
    row: RowRef<'_>,
) -> &'a Arc<Periods> {
    let tenant = tenant.and_then(|at| row.text(at)).filter(|tenant| !tenant.is_empty());
    calendar.of(tenant.unwrap_or(DEFAULT_TENANT))
}

/// Sets a row to what another one says.
type Fill<'a> = &'a dyn Fn(RowRef<'_>, &mut RowBuilder);

impl Held {
    /// Takes rows that come and go. Gives the first that went and was never there.
    fn take(
        &mut self,
        changes: &Delta,
        table: &str,
        builder: &mut RowBuilder,
        fill: Fill<'_>,
    ) -> Option<StepError> {
        let (mut bytes, mut wrong) = (Vec::new(), None);
        // What comes first: of changes that are quiet and others, what one brings the other may take.
        for comes in [true, false] {
            for (row, weight) in changes.iter().filter(|(_, weight)| (*weight > 0) == comes) {
                fill(row, builder);
                bytes.clear();
                builder.finish(&self.layout, &mut bytes);
                for _ in 0..weight.unsigned_abs() {
                    let is_done = if comes { self.put(&bytes) } else { self.remove(&bytes) };
                    if !is_done {
                        wrong.get_or_insert_with(|| never_there(table, self.layout.row(&bytes)));
                        break;
                    }
                }
            }
        }
        wrong
    }

    /// Puts a row into the lowest free slot.
    fn put(&mut self, bytes: &[u8]) -> bool {
        let known = self.places.get_key_value(bytes).map(|(row, _)| Arc::clone(row));
        let row = known.unwrap_or_else(|| Arc::from(bytes));
        let slot = match self.free.pop_first() {
            Some(slot) => slot,
            None => match u32::try_from(self.rows.push(None)) {
                Ok(slot) => slot,
                Err(_) => return false,
            },
        };
        if let Some(entry) = self.rows.get_mut(slot as usize) {
            *entry = Some(Arc::clone(&row));
        }
        self.changed.mark(slot);
        self.places.entry(row).and_modify(|places| places.add(slot)).or_insert(Places::One(slot));
        true
    }

    /// Takes a row out of one of its slots; whether it was there.
    fn remove(&mut self, bytes: &[u8]) -> bool {
        let Some(places) = self.places.get_mut(bytes) else { return false };
        let slot = match places {
            Places::One(slot) => *slot,
            Places::Many(slots) => match slots.pop() {
                Some(slot) => slot,
                None => return false,
            },
        };
        if matches!(places, Places::One(_)) || places.is_empty() {
            self.places.remove(bytes);
        }
        if let Some(entry) = self.rows.get_mut(slot as usize) {
            *entry = None;
        }
        self.free.insert(slot);
        self.changed.mark(slot);
        true
    }
}

impl Places {
    fn add(&mut self, slot: u32) {
        match self {
            Places::One(first) => *self = Places::Many(vec![*first, slot]),
            Places::Many(slots) => slots.push(slot),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Places::Many(slots) if slots.is_empty())
    }

    /// One of them, by number.
    fn get(&self, at: usize) -> Option<u32> {
        match self {
            Places::One(slot) => (at == 0).then_some(*slot),
            Places::Many(slots) => slots.get(at).copied(),
        }
    }
}

fn never_there(table: &str, row: RowRef<'_>) -> StepError {
    let columns = row.schema().iter().enumerate();
    let told = columns.map(|(at, column)| format!("{}: {:?}", column.name, row.datum(at)));
    StepError {
        node: table.to_owned(),
        row: told.collect::<Vec<_>>().join(", "),
        problem: "left without having been there, or there are more than 2^32 rows".to_owned(),
    }
}

impl Engine {
    /// The tables of views as they are now, each with the slots that changed since the last call.
    pub fn freeze_views(&mut self) -> Vec<FrozenView> {
        let clock = self.clock;
        let tables = self.views.iter_mut().flat_map(|views| views.tables.iter_mut());
        tables.map(|table| table.freeze(clock)).collect()
    }

    /// What finds rows of a table of a view in memory. What has changed so far is found by it, and no longer
    /// said by the next [`Engine::freeze_views`]; `None` when there is no such table.
    pub fn locate_view(&mut self, table: &str) -> Option<Locator<'_>> {
        let mut tables = self.views.iter_mut().flat_map(|views| views.tables.iter_mut());
        tables.find(|own| own.name == table).map(ViewTable::locator)
    }
}
