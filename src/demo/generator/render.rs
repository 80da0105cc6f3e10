//! Records as Debezium 3.7 for PostgreSQL writes them: JSON without a schema block,
//! `decimal.handling.mode=string`, replica identity DEFAULT (so the `before` of a delete is
//! invented but for the key).
//!
//! Guarantees: the log position grows with the record's number; times are the business time, so
//! the text depends on nothing but the record.

use super::fact_text::customer_id;
use super::lines;
use super::mix::{Dice, mix, tag};
use super::orders::Order;
use super::schedule::{Change, Charge, ChargeKind};
use super::stream::{Item, LineOp, Stream, What};
use super::tables::Table;
use super::text::Text;
use super::world::{AMOUNT_ONE, CHANNELS, DAY, HOUR, MINUTE, SERVICES, World};

/// The row is written this long before the connector sends it, and committed a little later.
pub(super) const ROW_BEFORE: i64 = 3400;
const COMMIT_BEFORE: i64 = 3000;
const FIRST_LSN: u64 = 26_391_584;
const FIRST_TRANSACTION: u64 = 729;
const FIRST_ORDER: u64 = 100_001;
/// Who pays for a resource, by its number.
const COST_CENTERS: [&str; 4] = ["product", "product", "marketing", "sales"];

const BEFORE_ORDER: &str = r#","tenant_id":null,"customer_id":null,"status":"","amount":"0.0000","currency":"","channel":null,"campaign":null,"placed_at":"1970-01-01T00:00:00Z","recognized_at":null,"type":null,"cost":null,"updated_at":"1970-01-01T00:00:00Z"}"#;
const BEFORE_LINE: &str = r#","tenant_id":null,"order_id":0,"product_id":null,"category":null,"quantity":"0.0000","unit_price":"0.0000","currency":"","updated_at":"1970-01-01T00:00:00Z"}"#;
const BEFORE_CHARGE: &str = r#","tenant_id":null,"service_name":"","charge_category":"","billed_cost":"0.0000000000","effective_cost":"0.0000000000","billing_currency":"","resource_id":null,"charge_period_start":"1970-01-01T00:00:00Z","charge_period_end":"1970-01-01T00:00:00Z","tags":null,"accuracy_score":null,"updated_at":"1970-01-01T00:00:00Z"}"#;

/// The key and the value of one record at a time.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(super) key: Text,
    pub(super) value: Text,
    has_value: bool,
}

/// The columns of a charge, whichever kind it is.
struct ChargeRow<'a> {
    tenant: usize,
    service: &'a str,
    category: &'a str,
    billed: i64,
    effective: i64,
    /// Number of the resource; none where the charge is for no single one.
    resource: Option<u64>,
    from: i64,
    to: i64,
}

impl Writer {
    pub(crate) fn key(&self) -> &[u8] {
        &self.key.bytes
    }

    /// None for a tombstone.
    pub(crate) fn value(&self) -> Option<&[u8]> {
        self.has_value.then_some(self.value.bytes.as_slice())
    }

    /// Writes the record out.
    pub(crate) fn write(&mut self, stream: &Stream, item: &Item) {
        self.key.clear();
        self.value.clear();
        self.has_value = true;
        match item.what {
            What::Scheduled(Change::OrderStep { order, step }) => {
                let is_new = step == stream.schedule.orders[order].told_from;
                let op = if is_new { 'c' } else { 'u' };
                self.order(stream, item, order, op);
            }
            What::Touch(order) => self.order(stream, item, order, 'u'),
            What::Line { order, index, op } => self.line(stream, item, (order, index), op),
            What::Scheduled(Change::Fact(number)) => {
                self.fact(stream, item, &stream.schedule.facts[number]);
            }
            What::Scheduled(Change::OrderGone { order }) => {
                self.order_key(order);
                self.gone(item, "orders", BEFORE_ORDER);
            }
            What::Scheduled(Change::OrderTombstone { order }) => {
                self.order_key(order);
                self.has_value = false;
            }
            What::Scheduled(Change::Charge { charge, version }) => {
                self.charge(stream, item, &charge, version);
            }
            What::Scheduled(Change::ChargeGone { charge }) => {
                self.charge_key(&stream.schedule.world, &charge);
                self.gone(item, "costs", BEFORE_CHARGE);
            }
            What::Scheduled(Change::ChargeTombstone { charge }) => {
                self.charge_key(&stream.schedule.world, &charge);
                self.has_value = false;
            }
            What::Meter(slot) => self.metered(stream, item, slot, 'c'),
            What::MeterFix(slot) => self.metered(stream, item, slot, 'u'),
            What::MeterGone(slot) => {
                self.meter_key(slot);
                self.gone(item, "costs", BEFORE_CHARGE);
            }
            What::MeterTombstone(slot) => {
                self.meter_key(slot);
                self.has_value = false;
            }
        }
    }

