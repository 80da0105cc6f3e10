//! Random transactions on the tables of all contracts, as SQL, with a tally of what each kind of change was.

mod rows;

use std::collections::BTreeMap;

use rand::Rng;
use rand::rngs::StdRng;

/// Each table, its key column, and how often it is changed.
pub(super) const TABLES: [(&str, &str, u32); 11] = [
    ("orders", "order_id", 24),
    ("order_items", "order_item_id", 14),
    ("costs", "charge_id", 14),
    ("customers", "customer_id", 6),
    ("subscriptions", "subscription_id", 16),
    ("opportunities", "opportunity_id", 8),
    ("budgets", "budget_id", 3),
    ("activity", "event_id", 16),
    ("runs", "run_id", 8),
    ("uptime", "check_id", 8),
    ("fx_rates", "from_currency || day", 5),
];

/// What happens to rows, beside that they come, change and go.
pub(super) const KINDS: [&str; 8] = [
    "another tenant",
    "another currency",
    "another period",
    "another key",
    "a key comes back",
    "another plan",
    "a customer comes back",
    "rolled back",
];

/// Keys of orders from here on are those of the last rows.
const LAST: i64 = 9_000_000_000;

/// What is known of the rows: their keys.
#[derive(Debug)]
pub(super) struct Shop {
    rng: StdRng,
    next: i64,
    /// How many instants the table `edges` has.
    edges: u32,
    keys: BTreeMap<&'static str, Vec<String>>,
    /// Keys of orders that went.
    gone: Vec<String>,
    counts: BTreeMap<String, u64>,
}

/// Whether a key, as silver has it, is that of a last row.
pub(super) fn is_last(key: &str) -> bool {
    let key = key.split(" of ").next().unwrap_or(key);
    key.starts_with("last")
        || key.starts_with("GBP")
        || key.parse().is_ok_and(|number: i64| number >= LAST)
}

impl Shop {
    pub(super) fn new(rng: StdRng, edges: u32) -> Shop {
        let keys = TABLES.map(|(table, ..)| (table, Vec::new())).into();
        Shop { rng, next: 1, edges, keys, gone: Vec::new(), counts: BTreeMap::new() }
    }

    /// How often a kind of change was made.
    pub(super) fn count(&self, kind: &str) -> u64 {
        self.counts.get(kind).copied().unwrap_or(0)
    }

    /// All kinds with how often they were made.
    pub(super) fn tallied(&self) -> impl Iterator<Item = (&String, &u64)> {
        self.counts.iter()
    }

    fn tally(&mut self, kind: &str) {
        *self.counts.entry(kind.to_owned()).or_insert(0) += 1;
    }

    /// Rows that are there before the connector is.
    pub(super) fn first_rows(&mut self, changes: u32) -> String {
        let inserts: String = (0..changes).map(|_| self.insert()).collect();
        format!("begin;\n{inserts}commit;\n")
    }

    /// Some transactions of one to six changes; one in twelve is rolled back.
    pub(super) fn batch(&mut self, transactions: u32) -> String {
        let mut text = String::new();
        for _ in 0..transactions {
            let changes = self.rng.random_range(1..=6);
            let is_kept = self.rng.random_range(0..12) > 0;
            let before = (self.keys.clone(), self.gone.clone(), self.counts.clone());
            let changes: String = (0..changes).map(|_| self.change()).collect();
            if !is_kept {
                (self.keys, self.gone, self.counts) = before;
                self.tally("rolled back");
            }
            text += &format!("begin;\n{changes}{};\n", if is_kept { "commit" } else { "rollback" });
        }
        text
    }

    /// What chance has left out: to every table rows come, in it they change, and from it they go.
    pub(super) fn rest(&mut self) -> String {
        let mut text = String::new();
        for (table, column, _) in TABLES {
            if self.count(&format!("{table} inserted")) == 0 {
                text += &self.insert_into(table);
            }
            let key = self.any_key(table);
            if self.count(&format!("{table} changed")) == 0 {
                text += &self.update_of(table, column, &key);
            }
            if self.count(&format!("{table} deleted")) == 0 {
                text += &self.delete_of(table, column, key);
            }
        }
        text
    }

    /// Rows by which a reader sees that everything before them has come.
    pub(super) fn last_rows(&mut self, rows: i64) -> String {
        let mut text = String::new();
        for number in 0..rows {
            for (table, ..) in TABLES {
                let key = if table == "orders" {
                    (LAST + number).to_string()
                } else {
                    format!("last{number}")
                };
                text += &match table {
                    "fx_rates" => format!(
                        "insert into fx_rates values ('GBP', 'EUR', date '2001-01-01' + {number}, null, 1);\n"
                    ),
                    _ => self.row(table, &key),
                };
            }
        }
        text
    }

    /// A table, and one of its keys, or a key that no row has.
    fn pick(&mut self) -> (&'static str, &'static str, String) {
        let all = TABLES.iter().map(|(.., weight)| weight).sum();
        let mut at = self.rng.random_range(0..all);
        let found = TABLES.iter().find(|(.., weight)| {
            let is_it = at < *weight;
            at = at.saturating_sub(*weight);
            is_it
        });
        let (table, column, _) = *found.unwrap();
        (table, column, self.any_key(table))
    }

