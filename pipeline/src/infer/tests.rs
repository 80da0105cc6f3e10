//! Proposals of every format are contracts by which the sampled rows are read.

use std::path::Path;

use schemas::Contract;
use serde_json::{Value, json};

use super::sample::Record;
use super::*;
use crate::decode::{ChangeBatch, PreparedContract, Scratch, decode_batch, registry};
use crate::record::{RawBatch, TopicPartition};

fn sample(name: &str, format: Option<&'static str>, records: Vec<(Value, Value)>) -> Sample {
    let bytes = |value: Value| (!value.is_null()).then(|| value.to_string().into_bytes());
    let records = records.into_iter();
    let records = records.map(|(key, value)| Record { key: bytes(key), value: bytes(value) });
    Sample { name: name.to_owned(), format, records: records.collect(), is_topic: true }
}

/// The proposal, by which all records of the sample are read but those with what no type takes.
fn proposed(sample: &Sample) -> (String, Contract) {
    let text = propose(sample).unwrap();
    let contract = Contract::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let prepared =
        PreparedContract::new(contract.clone()).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let of = TopicPartition {
        source: "s".into(),
        topic: "t".into(),
        incarnation: "i".into(),
        partition: 0,
    };
    let mut batch = RawBatch::new(of.into());
    for (offset, record) in (0..).zip(&sample.records) {
        batch.push(offset, None, record.key.as_deref(), record.value.as_deref(), &[]);
    }
    let decoder = registry::find(&contract.format).unwrap();
    let mut out = ChangeBatch::default();
    decode_batch(decoder, &prepared, &batch, &mut Scratch::default(), &mut out);
    for (_, error) in out.errors() {
        let is_beyond = ["in the years 1 to 9999", "is an infinity", "no finite number"];
        assert!(is_beyond.iter().any(|says| error.0.contains(says)), "{error}\n{text}");
    }
    (text, contract)
}

/// Columns of a bill by FOCUS 1.2, and one that identifies a charge.
const FOCUS_COLUMNS: [&str; 29] = [
    "BilledCost",
    "BillingCurrency",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "EffectiveCost",
    "InvoiceId",
    "ListCost",
    "PricingCategory",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "ServiceSubcategory",
    "SkuId",
    "SubAccountId",
    "SubAccountName",
    "Tags",
    "x_ChargeId",
];

/// Charges: use, a commitment, a tax without a resource, and a credit that corrects a closed bill.
const FOCUS: [&str; 4] = [
    "1.50000|USD|2026-01-01T00:00:00Z|Usage||Usage-Based|2026-01-02T01:00:00Z|2026-01-02T00:00:00Z|730.125|GB-Hours|1.40000|\
     1.25000|INV-7|2.00000|Standard|AWS|AWS|eu-central-1|i-1|web|Instance|Compute|EC2|Virtual Machines|SKU1|acme|Acme|\
     {\"team\":\"a\"}|c-1",
    "3.00000|USD|2026-01-01T00:00:00Z|Purchase||Recurring|2026-02-01T00:00:00Z|2026-01-01T00:00:00Z|||3.00000|0.00000|INV-7|\
     3.00000|Committed|AWS|AWS|eu-central-1|||Instance|Compute|EC2|Virtual Machines|SKU2|acme|Acme||c-2",
    "0.75001|USD|2026-01-01T00:00:00Z|Tax||One-Time|2026-02-01T00:00:00Z|2026-01-01T00:00:00Z|||0.75001|0.75001||0.75001|\
     Other|AWS|AWS|||||Other|EC2|Other|||||c-3",
    "-0.25000|USD|2026-01-01T00:00:00Z|Credit|Correction|One-Time|2025-12-31T00:00:00Z|2025-12-30T00:00:00Z|1.000|Hours|\
     -0.25000|-0.25000||-0.25000|Other|AWS|AWS|||||Other|EC2|Other||globex|Globex|{\"team\":\"b\"}|c-4",
];

/// Name, type, unit and whether it is required, of each column.
fn columns(contract: &Contract) -> Vec<String> {
    let fields = contract.columns.iter().zip(&contract.fields);
    let told = fields.map(|(column, field)| {
        let unit = field.unit.map_or(String::new(), |unit| format!(" {unit}"));
        let from = field.from.as_ref().map_or(String::new(), |from| format!(" from {from}"));
        let map = field.map.as_ref().map_or(String::new(), |map| format!(" map {map}"));
        let required = if column.required { " required" } else { "" };
        format!("{} {}{unit}{from}{map}{required}", column.name, column.kind)
    });
    told.collect()
}

