//! KPI definitions: one TOML file each, with what to count, when, and by which dimensions.
//!
//! # Guarantees
//! - A definition that parses has contract, time and aggregate (a flow), numerator and denominator (a
//!   ratio), or view and value, never a mixture.
//! - An error names the file, the field and what to write instead.
//!
//! # Non-guarantees
//! - Whether its columns and KPIs exist is not known here: [`crate::Catalog`] checks that.

mod anomaly;
mod converted;
mod formula;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

pub use converted::with_converted;
pub use schemas::{Good, KpiKind as Kind, Unit};
use schemas::{Grain, Grains, Watching};

use crate::flow::Joined;

/// How the rows of a cell become one number.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// How many rows there are.
    Count,
    /// The exact sum of an expression over the columns; nulls add nothing.
    Sum(String),
    /// The same of a view, each number spread over the days of its row.
    Allocated(String),
    /// How many different values a column has; null is none.
    Distinct(String),
    /// The least value of a column of numbers; nulls are passed over.
    Min(String),
    /// The greatest.
    Max(String),
    /// The least value of a column of numbers that so many millionths are not above; nulls are passed over.
    Percentile {
        /// The column.
        of: String,
        /// The share.
        millionths: u32,
        /// Whether values are cut to their highest bits.
        cuts: bool,
    },
}

/// One KPI named in a numerator, or one column of a view.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Term {
    /// Whether it is taken away instead of added.
    pub minus: bool,
    /// The KPI's key, or the column's name.
    pub kpi: String,
}

/// How a KPI is computed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Formula {
    /// An aggregate over the rows of one table.
    Flow {
        /// The table's contract.
        contract: String,
        /// A SQL condition on its columns; none takes every row.
        filter: Option<String>,
        /// The column that says in which period a row is.
        time: String,
        /// What is computed.
        aggregate: Aggregate,
        /// Dimension name to column.
        dims: BTreeMap<String, String>,
    },
    /// A quotient of flows with the same dimensions.
    Ratio {
        /// What is added up above the line.
        numerator: Vec<Term>,
        /// The KPI below the line.
        denominator: String,
    },
    /// A column of a view, a sum of some, or a quotient of two such: the view's SELECT grouped by tenant,
    /// period and some dimensions.
    OfView {
        /// The view.
        view: String,
        /// Columns of the view that are added up, or stand above the line.
        above: Vec<Term>,
        /// The column below the line; none: no quotient.
        below: Option<String>,
        /// Dimension name to column of the view.
        dims: BTreeMap<String, String>,
        /// What the file says it is, to be checked.
        kind: Option<Kind>,
    },
    /// The money of another KPI in one currency, day by day, by the rates of that day.
    Converted {
        /// The KPI.
        of: String,
        /// The currency.
        to: String,
    },
}

/// One KPI.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Definition {
    /// Its key in tables, files and HTTP.
    pub key: Arc<str>,
    /// Its name for people.
    pub title: String,
    /// One sentence on what it says.
    pub description: Option<String>,
    /// Who answers for it.
    pub owner: Option<String>,
    /// What its numbers are.
    pub unit: Unit,
    /// Which direction is good news.
    pub good: Good,
    /// The group that pages show it in.
    pub group: Option<String>,
    /// How it is computed.
    pub formula: Formula,
    /// By which periods.
    pub grains: Grains,
    /// The windows that the file names; none that it does not speak of them.
    pub windows: Option<Grains>,
    /// How it is watched.
    pub watching: Watching,
    /// Whether there is to be a KPI of its money in the reporting currency, too.
    pub convert: bool,
    /// The file it was read from.
    pub file: String,
}

