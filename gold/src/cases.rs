//! Cases: rows of contracts and the cells that they must give, worked out by hand; files `*.cases` beside KPIs.
//!
//! # Guarantees
//! - A case runs through the engine that a lake runs through, over all contracts and views.
//! - Of each KPI and grain that a case names, all cells are compared: one too many is wrong, too.
//!
//! # Non-guarantees
//! - Rows are inserted once; that changes and deletes come to the same is for other tests to show.

mod rows;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use schemas::window::NO_START;
use schemas::{Contract, EpochStamp, Grain, Micros, decimal};
use serde::Deserialize;

use crate::catalog::Catalog;
use crate::definition::DefinitionError;
use crate::engine::Engine;
use rows::Table;

/// The clock of the epoch in which the rows of a case come, unless it says another one.
const CLOCK: &str = "2026-01-01";

/// The columns of its cells.
const COLUMNS: [&str; 6] = ["kpi", "grain", "tenant", "period", "dims", "value"];

/// A case and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The file.
    pub file: String,
    /// What the case shows.
    pub says: String,
    /// The KPIs that it names.
    pub kpis: BTreeSet<String>,
    /// What is not as it must be; empty when all is.
    pub wrong: Vec<String>,
}

/// A file of cases.
#[derive(Debug, Clone)]
pub struct CaseFile {
    /// Its name, for what is said.
    pub file: String,
    /// Its cases.
    pub cases: Vec<Case>,
}

/// One case.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// What it shows.
    pub says: String,
    /// By contract, rows as a table.
    pub rows: BTreeMap<String, String>,
    /// The cells, as a table with the columns `kpi`, `grain`, `tenant`, `period`, `dims` and `value`.
    pub cells: String,
    /// When the rows come.
    pub now: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    case: Vec<Case>,
}

/// KPI, grain, tenant, period (empty of a window, which has one) and dimensions to value.
type Cells = BTreeMap<Name, String>;
type Name = (String, Grain, String, String, String);

/// The cases that come with Weir.
///
/// # Errors
/// When a file is no TOML of the expected shape.
pub fn built_in() -> Result<Vec<CaseFile>, DefinitionError> {
    let files: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/built_in_cases.rs"));
    files.iter().map(|(file, text)| CaseFile::parse(file, text)).collect()
}

/// The `*.cases` files of a folder, in the order of their names.
///
/// # Errors
/// When the folder or a file cannot be read, or is no TOML of the expected shape.
pub fn load_dir(folder: &Path) -> Result<Vec<CaseFile>, DefinitionError> {
    let read =
        |path: &Path, source| DefinitionError::Read { path: path.display().to_string(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| read(folder, error))? {
        let path = entry.map_err(|error| read(folder, error))?.path();
        if path.extension().is_some_and(|extension| extension == "cases") {
            paths.push(path);
        }
    }
    paths.sort();
    let one = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).map_err(|error| read(path, error))?;
        CaseFile::parse(&path.display().to_string(), &text)
    };
    paths.iter().map(one).collect()
}

impl CaseFile {
    fn parse(file: &str, text: &str) -> Result<CaseFile, DefinitionError> {
        let read: File = toml::from_str(text)
            .map_err(|error| DefinitionError::Toml { file: file.into(), source: error.into() })?;
        Ok(CaseFile { file: file.into(), cases: read.case })
    }

    /// Runs its cases. No KPI may rest: `contracts` are all that the definitions read.
    pub fn run(&self, catalog: &Arc<Catalog>, contracts: &[Contract]) -> Vec<Outcome> {
        let one = |case: &Case| {
            let mut outcome = Outcome {
                file: self.file.clone(),
                says: case.says.clone(),
                kpis: BTreeSet::new(),
                wrong: Vec::new(),
            };
            match case.run(catalog, contracts) {
                Ok((kpis, wrong)) => (outcome.kpis, outcome.wrong) = (kpis, wrong),
                Err(why) => outcome.wrong.push(why),
            }
            outcome
        };
        self.cases.iter().map(one).collect()
    }
}

