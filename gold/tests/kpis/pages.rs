//! The pages of `docs/kpis`, made of the files of `gold/kpis` and `gold/views`; `WEIR_BLESS=1` writes them anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use gold::definition::{Formula, built_in_files};
use gold::view_file::{ViewFile, accept};
use gold::{Catalog, Definition};
use schemas::{Contract, Grain};

const BLESS: &str = "WEIR_BLESS";
const GROUPS: [(&str, &str); 5] = [
    ("executive", "Executive"),
    ("finops", "FinOps"),
    ("sales", "Sales"),
    ("customers", "Customers"),
    ("operations", "Operations"),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kpis")
}

/// The views that a view reads, those first, and itself.
fn with_inputs<'a>(name: &str, views: &'a [ViewFile], into: &mut Vec<&'a ViewFile>) {
    let Some(view) = views.iter().find(|view| view.name == name) else { return };
    let words: Vec<&str> =
        view.text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let is_from = |pair: &&[&str]| matches!(pair[0], "FROM" | "JOIN") && pair[1] != name;
    for pair in words.windows(2).filter(is_from) {
        with_inputs(pair[1], views, into);
    }
    if into.iter().all(|own| own.name != name) {
        into.push(view);
    }
}

/// All that comes with Weir, with topics of all contracts.
fn catalog(views: &[ViewFile]) -> Catalog {
    let texts = [schemas::contract::built_in(), schemas::contract::offered()].concat();
    let contracts: Vec<Contract> =
        texts.iter().map(|(_, text)| Contract::parse(text).unwrap()).collect();
    let views = accept(views, &contracts).unwrap();
    Catalog::new(gold::definition::built_in().unwrap(), &contracts, views).unwrap()
}

/// Names, or that there is none.
fn listed(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn section(definition: &Definition, text: &str, views: &[ViewFile], catalog: &Catalog) -> String {
    let mut page = format!("## {}\n\n`{}`. ", definition.title, definition.key);
    let said = definition.description.as_deref().unwrap_or_default();
    // As the catalogue has them: what a file does not say depends on the view.
    let own = catalog.get(&definition.key).unwrap();
    let dims: Vec<String> = catalog.dims(own).iter().map(|dim| format!("`{dim}`")).collect();
    let names = |grain: Grain| grain.name().to_owned();
    let grains: Vec<String> = own.grains.iter().map(names).collect();
    let windows: Vec<String> = catalog.windows(own).iter().map(names).collect();
    let (unit, good) = (definition.unit.name(), definition.good.name());
    let (dims, grains, windows) = (listed(&dims), listed(&grains), listed(&windows));
    writeln!(
        page,
        "{said}\n\nUnit {unit}; good is {good}; dimensions: {dims}; grains: {grains}; windows: {windows}.\n"
    )
    .unwrap();
    writeln!(page, "```toml\n{}\n```\n", text.trim()).unwrap();
    if let Formula::OfView { view, .. } = &definition.formula {
        let mut read = Vec::new();
        with_inputs(view, views, &mut read);
        for view in read {
            writeln!(page, "View `{}`:\n\n```sql\n{}\n```\n", view.name, view.text.trim()).unwrap();
        }
    }
    page
}

fn cases(keys: &[String]) -> String {
    let mut page = String::new();
    for file in gold::cases::built_in().unwrap() {
        let of = |cells: &str| {
            keys.iter().any(|key| cells.lines().any(|line| line.starts_with(&format!("{key},"))))
        };
        for case in file.cases.iter().filter(|case| of(&case.cells)) {
            writeln!(page, "### {}\n", case.says).unwrap();
            for (contract, rows) in &case.rows {
                writeln!(page, "Rows of `{contract}`:\n\n```text\n{}\n```\n", rows.trim()).unwrap();
            }
            writeln!(page, "give\n\n```text\n{}\n```\n", case.cells.trim()).unwrap();
        }
    }
    page
}

#[test]
fn the_pages_are_those_of_the_definitions() {
    let views = gold::view_file::built_in();
    let catalog = catalog(&views);
    let mut groups: BTreeMap<String, Vec<(Definition, &str)>> = BTreeMap::new();
    for (file, text) in built_in_files() {
        let definition = Definition::parse(file, text).unwrap();
        let group = definition.group.clone().unwrap_or_else(|| panic!("{file}: no group"));
        assert!(definition.description.is_some(), "{file}: no description");
        groups.entry(group).or_default().push((definition, text));
    }
    let mut index = "# KPIs that come with Weir\n\nMade of the files in `gold/kpis` and `gold/views`, where they are \
                     changed. A KPI over a contract that no topic is of rests. Money that adds up can be had \
                     [in one currency](../reference/kpis.md#money-in-one-currency), too.\n\n"
        .to_owned();
    let mut pages: BTreeMap<String, String> = BTreeMap::new();
    for (group, title) in GROUPS {
        let own = groups.remove(group).unwrap_or_else(|| panic!("no KPI of group {group}"));
        writeln!(index, "## [{title}]({group}.md)\n").unwrap();
        let mut page = format!("# {title}\n\n");
        for (definition, text) in &own {
            let said = definition.description.as_deref().unwrap_or_default();
            writeln!(index, "- `{}`: {said}", definition.key).unwrap();
            page.push_str(&section(definition, text, &views, &catalog));
        }
        index.push('\n');
        let keys: Vec<String> = own.iter().map(|(own, _)| own.key.to_string()).collect();
        write!(
            page,
            "## Cases\n\nWorked out by hand; `weir kpis test` runs them.\n\n{}",
            cases(&keys)
        )
        .unwrap();
        pages.insert(format!("{group}.md"), page.trim_end().to_owned() + "\n");
    }
    assert!(groups.is_empty(), "groups without a page: {:?}", groups.keys());
    pages.insert("README.md".to_owned(), index.trim_end().to_owned() + "\n");
    for (name, page) in pages {
        let path = folder().join(name);
        if std::env::var_os(BLESS).is_some() {
            std::fs::create_dir_all(folder()).unwrap();
            std::fs::write(&path, &page).unwrap();
        }
        let held = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            held == page,
            "{} is not what the definitions say; {BLESS}=1 writes it anew",
            path.display()
        );
    }
}
