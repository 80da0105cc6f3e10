//! A shop that lives: orders and charges that are made, change and go.

use rand::Rng;
use rand::rngs::StdRng;

const DAY: i64 = 86_400_000_000;

/// One cell of a generated row, before it is encoded.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Field {
    Null,
    Text(String),
    /// Units and digits after the point.
    Decimal(i128, u32),
    Time(i64),
    Json(String),
}

/// The table of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Order,
    Cost,
}

pub(super) const ORDER: [&str; 11] = [
    "order_id",
    "tenant_id",
    "customer_id",
    "status",
    "amount",
    "currency",
    "channel",
    "campaign",
    "placed_at",
    "recognized_at",
    "updated_at",
];
pub(super) const COST: [&str; 12] = [
    "charge_id",
    "tenant_id",
    "service_name",
    "charge_category",
    "billed_cost",
    "effective_cost",
    "billing_currency",
    "resource_id",
    "charge_period_start",
    "charge_period_end",
    "tags",
    "updated_at",
];

/// A change of one row. A delete carries an invented row, which nobody may trust.
#[derive(Debug, Clone)]
pub(super) struct RowChange {
    pub(super) kind: Kind,
    pub(super) op: &'static str,
    pub(super) row: Vec<Field>,
}

impl RowChange {
    pub(super) fn topic(&self) -> &'static str {
        match self.kind {
            Kind::Order => "shop.public.orders",
            Kind::Cost => "shop.public.costs",
        }
    }

    pub(super) fn columns(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::Order => &ORDER,
            Kind::Cost => &COST,
        }
    }
}

/// The rows that are there now.
#[derive(Debug)]
pub(super) struct Shop {
    tenants: u32,
    made: u64,
    orders: Vec<Vec<Field>>,
    costs: Vec<Vec<Field>>,
    /// Keys of deleted orders, which may come again.
    deleted: Vec<Field>,
}

fn word(text: impl Into<String>) -> Field {
    Field::Text(text.into())
}

fn pick(rng: &mut StdRng, words: &[&str]) -> Field {
    words.get(rng.random_range(0..words.len())).map_or(Field::Null, |w| word(*w))
}

fn or_null(rng: &mut StdRng, field: Field) -> Field {
    if rng.random_bool(0.1) { Field::Null } else { field }
}

/// An order row with a key that no other order has.
pub(super) fn order_for_poison(rng: &mut StdRng, now: i64, number: u64) -> RowChange {
    let row = new_order(rng, now, word(format!("poison-{number}")), 1);
    RowChange { kind: Kind::Order, op: "c", row }
}

fn tenant(rng: &mut StdRng, tenants: u32) -> Field {
    if rng.random_bool(0.01) {
        return Field::Null;
    }
    word(format!("tenant-{}", rng.random_range(0..tenants.max(1))))
}

/// Most rows are of now, some are late by up to 20 days.
fn event_time(rng: &mut StdRng, now: i64) -> i64 {
    let late = if rng.random_bool(0.05) { 20 * DAY } else { DAY / 24 };
    now - rng.random_range(0..late)
}

fn new_order(rng: &mut StdRng, now: i64, key: Field, tenants: u32) -> Vec<Field> {
    let customer = word(format!("customer-{}", rng.random_range(0..500)));
    vec![
        key,
        tenant(rng, tenants),
        or_null(rng, customer),
        word("placed"),
        Field::Decimal(rng.random_range(-50_000..9_000_000), 4),
        pick(rng, &["USD", "EUR", "JPY"]),
        pick_or_null(rng, &["web", "store", "app \"x\""]),
        pick_or_null(rng, &["spring", "black-friday"]),
        Field::Time(event_time(rng, now)),
        Field::Null,
        Field::Time(now),
    ]
}

fn pick_or_null(rng: &mut StdRng, words: &[&str]) -> Field {
    let field = pick(rng, words);
    or_null(rng, field)
}

