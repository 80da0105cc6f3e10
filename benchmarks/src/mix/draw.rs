//! What stands in a random row, column by column.

use rand::Rng;
use rand::rngs::StdRng;
use schemas::{Column, ColumnType, Contract, Date, Micros, RowBuilder, RowRef};

const HOUR: i64 = 3_600_000_000;
const DAY: i64 = 24 * HOUR;

const TENANTS: [&str; 8] = ["acme", "blue", "cobalt", "delta", "echo", "fjord", "gamma", "helio"];
const CURRENCIES: [&str; 4] = ["EUR", "EUR", "USD", "JPY"];

/// The columns that an update changes, besides `updated_at`.
const CHANGING: [(&str, &[&str]); 12] = [
    ("activity", &["kind"]),
    ("budgets", &["amount"]),
    ("costs", &["effective_cost", "accuracy_score"]),
    ("customers", &["segment"]),
    ("fx_rates", &["rate"]),
    ("opportunities", &["stage", "closed_at", "probability"]),
    ("order_items", &["quantity", "unit_price"]),
    ("orders", &["status", "recognized_at"]),
    ("runs", &["status", "duration_seconds"]),
    ("sales", &["amount"]),
    ("subscriptions", &["mrr", "status", "ended_at"]),
    ("uptime", &["up"]),
];

/// The words of a column of text; one that is named twice comes twice as often.
const WORDS: [(&str, &[&str]); 22] = [
    ("activity.kind", &["impression", "impression", "click", "engagement", "conversion", "login"]),
    ("activity.campaign", &["spring", "summer", "autumn", "winter"]),
    ("costs.charge_category", &["Usage"]),
    ("costs.charge_class", &["Correction"]),
    ("costs.charge_frequency", &["One-Time", "Recurring", "Usage-Based"]),
    ("costs.pricing_category", &["Standard", "Dynamic", "Committed", "Other"]),
    ("customers.country", &["DE", "FR", "PL", "IN", "BR", "US", "JP", "SE"]),
    ("customers.segment", &["smb", "middle", "large"]),
    ("customers.name", &["a customer"]),
    ("opportunities.stage", &["won", "lost", "proposal", "qualified"]),
    ("order_items.category", &["books", "toys", "food", "tools", "music", "garden"]),
    ("orders.campaign", &["spring", "summer", "autumn", "winter"]),
    ("orders.channel", &["web", "app", "shop", "partner"]),
    (
        "orders.status",
        &["placed", "paid", "shipped", "recognized", "recognized", "recognized", "refunded"],
    ),
    ("orders.type", &["one_time", "subscription", "recurring"]),
    ("runs.status", &["succeeded", "succeeded", "succeeded", "failed", "running"]),
    ("subscriptions.plan", &["basic", "team", "large"]),
    ("subscriptions.status", &["active", "active", "active", "paused", "trial"]),
    ("uptime.service", &["web", "api", "search", "mail"]),
    ("costs.service_name", &["compute", "storage", "network", "database", "queue", "cache"]),
    ("budgets.service_name", &["compute", "storage", "network", "database", "queue", "cache"]),
    (
        "costs.tags",
        &[
            r#"{"cost_center":"sales"}"#,
            r#"{"cost_center":"marketing"}"#,
            r#"{"cost_center":"research"}"#,
        ],
    ),
];

/// What rows are drawn from.
#[derive(Debug)]
pub(super) struct Draw {
    pub(super) end: Micros,
    /// How many customers and users there are.
    pub(super) people: usize,
    /// Whether all that comes is of the last hour, and nothing moves to another time.
    pub(super) is_live: bool,
}

impl Draw {
    /// A row with this number; `orders` is how many there are to refer to.
    pub(super) fn row(
        &self,
        contract: &Contract,
        number: usize,
        orders: usize,
        rng: &mut StdRng,
        builder: &mut RowBuilder,
    ) {
        let table = contract.name.as_str();
        let order =
            if table == "order_items" { rng.random_range(0..orders.max(1)) } else { number };
        let at = self.instant(table, rng);
        for (column, own) in contract.columns.iter().enumerate() {
            match own.name.as_str() {
                "tenant_id" if table == "fx_rates" => {}
                "tenant_id" => builder.set_text(column, word(&TENANTS, order)),
                "currency" | "billing_currency" => {
                    builder.set_text(column, word(&CURRENCIES, order));
                }
                "order_id" => builder.set_text(column, &format!("order-{order:08}")),
                "customer_id" if table == "customers" => {
                    builder.set_text(column, &format!("customer-{number:07}"));
                }
                "from_currency" => builder.set_text(column, word(&["USD", "JPY"], number)),
                "to_currency" => builder.set_text(column, "EUR"),
                "day" if table == "fx_rates" => {
                    let back = i32::try_from(number / 2).unwrap_or(i32::MAX);
                    builder.set_date(column, Date(self.today().0.saturating_sub(back)));
                }
                name if contract.key == [column] => {
                    builder.set_text(column, &format!("{name}-{number:08}"));
                }
                _ => self.value(contract, column, at, rng, builder),
            }
        }
    }