/// Why a definition was refused.
#[derive(Debug, thiserror::Error)]
pub enum DefinitionError {
    /// The folder or a file in it cannot be read.
    #[error("cannot read KPI definitions in {path}: {source}")]
    Read {
        /// The folder or file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not TOML of the expected shape.
    #[error("{file}: {source}")]
    Toml {
        /// The file.
        file: String,
        /// What the parser said.
        source: Box<toml::de::Error>,
    },
    /// A field cannot mean what it says.
    #[error("{file}: {field}: {problem}")]
    Field {
        /// The file.
        file: String,
        /// The field.
        field: &'static str,
        /// What is wrong and what to write instead.
        problem: String,
    },
    /// A view cannot be kept up to date.
    #[error("{file}: {refusal}")]
    View {
        /// The file, or the view's name.
        file: String,
        /// What is wrong and what to write instead.
        refusal: Box<views::Refusal>,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    key: String,
    title: String,
    description: Option<String>,
    owner: Option<String>,
    unit: String,
    good: String,
    group: Option<String>,
    contract: Option<String>,
    filter: Option<String>,
    time: Option<String>,
    aggregate: Option<String>,
    dims: Option<toml::Value>,
    numerator: Option<String>,
    denominator: Option<String>,
    view: Option<String>,
    value: Option<String>,
    kind: Option<String>,
    grains: Option<Vec<String>>,
    windows: Option<Vec<String>>,
    convert: Option<bool>,
    anomaly: Option<anomaly::FileAnomaly>,
}

/// The definitions that come with Weir, as (file name, text), ordered by file name.
pub fn built_in_files() -> &'static [(&'static str, &'static str)] {
    include!(concat!(env!("OUT_DIR"), "/built_in.rs"))
}

/// The definitions that come with Weir.
///
/// # Errors
/// When one of them does not parse.
pub fn built_in() -> Result<Vec<Definition>, DefinitionError> {
    built_in_files().iter().map(|(file, text)| Definition::parse(file, text)).collect()
}

/// Reads every `*.toml` file of a folder, in the order of their names.
///
/// # Errors
/// When the folder or a file cannot be read, or a definition is refused.
pub fn load_dir(folder: &Path) -> Result<Vec<Definition>, DefinitionError> {
    load_dir_all(folder)?.into_iter().collect()
}

/// The same, file by file: each definition, or why it is refused.
///
/// # Errors
/// When the folder cannot be read.
pub fn load_dir_all(
    folder: &Path,
) -> Result<Vec<Result<Definition, DefinitionError>>, DefinitionError> {
    let read =
        |path: &Path, source| DefinitionError::Read { path: path.display().to_string(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| read(folder, error))? {
        let path = entry.map_err(|error| read(folder, error))?.path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            files.push(path);
        }
    }
    files.sort();
    let one = |path: &std::path::PathBuf| {
        let text = std::fs::read_to_string(path).map_err(|error| read(path, error))?;
        Definition::parse(&path.display().to_string(), &text)
    };
    Ok(files.iter().map(one).collect())
}

impl Definition {
    /// Reads one definition; `file` only serves error messages and must end in `<key>.toml`.
    ///
    /// # Errors
    /// When the text is no TOML of the expected shape or its fields do not fit together.
    pub fn parse(file: &str, text: &str) -> Result<Definition, DefinitionError> {
        let mut raw: File = toml::from_str(text).map_err(|source| DefinitionError::Toml {
            file: file.into(),
            source: Box::new(source),
        })?;
        let stem = Path::new(file).file_stem().and_then(|stem| stem.to_str());
        if stem != Some(raw.key.as_str()) {
            let problem = format!("is `{}`; the file must be named `{}.toml`", raw.key, raw.key);
            return Err(field(file, "key", problem));
        }
        if !formula::is_name(&raw.key) {
            let problem = "use lower-case letters, digits and `_`, starting with a letter";
            return Err(field(file, "key", problem));
        }
        let unit = choice(file, "unit", &raw.unit, &Unit::ALL.map(|unit| (unit.name(), unit)))?;
        let good = choice(file, "good", &raw.good, &[("up", Good::Up), ("down", Good::Down)])?;
        let group = raw.group.clone();
        if group.as_deref().is_some_and(|group| !formula::is_name(group)) {
            let problem = "use one of executive, finops, sales, customers, operations, or a word of your own of \
                           lower-case letters, digits and `_`";
            return Err(field(file, "group", problem));
        }
        let key = Arc::from(raw.key.as_str());
        let (title, description, owner) =
            (raw.title.clone(), raw.description.clone(), raw.owner.clone());
        let grains = grains(file, raw.grains.as_deref())?;
        let windows = raw.windows.as_deref().map(|names| windows(file, names)).transpose()?;
        let watching = anomaly::read(file, raw.anomaly.take())?;
        let convert = raw.convert.unwrap_or(false);
        let formula = formula::read(file, raw)?;
        let file = file.into();
        Ok(Definition {
            key,
            title,
            description,
            owner,
            unit,
            good,
            group,
            formula,
            grains,
            windows,
            watching,
            convert,
            file,
        })
    }