impl Case {
    fn run(
        &self,
        catalog: &Arc<Catalog>,
        contracts: &[Contract],
    ) -> Result<(BTreeSet<String>, Vec<String>), String> {
        let expected = self.expected(catalog)?;
        let named: BTreeSet<(&str, Grain)> =
            expected.keys().map(|(kpi, grain, ..)| (kpi.as_str(), *grain)).collect();
        let mut engine =
            Engine::new(Arc::clone(catalog), contracts).map_err(|error| error.to_string())?;
        let now = self.now.as_deref().unwrap_or(CLOCK);
        let clock = Micros::parse(now).ok_or_else(|| format!("now: `{now}` is no instant"))?;
        let stamp = EpochStamp { id: 1, clock, quiet: false };
        engine.begin_epoch(&stamp);
        if let Some(name) =
            self.rows.keys().find(|name| contracts.iter().all(|own| own.name != **name))
        {
            return Err(format!("rows.{name}: there is no such contract"));
        }
        let delta = |contract: &Contract| {
            let text = self.rows.get(&contract.name).map_or("", String::as_str);
            let delta = Table::read(text).and_then(|table| rows::delta(contract, &table));
            delta.map_err(|why| format!("rows.{}: {why}", contract.name))
        };
        let deltas = contracts.iter().map(delta).collect::<Result<Vec<_>, _>>()?;
        let refused = engine.step_all(&stamp, &deltas.iter().collect::<Vec<_>>());
        if let Some(refused) = refused.first() {
            return Err(refused.to_string());
        }
        engine.finish_epoch(&stamp);
        let mut found = Cells::new();
        for row in engine.snapshot() {
            if named.contains(&(&*row.key.kpi, row.key.grain)) {
                let value = row.value.value.map_or_else(|| "none".to_owned(), shortest);
                let period = period(row.key.grain, row.key.period_start);
                let (tenant, dims) = (row.key.tenant.to_string(), row.key.dims.to_string());
                found.insert((row.key.kpi.to_string(), row.key.grain, tenant, period, dims), value);
            }
        }
        let tenants: BTreeSet<&String> = found.keys().map(|(_, _, tenant, ..)| tenant).collect();
        if tenants.len() == 1 && !Table::read(&self.cells)?.names().any(|name| name == "tenant") {
            // Whose they are needs no word where they are all of one.
            let own = |((kpi, grain, _, period, dims), value)| {
                ((kpi, grain, rows::TENANT.to_owned(), period, dims), value)
            };
            found = found.into_iter().map(own).collect();
        }
        let kpis = named.iter().map(|(kpi, _)| (*kpi).to_owned()).collect();
        Ok((kpis, differences(&expected, &found)))
    }

    /// The cells that the case names.
    fn expected(&self, catalog: &Catalog) -> Result<Cells, String> {
        let table = Table::read(&self.cells)?;
        if let Some(name) = table.names().find(|name| !COLUMNS.contains(name)) {
            return Err(format!("cells: there is no column `{name}`; use {}", COLUMNS.join(", ")));
        }
        let mut cells = Cells::new();
        for line in 0..table.lines() {
            let text = |name: &str| {
                table.value(line, name).ok_or_else(|| format!("cells: there is no column `{name}`"))
            };
            let (kpi, grain, value) = (text("kpi")?, text("grain")?, text("value")?);
            if catalog.get(kpi).is_none() {
                return Err(format!("cells: there is no KPI `{kpi}`"));
            }
            let grain = Grain::parse(grain)
                .ok_or_else(|| format!("cells: `{grain}` is no grain; use {}", Grain::names()))?;
            let start = match text("period")? {
                "" if grain.is_window() => NO_START,
                start => {
                    Micros::parse(start).ok_or_else(|| format!("cells: `{start}` is no instant"))?
                }
            };
            let tenant = table.value(line, "tenant").unwrap_or(rows::TENANT);
            let value = match value {
                "none" => "none".to_owned(),
                number => {
                    let units = decimal::parse(number.as_bytes(), decimal::VALUE_SCALE);
                    shortest(units.ok_or_else(|| format!("cells: `{number}` is no number"))?)
                }
            };
            let dims = dims(text("dims")?)?;
            let cell = (kpi.to_owned(), grain, tenant.to_owned(), period(grain, start), dims);
            let named = words(&cell);
            if cells.insert(cell, value).is_some() {
                return Err(format!("cells: {named} is named twice"));
            }
        }
        Ok(cells)
    }
}

/// `currency=EUR country=DE` as canonical JSON; `null` is null.
fn dims(text: &str) -> Result<String, String> {
    let mut all = BTreeMap::new();
    for pair in text.split_whitespace() {
        let (name, value) = pair
            .split_once('=')
            .ok_or_else(|| format!("cells: `{pair}` is no dimension; write NAME=VALUE"))?;
        all.insert(name, (value != "null").then_some(value));
    }
    serde_json::to_string(&all).map_err(|error| error.to_string())
}

