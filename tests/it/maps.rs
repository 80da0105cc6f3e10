//! Columns that a contract computes: against the same by hand, kept apart on failure, and built anew alone.

use std::collections::BTreeMap;

use harness::event::Cell;
use harness::tables::read_silver;
use rand::Rng;
use schemas::Contract;
use serde_json::{Value, json};

use crate::support::{Place, log_entries, seeded};

fn bills(team: &str) -> String {
    format!(
        "name = \"bills\"\nformat = \"rows\"\nkey = [\"id\"]\ntenant = \"tenant\"\ncolumns = [\n\
         {{ name = \"id\", type = \"bigint\" }},\n\
         {{ name = \"tenant\", type = \"text\", map = \"lower(SubAccountId)\" }},\n\
         {{ name = \"cost\", type = \"decimal(20,4)\", from = \"BilledCost\" }},\n\
         {{ name = \"cents\", type = \"decimal(20,4)\", map = \"BilledCost * 100\" }},\n\
         {{ name = \"tags\", type = \"json\", from = \"Tags\" }},\n\
         {{ name = \"team\", type = \"text\", map = \"{team}\" }},\n\
         {{ name = \"quantity\", type = \"bigint\", map = \"cast(ConsumedQuantity as bigint)\" }},\n]\n"
    )
}

fn place(team: &str) -> Place {
    let place = Place::new();
    let folder = place.path("contracts");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::create_dir_all(place.path("input")).unwrap();
    std::fs::write(folder.join("bills.toml"), bills(team)).unwrap();
    let other = "name = \"others\"\nformat = \"rows\"\nkey = [\"id\"]\ntenant = \"tenant\"\n\
                 columns = [{ name = \"id\", type = \"bigint\" }, { name = \"tenant\", type = \"text\" }]";
    std::fs::write(folder.join("others.toml"), other).unwrap();
    place.configure(&format!(
        "contracts.definitions = {folder:?}\n[[sources]]\nkind = \"file\"\npath = {:?}\n\
         [sources.topics]\nbills = \"bills\"\nothers = \"others\"\n",
        place.path("input")
    ));
    place
}

/// A row and, by hand, what its computed columns are: cents, team and quantity.
fn row(rng: &mut impl Rng, id: i64, anyone: &str) -> (Value, (i128, String, i64)) {
    let (cost, quantity) =
        (rng.random_range(-900_000_i128..900_000), rng.random_range(0..1_000_i64));
    let text = harness::numbers::text(cost, 4);
    let team = ["core", "data", "web"][rng.random_range(0..3)];
    let (tags, team) = match rng.random_range(0..4) {
        0 => (json!({"team": team, "x": 1}), team),
        1 => (json!(format!("{{\"team\":\"{team}\"}}")), team),
        2 => (json!({"team": null}), anyone),
        _ => (Value::Null, anyone),
    };
    let row = json!({"id": id, "SubAccountId": "ACME", "BilledCost": text, "Tags": tags,
        "ConsumedQuantity": quantity});
    (row, (cost * 100, team.to_owned(), quantity))
}

/// Every file that was ever added to a table.
fn files(place: &Place, table: &str) -> Vec<String> {
    let entries = log_entries(place.lake(), table).into_iter();
    let texts = entries.map(|entry| std::fs::read_to_string(entry).unwrap());
    texts
        .flat_map(|text| {
            let added = text.lines().filter(|line| line.contains("\"add\":"));
            added.map(str::to_owned).collect::<Vec<_>>()
        })
        .collect()
}

fn silver(place: &Place, team: &str) -> BTreeMap<i64, (i128, String, i64)> {
    let contract = Contract::parse(&bills(team)).unwrap();
    let rows = read_silver(place.lake(), &contract).unwrap().unwrap().rows;
    let read = |row: &harness::event::Row| match row.as_slice() {
        [
            Cell::Whole(id),
            Cell::Text(tenant),
            _,
            Cell::Decimal(cents),
            _,
            Cell::Text(team),
            Cell::Whole(n),
        ] => {
            assert_eq!(tenant, "acme");
            (*id, (*cents, team.clone(), *n))
        }
        other => panic!("{other:?}"),
    };
    rows.values().map(|silver| read(&silver.row)).collect()
}

#[test]
fn computed_columns_are_what_they_are_by_hand() {
    let mut rng = seeded("maps");
    let team = "coalesce(Tags->>'team', 'none')";
    let place = place(team);
    let (mut lines, mut expected) = (String::new(), BTreeMap::new());
    let line = |offset: usize, topic: &str, value: &Value| {
        json!({"topic": topic, "partition": 0, "offset": offset, "value": value}).to_string() + "\n"
    };
    for offset in 0..600 {
        let (mut row, by_hand) = row(&mut rng, i64::try_from(offset % 400).unwrap(), "none");
        match offset % 100 {
            // Rows on which a map fails change nothing: the row of before stays.
            97 => row["ConsumedQuantity"] = json!("many"),
            98 => row["Tags"] = json!("team=core"),
            99 => drop(row.as_object_mut().unwrap().remove("SubAccountId")),
            _ => drop(expected.insert(row["id"].as_i64().unwrap(), by_hand)),
        }
        lines += &line(offset, "bills", &row);
        lines += &line(offset, "others", &json!({"id": offset, "tenant": "a"}));
    }
    std::fs::write(place.path("input/a.ndjson"), lines).unwrap();
    place.succeeds(&["check"]);
    place.succeeds(&["run", "--until-end"]);
    place.succeeds(&["verify"]);
    assert_eq!(silver(&place, team), expected);
    let letters = place.succeeds(&["dead-letters", "list", "--json"]).json();
    let letters = crate::surface::rows(&letters).clone();
    assert_eq!(letters.len(), 18);
    for (at, says) in [
        (97, ["column `quantity`", "`cast(ConsumedQuantity as bigint)` fails"]),
        (98, ["column `team`", "is no JSON"]),
        (99, ["no field `SubAccountId`", "`map`"]),
    ] {
        let letter = letters.iter().find(|letter| letter["offset"] == at).unwrap();
        let reason = letter["reason"].as_str().unwrap();
        assert!(says.iter().all(|says| reason.contains(says)), "{reason}");
    }

    // Another expression builds that table anew, and no other.
    let team = "coalesce(Tags->>'team', 'nobody')";
    std::fs::write(place.path("contracts/bills.toml"), bills(team)).unwrap();
    let before = files(&place, "silver/others");
    place.succeeds(&["run", "--until-end"]);
    place.succeeds(&["verify"]);
    for (_, of, _) in expected.values_mut().filter(|(_, team, _)| team == "none") {
        *of = "nobody".to_owned();
    }
    assert_eq!(silver(&place, team), expected);
    assert_eq!(files(&place, "silver/others"), before);

    std::fs::write(place.path("contracts/bills.toml"), bills("Tags->>team + 1")).unwrap();
    let refused = place.weir(&["check"]).exits(2);
    assert!(refused.stdout.contains("column `team`"), "{}", refused.stdout);
}