    /// Refuses periods that a KPI of this kind cannot have, whose rows count in these.
    pub(crate) fn check_periods(&self, is: Kind, joined: Joined) -> Result<(), DefinitionError> {
        let what = match joined {
            Joined::Point => "what happens in a period",
            Joined::Alive => "what is alive at the end of a period",
            Joined::Overlap => "what overlaps a period",
        };
        if joined != Joined::Point && self.grains.has(Grain::Hour) {
            let problem = format!("{what} has grains day and longer (PERIODS_HOUR)");
            return Err(self.refuse("grains", problem));
        }
        let without = match (joined, is) {
            (Joined::Alive, _) => format!("a KPI of kind `{}`", Kind::Stock.name()),
            (Joined::Overlap, _) => what.to_owned(),
            (Joined::Point, Kind::Percentile) => format!("a KPI of kind `{}`", is.name()),
            (Joined::Point, _) => return Ok(()),
        };
        if self.windows.is_some_and(|windows| windows != Grains::NONE) {
            let problem = format!("{without} has none; leave it out, or write []");
            return Err(self.refuse("windows", problem));
        }
        Ok(())
    }

    /// A refusal of one of its fields.
    pub(crate) fn refuse(
        &self,
        field_name: &'static str,
        problem: impl Into<String>,
    ) -> DefinitionError {
        field(&self.file, field_name, problem)
    }
}

fn field(file: &str, field: &'static str, problem: impl Into<String>) -> DefinitionError {
    DefinitionError::Field { file: file.into(), field, problem: problem.into() }
}

fn choice<T: Copy>(
    file: &str,
    name: &'static str,
    text: &str,
    choices: &[(&str, T)],
) -> Result<T, DefinitionError> {
    let found = choices.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let words = choices.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        field(file, name, format!("`{text}` is unknown; use one of: {words}"))
    })
}

/// The grains that are named; all of them when none is.
fn grains(file: &str, names: Option<&[String]>) -> Result<Grains, DefinitionError> {
    let Some(names) = names else { return Ok(Grains::ALL) };
    if names.is_empty() {
        let problem = format!("is empty; name some of {}, or leave it out for all", Grain::names());
        return Err(field(file, "grains", problem));
    }
    named(file, "grains", names, |grain| !grain.is_window(), &Grain::names())
}

/// The windows that are named: none, of an empty list.
fn windows(file: &str, names: &[String]) -> Result<Grains, DefinitionError> {
    named(file, "windows", names, Grain::is_window, &Grain::window_names())
}

