//! Cloud bills by FOCUS, as CSV and as Parquet: KPIs are those that brute force finds in the same rows.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Builder, Float64Builder, MapBuilder, RecordBatch, StringBuilder,
    TimestampMicrosecondBuilder,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use parquet::arrow::ArrowWriter;
use rand::Rng;
use schemas::Micros;
use serde_json::Value;

use crate::kills::Kills;
use crate::support::{Place, cells, seeded};

/// The columns of FOCUS 1.0, and one that identifies a row.
const COLUMNS: [&str; 44] = [
    "AvailabilityZone",
    "BilledCost",
    "BillingAccountId",
    "BillingAccountName",
    "BillingCurrency",
    "BillingPeriodEnd",
    "BillingPeriodStart",
    "ChargeCategory",
    "ChargeClass",
    "ChargeDescription",
    "ChargeFrequency",
    "ChargePeriodEnd",
    "ChargePeriodStart",
    "CommitmentDiscountCategory",
    "CommitmentDiscountId",
    "CommitmentDiscountName",
    "CommitmentDiscountStatus",
    "CommitmentDiscountType",
    "ConsumedQuantity",
    "ConsumedUnit",
    "ContractedCost",
    "ContractedUnitPrice",
    "EffectiveCost",
    "InvoiceIssuerName",
    "ListCost",
    "ListUnitPrice",
    "PricingCategory",
    "PricingQuantity",
    "PricingUnit",
    "ProviderName",
    "PublisherName",
    "RegionId",
    "RegionName",
    "ResourceId",
    "ResourceName",
    "ResourceType",
    "ServiceCategory",
    "ServiceName",
    "SkuId",
    "SkuPriceId",
    "SubAccountId",
    "SubAccountName",
    "Tags",
    "x_ChargeId",
];

/// A row of a bill, as it is made up; costs in 10^-10.
#[derive(Debug, Clone)]
struct Charge {
    id: u32,
    tenant: Option<&'static str>,
    service: &'static str,
    currency: &'static str,
    cost: i128,
    start: i64,
    team: Option<&'static str>,
}

const HOUR: i64 = 3_600_000_000;
/// 2024-09-01.
const MONTH: i64 = 1_725_148_800_000_000;

fn charges(rng: &mut impl Rng, ids: std::ops::Range<u32>) -> Vec<Charge> {
    let pick = |rng: &mut dyn rand::RngCore, among: &[&'static str]| {
        among[usize::try_from(rng.next_u32()).unwrap() % among.len()]
    };
    ids.map(|id| Charge {
        id,
        tenant: (id % 7 != 0).then(|| pick(rng, &["acme", "globex"])),
        service: pick(rng, &["Amazon EC2", "Azure \"Blob\", hot", "BigQuery"]),
        currency: pick(rng, &["USD", "EUR"]),
        cost: rng.random_range(-5_000_000_000_i128..900_000_000_000),
        start: MONTH + rng.random_range(0..30 * 24) * HOUR,
        team: (id % 3 == 0).then(|| pick(rng, &["core", "data"])),
    })
    .collect()
}

impl Charge {
    fn cell(&self, column: &str) -> String {
        let cost = || harness::numbers::text(self.cost, 10);
        let at = |at: i64| Micros(at).to_string();
        match column {
            "x_ChargeId" => format!("c-{}", self.id),
            "SubAccountId" => self.tenant.unwrap_or_default().to_owned(),
            "ServiceName" => self.service.to_owned(),
            "BillingCurrency" => self.currency.to_owned(),
            "EffectiveCost" | "BilledCost" => cost(),
            "ChargePeriodStart" => at(self.start),
            "ChargePeriodEnd" => at(self.start + HOUR),
            "BillingPeriodStart" => at(MONTH),
            "ChargeCategory" => "Usage".to_owned(),
            "ChargeDescription" => "two\nlines".to_owned(),
            "ConsumedQuantity" => "1.5".to_owned(),
            "Tags" => self.team.map(|team| format!("{{\"team\":\"{team}\"}}")).unwrap_or_default(),
            _ => String::new(),
        }
    }
}

fn csv(charges: &[Charge]) -> String {
    let mut text = COLUMNS.join(",") + "\r\n";
    for charge in charges {
        let cell = |column: &&str| {
            let cell = charge.cell(column);
            let quoted = cell.contains(['"', ',', '\n']);
            if quoted { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell }
        };
        text += &(COLUMNS.iter().map(cell).collect::<Vec<_>>().join(",") + "\r\n");
    }
    text
}