fn new_cost(rng: &mut StdRng, now: i64, key: Field, tenants: u32) -> Vec<Field> {
    let start = event_time(rng, now) / 3_600_000_000 * 3_600_000_000;
    let billed = rng.random_range(-1_000_000_000..900_000_000_000);
    let resource = word(format!("r-{}", rng.random_range(0..40)));
    let tags = Field::Json(r#"{"team":"core","env":"prod"}"#.into());
    vec![
        key,
        tenant(rng, tenants),
        pick(rng, &["compute", "storage", "network"]),
        pick(rng, &["Usage", "Purchase", "Tax", "Credit", "Adjustment"]),
        Field::Decimal(billed, 10),
        Field::Decimal(billed * 9 / 10, 10),
        pick(rng, &["USD", "EUR"]),
        or_null(rng, resource),
        Field::Time(start),
        Field::Time(start + 3_600_000_000),
        or_null(rng, tags),
        Field::Time(now),
    ]
}

impl Shop {
    pub(super) fn new(tenants: u32) -> Shop {
        Shop { tenants, made: 0, orders: Vec::new(), costs: Vec::new(), deleted: Vec::new() }
    }

    /// The rows that one source transaction changes.
    pub(super) fn next(&mut self, rng: &mut StdRng, now: i64, snapshot: bool) -> Vec<RowChange> {
        let op = if snapshot { "r" } else { "c" };
        let few = self.orders.len() < 20 || self.costs.len() < 20;
        match rng.random_range(0..100) {
            0..24 => vec![self.create_order(rng, now, op)],
            24..45 => vec![self.create_cost(rng, now, op)],
            _ if snapshot || few => vec![self.create_order(rng, now, op)],
            45..82 => vec![self.update_order(rng, now)],
            82..90 => vec![self.update_cost(rng, now)],
            90..93 => self.change_key(rng, now),
            93..97 => vec![self.delete_order(rng, now)],
            _ => vec![self.delete_cost(rng, now)],
        }
    }

    fn create_order(&mut self, rng: &mut StdRng, now: i64, op: &'static str) -> RowChange {
        self.made += 1;
        let again = if op == "c" && rng.random_bool(0.05) { self.deleted.pop() } else { None };
        let key = again.unwrap_or_else(|| word(format!("o-{}", self.made)));
        let row = new_order(rng, now, key, self.tenants);
        self.orders.push(row.clone());
        RowChange { kind: Kind::Order, op, row }
    }

    fn create_cost(&mut self, rng: &mut StdRng, now: i64, op: &'static str) -> RowChange {
        self.made += 1;
        let key = word(format!("c-{}", self.made));
        let row = new_cost(rng, now, key, self.tenants);
        self.costs.push(row.clone());
        RowChange { kind: Kind::Cost, op, row }
    }

    fn update_order(&mut self, rng: &mut StdRng, now: i64) -> RowChange {
        let at = recent(rng, self.orders.len());
        let row = &mut self.orders[at];
        match rng.random_range(0..20) {
            0..3 => row[4] = Field::Decimal(rng.random_range(-50_000..9_000_000), 4),
            3 => row[1] = tenant(rng, self.tenants),
            4 => row[8] = shifted(&row[8], rng.random_range(-35..35) * DAY),
            5 => row[6] = pick_or_null(rng, &["web", "store"]),
            6 => (row[3], row[9]) = (word("cancelled"), Field::Null),
            7 => row[9] = Field::Null,
            _ => advance(row, rng, now),
        }
        row[10] = Field::Time(now);
        RowChange { kind: Kind::Order, op: "u", row: row.clone() }
    }

    fn update_cost(&mut self, rng: &mut StdRng, now: i64) -> RowChange {
        let at = recent(rng, self.costs.len());
        let row = &mut self.costs[at];
        match rng.random_range(0..6) {
            0..3 => row[5] = Field::Decimal(rng.random_range(0..900_000_000_000), 10),
            3 => row[1] = tenant(rng, self.tenants),
            4 => row[8] = shifted(&row[8], rng.random_range(-35..35) * DAY),
            _ => row[2] = pick(rng, &["compute", "storage", "network"]),
        }
        row[11] = Field::Time(now);
        RowChange { kind: Kind::Cost, op: "u", row: row.clone() }
    }

    /// Debezium's three records: the old key deleted (and its tombstone), the new one created.
    fn change_key(&mut self, rng: &mut StdRng, now: i64) -> Vec<RowChange> {
        self.made += 1;
        let at = recent(rng, self.orders.len());
        let mut row = self.orders[at].clone();
        let gone = RowChange { kind: Kind::Order, op: "d", row: row.clone() };
        row[0] = word(format!("o-{}-moved", self.made));
        row[10] = Field::Time(now);
        self.orders[at].clone_from(&row);
        vec![gone, RowChange { kind: Kind::Order, op: "c", row }]
    }

    fn delete_order(&mut self, rng: &mut StdRng, now: i64) -> RowChange {
        let at = recent(rng, self.orders.len());
        let row = self.orders.swap_remove(at);
        self.deleted.push(row[0].clone());
        let invented = new_order(rng, now, row[0].clone(), self.tenants);
        RowChange { kind: Kind::Order, op: "d", row: invented }
    }

    fn delete_cost(&mut self, rng: &mut StdRng, now: i64) -> RowChange {
        let at = recent(rng, self.costs.len());
        let row = self.costs.swap_remove(at);
        let invented = new_cost(rng, now, row[0].clone(), self.tenants);
        RowChange { kind: Kind::Cost, op: "d", row: invented }
    }
}

/// Mostly one of the last hundred rows.
fn recent(rng: &mut StdRng, len: usize) -> usize {
    let from = if rng.random_bool(0.8) { len.saturating_sub(100) } else { 0 };
    rng.random_range(from..len)
}

fn shifted(field: &Field, by: i64) -> Field {
    match field {
        Field::Time(at) => Field::Time(at + by),
        other => other.clone(),
    }
}

/// The next step in the life of an order.
fn advance(row: &mut [Field], rng: &mut StdRng, now: i64) {
    let Field::Text(status) = &row[3] else { return };
    let next = match status.as_str() {
        "placed" => "paid",
        "paid" => "shipped",
        "shipped" => "recognized",
        "recognized" => "refunded",
        _ => return,
    };
    row[3] = word(next);
    if next == "recognized" {
        row[9] = Field::Time(now - rng.random_range(0..DAY));
    }
}
