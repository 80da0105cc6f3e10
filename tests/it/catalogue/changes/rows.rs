//! Rows of each table and what changes in them, as SQL.

use rand::Rng;

use super::Shop;
use crate::catalogue::now;

impl Shop {
    /// An insert of a row with this key; nothing where the key is there.
    pub(super) fn row(&mut self, table: &str, key: &str) -> String {
        let (tenant, currency, at) = (self.tenant(), self.currency(), self.instant());
        let values = match table {
            "orders" => {
                let (customer, status, amount) = (self.customer(), self.status(), self.money(4));
                let (channel, recognized) = (self.word(&["web", "app"]), self.later(&at, 60 * 24));
                let (kind, cost) =
                    (self.word(&["one_time", "subscription", "recurring"]), self.maybe_money(4));
                format!(
                    "'{key}', {tenant}, {customer}, {status}, {amount}, {currency}, {channel}, null, {at}, {recognized}, \
                     {kind}, {cost}"
                )
            }
            "order_items" => return self.item(key),
            "costs" => {
                let (service, cost) =
                    (self.word(&["compute", "storage", "it''s \"net\""]), self.money(10));
                let service = service.replace("null", "'none'");
                let (tags, score) = (self.tags(), self.share());
                format!(
                    "'{key}', {tenant}, {service}, 'Usage', {cost}, {cost}, {currency}, null, {at}, {at}, {tags}, {score}"
                )
            }
            "customers" => {
                let (country, segment) =
                    (self.word(&["DE", "CU", "IN"]), self.word(&["smb", "large"]));
                let at = if self.one_in(8) { "null".into() } else { at };
                format!("'{key}', {tenant}, 'name', {country}, {segment}, {at}")
            }
            "subscriptions" => {
                let (customer, price, at) =
                    (self.rng.random_range(0..10), self.money(4), self.long_ago());
                let (status, ended) = (
                    self.word(&["active", "active", "paused", "trial"]),
                    self.later(&at, 400 * 24),
                );
                let status = status.replace("null", "'active'");
                format!(
                    "'{key}', {tenant}, 'c{customer}', 'basic', {status}, {price}, {currency}, {at}, {ended}"
                )
            }
            "opportunities" => {
                let (stage, closed) = self.stage(&at);
                let (amount, share) = (self.money(4), self.share());
                format!(
                    "'{key}', {tenant}, null, {stage}, {amount}, {currency}, {share}, {at}, {closed}"
                )
            }
            "budgets" => {
                let amount = self.money(4);
                format!(
                    "'{key}', {tenant}, 'compute', {amount}, {currency}, {at}, {at} + interval '30 days'"
                )
            }
            _ => self.event(table, key, &tenant, &at),
        };
        format!("insert into {table} values ({values}) on conflict do nothing;\n")
    }

    /// The values of something that happened, or of a rate.
    fn event(&mut self, table: &str, key: &str, tenant: &str, at: &str) -> String {
        match table {
            "activity" => {
                let (user, kind) = (self.user(), self.kind());
                let campaign = self.word(&["spring", "autumn"]);
                format!("'{key}', {tenant}, {user}, {kind}, {campaign}, {at}")
            }
            "runs" => {
                let (agent, user, status) =
                    (self.word(&["x", "y", "z"]), self.user(), self.run_status());
                let (seconds, credits) = (self.maybe_money(6), self.maybe_money(6));
                format!("'{key}', {tenant}, {agent}, {user}, {status}, {seconds}, {credits}, {at}")
            }
            "uptime" => {
                let (service, up) = (self.word(&["web", "api"]), !self.one_in(5));
                format!("'{key}', {tenant}, {service}, {up}, {at}")
            }
            _ => {
                let (from, days) = key.split_at(3);
                let (tenant, rate) = (self.whose_rate(), self.rate());
                format!("'{from}', 'EUR', '{days}', {tenant}, {rate}")
            }
        }
    }

    /// A line of an order that is there, or of one that is not.
    fn item(&mut self, key: &str) -> String {
        let category = self.word(&["books", "toys", "food"]);
        let (quantity, price) = (self.rng.random_range(1..9), self.money(4));
        if self.one_in(6) {
            return format!(
                "insert into order_items values ('{key}', null, 'gap{quantity}', null, {category}, {quantity}, {price}, 'EUR');\n"
            );
        }
        let order = self.any_key("orders");
        format!(
            "insert into order_items select '{key}', tenant_id, order_id::text, 'p', {category}, {quantity}.5, {price}, \
             currency, now() from orders where order_id::text = '{order}' on conflict do nothing;\n"
        )
    }