fn write_parquet(path: &Path, charges: &[Charge]) {
    let column = |name: &&'static str| -> (&'static str, ArrayRef, bool) {
        let array: ArrayRef = match *name {
            "EffectiveCost" | "BilledCost" => {
                let mut out = Decimal128Builder::new().with_precision_and_scale(20, 10).unwrap();
                charges.iter().for_each(|charge| out.append_value(charge.cost));
                Arc::new(out.finish())
            }
            "ChargePeriodStart" | "ChargePeriodEnd" => {
                let mut out = TimestampMicrosecondBuilder::new().with_timezone("UTC");
                let end = if *name == "ChargePeriodEnd" { HOUR } else { 0 };
                charges.iter().for_each(|charge| out.append_value(charge.start + end));
                Arc::new(out.finish())
            }
            "ConsumedQuantity" => {
                let mut out = Float64Builder::new();
                charges.iter().for_each(|_| out.append_value(1.5));
                Arc::new(out.finish())
            }
            "Tags" => {
                let mut out = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
                for charge in charges {
                    charge.team.into_iter().for_each(|team| {
                        out.keys().append_value("team");
                        out.values().append_value(team);
                    });
                    out.append(charge.team.is_some()).unwrap();
                }
                Arc::new(out.finish())
            }
            name => {
                let mut out = StringBuilder::new();
                for charge in charges {
                    let cell = charge.cell(name);
                    out.append_option((!cell.is_empty()).then_some(cell));
                }
                Arc::new(out.finish())
            }
        };
        (*name, array, true)
    };
    let batch = RecordBatch::try_from_iter_with_nullable(COLUMNS.iter().map(column)).unwrap();
    let file = std::fs::File::create(path).unwrap();
    let mut out = ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    out.write(&batch).unwrap();
    out.close().unwrap();
}

/// The contract `costs` over the columns of FOCUS.
fn contract(format: &str) -> String {
    let column = |name: &str, kind: &str, from: &str| {
        format!("{{ name = \"{name}\", type = \"{kind}\", {from}, required = true }},\n")
    };
    let text = |name: &str, from: &str| column(name, "text", &format!("from = \"{from}\""));
    let at = |name: &str, from: &str| column(name, "timestamp", from);
    let cost =
        |name: &str, from: &str| column(name, "decimal(20,10)", &format!("from = \"{from}\""));
    let columns = [
        text("charge_id", "x_ChargeId"),
        text("tenant_id", "SubAccountId").replace(", required = true", ""),
        text("service_name", "ServiceName"),
        text("charge_category", "ChargeCategory"),
        cost("billed_cost", "BilledCost"),
        cost("effective_cost", "EffectiveCost"),
        text("billing_currency", "BillingCurrency"),
        text("resource_id", "ResourceId").replace(", required = true", ""),
        at("charge_period_start", "from = \"ChargePeriodStart\""),
        at("charge_period_end", "from = \"ChargePeriodEnd\""),
        "{ name = \"tags\", type = \"json\", from = \"Tags\" },\n".to_owned(),
        column("team", "text", "map = \"coalesce(Tags->>'team', 'none')\""),
        at("updated_at", "map = \"ChargePeriodEnd\""),
    ];
    format!(
        "name = \"costs\"\nformat = \"{format}\"\nkey = [\"charge_id\"]\ntenant = \"tenant_id\"\n\
         columns = [\n{}]\n",
        columns.concat()
    )
}

const TEAMS: &str = "key = \"cost_by_team\"\ntitle = \"Cost by team\"\nunit = \"currency\"\ngood = \"down\"\n\
                     contract = \"costs\"\ntime = \"charge_period_start\"\naggregate = \"sum(effective_cost)\"\n\
                     dims = { currency = \"billing_currency\", team = \"team\" }\n";

/// A lake whose source is the folder `bills`.
fn place(format: &str, before: &str) -> Place {
    let place = Place::new();
    for folder in ["contracts", "kpis", "bills"] {
        std::fs::create_dir_all(place.path(folder)).unwrap();
    }
    std::fs::write(place.path("contracts/costs.toml"), contract(format)).unwrap();
    std::fs::write(place.path("kpis/cost_by_team.toml"), TEAMS).unwrap();
    place.configure(&format!(
        "{before}contracts.definitions = {:?}\ngold.definitions = {:?}\n[[sources]]\nkind = \"file\"\n\
         name = \"bills\"\npath = {:?}\ncontract = \"costs\"\n",
        place.path("contracts"),
        place.path("kpis"),
        place.path("bills")
    ));
    place
}

/// Tenant, dims and day to the cost.
type Cells = BTreeMap<(String, String, String), i128>;

/// By brute force: of rows with one id the last one counts.
fn expected(rows: &[Charge], dims: impl Fn(&Charge) -> String) -> Cells {
    let last: BTreeMap<u32, &Charge> = rows.iter().map(|charge| (charge.id, charge)).collect();
    let mut cells = Cells::new();
    for charge in last.values() {
        let day = Micros(charge.start / (24 * HOUR) * (24 * HOUR)).to_string();
        let tenant = charge.tenant.unwrap_or("default").to_owned();
        *cells.entry((tenant, dims(charge), day)).or_default() += charge.cost;
    }
    cells
}

