//! Order events as Debezium writes them: JSON without schema, about 790 bytes each.
//!
//! # Guarantees
//! - The same [`Shape`] gives the same records, byte for byte.
//! - Of all changes 40 % are inserts, 58.5 % updates and 1.5 % deletes, on average; after a delete
//!   comes its tombstone. Log sequence numbers ascend.
//! - All records of a key are in one partition, in order.
//!
//! # Non-guarantees
//! - There are no hard cases here (late records, snapshots, nulls in odd places): this is a load, not
//!   a test of correctness.

use std::io::Write;

use chrono::{DateTime, Datelike, Timelike};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use schemas::Micros;

const DAY_US: i64 = 86_400_000_000;

/// How far back orders were placed.
const DAYS: i64 = 40;

const TENANTS: [&str; 8] =
    ["acme", "globex", "initech", "umbrella", "hooli", "stark", "wayne", "wonka"];
const CURRENCIES: [&str; 4] = ["EUR", "EUR", "USD", "GBP"];
const CHANNELS: [Option<&str>; 5] =
    [Some("web"), Some("web"), Some("shop"), Some("marketplace"), None];
const CAMPAIGNS: [Option<&str>; 5] =
    [Some("spring-sale-2026"), Some("newsletter-week-46"), Some("black-friday"), None, None];

/// What the stream is made of.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// The seed.
    pub seed: u64,
    /// The number of changes. Tombstones come on top.
    pub changes: u64,
    /// Partitions over which keys are spread.
    pub partitions: u32,
    /// When the last change happened.
    pub end: Micros,
}

/// One record of the stream.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its partition.
    pub partition: u32,
    /// Its key.
    pub key: &'a [u8],
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
}

/// The stream. [`Events::draw`] gives one record after the other.
#[derive(Debug)]
pub struct Events {
    shape: Shape,
    rng: StdRng,
    orders: Vec<Order>,
    open_max: usize,
    next_id: u64,
    drawn: u64,
    lsn: u64,
    tombstone: Option<u32>,
    key: Vec<u8>,
    value: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Placed,
    Paid,
    Shipped,
    Recognized,
    Cancelled,
    Refunded,
}

#[derive(Debug, Clone, Copy)]
struct Order {
    id: u64,
    tenant: usize,
    customer: u32,
    status: Status,
    /// In ten-thousandths.
    amount: u64,
    currency: usize,
    channel: usize,
    campaign: usize,
    placed_at: Micros,
    recognized_at: Option<Micros>,
}

/// When and where in the source's log a change happened.
#[derive(Debug, Clone, Copy)]
struct Moment {
    at: Micros,
    lsn: u64,
    transaction: u64,
}

impl Events {
    /// The stream from its start.
    pub fn new(shape: Shape) -> Events {
        Events {
            shape,
            rng: StdRng::seed_from_u64(shape.seed),
            orders: Vec::new(),
            open_max: usize::MAX,
            next_id: 1,
            drawn: 0,
            lsn: 26_391_584,
            tombstone: None,
            key: Vec::new(),
            value: Vec::new(),
        }
    }

    /// The same, but of more than `orders` orders a random one does not change any more, so that the
    /// stream itself takes no more memory.
    pub fn with_open(self, orders: usize) -> Events {
        Events { open_max: orders.max(1), ..self }
    }

    /// The next record; `None` after the last.
    pub fn draw(&mut self) -> Option<Record<'_>> {
        if let Some(partition) = self.tombstone.take() {
            return Some(Record { partition, key: &self.key, value: None });
        }
        if self.drawn == self.shape.changes {
            return None;
        }
        self.drawn += 1;
        self.lsn += self.rng.random_range(40..400_u64);
        let left = i64::try_from(self.shape.changes - self.drawn).unwrap_or(i64::MAX);
        let at = self.shape.end.plus(left.saturating_mul(-1000) - self.rng.random_range(0..999));
        let moment = Moment { at, lsn: self.lsn, transaction: 700 + self.drawn };
        let (id, is_delete) = self.change(moment);
        self.key.clear();
        write_all(&mut self.key, format_args!("{{\"order_id\":{id}}}"));
        // The remainder is below the number of partitions.
        let partition = u32::try_from(id % u64::from(self.shape.partitions.max(1))).unwrap_or(0);
        self.tombstone = is_delete.then_some(partition);
        Some(Record { partition, key: &self.key, value: Some(&self.value) })
    }

    /// Writes the next change's value. Returns the order's number, and whether it is gone.
    fn change(&mut self, moment: Moment) -> (u64, bool) {
        let dice = self.rng.random_range(0..1000);
        if dice < 400 || self.orders.is_empty() {
            let order = self.place(moment);
            if self.orders.len() < self.open_max {
                self.orders.push(order);
            } else {
                let at = self.rng.random_range(0..self.orders.len());
                self.orders[at] = order;
            }
            envelope(&mut self.value, None, Some(&order), moment, 'c');
            return (order.id, false);
        }
        let at = self.rng.random_range(0..self.orders.len());
        if dice >= 985 {
            let order = self.orders.swap_remove(at);
            envelope(&mut self.value, Some(order.id), None, moment, 'd');
            return (order.id, true);
        }
        let order = &mut self.orders[at];
        order.advance(&mut self.rng, moment.at);
        envelope(&mut self.value, None, Some(order), moment, 'u');
        (order.id, false)
    }

    fn place(&mut self, moment: Moment) -> Order {
        let rng = &mut self.rng;
        let id = self.next_id;
        self.next_id += 1;
        Order {
            id,
            tenant: rng.random_range(0..TENANTS.len()),
            customer: rng.random_range(0..60_000),
            status: Status::Placed,
            amount: rng.random_range(10_000..5_000_000) * 100,
            currency: rng.random_range(0..CURRENCIES.len()),
            channel: rng.random_range(0..CHANNELS.len()),
            campaign: rng.random_range(0..CAMPAIGNS.len()),
            placed_at: moment.at.plus(-rng.random_range(0..DAYS * DAY_US)),
            recognized_at: None,
        }
    }
}