#[test]
fn change_events_without_a_schema() {
    let event = |id: u64, paid: Value| {
        let row = json!({"order_id": id, "tenant_id": "acme", "amount": "19.9900", "paid": paid,
            "placed_at": 1_767_323_045_123_u64 + id, "tags": {"a": 1}});
        (
            json!({"order_id": id}),
            json!({"before": null, "after": row, "op": "c", "source": {"lsn": id}}),
        )
    };
    let mut records: Vec<_> = (1..50).map(|id| event(id % 20, json!(true))).collect();
    records.push(event(50, Value::Null));
    records.push((json!({"order_id": 1}), Value::Null));
    let (text, contract) = proposed(&sample("shop.public.orders", None, records));
    assert_eq!((contract.name.as_str(), contract.format.as_str()), ("orders", "debezium-json"));
    let expected = [
        "amount decimal(12,4) required",
        "order_id bigint required",
        "paid boolean",
        "placed_at timestamp ms required",
        "tags json required",
        "tenant_id text",
    ];
    assert!(text.contains("key = [\"order_id\"]"), "{text}");
    assert_eq!(columns(&contract), expected, "{text}");
    assert!(text.contains("# as the message keys name it") && text.contains("size"), "{text}");
}

#[test]
fn change_events_and_flattened_rows_with_their_schema() {
    let fields = json!([
        {"field": "id", "type": "int64"},
        {"field": "price", "type": "bytes", "name": "org.apache.kafka.connect.data.Decimal",
         "parameters": {"scale": "2", "connect.decimal.precision": "10"}},
        {"field": "at", "type": "int64", "name": "io.debezium.time.MicroTimestamp"},
        {"field": "note", "type": "string"},
    ]);
    let row =
        |id: u64| json!({"id": id, "price": "AJY=", "at": 1_767_323_045_123_456_u64, "note": "x"});
    let key = |id: u64| {
        let fields = json!([{"field": "id", "type": "int64"}]);
        json!({"schema": {"type": "struct", "fields": fields}, "payload": {"id": id}})
    };
    let side = json!({"field": "after", "type": "struct", "fields": fields});
    let whole = |id: u64| {
        let event = json!({"before": null, "after": row(id), "op": "u", "source": {"lsn": 1}});
        (key(id), json!({"schema": {"fields": [side]}, "payload": event}))
    };
    let flat = |id: u64| {
        let mut row = row(id);
        row["__deleted"] = json!("false");
        (key(id), json!({"schema": {"type": "struct", "fields": fields}, "payload": row}))
    };
    let expected = [
        "tenant_id text map 'default'",
        "at timestamp required",
        "id bigint required",
        "note text required",
        "price decimal(10,2) required",
    ];
    let whole = sample("t", None, (0..5).map(whole).collect());
    let flat = sample("t", None, (0..5).map(flat).collect());
    for (sample, format) in [(whole, "debezium-json"), (flat, "debezium-flat")] {
        let (text, contract) = proposed(&sample);
        assert_eq!(contract.format, format);
        assert!(text.contains("key = [\"id\"]  # as the message keys"), "{text}");
        assert_eq!(columns(&contract), expected, "{text}");
    }
}

#[test]
fn bills_by_focus() {
    let rows = FOCUS.iter().map(|row| {
        let fields = FOCUS_COLUMNS.into_iter().zip(row.split('|'));
        let cell = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
        (Value::Null, fields.map(|(name, text)| (name, cell(text))).collect())
    });
    let (text, contract) = proposed(&sample("focus-1.2.csv", Some("csv"), rows.collect()));
    let expected = [
        "billed_cost decimal(12,5) from BilledCost required",
        "billing_currency text from BillingCurrency required",
        "billing_period_start timestamp from BillingPeriodStart required",
        "charge_category text from ChargeCategory required",
        "charge_class text from ChargeClass",
        "charge_frequency text from ChargeFrequency required",
        "charge_period_end timestamp from ChargePeriodEnd required",
        "charge_period_start timestamp from ChargePeriodStart required",
        "consumed_quantity decimal(12,3) from ConsumedQuantity",
        "consumed_unit text from ConsumedUnit",
        "contracted_cost decimal(12,5) from ContractedCost required",
        "effective_cost decimal(12,5) from EffectiveCost required",
        "invoice_id text from InvoiceId",
        "list_cost decimal(12,5) from ListCost required",
        "pricing_category text from PricingCategory required",
        "provider_name text from ProviderName required",
        "publisher_name text from PublisherName required",
        "region_id text from RegionId",
        "resource_id text from ResourceId",
        "resource_name text from ResourceName",
        "resource_type text from ResourceType",
        "service_category text from ServiceCategory required",
        "service_name text from ServiceName required",
        "service_subcategory text from ServiceSubcategory required",
        "sku_id text from SkuId",
        "sub_account_id text from SubAccountId",
        "sub_account_name text from SubAccountName",
        "tags json from Tags",
        "x_charge_id text from x_ChargeId required",
    ];
    assert!(text.contains("key = [\"x_charge_id\"]  # unique in 4 rows"), "{text}");
    assert!(text.contains("tenant = \"sub_account_id\""), "{text}");
    assert_eq!(columns(&contract), expected, "{text}");
    // By their names they are those of the contract that comes with Weir, but for what identifies a charge.
    let come = schemas::contract::built_in();
    let costs = Contract::parse(come.iter().find(|(file, _)| *file == "costs.toml").unwrap().1);
    let costs = costs.unwrap().columns;
    let own = ["charge_id", "tenant_id", "accuracy_score", "updated_at", "billing_account_id"];
    let missing = costs.iter().filter(|column| contract.columns.find(&column.name).is_none());
    assert!(missing.clone().all(|column| own.contains(&column.name.as_str())), "{missing:?}");
}