    /// What an update sets.
    pub(super) fn set(&mut self, table: &str) -> String {
        match self.rng.random_range(0..10) {
            0 => {
                self.tally("another tenant");
                return match table {
                    "fx_rates" => format!("tenant_id = {}", self.whose_rate()),
                    _ => format!("tenant_id = {}", self.tenant()),
                };
            }
            1 if ["orders", "subscriptions", "opportunities", "budgets"].contains(&table) => {
                self.tally("another currency");
                return format!("currency = {}", self.currency());
            }
            1 if table == "costs" => {
                self.tally("another currency");
                return format!("billing_currency = {}", self.currency());
            }
            2 | 3 if !["order_items", "fx_rates"].contains(&table) => {
                self.tally("another period");
                return self.moved(table);
            }
            _ => {}
        }
        match table {
            "orders" => self.order_set(),
            "order_items" => {
                let (quantity, price) = (self.rng.random_range(1..9), self.money(4));
                let category = self.word(&["books", "toys", "food"]);
                format!("category = {category}, quantity = {quantity}, unit_price = {price}")
            }
            "costs" => {
                let (cost, tags, score) = (self.money(10), self.tags(), self.share());
                format!("effective_cost = {cost}, tags = {tags}, accuracy_score = {score}")
            }
            "customers" => {
                let (country, segment) =
                    (self.word(&["DE", "CU", "IN"]), self.word(&["smb", "large"]));
                format!("country = {country}, segment = {segment}")
            }
            "subscriptions" => match self.rng.random_range(0..3) {
                0 => format!("mrr = {}", self.money(4)),
                1 => format!("status = {}", self.one(&["'active'", "'trial'"])),
                _ => format!("ended_at = {}", self.later("started_at", 500 * 24)),
            },
            "opportunities" => {
                let (stage, closed) = self.stage("opened_at");
                let share = self.share();
                format!("stage = {stage}, closed_at = {closed}, probability = {share}")
            }
            "budgets" => format!("amount = {}", self.money(4)),
            "activity" => {
                let (user, kind) = (self.user(), self.kind());
                format!("user_id = {user}, kind = {kind}")
            }
            "runs" => {
                let (status, seconds) = (self.run_status(), self.maybe_money(6));
                format!("status = {status}, duration_seconds = {seconds}")
            }
            "uptime" => "up = not up".to_owned(),
            _ => format!("rate = {}", self.rate()),
        }
    }

    fn order_set(&mut self) -> String {
        match self.rng.random_range(0..5) {
            0 => format!("amount = {}, cost = {}", self.money(4), self.maybe_money(4)),
            1 => format!(
                "customer_id = {}, channel = {}",
                self.customer(),
                self.word(&["web", "app"])
            ),
            _ => format!(
                "status = {}, recognized_at = {}",
                self.status(),
                self.later("placed_at", 60 * 24)
            ),
        }
    }