impl Order {
    /// One step of its life, or a correction.
    fn advance(&mut self, rng: &mut StdRng, now: Micros) {
        let dice = rng.random_range(0..100);
        let next = match self.status {
            Status::Placed if dice < 75 => Status::Paid,
            Status::Placed if dice < 85 => Status::Cancelled,
            Status::Paid if dice < 80 => Status::Shipped,
            Status::Shipped if dice < 80 => Status::Recognized,
            Status::Recognized if dice < 20 => Status::Refunded,
            same => same,
        };
        if next == self.status {
            if dice % 2 == 0 {
                self.amount = rng.random_range(10_000..5_000_000) * 100;
            } else {
                self.campaign = rng.random_range(0..CAMPAIGNS.len());
            }
        }
        if next == Status::Recognized && self.status != next {
            let after = rng.random_range(0..5 * DAY_US);
            self.recognized_at = Some(self.placed_at.plus(after).min(now));
        }
        self.status = next;
    }
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Placed => "placed",
            Status::Paid => "paid",
            Status::Shipped => "shipped",
            Status::Recognized => "recognized",
            Status::Cancelled => "cancelled",
            Status::Refunded => "refunded",
        }
    }
}

/// Writes a value: what Debezium 3.7 for PostgreSQL sends with decimals as strings, times in ISO
/// 8601, and the default replica identity (an update has no `before`, a delete has the key alone).
fn envelope(out: &mut Vec<u8>, gone: Option<u64>, order: Option<&Order>, moment: Moment, op: char) {
    out.clear();
    write_all(out, format_args!("{{\"before\":"));
    match gone {
        Some(id) => write_all(
            out,
            format_args!(
                "{{\"order_id\":{id},\"tenant_id\":null,\"customer_id\":null,\"status\":\"\",\
                 \"amount\":\"0.0000\",\"currency\":\"\",\"channel\":null,\"campaign\":null,\
                 \"placed_at\":\"1970-01-01T00:00:00Z\",\"recognized_at\":null,\
                 \"updated_at\":\"1970-01-01T00:00:00Z\"}}"
            ),
        ),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"after\":");
    match order {
        Some(order) => row(out, order, moment.at),
        None => out.extend_from_slice(b"null"),
    }
    let Moment { at: Micros(us), lsn, transaction } = moment;
    let (ms, sent_us) = (us / 1000, us + 82_451);
    let sent_ms = sent_us / 1000;
    write_all(
        out,
        format_args!(
            ",\"source\":{{\"version\":\"3.7.0.Final\",\"connector\":\"postgresql\",\
             \"name\":\"shop\",\"ts_ms\":{ms},\"snapshot\":\"false\",\"db\":\"shop\",\
             \"sequence\":\"[\\\"{lsn}\\\",\\\"{lsn}\\\"]\",\"ts_us\":{us},\"ts_ns\":{us}000,\
             \"schema\":\"public\",\"table\":\"orders\",\"txId\":{transaction},\"lsn\":{lsn},\
             \"xmin\":null,\"origin\":null,\"origin_lsn\":null}},\"transaction\":null,\
             \"op\":\"{op}\",\"ts_ms\":{sent_ms},\"ts_us\":{sent_us},\"ts_ns\":{sent_us}287}}"
        ),
    );
}

fn row(out: &mut Vec<u8>, order: &Order, updated_at: Micros) {
    let (tenant, currency) = (TENANTS[order.tenant], CURRENCIES[order.currency]);
    let (whole, part) = (order.amount / 10_000, order.amount % 10_000);
    write_all(
        out,
        format_args!(
            "{{\"order_id\":{},\"tenant_id\":\"{tenant}\",\"customer_id\":\"customer-7f3a90c2-5b1e-4d08-a6f4-{:012}\",\
             \"status\":\"{}\",\"amount\":\"{whole}.{part:04}\",\"currency\":\"{currency}\",\
             \"channel\":",
            order.id,
            order.customer,
            order.status.name()
        ),
    );
    text(out, CHANNELS[order.channel]);
    out.extend_from_slice(b",\"campaign\":");
    text(out, CAMPAIGNS[order.campaign]);
    out.extend_from_slice(b",\"placed_at\":");
    instant(out, order.placed_at);
    out.extend_from_slice(b",\"recognized_at\":");
    match order.recognized_at {
        Some(at) => instant(out, at),
        None => out.extend_from_slice(b"null"),
    }
    out.extend_from_slice(b",\"updated_at\":");
    instant(out, updated_at);
    out.push(b'}');
}

fn text(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => write_all(out, format_args!("\"{text}\"")),
        None => out.extend_from_slice(b"null"),
    }
}

/// Always with six digits after the second, as Debezium does.
fn instant(out: &mut Vec<u8>, at: Micros) {
    let at = DateTime::from_timestamp_micros(at.0).unwrap_or_default();
    write_all(
        out,
        format_args!(
            "\"{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z\"",
            at.year(),
            at.month(),
            at.day(),
            at.hour(),
            at.minute(),
            at.second(),
            at.timestamp_subsec_micros()
        ),
    );
}

/// Writing to memory cannot fail.
fn write_all(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    drop(out.write_fmt(text));
}

#[cfg(test)]
mod tests;
