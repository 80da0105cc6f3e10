//! Random transactions on the shop, as SQL, with a tally of what each kind of change was.

use std::collections::BTreeMap;
use std::fmt::Write;

use rand::Rng;
use rand::rngs::StdRng;

/// Every kind of change that the tally knows.
pub(super) const KINDS: [&str; 14] = [
    "order inserted",
    "order status",
    "order amount",
    "order deleted",
    "order key",
    "order tenant",
    "order month",
    "order channel, currency",
    "cost inserted",
    "cost amount",
    "cost deleted",
    "cost tenant",
    "cost month",
    "rolled back",
];

/// Keys from here on are the last rows.
const LAST: i64 = 9_000_000_000;

/// What is known of the rows: their keys.
#[derive(Debug)]
pub(super) struct Shop {
    rng: StdRng,
    next: i64,
    orders: Vec<i64>,
    costs: Vec<i64>,
    counts: BTreeMap<&'static str, u64>,
}

/// Whether a key is that of a last row.
pub(super) fn is_last(key: &str) -> bool {
    let key = key.split(" of ").next().unwrap_or(key);
    key.trim_start_matches('c').parse().is_ok_and(|number: i64| number >= LAST)
}

impl Shop {
    pub(super) fn new(rng: StdRng) -> Shop {
        let (orders, costs, counts) = (Vec::new(), Vec::new(), BTreeMap::new());
        Shop { rng, next: 1, orders, costs, counts }
    }

    /// How often a kind of change was made.
    pub(super) fn count(&self, kind: &str) -> u64 {
        self.counts.get(kind).copied().unwrap_or(0)
    }

    /// Rows that are there before the connector is.
    pub(super) fn first_rows(&mut self, rows: u32) -> String {
        let mut text = String::from("begin;\n");
        for _ in 0..rows {
            text.push_str(&self.insert_order());
            text.push_str(&self.insert_cost());
        }
        text + "commit;\n"
    }

    /// Some transactions of one to six changes; one in ten is rolled back.
    pub(super) fn batch(&mut self, transactions: u32) -> String {
        let mut text = String::new();
        for _ in 0..transactions {
            let changes = self.rng.random_range(1..=6);
            if self.rng.random_bool(0.1) {
                text.push_str(&self.rolled_back(changes));
                continue;
            }
            text.push_str("begin;\n");
            (0..changes).for_each(|_| text.push_str(&self.change()));
            text.push_str("commit;\n");
        }
        text
    }

    /// Rows by which a reader sees that everything before them has come.
    pub(super) fn last_rows(&mut self, rows: i64) -> String {
        let mut text = String::new();
        for number in LAST..LAST + rows {
            text.push_str(&self.order(number));
            text.push_str(&self.cost(number));
        }
        text
    }

    /// Changes that never happened: what is known of the rows stays.
    fn rolled_back(&mut self, changes: u32) -> String {
        let (orders, costs, counts) =
            (self.orders.clone(), self.costs.clone(), self.counts.clone());
        let text: String = (0..changes).map(|_| self.change()).collect();
        (self.orders, self.costs, self.counts) = (orders, costs, counts);
        self.tally("rolled back");
        format!("begin;\n{text}rollback;\n")
    }

    fn tally(&mut self, kind: &'static str) {
        *self.counts.entry(kind).or_insert(0) += 1;
    }

    fn change(&mut self) -> String {
        match self.rng.random_range(0..100) {
            0..22 => self.insert_order(),
            22..34 => self.insert_cost(),
            34..52 => self.update_order("order status"),
            52..60 => self.update_order("order amount"),
            60..66 => self.delete_order(),
            66..71 => self.change_key(),
            71..75 => self.update_order("order tenant"),
            75..80 => self.update_order("order month"),
            80..84 => self.update_order("order channel, currency"),
            84..89 => self.update_cost("cost amount"),
            89..93 => self.delete_cost(),
            93..96 => self.update_cost("cost tenant"),
            _ => self.update_cost("cost month"),
        }
    }

    fn insert_order(&mut self) -> String {
        self.next += 1;
        self.tally("order inserted");
        self.orders.push(self.next);
        self.order(self.next)
    }

    fn insert_cost(&mut self) -> String {
        self.next += 1;
        self.tally("cost inserted");
        self.costs.push(self.next);
        self.cost(self.next)
    }

    fn order(&mut self, key: i64) -> String {
        let (tenant, status, amount) = (self.tenant(), self.status(), self.amount());
        let (currency, channel) = (self.currency(), self.channel());
        let placed = self.time();
        let recognized = if self.rng.random_bool(0.5) { self.time() } else { "null".into() };
        format!(
            "insert into orders values ({key}, {tenant}, 'customer', {status}, {amount}, \
             {currency}, {channel}, null, {placed}, {recognized}, now());\n"
        )
    }

