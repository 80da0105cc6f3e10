//! Who depends on whom, and that versions are in one place.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::repository::{files, members, metadata, packages, prose, read, text, toml};

/// The heading of the table in the architecture document.
const HEADING: &str = "## Who may depend on whom";

/// Crates that one of ours must not depend on itself.
const NEVER_DIRECTLY: [(&str, &[&str]); 8] = [
    ("schemas", &["tokio", "arrow", "deltalake", "datafusion", "rdkafka"]),
    ("anomaly", &["tokio", "deltalake", "datafusion", "rdkafka", "axum"]),
    ("lake", &["rdkafka", "axum"]),
    ("expr", &["tokio", "deltalake", "rdkafka", "axum"]),
    ("gold", &["rdkafka", "axum"]),
    ("engine", &["axum", "clap", "deltalake", "rdkafka", "sqlx", "toml"]),
    ("api", &["deltalake", "rdkafka"]),
    ("harness", &["deltalake", "datafusion", "rdkafka"]),
];

/// Crates that must not be anywhere below one of ours.
const NEVER_BELOW: [(&str, &[&str]); 4] = [
    ("schemas", &["tokio", "deltalake-core"]),
    ("anomaly", &["tokio", "deltalake-core"]),
    ("gold", &["rdkafka", "axum"]),
    ("engine", &["axum", "clap", "sqlx"]),
];

/// Crates of which two versions would double the build, or give types that do not fit together.
const ONE_VERSION: [&str; 12] = [
    "arrow",
    "arrow-array",
    "arrow-schema",
    "axum",
    "datafusion",
    "deltalake-core",
    "hyper",
    "object_store",
    "parquet",
    "rdkafka",
    "sqlparser",
    "tokio",
];

fn allowed() -> BTreeMap<String, BTreeSet<String>> {
    let document = prose(&read("docs/architecture.md"));
    let section = document.split(HEADING).nth(1).expect("the section on dependencies");
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(1);
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [_, name, may, ..] = cells.as_slice() else { panic!("no table row: {line}") };
        let may = may.split(',').map(|word| word.trim().to_owned());
        ((*name).to_owned(), may.filter(|word| word != "nothing").collect())
    };
    rows.map(row).collect()
}

#[test]
fn crates_depend_on_each_other_as_the_architecture_says() {
    let allowed = allowed();
    let own: BTreeSet<&str> = members().map(|package| text(package, "name")).collect();
    let named: BTreeSet<&str> = allowed.keys().map(String::as_str).collect();
    assert_eq!(named, own, "crates in docs/architecture.md and in the workspace");
    for package in members() {
        let name = text(package, "name");
        for dependency in dependencies(package).filter(|dependency| own.contains(dependency)) {
            let may = allowed[name].contains(dependency);
            assert!(
                may,
                "`{name}` depends on `{dependency}`, which docs/architecture.md does not allow"
            );
        }
    }
}

#[test]
fn crates_keep_away_from_what_they_must_not_know() {
    for package in members() {
        let name = text(package, "name");
        let banned = NEVER_DIRECTLY.iter().filter(|(of, _)| *of == name);
        for banned in banned.flat_map(|(_, banned)| *banned) {
            let found = dependencies(package).any(|dependency| dependency == *banned);
            assert!(!found, "`{name}` must not depend on `{banned}`");
        }
    }
    for (name, banned) in NEVER_BELOW {
        let below = below(name);
        for banned in banned {
            assert!(!below.contains(banned), "`{banned}` is below `{name}`");
        }
    }
}

#[test]
fn big_crates_are_there_once() {
    for name in ONE_VERSION {
        let versions: Vec<&str> = packages()
            .iter()
            .filter(|package| text(package, "name") == name)
            .map(|package| text(package, "version"))
            .collect();
        assert!(versions.len() <= 1, "{name} is compiled in versions {}", versions.join(", "));
    }
}

#[test]
fn versions_and_profiles_are_in_the_root_only() {
    let manifests = files().iter().filter(|path| path.ends_with("Cargo.toml"));
    for path in manifests {
        let manifest = toml(path);
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let Some(table) = manifest.get(kind).and_then(toml::Value::as_table) else { continue };
            for (name, value) in table {
                let from_root = value.get("workspace").and_then(toml::Value::as_bool) == Some(true);
                assert!(from_root, "{path}: `{name}` must be `workspace = true`");
                let plain = value.as_table().is_some_and(|table| table.len() == 1);
                assert!(plain, "{path}: settings of `{name}` belong into the root Cargo.toml");
            }
        }
        let profiles = manifest.get("profile").and_then(toml::Value::as_table);
        let profiles: Vec<_> = profiles.into_iter().flat_map(toml::Table::keys).collect();
        let expected: &[&str] = if path == "Cargo.toml" { &["release"] } else { &[] };
        assert_eq!(profiles, expected, "{path}: profiles; a second one compiles everything again");
    }
}

/// Names of the crates that a package names, for whatever use.
pub(crate) fn dependencies(package: &Value) -> impl Iterator<Item = &str> {
    package["dependencies"].as_array().into_iter().flatten().map(|d| text(d, "name"))
}

/// Names of all crates that are linked into one of ours, tests left out.
fn below(name: &str) -> BTreeSet<&'static str> {
    let names: BTreeMap<&str, &str> =
        packages().iter().map(|package| (text(package, "id"), text(package, "name"))).collect();
    let nodes = metadata()["resolve"]["nodes"].as_array().unwrap();
    let nodes: BTreeMap<&str, &Value> = nodes.iter().map(|node| (text(node, "id"), node)).collect();
    let is_normal = |dependency: &&Value| {
        let kinds = dependency["dep_kinds"].as_array().unwrap();
        kinds.iter().any(|kind| kind["kind"].is_null())
    };
    let mut open: Vec<&str> =
        members().filter(|package| text(package, "name") == name).map(|p| text(p, "id")).collect();
    let mut seen = BTreeSet::new();
    let mut found = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let dependencies = nodes[id]["deps"].as_array().unwrap().iter().filter(is_normal);
        for dependency in dependencies {
            let id = text(dependency, "pkg");
            found.insert(names[id]);
            open.push(id);
        }
    }
    found
}