    fn any_key(&mut self, table: &'static str) -> String {
        let keys = &self.keys[table];
        match keys.len() {
            0 => "none".to_owned(),
            count => keys[self.rng.random_range(0..count)].clone(),
        }
    }

    fn change(&mut self) -> String {
        match self.rng.random_range(0..100) {
            0..36 => self.insert(),
            36..46 => self.delete(),
            _ => self.update(),
        }
    }

    fn insert(&mut self) -> String {
        let (table, ..) = self.pick();
        self.insert_into(table)
    }

    fn insert_into(&mut self, table: &'static str) -> String {
        self.tally(&format!("{table} inserted"));
        if table == "subscriptions" && self.rng.random_range(0..3) == 0 {
            return self.goes_on();
        }
        let is_back =
            table == "orders" && !self.gone.is_empty() && self.rng.random_range(0..5) == 0;
        let key = if is_back {
            self.tally("a key comes back");
            self.gone.swap_remove(self.rng.random_range(0..self.gone.len()))
        } else {
            self.next_key(table)
        };
        self.keys.get_mut(table).unwrap().push(key.clone());
        let follow = if is_back { follow(&key) } else { String::new() };
        self.row(table, &key) + &follow
    }

    /// A key that no row has had.
    fn next_key(&mut self, table: &str) -> String {
        self.next += 1;
        match table {
            "orders" => self.next.to_string(),
            // Few of them, so that orders and subscriptions find theirs, though not always.
            "customers" => format!("c{}", self.next % 60),
            "fx_rates" => self.rate_key(),
            _ => format!("{table}-{}", self.next),
        }
    }

    fn delete(&mut self) -> String {
        let (table, column, key) = self.pick();
        self.delete_of(table, column, key)
    }

    fn delete_of(&mut self, table: &'static str, column: &str, key: String) -> String {
        if key == "none" {
            return String::new();
        }
        let keys = self.keys.get_mut(table).unwrap();
        keys.retain(|own| *own != key);
        if table == "orders" {
            self.gone.push(key.clone());
        }
        self.tally(&format!("{table} deleted"));
        format!("delete from {table} where {column} = '{key}';\n")
    }

    fn update(&mut self) -> String {
        let (table, column, key) = self.pick();
        self.update_of(table, column, &key)
    }

    fn update_of(&mut self, table: &'static str, column: &str, key: &str) -> String {
        if key == "none" {
            return String::new();
        }
        self.tally(&format!("{table} changed"));
        if table == "orders" && self.rng.random_range(0..12) == 0 {
            return self.another_key(key);
        }
        if table == "subscriptions" && self.rng.random_range(0..4) == 0 {
            return self.another_plan(key);
        }
        let set = self.set(table);
        let follow = if table == "orders" { follow(key) } else { String::new() };
        format!("update {table} set {set}, updated_at = now() where {column} = '{key}';\n{follow}")
    }

    fn another_key(&mut self, key: &str) -> String {
        self.tally("another key");
        let new = self.next_key("orders");
        let keys = self.keys.get_mut("orders").unwrap();
        keys.retain(|own| own != key);
        keys.push(new.clone());
        self.gone.push(key.to_owned());
        format!("update orders set order_id = {new}, updated_at = now() where order_id = {key};\n")
    }

    /// A subscription ends, and one of another price begins at the same instant.
    fn another_plan(&mut self, key: &str) -> String {
        self.tally("another plan");
        let (new, at, price) = (self.next_key("subscriptions"), self.instant(), self.money(4));
        self.keys.get_mut("subscriptions").unwrap().push(new.clone());
        format!(
            "update subscriptions set ended_at = greatest(started_at + interval '1 hour', {at}) \
             where subscription_id = '{key}';\n\
             insert into subscriptions select '{new}', tenant_id, customer_id, 'other', 'active', {price}, currency, \
             ended_at, null, now() from subscriptions where subscription_id = '{key}';\n"
        )
    }

    /// A customer whose subscription has ended has one again, later.
    fn goes_on(&mut self) -> String {
        self.tally("a customer comes back");
        let (key, new) = (self.any_key("subscriptions"), self.next_key("subscriptions"));
        let days = self.rng.random_range(1..90);
        self.keys.get_mut("subscriptions").unwrap().push(new.clone());
        format!(
            "insert into subscriptions select '{new}', tenant_id, customer_id, plan, 'active', mrr, currency, \
             ended_at + interval '{days} days', null, now() from subscriptions \
             where subscription_id = '{key}' and ended_at is not null;\n"
        )
    }
}

/// Lines of an order are of its tenant and currency.
fn follow(order: &str) -> String {
    format!(
        "update order_items i set tenant_id = o.tenant_id, currency = o.currency from orders o \
         where o.order_id = {order} and i.order_id = '{order}' \
         and (i.tenant_id is distinct from o.tenant_id or i.currency <> o.currency);\n"
    )
}
