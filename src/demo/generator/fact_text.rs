//! The columns of facts as Debezium writes them.
//!
//! Guarantees: times are those of the fact, a little before the connector sends it, as in `render`.

use super::facts::{Customer, Fact, Row};
use super::render::{ROW_BEFORE, Writer};
use super::stream::{Item, Stream};
use super::world::World;

impl Writer {
    pub(super) fn fact(&mut self, stream: &Stream, item: &Item, fact: &Fact) {
        self.fact_key(fact);
        self.open("{\"before\":null,\"after\":");
        if let Some(tenant) = fact.tenant {
            self.quoted("tenant_id", &stream.schedule.world.tenants[tenant].name);
        } else {
            self.null("tenant_id");
        }
        self.columns(&stream.schedule.world, fact);
        self.instant("updated_at", item.at);
        self.value.put("}");
        self.close(item, fact.row.table().name(), if fact.is_new { 'c' } else { 'u' });
    }

    fn fact_key(&mut self, fact: &Fact) {
        let (column, word) = match fact.row {
            Row::Customer { customer, .. } => {
                self.key.put("{\"customer_id\":\"");
                customer_id(&mut self.key, customer);
                return self.key.put("\"}");
            }
            Row::Rate { from, to, day, .. } => {
                self.key.put("{\"from_currency\":");
                self.key.quoted(from);
                self.key.put(",\"to_currency\":");
                self.key.quoted(to);
                self.key.put(",\"day\":");
                self.key.date(day);
                return self.key.put("}");
            }
            Row::Subscription { .. } => ("subscription_id", "sub-"),
            Row::Opportunity { .. } => ("opportunity_id", "opp-"),
            Row::Budget { .. } => ("budget_id", "bud-"),
            Row::Activity { .. } => ("event_id", "ev-"),
            Row::Run { .. } => ("run_id", "run-"),
            Row::Check { .. } => ("check_id", "chk-"),
        };
        let key = &mut self.key;
        key.put("{\"");
        key.put(column);
        key.put("\":\"");
        key.put(word);
        key.padded(fact.id, 7);
        key.put("\"}");
    }

    fn columns(&mut self, world: &World, fact: &Fact) {
        let currency = fact.tenant.map_or("", |tenant| world.tenants[tenant].currency);
        match fact.row {
            Row::Customer { customer, country, segment, signed_up_at } => {
                self.value.put(",\"name\":\"Customer ");
                self.value.number(customer.number + 1);
                self.value.put("\"");
                self.quoted("country", country);
                self.quoted("segment", segment);
                self.instant("signed_up_at", signed_up_at);
            }
            Row::Subscription { customer, plan, status, mrr, started_at, ended_at } => {
                self.customer("customer_id", customer);
                self.quoted("plan", plan);
                self.quoted("status", status);
                self.decimal("mrr", mrr, 4);
                self.quoted("currency", currency);
                self.instant("started_at", started_at);
                self.instant_or_null("ended_at", ended_at);
            }
            Row::Opportunity { customer, stage, amount, probability, opened_at, closed_at } => {
                self.customer("customer_id", customer);
                self.quoted("stage", stage);
                self.decimal("amount", amount, 4);
                self.quoted("currency", currency);
                self.decimal("probability", probability * 1000, 6);
                self.instant("opened_at", opened_at);
                self.instant_or_null("closed_at", closed_at);
            }
            Row::Budget { service, amount, from, to } => {
                self.quoted("service_name", service);
                self.decimal("amount", amount, 4);
                self.quoted("currency", currency);
                self.instant("period_start", from + ROW_BEFORE);
                self.instant("period_end", to + ROW_BEFORE);
            }
            _ => self.columns_of_use(fact),
        }
    }

    fn columns_of_use(&mut self, fact: &Fact) {
        let of = |number| Customer { tenant: fact.tenant.unwrap_or(0), number };
        match fact.row {
            Row::Activity { user, kind, campaign, occurred_at } => {
                self.customer("user_id", of(user));
                self.quoted("kind", kind);
                match campaign {
                    Some(campaign) => self.quoted("campaign", campaign),
                    None => self.null("campaign"),
                }
                self.instant("occurred_at", occurred_at);
            }
            Row::Run { agent, user, status, took, started_at } => {
                self.value.put(",\"agent_id\":\"agent-");
                self.value.number(agent + 1);
                self.value.put("\"");
                self.customer("user_id", of(user));
                self.quoted("status", status);
                if let Some(took) = took {
                    self.decimal("duration_seconds", took * 1000, 6);
                    self.decimal("credits", took * 40, 6);
                } else {
                    self.null("duration_seconds");
                    self.null("credits");
                }
                self.instant("started_at", started_at);
            }
            Row::Check { service, up, checked_at } => {
                self.quoted("service", service);
                self.value.put(",\"up\":");
                self.value.put(if up { "true" } else { "false" });
                self.instant("checked_at", checked_at);
            }
            Row::Rate { rate, .. } => self.decimal("rate", rate, 10),
            _ => {}
        }
    }

    fn name(&mut self, name: &str) {
        self.value.put(",\"");
        self.value.put(name);
        self.value.put("\":");
    }

    fn quoted(&mut self, name: &str, text: &str) {
        self.name(name);
        self.value.quoted(text);
    }

    fn null(&mut self, name: &str) {
        self.name(name);
        self.value.put("null");
    }

    fn decimal(&mut self, name: &str, mantissa: i64, scale: u32) {
        self.name(name);
        self.value.decimal(mantissa, scale);
    }

    /// An instant of the database, which is a little before the connector's.
    fn instant(&mut self, name: &str, at: i64) {
        self.name(name);
        self.value.instant(at - ROW_BEFORE);
    }

    fn instant_or_null(&mut self, name: &str, at: Option<i64>) {
        match at {
            Some(at) => self.instant(name, at),
            None => self.null(name),
        }
    }

    fn customer(&mut self, name: &str, customer: Customer) {
        self.name(name);
        self.value.put("\"");
        customer_id(&mut self.value, customer);
        self.value.put("\"");
    }
}

/// The id of a customer, who is also the user of the same number.
pub(super) fn customer_id(text: &mut super::text::Text, customer: Customer) {
    text.put("c-");
    text.padded(customer.tenant as u64 + 1, 2);
    text.put("-");
    text.padded(customer.number, 5);
}
