//! The one sequence of all records: the calendar's changes, and from `start` on the live traffic
//! that fills the rate between them.
//!
//! Guarantees: the sequence is a function of (seed, start, tenants, history, business rate,
//! partitions). Live traffic is cut into *slots*, one per record, at `start + slot / rate`; what a
//! slot holds depends on its number and on the orders placed before it, never on what was read.
//! All records of a key are in one partition, in the order of their times.
//!
//! Slots come in blocks of 64: 25 metered charges, 9 corrections of charges metered 1 s to 20 min
//! before (at 200/s), one deletion with its tombstone, 28 touches of orders that already exist. Behind each write of an
//! order come the lines that change with it, as of one transaction, which take no slots.

use super::lines;
use super::mix::{Dice, mix, tag};
use super::schedule::{Change, Charge, ChargeKind, Schedule};
use super::tables::Table;
use super::world::{HOUR, ONE};

const BLOCK: u64 = 64;
const INSERTS: u64 = 25;
/// Blocks between a metered charge and its correction, for the charges that get one.
const FIX_LAGS: [u64; 9] = [3, 10, 31, 94, 190, 375, 940, 1900, 3800];
/// The metered charge of a block that is deleted again, and when.
const GONE_INSERT: usize = 24;
const GONE_LAG: u64 = 5;
/// Position of the deletion in a block; its tombstone is next.
const GONE_SLOT: u64 = 40;
/// The last orders that most touches choose from (about 30 hours), and all touches.
const RECENT: u64 = 900;
const REACH: u64 = 8000;

/// Where a walk through the sequence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Cursor {
    /// Number of the next record.
    pub(crate) index: u64,
    /// The next slot.
    slot: u64,
    hour: usize,
    next: usize,
    /// Orders placed so far.
    orders: u64,
    /// Lines that are still to be written behind their order.
    lines: Option<Lines>,
}

/// Lines of an order that change with it, from `next` up to, not including, `end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Lines {
    order: usize,
    next: u8,
    end: u8,
    op: LineOp,
    at: i64,
    block: Option<u64>,
}

/// What happens to a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LineOp {
    Insert,
    Update,
    Gone,
    Tombstone,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    Scheduled(Change),
    /// A metered charge, by the slot that inserts it.
    Meter(u64),
    MeterFix(u64),
    MeterGone(u64),
    MeterTombstone(u64),
    /// An existing order, written again with its amount of the moment.
    Touch(usize),
    /// A line of an order, behind that.
    Line {
        order: usize,
        index: u8,
        op: LineOp,
    },
}

/// One record, not yet written out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) index: u64,
    /// Business time.
    pub(crate) at: i64,
    /// The block of live slots it falls into; none in history.
    pub(crate) block: Option<u64>,
    pub(crate) what: What,
}

/// What a metered charge says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Metered {
    pub(crate) tenant: usize,
    pub(crate) service: usize,
    pub(crate) at: i64,
    /// Cost units (ten decimals).
    pub(crate) effective: i64,
    pub(crate) resource: u64,
}

#[derive(Debug, Clone, Copy)]
enum Role {
    Insert,
    Fix(usize),
    Gone,
    Tombstone,
    Touch,
}

#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) schedule: Schedule,
    pub(crate) partitions: u64,
    start: i64,
    slot_ns: i64,
    roles: Vec<Role>,
    /// Slot within the block of the `k`th insert.
    inserts: Vec<u64>,
    /// Tenant, service and weight of what meters count, with the running sum of the weights.
    meters: Vec<(usize, usize, u64, u64)>,
}

impl Stream {
    pub(crate) fn new(schedule: Schedule, start: i64, slot_ns: i64, partitions: u64) -> Stream {
        let (roles, inserts) = roles();
        let meters = meters(&schedule, start);
        Stream { schedule, partitions, start, slot_ns, roles, inserts, meters }
    }

    /// The record at the cursor, which moves on.
    pub(crate) fn advance(&mut self, cursor: &mut Cursor) -> Item {
        if let Some(lines) = cursor.lines {
            return next_line(cursor, lines);
        }
        let item = self.next(cursor);
        cursor.lines = self.lines(&item);
        item
    }

    /// The lines that change with an order: all where they are new, gone or of another price, else the one that takes
    /// what the others leave.
    fn lines(&self, item: &Item) -> Option<Lines> {
        let (order, op, all) = match item.what {
            What::Scheduled(Change::OrderStep { order, step }) => {
                let own = &self.schedule.orders[order];
                let is_new = step == own.told_from;
                let op = if is_new { LineOp::Insert } else { LineOp::Update };
                let all = is_new || own.reprices_at(step);
                if !all && item.block.is_none() {
                    return None;
                }
                (order, op, all)
            }
            What::Scheduled(Change::OrderTombstone { order }) => (order, LineOp::Gone, true),
            What::Touch(order) => (order, LineOp::Update, false),
            _ => return None,
        };
        let own = &self.schedule.orders[order];
        let end = if all { lines::count(self.schedule.world.seed, own) } else { 1 };
        Some(Lines { order, next: 0, end, op, at: item.at, block: item.block })
    }