    fn order_key(&mut self, order: usize) {
        self.key.put("{\"order_id\":");
        self.key.number(FIRST_ORDER + order as u64);
        self.key.put("}");
    }

    fn meter_key(&mut self, slot: u64) {
        self.key.put("{\"charge_id\":\"cm-");
        self.key.padded(slot, 9);
        self.key.put("\"}");
    }

    fn charge_key(&mut self, world: &World, charge: &Charge) {
        let key = &mut self.key;
        let (word, service) = match charge.kind {
            ChargeKind::Hourly { service } => ("ch-", Some(service)),
            ChargeKind::Partial { service } => ("cp-", Some(service)),
            ChargeKind::Daily { service } => ("cd-", Some(service)),
            ChargeKind::Tax => ("ct-", None),
            ChargeKind::Credit => ("cc-", None),
            ChargeKind::Purchase => ("cb-", None),
            ChargeKind::Spike { service, .. } => ("cx-", Some(service)),
        };
        key.put("{\"charge_id\":\"");
        key.put(word);
        key.put(&world.tenants[charge.tenant].name);
        key.put("-");
        key.put(service.map_or("all", |service| SERVICES[service].0));
        key.put("-");
        key.number(charge.hour.max(0).cast_unsigned());
        if let ChargeKind::Spike { incident, n, .. } = charge.kind {
            key.put("-");
            key.number(incident);
            key.put("-");
            key.number(n.cast_unsigned());
        }
        key.put("\"}");
    }

    fn line(&mut self, stream: &Stream, item: &Item, (number, index): (usize, u8), op: LineOp) {
        let world = &stream.schedule.world;
        let order = &stream.schedule.orders[number];
        let id = FIRST_ORDER + number as u64;
        self.key.put("{\"order_item_id\":\"");
        self.key.number(id);
        self.key.put("-");
        self.key.number(u64::from(index) + 1);
        self.key.put("\"}");
        match op {
            LineOp::Tombstone => return self.has_value = false,
            LineOp::Gone => return self.gone(item, Table::OrderItems.name(), BEFORE_LINE),
            LineOp::Insert | LineOp::Update => {}
        }
        let amount = amount_now(world.seed, order, number, item);
        let line = lines::line(world.seed, order, order.step_at(item.at), amount, index);
        self.open("{\"before\":null,\"after\":");
        let v = &mut self.value;
        v.put(",\"tenant_id\":");
        v.quoted(&world.tenants[order.tenant].name);
        v.put(",\"order_id\":");
        v.number(id);
        v.put(",\"product_id\":\"");
        v.put(line.category);
        v.put("-");
        v.number(line.product + 1);
        v.put("\",\"category\":");
        v.quoted(line.category);
        v.put(",\"quantity\":");
        v.decimal(line.quantity * AMOUNT_ONE, 4);
        v.put(",\"unit_price\":");
        v.decimal(line.unit_price, 4);
        v.put(",\"currency\":");
        v.quoted(order.currency);
        v.put(",\"updated_at\":");
        v.instant(item.at - ROW_BEFORE);
        v.put("}");
        self.close(item, Table::OrderItems.name(), if op == LineOp::Insert { 'c' } else { 'u' });
    }

    /// Opens a value with the key's own field, which the row repeats.
    pub(super) fn open(&mut self, before: &str) {
        self.value.put(before);
        let field = self.key.bytes.len().saturating_sub(1);
        self.value.bytes.extend_from_slice(&self.key.bytes[..field]);
    }

    fn gone(&mut self, item: &Item, table: &str, columns: &str) {
        self.open("{\"before\":");
        self.value.put(columns);
        self.value.put(",\"after\":null");
        self.close(item, table, 'd');
    }