#[test]
fn rows_of_files() {
    let row = |id: u64| {
        let cost = format!("{id}.1234567890");
        json!({"ChargeId": format!("c-{id}"), "BilledCost": cost, "ChargePeriodStart": "2024-09-01T00:00:00Z",
            "SubAccountId": "acme", "Quantity": id.to_string(), "Tags": null})
    };
    let rows = || (0..30).map(|id| (Value::Null, row(id))).collect::<Vec<_>>();
    let (text, contract) = proposed(&sample("2024-09.csv", Some("csv"), rows()));
    assert_eq!(contract.name, "t_2024_09");
    let expected = [
        "billed_cost decimal(18,10) from BilledCost required",
        "charge_id text from ChargeId required",
        "charge_period_start timestamp from ChargePeriodStart required",
        "quantity bigint from Quantity required",
        "sub_account_id text from SubAccountId",
        "tags text from Tags",
    ];
    assert!(text.contains("key = [\"charge_id\"]"), "{text}");
    assert_eq!(columns(&contract), expected, "{text}");
    assert!(text.contains("unique in 30 rows") && text.contains("nothing but nulls"), "{text}");

    let (text, contract) = proposed(&sample("rows", None, rows()));
    assert_eq!(contract.format, "rows");
    assert_eq!(contract.columns[3].kind, schemas::ColumnType::Text, "{text}");
    let same = vec![(Value::Null, json!({"a": "x"})), (Value::Null, json!({"a": "x"}))];
    let (text, _) = proposed(&sample("rows", None, same));
    assert!(text.contains("NO column is unique"), "{text}");
    let none = sample("rows", None, vec![(Value::Null, json!([1]))]);
    assert!(propose(&none).unwrap_err().to_string().contains("no record of the sample"));
}

#[test]
fn captured_events_of_connectors() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/vectors/debezium-json");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        if !name.starts_with("captured-") {
            continue;
        }
        files += 1;
        let file: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let records = file["events"].as_array().unwrap().iter();
        let records = records.map(|event| (event["key"].clone(), event["value"].clone())).collect();
        let (text, contract) = proposed(&sample(&name, None, records));
        assert!(text.contains("message keys") && contract.columns.len() > 3, "{text}");
    }
    assert!(files > 8);
}

#[test]
fn a_topic_that_is_named_is_picked_out_of_the_lines_of_others() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.ndjson");
    let line = |topic: &str, offset: i64| {
        let value = json!({"id": offset, "name": topic});
        json!({"topic": topic, "partition": 0, "offset": offset, "key": null, "value": value})
            .to_string()
    };
    // Behind more lines of another topic than are looked at, and between more of them than one look takes.
    let mut lines: Vec<String> = (0..1_500).map(|offset| line("shop.a", offset)).collect();
    lines.extend((0..5).map(|offset| line("shop.b", offset)));
    lines.extend((1_500..13_000).map(|offset| line("shop.a", offset)));
    lines.extend((5..7).map(|offset| line("shop.b", offset)));
    std::fs::write(&path, lines.join("\n") + "\n").unwrap();
    let of = |topic: &str, most: usize| Sample::of_file(&path, Some(topic), most);
    let sample = of("shop.b", 1_000).unwrap();
    assert_eq!((sample.records.len(), &*sample.name, sample.is_topic), (7, "shop.b", true));
    let text = propose(&sample).unwrap();
    assert!(text.starts_with("# Proposed from 7 rows of topic `shop.b`"), "{text}");
    assert_eq!(of("shop.b", 6).unwrap().records.len(), 6);
    assert_eq!(of("shop.a", 1_000).unwrap().records.len(), 1_000);
    let wrong = of("shop.c", 10).unwrap_err().to_string();
    assert!(wrong.contains("no lines of topic `shop.c`; there are shop.a, shop.b"), "{wrong}");
    let several = Sample::of_file(&path, None, 2_000).unwrap_err().to_string();
    assert!(several.contains("has lines of shop.a, shop.b; name one"), "{several}");
}