    fn next(&mut self, cursor: &mut Cursor) -> Item {
        let slot_at = self.slot_at(cursor.slot);
        loop {
            match self.schedule.hour(cursor.hour).get(cursor.next).copied() {
                Some(scheduled) if scheduled.at <= slot_at => {
                    cursor.next += 1;
                    let placed = |order: usize, step| step == self.schedule.orders[order].told_from;
                    if let Change::OrderStep { order, step } = scheduled.change {
                        cursor.orders += u64::from(placed(order, step));
                    }
                    let what = What::Scheduled(scheduled.change);
                    return self.item(cursor, scheduled.at, what);
                }
                None if self.schedule.hour_end(cursor.hour) <= slot_at => {
                    cursor.hour += 1;
                    cursor.next = 0;
                }
                _ => break,
            }
        }
        let what = self.slot(cursor.slot, slot_at, cursor.orders);
        let item = self.item(cursor, slot_at, what);
        cursor.slot += 1;
        item
    }

    fn item(&self, cursor: &mut Cursor, at: i64, what: What) -> Item {
        let block = (at >= self.start).then_some(cursor.slot / BLOCK);
        cursor.index += 1;
        Item { index: cursor.index - 1, at, block, what }
    }

    fn slot_at(&self, slot: u64) -> i64 {
        self.start + slot.cast_signed().saturating_mul(self.slot_ns) / 1000
    }

    /// What the slot holds; a role without anything to act on yet touches an order instead.
    fn slot(&self, slot: u64, at: i64, orders: u64) -> What {
        let (block, within) = (slot / BLOCK, slot % BLOCK);
        let before = |lag: u64, insert: usize| {
            block.checked_sub(lag).map(|block| block * BLOCK + self.inserts[insert])
        };
        let role = usize::try_from(within).map_or(Role::Touch, |within| self.roles[within]);
        let what = match role {
            Role::Insert => Some(What::Meter(slot)),
            Role::Fix(k) => before(FIX_LAGS[k], k).map(What::MeterFix),
            Role::Gone => before(GONE_LAG, GONE_INSERT).map(What::MeterGone),
            Role::Tombstone => before(GONE_LAG, GONE_INSERT).map(What::MeterTombstone),
            Role::Touch => None,
        };
        what.unwrap_or_else(|| self.touch(slot, at, orders).map_or(What::Meter(slot), What::Touch))
    }

    fn touch(&self, slot: u64, at: i64, orders: u64) -> Option<usize> {
        let mut dice = Dice::of(self.schedule.world.seed, tag::TOUCH, slot);
        let recent = dice.chance(800);
        let reach = orders.min(if recent { RECENT } else { REACH });
        let mut spare = None;
        for _ in 0..if reach == 0 { 0 } else { 4 } {
            let number = usize::try_from(orders - 1 - dice.below(reach)).ok()?;
            let order = &self.schedule.orders[number];
            if order.gone(at) {
                continue;
            }
            if !recent || order.step_at(at).status.open() {
                return Some(number);
            }
            spare = Some(number);
        }
        spare
    }

    /// The content of the charge that `slot` meters. Together the meters of an hour cost what the
    /// hour costs, at any business rate.
    pub(crate) fn metered(&self, slot: u64) -> Metered {
        let world = &self.schedule.world;
        let mut dice = Dice::of(world.seed, tag::METER, slot);
        let total = self.meters.last().map_or(1, |meter| meter.3);
        let draw = dice.below(total);
        let found = self.meters.partition_point(|meter| meter.3 <= draw);
        let (tenant, service, weight, _) = self.meters[found.min(self.meters.len() - 1)];
        let at = self.slot_at(slot);
        let hourly = i128::from(world.cost(tenant, service, at.div_euclid(HOUR)));
        let gap_ns = i128::from(self.slot_ns) * i128::from(BLOCK) / i128::from(INSERTS);
        let noise = i128::from(dice.between(600, 1400));
        let cost = hourly * gap_ns * i128::from(total) * noise;
        let cost = cost / (i128::from(weight) * i128::from(HOUR) * 1_000_000);
        let effective = i64::try_from(cost).unwrap_or(i64::MAX / 4);
        Metered { tenant, service, at, effective, resource: dice.below(4) }
    }