/// The grains or windows with these names, each named once.
fn named(
    file: &str,
    of: &'static str,
    names: &[String],
    is_one: impl Fn(Grain) -> bool,
    all: &str,
) -> Result<Grains, DefinitionError> {
    let mut found = Vec::new();
    for name in names {
        let Some(grain) = Grain::parse(name).filter(|grain| is_one(*grain)) else {
            return Err(field(file, of, format!("`{name}` is unknown; there are {all}")));
        };
        if found.contains(&grain) {
            return Err(field(file, of, format!("`{name}` is named twice")));
        }
        found.push(grain);
    }
    Ok(found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOW: &str = "key='k'\ntitle='K'\nunit='count'\ngood='up'\ncontract='orders'\n\
                        time='placed_at'\naggregate='count(*)'\ndims={currency='currency'}\n";
    const RATIO: &str = "key='k'\ntitle='K'\nunit='ratio'\ngood='up'\n\
                         numerator='a - b+c'\ndenominator='a'\n";

    #[test]
    fn built_in_definitions_parse() {
        assert!(built_in().unwrap().len() >= 60);
    }

    #[test]
    fn reads_flows_and_ratios() {
        let flow = Definition::parse("x/k.toml", FLOW).unwrap();
        assert!(matches!(flow.formula, Formula::Flow { .. }));
        let ratio = Definition::parse("k.toml", RATIO).unwrap();
        assert_eq!(ratio.grains, Grains::ALL);
        let few = Definition::parse("k.toml", &format!("grains=['year','week']\n{RATIO}")).unwrap();
        assert_eq!(few.grains.iter().collect::<Vec<_>>(), [Grain::Week, Grain::Year]);
        for (names, windows) in
            [("['all','last_7d']", &[Grain::Last7Days, Grain::Always][..]), ("[]", &[])]
        {
            let own = Definition::parse("k.toml", &format!("windows={names}\n{RATIO}")).unwrap();
            assert!(own.windows.unwrap().iter().eq(windows.iter().copied()), "{names}");
        }
        assert_eq!(few.windows, None);
        let Formula::Ratio { numerator, .. } = ratio.formula else { panic!("a ratio") };
        let signs: Vec<_> = numerator.iter().map(|t| (t.minus, t.kpi.as_str())).collect();
        assert_eq!(signs, [(false, "a"), (true, "b"), (false, "c")]);
    }

    #[test]
    fn refuses_with_file_field_and_advice() {
        for (base, from, to, says) in [
            (FLOW, "unit='count'", "unit='money'", "k.toml: unit: `money` is unknown; use one of"),
            (FLOW, "unit=", "group='Fin Ops'\nunit=", "k.toml: group: use one of executive"),
            (FLOW, "aggregate=", "agregate=", "unknown field `agregate`"),
            (FLOW, "count(*)", "max(amount)", "k.toml: aggregate: `max(amount)`"),
            (FLOW, "time='placed_at'\n", "", "k.toml: time: is missing"),
            (FLOW, "key='k'", "key='z'", "must be named `z.toml`"),
            (FLOW, "{currency='currency'}", "7", "k.toml: dims: must be a list"),
            (FLOW, "{currency='currency'}", "['a','a']", "`a` is named twice"),
            (
                FLOW,
                "unit=",
                "grains=['day','decade']\nunit=",
                "`decade` is unknown; there are hour, day,",
            ),
            (FLOW, "unit=", "grains=['day','day']\nunit=", "k.toml: grains: `day` is named twice"),
            (RATIO, "unit=", "grains=[]\nunit=", "k.toml: grains: is empty; name some of hour"),
            (FLOW, "unit=", "grains=['last_7d']\nunit=", "k.toml: grains: `last_7d` is unknown"),
            (
                FLOW,
                "unit=",
                "windows=['day']\nunit=",
                "windows: `day` is unknown; there are last_24h,",
            ),
            (FLOW, "unit=", "windows=['all','all']\nunit=", "windows: `all` is named twice"),
            (RATIO, "'a - b+c'", "'a * b'", "k.toml: numerator: `a * b`"),
            (RATIO, "'a - b+c'", "'a -'", "must end with the key"),
            (RATIO, "numerator=", "time='x'\nnumerator=", "k.toml: time: belongs to a flow"),
            (RATIO, "denominator='a'", "", "k.toml: denominator: is missing"),
        ] {
            let error =
                Definition::parse("k.toml", &base.replace(from, to)).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn folders_are_read_in_order() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("k.toml"), FLOW).unwrap();
        std::fs::write(folder.path().join("a.toml"), FLOW.replace("key='k'", "key='a'")).unwrap();
        std::fs::write(folder.path().join("notes.md"), "not a definition").unwrap();
        let keys: Vec<_> = load_dir(folder.path()).unwrap().into_iter().map(|d| d.key).collect();
        assert_eq!(keys, [Arc::from("a"), Arc::from("k")]);
        assert!(load_dir(&folder.path().join("none")).is_err());
    }
}