fn differences(expected: &Cells, found: &Cells) -> Vec<String> {
    let keys: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
    let differs = |key: &&Name| expected.get(*key) != found.get(*key);
    let said = |key: &Name| {
        let word = |cells: &Cells| cells.get(key).cloned().unwrap_or_else(|| "no cell".to_owned());
        format!("{}: expected {}, found {}", words(key), word(expected), word(found))
    };
    keys.into_iter().filter(differs).map(said).collect()
}

/// A cell in words.
fn words((kpi, grain, tenant, period, dims): &Name) -> String {
    let tenant = match tenant.as_str() {
        rows::TENANT => String::new(),
        other => format!(" of tenant {other}"),
    };
    format!("{kpi} {dims}{tenant} of {}", format!("the {grain} {period}").trim_end())
}

/// The period of a cell; a window has one, wherever it lies.
fn period(grain: Grain, start: Micros) -> String {
    if grain.is_window() { String::new() } else { start.to_string() }
}

/// A number without zeros at its end.
fn shortest(units: i128) -> String {
    decimal::format(units, decimal::VALUE_SCALE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view_file;

    fn world() -> (Vec<Contract>, Arc<Catalog>) {
        let texts = schemas::contract::all_that_come();
        let contracts: Vec<Contract> =
            texts.iter().map(|(_, text)| Contract::parse(text).unwrap()).collect();
        let views = view_file::accept(&view_file::built_in(), &contracts).unwrap();
        let catalog = crate::catalog::with_built_in(Vec::new(), &contracts, views).unwrap();
        assert_eq!(catalog.resting(), [], "all that comes with Weir fits");
        (contracts, catalog)
    }

    #[test]
    fn what_comes_with_weir_is_as_it_was_worked_out_by_hand() {
        let (contracts, catalog) = world();
        let mut named = BTreeSet::new();
        for outcome in built_in().unwrap().iter().flat_map(|file| file.run(&catalog, &contracts)) {
            assert_eq!(outcome.wrong, [""; 0], "{}: {}", outcome.file, outcome.says);
            named.extend(outcome.kpis);
        }
        let all = catalog.definitions().iter().map(|definition| definition.key.to_string());
        let without: Vec<String> = all.filter(|key| !named.contains(key)).collect();
        assert_eq!(without, [""; 0], "KPIs without a case");
    }

    #[test]
    fn what_is_wrong_is_said() {
        let (contracts, catalog) = world();
        let text = |rows: &str, cells: &str| {
            format!("[[case]]\nsays='x'\nrows.runs='''{rows}'''\ncells='''{cells}'''\n")
        };
        let rows = "run_id, status, started_at\n1, failed, 2026-03-02T10:00:00Z\n";
        let cells = "kpi, grain, period, dims, value\n";
        for (rows, cell, says) in [
            (rows, "failed_runs, day, 2026-03-02, , 2\n", "expected 2, found 1"),
            (rows, "failed_runs, day, 2026-03-03, , 1\n", "expected no cell, found 1"),
            (rows, "failed_runs, day, 2026-03-02, , 10\n", "expected 10, found 1"),
            (
                rows,
                "failed_runs, day, 2026-03-02, , 1\nfailed_runs, day, 2026-03-02, , 1\n",
                "is named twice",
            ),
            (
                "run_id, status, started_at, tenant_id\n1, failed, 2026-03-02, a\n2, failed, 2026-03-02, b\n",
                "failed_runs, day, 2026-03-02, , 1\n",
                "of tenant b of the day 2026-03-02T00:00:00Z: expected no cell, found 1",
            ),
            (rows, "failed_runz, day, 2026-03-02, , 1\n", "no KPI `failed_runz`"),
            (rows, "failed_runs, decade, 2026-03-02, , 1\n", "`decade` is no grain"),
            ("run_id\n1\n", "failed_runs, day, 2026-03-02, , 1\n", "`status` must have a value"),
            ("id\n1\n", "failed_runs, day, 2026-03-02, , 1\n", "no column `id`"),
            ("run_id, status\n1\n", "failed_runs, day, 2026-03-02, , 1\n", "1 values under 2"),
        ] {
            let file = CaseFile::parse("x.cases", &text(rows, &format!("{cells}{cell}"))).unwrap();
            let wrong = file.run(&catalog, &contracts)[0].wrong.join("; ");
            assert!(wrong.contains(says), "{wrong}");
        }
    }
}