/// What `weir kpis get` says of days.
fn found(place: &Place, kpi: &str) -> Cells {
    let answer = place.succeeds(&["kpis", "get", kpi, "--grain", "day", "--json"]).json();
    let cell = |row: &Value| {
        let text = |name: &str| match &row[name] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let value = harness::numbers::parse(&text("value"), 38, 10).unwrap();
        ((crate::surface::tenant(row), text("dims"), text("period_start")), value)
    };
    crate::surface::rows(&answer).iter().map(cell).collect()
}

fn assert_kpis(place: &Place, rows: &[Charge]) {
    let quoted = |text: &str| Value::from(text).to_string();
    let currency = |charge: &Charge| format!("{{\"currency\":\"{}\"}}", charge.currency);
    assert_eq!(found(place, "total_cost"), expected(rows, currency));
    let team = |charge: &Charge| {
        let team = charge.team.unwrap_or("none");
        format!("{{\"currency\":\"{}\",\"team\":\"{team}\"}}", charge.currency)
    };
    assert_eq!(found(place, "cost_by_team"), expected(rows, team));
    let service = |charge: &Charge| {
        format!(
            "{{\"currency\":\"{}\",\"service_name\":{}}}",
            charge.currency,
            quoted(charge.service)
        )
    };
    assert_eq!(found(place, "cost_by_service"), expected(rows, service));
}

#[test]
fn kpis_over_bills_in_csv_and_parquet_are_those_of_brute_force() {
    let mut rng = seeded("focus");
    let (september, corrected) = (charges(&mut rng, 0..500), charges(&mut rng, 400..600));
    let all = [september.clone(), corrected.clone()].concat();
    let (text, columns) = (place("csv", ""), place("parquet", ""));
    std::fs::write(text.path("bills/1.csv"), csv(&september)).unwrap();
    let packed = std::fs::File::create(text.path("bills/2.csv.gz")).unwrap();
    let mut packed = GzEncoder::new(packed, Compression::fast());
    packed.write_all(csv(&corrected).as_bytes()).unwrap();
    packed.finish().unwrap();
    write_parquet(&columns.path("bills/1.parquet"), &september);
    write_parquet(&columns.path("bills/2.parquet"), &corrected);
    for place in [&text, &columns] {
        place.succeeds(&["check"]);
        place.succeeds(&["run", "--until-end"]);
        place.succeeds(&["verify"]);
        assert_kpis(place, &all);
        let letters = place.succeeds(&["dead-letters", "list", "--json"]).json();
        assert_eq!(crate::surface::rows(&letters).len(), 0, "{letters}");
    }
    assert_eq!(cells(text.lake()), cells(columns.lake()));

    // Again nothing is read; another content of a file is read anew, and its rows win.
    let records = crate::support::bronze_records(text.lake());
    text.succeeds(&["run", "--until-end"]);
    assert_eq!(crate::support::bronze_records(text.lake()), records);
    let again = charges(&mut rng, 100..300);
    let mut bad = csv(&again);
    bad += &csv(&again[..1]).lines().skip(1).collect::<Vec<_>>().join("\n");
    bad = bad.replacen(&again[7].cell("EffectiveCost"), "n/a", 1);
    std::fs::write(text.path("bills/1.csv"), bad).unwrap();
    text.succeeds(&["run", "--until-end"]);
    text.succeeds(&["verify"]);
    let good = again.iter().filter(|charge| charge.id != again[7].id);
    assert_kpis(&text, &all.iter().chain(good).cloned().collect::<Vec<_>>());
    let letters = text.succeeds(&["dead-letters", "list", "--json"]).json();
    let [letter] = crate::surface::rows(&letters).as_slice() else { panic!("{letters}") };
    let reason = letter["reason"].as_str().unwrap();
    // Every row has two lines, and the first line names the columns.
    assert!(reason.starts_with("line 16: column `"), "{reason}");
    assert!(reason.contains("_cost`: \"n/a\" is not a number"), "{reason}");
}

#[test]
fn a_run_over_rows_that_is_killed_ends_where_an_undisturbed_one_does() {
    const FAST: &str = "lake.flush_interval = \"50ms\"\nlake.barrier_interval = \"200ms\"\n\
                        epoch.max_records = 60\n";
    let mut rng = seeded("kills on rows");
    let rows = charges(&mut rng, 0..6_000);
    for format in ["csv", "parquet"] {
        let killed = place(format, FAST);
        match format {
            "csv" => std::fs::write(killed.path("bills/1.csv"), csv(&rows)).unwrap(),
            _ => write_parquet(&killed.path("bills/1.parquet"), &rows),
        }
        let mut kills = Kills::new(&mut rng, &killed, &["run", "--until-end"], 300);
        let count = (0..8).take_while(|_| kills.once()).count();
        println!("{format}: {count} kills, {} of them after bronze had advanced", kills.committed);
        assert!(kills.committed > 0, "kills that hit nothing prove nothing");
        killed.succeeds(&["run", "--until-end"]);
        killed.succeeds(&["verify"]);
        assert_eq!(crate::support::bronze_records(killed.lake()), 6_000);
        assert_kpis(&killed, &rows);
    }
}
