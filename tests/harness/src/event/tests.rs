//! Events written out by hand.

use serde_json::json;

use super::*;

fn orders() -> Contract {
    let (_, text) =
        schemas::contract::built_in().into_iter().find(|(f, _)| *f == "orders.toml").unwrap();
    Contract::parse(text).unwrap()
}

fn after() -> Value {
    json!({"order_id": 7, "tenant_id": "t1", "customer_id": null, "status": "paid",
        "amount": "12.50", "currency": "USD", "channel": "web", "campaign": null,
        "placed_at": "2026-11-01T10:00:00Z", "recognized_at": null,
        "updated_at": "2026-11-01T10:00Z"})
}

fn event(op: &str, after: Value) -> Value {
    json!({"before": null, "after": after, "op": op, "source": {"lsn": 5, "ts_ms": 9}})
}

fn decoded(value: &Value) -> Decoded {
    decode(&orders(), Some(br#"{"order_id":7}"#), Some(value.to_string().as_bytes()))
}

#[test]
fn reads_a_row() {
    let Decoded::Change(change) = decoded(&event("c", after())) else { panic!("no change") };
    assert_eq!((change.key.as_str(), change.place, change.source_ms), ("7", Some((None, 5)), 9));
    let row = change.row.unwrap();
    assert_eq!(row[0], Cell::Text("7".into()));
    assert_eq!(row[2], Cell::Null);
    assert_eq!(row[4], Cell::Decimal(125_000));
    assert_eq!(row[8], Cell::Time(1_793_527_200_000_000));
    assert_eq!(Some(&row[8]), row.last());
}

#[test]
fn reads_numbers_and_schema_blocks() {
    let mut number = after();
    number["amount"] = json!(12.5);
    let amount = |document: &Value| match decoded(document) {
        Decoded::Change(change) => change.row.map(|row| row[4].clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(amount(&event("u", number)), Some(Cell::Decimal(125_000)));
    let mut bytes = after();
    bytes["amount"] = json!("BOI="); // 1250
    let schema = json!({"type": "struct", "fields": [{"field": "after", "fields": [
        {"field": "amount", "name": "org.apache.kafka.connect.data.Decimal", "parameters": {"scale": "2"}}]}]});
    let wrapped = json!({"schema": schema, "payload": event("c", bytes.clone())});
    assert_eq!(amount(&wrapped), Some(Cell::Decimal(125_000)));
    assert!(matches!(decoded(&event("c", bytes)), Decoded::Undecodable(_)), "base64 without scale");
}

#[test]
fn tombstones_and_messages_do_nothing_and_deletes_need_only_the_key() {
    assert_eq!(decode(&orders(), None, None), Decoded::Nothing);
    assert_eq!(decoded(&event("m", Value::Null)), Decoded::Nothing);
    let Decoded::Change(change) = decoded(&event("d", Value::Null)) else { panic!("no change") };
    assert_eq!((change.op, change.key.as_str(), change.row), (Op::Delete, "7", None));
}

#[test]
fn nonsense_is_undecodable() {
    for (column, value) in [
        ("amount", json!("NaN")),
        ("amount", json!("12.34567")),
        ("amount", json!("123456789012345")),
        ("amount", Value::Null),
        ("status", Value::Null),
        ("placed_at", json!("yesterday")),
        ("updated_at", json!(i64::MAX)),
        ("updated_at", json!(1_793_527_200_000_000_i64)),
        ("customer_id", json!({"a": 1})),
    ] {
        let mut row = after();
        row[column] = value;
        assert!(matches!(decoded(&event("c", row)), Decoded::Undecodable(_)), "{column}");
    }
    assert!(matches!(decoded(&event("x", after())), Decoded::Undecodable(_)));
    assert!(matches!(decoded(&event("c", Value::Null)), Decoded::Undecodable(_)));
    for bytes in [&b""[..], b"{", b"[1]", b"\xff\xfe"] {
        assert!(matches!(decode(&orders(), None, Some(bytes)), Decoded::Undecodable(_)));
    }
}

#[test]
fn origins_and_placeholders_are_read() {
    let mut value = event("u", after());
    value["after"]["campaign"] = json!("__debezium_unavailable_value");
    value["source"] =
        json!({"lsn": 5, "name": "shop", "db": "a.b", "schema": "", "table": "orders"});
    let Decoded::Change(change) = decoded(&value) else { panic!("no change") };
    assert_eq!(change.origin.as_deref(), Some(r#"shop."a.b".orders"#));
    assert_eq!(change.row.unwrap()[7], Cell::Unknown);
    value["source"] = json!({"lsn": 5, "name": "shop"});
    let Decoded::Change(change) = decoded(&value) else { panic!("no change") };
    assert_eq!(change.origin, None);
}

#[test]
fn typed_columns_and_keys_are_read() {
    let text = "name='t'\nformat='f'\nkey=['day','n']\ntenant='u'\ncolumns=[{name='u',type='text'},\
                {name='day',type='date',unit='days'},{name='n',type='bigint'},{name='x',type='double'},\
                {name='f',type='boolean'}]";
    let contract = Contract::parse(text).unwrap();
    let value =
        event("c", json!({"day": 20_455, "n": 9_007_199_254_740_993_i64, "x": "NaN", "f": 1}));
    let key: &[u8] = br#"{"day":"2026-01-02Z","n":"9007199254740993"}"#;
    let value = value.to_string();
    let Decoded::Change(change) = decode(&contract, Some(key), Some(value.as_bytes())) else {
        panic!("no change")
    };
    assert_eq!(change.key, "2026-01-02\u{1f}9007199254740993");
    let nan = Cell::Double(f64::NAN.to_bits());
    let row =
        [Cell::Null, Cell::Date(20_455), Cell::Whole(9_007_199_254_740_993), nan, Cell::Flag(true)];
    assert_eq!(*change.row.unwrap(), row);
}

/// The golden vectors of the product: events written by hand, and what they become.
#[test]
fn forms_of_values_are_read_as_the_vectors_say() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../schemas/vectors/debezium-json/");
    let files = [
        "field-names",
        "instants",
        "numeric-keys",
        "numeric-keys-bigint",
        "numeric-keys-decimal",
        "placeholders",
        "typed-key-of-one",
        "typed-keys",
        "units",
    ];
    let mut compared = 0;
    for file in files {
        let text = std::fs::read_to_string(format!("{folder}{file}.json")).unwrap();
        let vectors: Value = serde_json::from_str(&text).unwrap();
        let contract = Contract::parse(vectors["contract"].as_str().unwrap()).unwrap();
        for (number, event) in vectors["events"].as_array().unwrap().iter().enumerate() {
            let key = (!event["key"].is_null()).then(|| event["key"].to_string());
            let value = event["value"].to_string();
            let decoded =
                decode(&contract, key.as_deref().map(str::as_bytes), Some(value.as_bytes()));
            let expected = &event["expect"];
            let place = format!("{file} event {number}: {decoded:?}");
            let error = expected["error"].as_str();
            let Decoded::Change(change) = &decoded else {
                assert!(error.is_some(), "{place}");
                continue;
            };
            // Which row an event is of, the oracle takes from the message key alone, and of a key's text
            // it asks nothing.
            let is_of_keys =
                |error: &str| error.contains("message key") || error.contains("key column");
            if let Some(error) = error {
                assert!(is_of_keys(error), "{place}");
                continue;
            }
            assert_eq!(Some(change.key.as_str()), expected["key"].as_str(), "{place}");
            let Some(row) = &change.row else { continue };
            for (column, cell) in contract.columns.iter().zip(row.iter()) {
                let lists = [&expected["unavailable"], &expected["unknown"]];
                let mut unknown = lists.iter().flat_map(|list| list.as_array()).flatten();
                let is_unknown = unknown.any(|name| *name == *column.name);
                assert_eq!(*cell == Cell::Unknown, is_unknown, "{} of {place}", column.name);
                let text = match cell {
                    Cell::Null | Cell::Unknown => None,
                    cell => Some(part(column, cell)),
                };
                let told = expected["row"][&column.name].as_str();
                assert_eq!(text.as_deref(), told, "{} of {place}", column.name);
                compared += 1;
            }
        }
    }
    assert!(compared > 200, "{compared}");
}
