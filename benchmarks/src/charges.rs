//! Charges of a cloud bill as Debezium writes them: nine even days for each tenant, and then one that is not.
//!
//! # Guarantees
//! - The time of a charge that stands out is the wall clock just before it was handed to the client library.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use schemas::Micros;
use serde_json::json;

use crate::failure::Failure;
use crate::machine;
use crate::topic::Topic;

const DAY_US: i64 = 86_400_000_000;
const HOUR_US: i64 = 3_600_000_000;
/// Days of history, today included.
const DAYS: i64 = 9;
/// What a day costs, and what the charge that stands out costs.
const EVEN: &str = "100";
const ODD: &str = "10000";
/// Until everything is acknowledged.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A producer of charges for a topic of one partition.
pub struct Charges {
    producer: BaseProducer,
    topic: Topic,
    lsn: u64,
}

impl std::fmt::Debug for Charges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Charges").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl Charges {
    /// Of a topic.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn new(topic: &Topic) -> Result<Charges, Failure> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", &topic.brokers)
            .set("enable.idempotence", "true")
            .set("linger.ms", "0")
            .create()
            .map_err(Failure::kafka(&topic.brokers, "take records"))?;
        Ok(Charges { producer, topic: topic.clone(), lsn: 1 })
    }

    /// Sends the history of these tenants, as a snapshot, and waits until the broker has it.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn history(&mut self, tenants: &[String]) -> Result<(), Failure> {
        let today = today();
        for tenant in tenants {
            for day in 0..DAYS {
                let id = format!("{tenant}-{day}");
                self.send(tenant, (&id, EVEN), today - day * DAY_US, true)?;
            }
        }
        let refused = Failure::kafka(&self.topic.brokers, "take records");
        self.producer.flush(TIMEOUT).map_err(refused)
    }

    /// Sends the charge of a tenant that stands out, and says when.
    ///
    /// # Errors
    /// When the broker refuses.
    pub fn spike(&mut self, tenant: &str) -> Result<Micros, Failure> {
        let id = format!("{tenant}-odd");
        let at = machine::now();
        self.send(tenant, (&id, ODD), today(), false)?;
        let refused = Failure::kafka(&self.topic.brokers, "take records");
        self.producer.flush(TIMEOUT).map_err(refused)?;
        Ok(at)
    }

    fn send(
        &mut self,
        tenant: &str,
        (id, cost): (&str, &str),
        day: i64,
        is_snapshot: bool,
    ) -> Result<(), Failure> {
        self.lsn += 40;
        let value = event(tenant, (id, cost), day, (self.lsn, is_snapshot));
        let key = json!({ "charge_id": id }).to_string();
        let record = BaseRecord::to(&self.topic.name).partition(0).key(&key).payload(&value);
        let sent = self.producer.send(record).map_err(|(error, _)| error);
        sent.map_err(Failure::kafka(&self.topic.brokers, "take records"))
    }
}

fn today() -> i64 {
    machine::now().0.div_euclid(DAY_US) * DAY_US
}

fn event(
    tenant: &str,
    (id, cost): (&str, &str),
    day: i64,
    (lsn, is_snapshot): (u64, bool),
) -> String {
    let now = machine::now();
    let row = json!({
        "charge_id": id, "tenant_id": tenant, "service_name": "db", "charge_category": "Usage",
        "billed_cost": cost, "effective_cost": cost, "billing_currency": "USD",
        "resource_id": null, "charge_period_start": Micros(day).to_string(),
        "charge_period_end": Micros(day + HOUR_US).to_string(), "tags": null,
        "updated_at": now.to_string(),
    });
    let source = json!({
        "connector": "postgresql", "name": "shop", "db": "shop", "schema": "public", "table": "costs",
        "lsn": lsn, "ts_ms": now.0 / 1_000, "snapshot": is_snapshot.to_string(),
    });
    let operation = if is_snapshot { "r" } else { "c" };
    let event = json!({
        "op": operation, "before": null, "after": row, "source": source, "ts_ms": now.0 / 1_000,
    });
    event.to_string()
}