    fn order(&mut self, stream: &Stream, item: &Item, number: usize, op: char) {
        let world = &stream.schedule.world;
        let order = &stream.schedule.orders[number];
        let step = order.step_at(item.at);
        self.order_key(number);
        self.open("{\"before\":null,\"after\":");
        let v = &mut self.value;
        v.put(",\"tenant_id\":");
        v.quoted(&world.tenants[order.tenant].name);
        v.put(",\"customer_id\":");
        match order.customer {
            Some(customer) => {
                v.put("\"");
                customer_id(v, customer);
                v.put("\"");
            }
            None => v.put("null"),
        }
        v.put(",\"status\":");
        v.quoted(step.status.text());
        v.put(",\"amount\":");
        v.decimal(amount_now(world.seed, order, number, item), 4);
        v.put(",\"currency\":");
        v.quoted(order.currency);
        v.put(",\"channel\":");
        v.quoted(CHANNELS[order.channel].0);
        v.put(",\"campaign\":");
        match order.campaign {
            Some(campaign) => v.quoted(campaign),
            None => v.put("null"),
        }
        v.put(",\"placed_at\":");
        v.instant(order.placed_at() - ROW_BEFORE);
        v.put(",\"recognized_at\":");
        match order.recognized_at(item.at) {
            Some(at) => v.instant(at - ROW_BEFORE),
            None => v.put("null"),
        }
        v.put(",\"type\":");
        v.quoted(order.kind);
        v.put(",\"cost\":");
        match order.cost {
            Some(permille) => v.decimal(order.steps[0].amount / 1000 * permille, 4),
            None => v.put("null"),
        }
        v.put(",\"updated_at\":");
        v.instant(item.at - ROW_BEFORE);
        v.put("}");
        self.close(item, "orders", op);
    }

    fn metered(&mut self, stream: &Stream, item: &Item, slot: u64, op: char) {
        let meter = stream.metered(slot);
        let effective = if op == 'c' {
            meter.effective
        } else {
            corrected(meter.effective, mix(stream.schedule.world.seed, tag::METER, !slot))
        };
        let from = meter.at.div_euclid(MINUTE) * MINUTE;
        self.meter_key(slot);
        let row = ChargeRow {
            tenant: meter.tenant,
            service: SERVICES[meter.service].0,
            category: "Usage",
            billed: list_price(effective, meter.tenant),
            effective,
            resource: Some(meter.resource),
            from,
            to: from + MINUTE,
        };
        self.charge_row(stream, item, &row, op);
    }

    fn charge(&mut self, stream: &Stream, item: &Item, charge: &Charge, version: u64) {
        let world = &stream.schedule.world;
        self.charge_key(world, charge);
        let Charge { tenant, hour, kind } = *charge;
        let hour_from = hour * HOUR;
        let day = |share: i64| {
            let services = 0..world.tenants[tenant].services;
            services.map(|service| world.cost(tenant, service, hour)).sum::<i64>() / 1000
                * 24
                * share
        };
        let usage = |service: usize, effective: i64| ChargeRow {
            tenant,
            service: SERVICES[service].0,
            category: "Usage",
            billed: list_price(effective, tenant),
            effective,
            resource: Some((hour % 4).unsigned_abs()),
            from: hour_from,
            to: hour_from + HOUR,
        };
        let daily = |category, effective, from, to| {
            let service = if category == "Purchase" { "compute" } else { "billing" };
            ChargeRow {
                tenant,
                service,
                category,
                billed: effective,
                effective,
                resource: None,
                from,
                to,
            }
        };
        let mut row = match kind {
            ChargeKind::Hourly { service } => usage(service, world.cost(tenant, service, hour)),
            ChargeKind::Partial { service } => {
                let part = (item.at + 1 - hour_from) / 1_000_000;
                usage(service, world.cost(tenant, service, hour) / 3600 * part)
            }
            ChargeKind::Spike { service, factor, .. } => {
                let hours = world.cost(tenant, service, hour) * (factor - 1);
                usage(service, hours / super::incidents::SPIKE_CHARGES)
            }
            ChargeKind::Daily { service } => ChargeRow {
                from: hour_from - 23 * HOUR,
                ..usage(
                    service,
                    (hour - 23..=hour).map(|hour| world.cost(tenant, service, hour)).sum(),
                )
            },
            ChargeKind::Tax => daily("Tax", day(20), hour_from - DAY, hour_from),
            ChargeKind::Credit => daily("Credit", -day(12), hour_from - DAY, hour_from),
            ChargeKind::Purchase => daily("Purchase", day(25), hour_from, hour_from + 7 * DAY),
        };
        if version > 0 {
            let key = mix(world.seed, tag::CHARGE, tenant as u64 ^ (hour.cast_unsigned() << 8));
            row.effective = corrected(row.effective, key);
            row.billed = list_price(row.effective, tenant);
        }
        self.charge_row(stream, item, &row, if version == 0 { 'c' } else { 'u' });
    }