    /// Which of the (topic, partition) pairs the record belongs to: those of a table are together, in the order of
    /// [`Table::ALL`].
    pub(crate) fn lane(&self, what: &What) -> usize {
        let (table, key) = match what {
            What::Scheduled(
                Change::OrderStep { order, .. }
                | Change::OrderGone { order }
                | Change::OrderTombstone { order },
            )
            | What::Touch(order) => (Table::Orders, *order as u64),
            What::Line { order, .. } => (Table::OrderItems, *order as u64),
            What::Scheduled(Change::Fact(number)) => {
                let fact = &self.schedule.facts[*number];
                (fact.row.table(), mix(0, fact.row.table().lane(), fact.id))
            }
            What::Scheduled(
                Change::Charge { charge, .. }
                | Change::ChargeGone { charge }
                | Change::ChargeTombstone { charge },
            ) => (Table::Costs, charge_key(charge)),
            What::Meter(slot)
            | What::MeterFix(slot)
            | What::MeterGone(slot)
            | What::MeterTombstone(slot) => (Table::Costs, mix(0, tag::METER, *slot)),
        };
        let lane = table.lane() * self.partitions + key % self.partitions;
        usize::try_from(lane).unwrap_or(0)
    }
}

/// The next of the lines that are to be written.
fn next_line(cursor: &mut Cursor, lines: Lines) -> Item {
    let Lines { order, next: index, end, op, at, block } = lines;
    let is_last = index + 1 >= end;
    cursor.lines = match op {
        // A tombstone follows its delete.
        LineOp::Gone => Some(Lines { op: LineOp::Tombstone, ..lines }),
        _ if is_last => None,
        LineOp::Tombstone => Some(Lines { op: LineOp::Gone, next: index + 1, ..lines }),
        _ => Some(Lines { next: index + 1, ..lines }),
    };
    cursor.index += 1;
    Item { index: cursor.index - 1, at, block, what: What::Line { order, index, op } }
}

fn charge_key(charge: &Charge) -> u64 {
    let kind = match charge.kind {
        ChargeKind::Hourly { service } => service as u64,
        ChargeKind::Partial { service } => 100 + service as u64,
        ChargeKind::Daily { service } => 50 + service as u64,
        ChargeKind::Tax => 200,
        ChargeKind::Credit => 201,
        ChargeKind::Purchase => 202,
        ChargeKind::Spike { n, .. } => 300 + n.cast_unsigned(),
    };
    mix(kind, charge.tenant as u64, charge.hour.cast_unsigned())
}

/// The role of each slot of a block, spread evenly, and where the inserts are.
fn roles() -> (Vec<Role>, Vec<u64>) {
    let mut roles = vec![Role::Touch; usize::try_from(BLOCK).unwrap_or(0)];
    let mut inserts = vec![];
    let free =
        (0..BLOCK).map(|n| n * 37 % BLOCK).filter(|s| !(GONE_SLOT..GONE_SLOT + 2).contains(s));
    for (n, slot) in (0..).zip(free) {
        let role = match n {
            0..INSERTS => {
                inserts.push(slot);
                Role::Insert
            }
            _ => match usize::try_from(n - INSERTS) {
                Ok(k) if k < FIX_LAGS.len() => Role::Fix(k),
                _ => Role::Touch,
            },
        };
        roles[usize::try_from(slot).unwrap_or(0)] = role;
    }
    let gone = usize::try_from(GONE_SLOT).unwrap_or(0);
    roles[gone] = Role::Gone;
    roles[gone + 1] = Role::Tombstone;
    (roles, inserts)
}

/// Half of the metering follows the money, half goes round evenly, so that the small ones show.
fn meters(schedule: &Schedule, start: i64) -> Vec<(usize, usize, u64, u64)> {
    let world = &schedule.world;
    let pairs: Vec<(usize, usize)> = (0..world.tenants.len())
        .flat_map(|tenant| {
            (0..world.tenants[tenant].services).map(move |service| (tenant, service))
        })
        .collect();
    let cost = |pair: &(usize, usize)| {
        u64::try_from(world.cost(pair.0, pair.1, start.div_euclid(HOUR)) >> 16).unwrap_or(0)
    };
    let all: u64 = pairs.iter().map(cost).sum::<u64>().max(1);
    let even = ONE / 2 / (pairs.len() as u64).max(1);
    let mut sum = 0;
    let weigh = |pair: (usize, usize)| {
        let weight = (even + cost(&pair) * (ONE / 2) / all).max(1);
        sum += weight;
        (pair.0, pair.1, weight, sum)
    };
    pairs.into_iter().map(weigh).collect()
}