    /// What becomes of a row: the columns change that its table says; of one in ten all but its key, whose it is and
    /// what it refers to.
    pub(super) fn update(
        &self,
        contract: &Contract,
        old: RowRef<'_>,
        rng: &mut StdRng,
        builder: &mut RowBuilder,
    ) {
        let is_moved = !self.is_live && rng.random_range(0..10) == 0;
        let times = contract.columns.iter().position(|own| own.kind == ColumnType::Timestamp);
        let at = match times.and_then(|column| old.timestamp(column)) {
            Some(at) if !is_moved => at,
            _ => self.instant(&contract.name, rng),
        };
        let found = CHANGING.iter().find(|(table, _)| *table == contract.name);
        let changing = found.map_or(&[] as &[&str], |(_, columns)| *columns);
        for (column, own) in contract.columns.iter().enumerate() {
            let stays = contract.key.contains(&column)
                || matches!(
                    own.name.as_str(),
                    "tenant_id" | "currency" | "billing_currency" | "order_id" | "customer_id"
                );
            let changes = own.name == "updated_at" || changing.contains(&own.name.as_str());
            if stays || !(changes || is_moved) {
                builder.copy(column, old);
            } else {
                self.value(contract, column, at, rng, builder);
            }
        }
    }

    /// A value that is no key.
    fn value(
        &self,
        contract: &Contract,
        column: usize,
        at: Micros,
        rng: &mut StdRng,
        builder: &mut RowBuilder,
    ) {
        let Some(Column { name, kind, required }) = contract.columns.get(column) else { return };
        if !required && name != "tags" && rng.random_range(0..8) == 0 {
            return;
        }
        match kind {
            ColumnType::Timestamp => {
                if let Some(instant) = self.time(name, at, rng) {
                    builder.set_timestamp(column, instant);
                }
            }
            ColumnType::Decimal { scale, .. } => {
                let one = 10_i128.pow(u32::from(*scale));
                let part = rng.random_range(0..one);
                let whole = match name.as_str() {
                    "accuracy_score" | "probability" => 0,
                    "quantity" => rng.random_range(1..9),
                    _ => rng.random_range(1..3_000),
                };
                builder.set_decimal(column, whole * one + part);
            }
            ColumnType::Boolean => builder.set_boolean(column, rng.random_range(0..20) > 0),
            ColumnType::Bigint => {
                let person = rng.random_range(0..self.people);
                builder.set_bigint(column, i64::try_from(person).unwrap_or(i64::MAX));
            }
            ColumnType::Date => {
                let back = rng.random_range(0..90);
                builder.set_date(column, Date(self.today().0.saturating_sub(back)));
            }
            ColumnType::Text | ColumnType::Json => {
                self.text(contract, column, name, rng, builder);
            }
            ColumnType::Double => {}
        }
    }

    fn text(
        &self,
        contract: &Contract,
        column: usize,
        name: &str,
        rng: &mut StdRng,
        builder: &mut RowBuilder,
    ) {
        let full = format!("{}.{name}", contract.name);
        if let Some((_, words)) = WORDS.iter().find(|(column, _)| *column == full) {
            return builder.set_text(column, word(words, rng.random_range(0..words.len())));
        }
        let person = rng.random_range(0..self.people);
        builder.set_text(
            column,
            &match name {
                "customer_id" => format!("customer-{person:07}"),
                "user_id" => format!("user-{person:07}"),
                "agent_id" => format!("agent-{:02}", person % 40),
                _ => format!("v{:04}", person % 5_000),
            },
        );
    }

    /// When something is that belongs to a row of the instant `at`.
    fn time(&self, name: &str, at: Micros, rng: &mut StdRng) -> Option<Micros> {
        let days = match name {
            "updated_at" => return Some(self.end),
            "recognized_at" => rng.random_range(0..40),
            "closed_at" => rng.random_range(1..90),
            "ended_at" if rng.random_range(0..2) == 0 => return None,
            "ended_at" => rng.random_range(30..500),
            "period_end" => 30,
            "charge_period_end" => return Some(at.plus(HOUR)),
            _ => return Some(at),
        };
        Some(at.plus(days * DAY + rng.random_range(0..DAY)))
    }

    /// When a row is: three in ten of the last three days, half of the last seventy, the others of the last 430. What
    /// people agree to lasts: subscriptions are of the last six hundred. What is live is of the last hour.
    fn instant(&self, table: &str, rng: &mut StdRng) -> Micros {
        if self.is_live {
            return self.end.plus(-rng.random_range(0..HOUR));
        }
        let days = match (table, rng.random_range(0..10)) {
            ("subscriptions" | "customers", _) => 600,
            (_, 0..3) => 3,
            (_, 3..8) => 70,
            _ => 430,
        };
        self.end.plus(-rng.random_range(0..days * DAY))
    }

    fn today(&self) -> Date {
        Date(i32::try_from(self.end.0.div_euclid(DAY)).unwrap_or(i32::MAX))
    }
}

fn word<'a>(words: &[&'a str], number: usize) -> &'a str {
    words.get(number % words.len().max(1)).copied().unwrap_or_default()
}