    /// The value of a charge whose key is already written.
    fn charge_row(&mut self, stream: &Stream, item: &Item, row: &ChargeRow<'_>, op: char) {
        let tenant = &stream.schedule.world.tenants[row.tenant];
        self.open("{\"before\":null,\"after\":");
        let v = &mut self.value;
        v.put(",\"tenant_id\":");
        v.quoted(&tenant.name);
        v.put(",\"service_name\":");
        v.quoted(row.service);
        v.put(",\"charge_category\":");
        v.quoted(row.category);
        v.put(",\"billed_cost\":");
        v.decimal(row.billed, 10);
        v.put(",\"effective_cost\":");
        v.decimal(row.effective, 10);
        v.put(",\"billing_currency\":");
        v.quoted(tenant.currency);
        v.put(",\"resource_id\":");
        match row.resource {
            Some(resource) => {
                v.put("\"arn:demo:");
                v.put(row.service);
                v.put(":");
                v.put(&tenant.name);
                v.put("/r-");
                v.number(resource);
                v.put("\"");
            }
            None => v.put("null"),
        }
        v.put(",\"charge_period_start\":");
        v.instant(row.from);
        v.put(",\"charge_period_end\":");
        v.instant(row.to);
        v.put(",\"tags\":");
        match row.resource {
            Some(resource) => {
                v.put("\"{\\\"env\\\": \\\"");
                v.put(if resource == 3 { "staging" } else { "prod" });
                v.put("\\\", \\\"team\\\": \\\"");
                v.put(if row.service == "ai-api" { "data" } else { "platform" });
                v.put("\\\", \\\"cost_center\\\": \\\"");
                v.put(COST_CENTERS[usize::try_from(resource % 4).unwrap_or(0)]);
                v.put("\\\"}\"");
            }
            None => v.put("null"),
        }
        v.put(",\"accuracy_score\":");
        match row.resource {
            // How sure it is whose charge it is depends on the service, and a little on the resource.
            Some(resource) => {
                let base = 990_000 - 23_000 * (row.service.len() as i64 % 6);
                v.decimal(base - 9_000 * resource.cast_signed(), 6);
            }
            None => v.put("null"),
        }
        v.put(",\"updated_at\":");
        v.instant(item.at - ROW_BEFORE);
        v.put("}");
        self.close(item, "costs", op);
    }

    /// The rest of the envelope, after the row.
    pub(super) fn close(&mut self, item: &Item, table: &str, op: char) {
        let v = &mut self.value;
        let lsn = FIRST_LSN + item.index * 184 + mix(0, 0, item.index) % 16 * 8;
        let commit = (item.at - COMMIT_BEFORE).max(0).cast_unsigned();
        v.put(
            r#","source":{"version":"3.7.0.Final","connector":"postgresql","name":"demo","ts_ms":"#,
        );
        v.number(commit / 1000);
        v.put(r#","snapshot":"false","db":"demo","sequence":"[\""#);
        let before = v.bytes.len();
        v.number(lsn);
        let after = v.bytes.len();
        v.put(r#"\",\""#);
        v.bytes.extend_from_within(before..after);
        v.put(r#"\"]","ts_us":"#);
        v.number(commit);
        v.put(",\"ts_ns\":");
        v.number(commit);
        v.put(r#"000,"schema":"public","table":""#);
        v.put(table);
        v.put("\",\"txId\":");
        v.number(FIRST_TRANSACTION + item.index);
        v.put(",\"lsn\":");
        v.bytes.extend_from_within(before..after);
        v.put(r#","xmin":null,"origin":null,"origin_lsn":null},"transaction":null,"op":""#);
        v.put(op.encode_utf8(&mut [0; 4]));
        let sent = item.at.max(0).cast_unsigned();
        v.put("\",\"ts_ms\":");
        v.number(sent / 1000);
        v.put(",\"ts_us\":");
        v.number(sent);
        v.put(",\"ts_ns\":");
        v.number(sent);
        v.put("000}");
    }
}

/// The order's amount at the record. In the live part an open order moves by up to 1.2 percent
/// (fees, partial deliveries) from block to block of slots.
fn amount_now(seed: u64, order: &Order, number: usize, item: &Item) -> i64 {
    let step = order.step_at(item.at);
    let Some(block) = item.block.filter(|_| step.status.open()) else { return step.amount };
    let moved =
        Dice::of(mix(seed, tag::DRIFT, number as u64), tag::DRIFT, block).between(988, 1012);
    step.amount * moved / 1000
}

/// What was billed before the commitments that lower the effective cost.
fn list_price(effective: i64, tenant: usize) -> i64 {
    effective / 100 * [112, 108, 118, 103, 110, 100][tenant % 6]
}

fn corrected(effective: i64, key: u64) -> i64 {
    effective / 1000 * Dice::of(key, tag::CHARGE, 1).between(960, 1040)
}