    fn cost(&mut self, key: i64) -> String {
        let (tenant, service) =
            (self.tenant(), self.pick(&["compute", "storage", "it''s \"net\""]));
        let (billed, effective) = (self.money(10), self.money(10));
        let currency = self.pick(&["USD", "EUR"]);
        let start = self.time();
        format!(
            "insert into costs values ('c{key}', {tenant}, {service}, 'Usage', {billed}, \
             {effective}, {currency}, null, {start}, {start}, '{{\"a\": [1, 2]}}', now());\n"
        )
    }

    fn update_order(&mut self, kind: &'static str) -> String {
        let at = self.rng.random_range(0..self.orders.len());
        let key = self.orders[at];
        let set = match kind {
            "order status" => {
                let recognized = self.time();
                format!("status = {}, recognized_at = {recognized}", self.status())
            }
            "order amount" => format!("amount = {}", self.amount()),
            "order tenant" => format!("tenant_id = {}", self.tenant()),
            "order month" => format!("placed_at = placed_at + interval '{} days'", self.days()),
            _ => format!("channel = {}, currency = {}", self.channel(), self.currency()),
        };
        self.tally(kind);
        format!("update orders set {set}, updated_at = now() where order_id = {key};\n")
    }

    fn update_cost(&mut self, kind: &'static str) -> String {
        let at = self.rng.random_range(0..self.costs.len());
        let key = self.costs[at];
        let set = match kind {
            "cost amount" => format!("effective_cost = {}", self.money(10)),
            "cost tenant" => format!("tenant_id = {}", self.tenant()),
            _ => format!(
                "charge_period_start = charge_period_start + interval '{} days'",
                self.days()
            ),
        };
        self.tally(kind);
        format!("update costs set {set}, updated_at = now() where charge_id = 'c{key}';\n")
    }

    fn delete_order(&mut self) -> String {
        let at = self.rng.random_range(0..self.orders.len());
        let key = self.orders.swap_remove(at);
        self.tally("order deleted");
        format!("delete from orders where order_id = {key};\n")
    }

    fn delete_cost(&mut self) -> String {
        let at = self.rng.random_range(0..self.costs.len());
        let key = self.costs.swap_remove(at);
        self.tally("cost deleted");
        format!("delete from costs where charge_id = 'c{key}';\n")
    }

    fn change_key(&mut self) -> String {
        self.next += 1;
        let at = self.rng.random_range(0..self.orders.len());
        let old = std::mem::replace(&mut self.orders[at], self.next);
        self.tally("order key");
        let mut text = String::new();
        writeln!(text, "update orders set order_id = {} where order_id = {old};", self.next)
            .unwrap();
        text
    }

    fn tenant(&mut self) -> String {
        if self.rng.random_bool(0.05) {
            return "null".into();
        }
        format!("'tenant-{}'", self.rng.random_range(0..4))
    }

    fn pick(&mut self, words: &[&str]) -> String {
        format!("'{}'", words[self.rng.random_range(0..words.len())])
    }

    fn status(&mut self) -> String {
        let words =
            ["placed", "paid", "shipped", "recognized", "recognized", "cancelled", "refunded"];
        self.pick(&words)
    }

    fn currency(&mut self) -> String {
        self.pick(&["USD", "EUR", "JPY"])
    }

    fn channel(&mut self) -> String {
        if self.rng.random_bool(0.1) { "null".into() } else { self.pick(&["web", "store"]) }
    }

    fn amount(&mut self) -> String {
        self.money(4)
    }

    /// Sometimes negative, zero, or as large as the column allows.
    fn money(&mut self, scale: u32) -> String {
        let whole = match self.rng.random_range(0..40) {
            0 => 0,
            1 => 9_999_999_999_i64,
            2 => -self.rng.random_range(1..500),
            _ => self.rng.random_range(1..3_000),
        };
        let part = self.rng.random_range(0..10_i64.pow(scale));
        let part = if whole == 0 { 0 } else { part };
        format!("{whole}.{part:0width$}", width = scale as usize)
    }

    /// An instant of the last ninety days, to the microsecond.
    fn time(&mut self) -> String {
        let micros = self.rng.random_range(0..90 * 86_400_000_000_i64);
        format!("date_trunc('hour', now()) - interval '{micros} microseconds'")
    }

    fn days(&mut self) -> i64 {
        let days = self.rng.random_range(20..70);
        if self.rng.random_bool(0.5) { days } else { -days }
    }
}