    /// A row of another time, with what comes after it.
    fn moved(&mut self, table: &str) -> String {
        let hours = self.rng.random_range(-40 * 24..40 * 24);
        let times: &[&str] = match table {
            "orders" => &["placed_at", "recognized_at"],
            "costs" => &["charge_period_start"],
            "customers" => &["signed_up_at"],
            "subscriptions" => &["started_at", "ended_at"],
            "opportunities" => &["opened_at", "closed_at"],
            "budgets" => &["period_start"],
            "activity" => &["occurred_at"],
            "runs" => &["started_at"],
            _ => &["checked_at"],
        };
        let moved = times.iter().map(|time| format!("{time} = {time} + interval '{hours} hours'"));
        moved.collect::<Vec<_>>().join(", ")
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.rng.random_range(0..of.len())]
    }

    fn one_in(&mut self, times: u32) -> bool {
        self.rng.random_range(0..times) == 0
    }

    /// An instant: often one by which something begins, or of these days; some lie months back, some ahead.
    pub(super) fn instant(&mut self) -> String {
        let day = 24 * 3_600_000_000_i64;
        let back = match self.rng.random_range(0..20) {
            0..4 => {
                return format!(
                    "(select at from edges where number = {})",
                    self.rng.random_range(1..=self.edges)
                );
            }
            4 => -self.rng.random_range(0..3 * day),
            5..10 => self.rng.random_range(0..3 * day),
            10..16 => self.rng.random_range(0..70 * day),
            _ => self.rng.random_range(0..430 * day),
        };
        format!("now() - interval '{back} microseconds'")
    }

    /// An instant of the last twenty months.
    fn long_ago(&mut self) -> String {
        let hours = self.rng.random_range(-24 * 10..24 * 600);
        if self.one_in(4) { self.instant() } else { format!("now() - interval '{hours} hours'") }
    }

    /// Some hours after another instant, or never.
    fn later(&mut self, at: &str, hours: u32) -> String {
        let hours = self.rng.random_range(1..hours);
        if self.one_in(2) { "null".into() } else { format!("{at} + interval '{hours} hours'") }
    }

    fn tenant(&mut self) -> String {
        let tenants = [
            "null",
            "''",
            "'default'",
            "'berlin'",
            "'berlin'",
            "'azores'",
            "'azores'",
            "'kolkata'",
        ];
        self.one(&tenants).into()
    }

    /// One of these words, sometimes null.
    fn word(&mut self, words: &[&str]) -> String {
        if self.one_in(7) { "null".into() } else { format!("'{}'", self.one(words)) }
    }

    fn currency(&mut self) -> String {
        format!("'{}'", self.one(&["EUR", "EUR", "USD", "JPY"]))
    }

    fn customer(&mut self) -> String {
        if self.one_in(10) { "null".into() } else { format!("'c{}'", self.rng.random_range(0..40)) }
    }

    fn user(&mut self) -> String {
        if self.one_in(8) { "null".into() } else { format!("'u{}'", self.rng.random_range(0..30)) }
    }

    fn kind(&mut self) -> String {
        let kinds = ["impression", "impression", "click", "engagement", "conversion", "login"];
        format!("'{}'", self.one(&kinds))
    }

    fn status(&mut self) -> String {
        let words =
            ["placed", "paid", "shipped", "recognized", "recognized", "cancelled", "refunded"];
        format!("'{}'", self.one(&words))
    }

    fn run_status(&mut self) -> String {
        format!("'{}'", self.one(&["succeeded", "succeeded", "failed", "running"]))
    }

    /// Where a sale stands, and when it was closed.
    fn stage(&mut self, at: &str) -> (String, String) {
        let stage = self.one(&["won", "lost", "proposal", "qualified"]);
        let hours = self.rng.random_range(1..90 * 24);
        let is_closed = stage == "won" || stage == "lost";
        let closed =
            if is_closed { format!("{at} + interval '{hours} hours'") } else { "null".into() };
        (format!("'{stage}'"), closed)
    }

    fn tags(&mut self) -> String {
        let tags = [
            "null",
            "'{\"cost_center\": \"sales\"}'",
            "'{\"a\": [1], \"cost_center\": \"marketing\"}'",
            "'{\"cost_center\": \"research\"}'",
            "'[\"cost_center\"]'",
        ];
        self.one(&tags).into()
    }

    /// From 0 to 1, or null.
    fn share(&mut self) -> String {
        if self.one_in(4) {
            "null".into()
        } else {
            format!("{}e-6", self.rng.random_range(0..=1_000_000))
        }
    }

    pub(super) fn money(&mut self, scale: u32) -> String {
        let (whole, part) =
            (self.rng.random_range(1..3_000), self.rng.random_range(0..10_i64.pow(scale)));
        format!("{whole}.{part:0width$}", width = scale as usize)
    }

    fn maybe_money(&mut self, scale: u32) -> String {
        if self.one_in(4) { "null".into() } else { self.money(scale) }
    }

    /// A currency and a day of the last months; the first ones have no rate.
    pub(super) fn rate_key(&mut self) -> String {
        let (from, days) = (self.one(&["USD", "JPY"]), self.rng.random_range(0..300_i64));
        let day = schemas::Micros(now() - days * 86_400_000_000).to_string();
        format!("{from}{}", day.split('T').next().unwrap())
    }

    fn whose_rate(&mut self) -> String {
        self.one(&["null", "null", "''", "'berlin'", "'azores'"]).into()
    }

    /// One in twelve says that there is none.
    fn rate(&mut self) -> String {
        if self.one_in(12) { "0".into() } else { self.money(10) }
    }
}
