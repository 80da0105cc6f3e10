//! What a run needs, found out before anything is touched: the same for `weir run` and `weir check`.
//!
//! # Guarantees
//! - Nothing is connected to and nothing is written.
//! - Every refusal is one of the configuration, and says what to do.
//!
//! # Non-guarantees
//! - What only a running service can tell, such as a broker that is away, is not asked.

mod around;

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use engine::{Stop, Topics, contracts};
use gold::Catalog;
use lake::{At, Lake, LakeError, Table};
use pipeline::bronze;
use pipeline::decode::Rows;
use pipeline::source::{Mapping, Snapshots, Source, SourceConfig, is_control};
use schemas::control::RESERVED;
use schemas::{Clock, Contract, DefinitionChange, DefinitionKind, chain};

use crate::config::{Config, LakeConfig};
use crate::demo::shop::Plan;
use crate::failure::Failure;
use crate::serve;
use crate::wall_clock::WallClock;
pub(crate) use around::Around;

/// How long a start waits for another process to leave the lake.
const LOCK_WAIT: Duration = Duration::from_secs(10);
/// Between tries.
const LOCK_RETRY: Duration = Duration::from_millis(50);

/// What a configuration describes.
pub(crate) struct Setup {
    pub(crate) sources: Vec<Box<dyn Source>>,
    pub(crate) topics: Topics,
    pub(crate) contracts: Vec<Contract>,
    pub(crate) catalog: Arc<Catalog>,
    /// The same, as they are put in force.
    pub(crate) definitions: Vec<DefinitionChange>,
}

/// Why a configuration is refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// What it is about: `definitions`, `source NAME`, `topic NAME`, `lake FOLDER` or `api`.
    pub(crate) subject: String,
    pub(crate) text: String,
    /// What to do, where the text does not say it.
    pub(crate) advice: Option<&'static str>,
}

/// Everything that a run needs, or all that is wrong. `serves`: whether the API is started.
///
/// # Errors
/// At least one refusal.
pub(crate) fn prepare(config: &Config, serves: bool) -> Result<Setup, Vec<Refusal>> {
    let mut refusals = Vec::new();
    let around = Around { lake: &config.lake.uri, topics: None };
    let found = definitions_or_all_wrong(config, Some(&around)).map_err(|wrong| {
        let advice = "correct the file that is named, or take it out of its folder";
        let refused = |text: String| refusal("definitions", text, Some(advice));
        refusals.extend(wrong.into_iter().map(refused));
    });
    let contracts = found.as_ref().map(|(contracts, _)| contracts.as_slice()).unwrap_or_default();
    let topics = topics(config, contracts);
    let sources = sources(config, contracts, &mut refusals);
    if found.is_ok() {
        // Every contract that could be meant, in force or not.
        let (known, _) = contracts::load_all(config.contracts.folder());
        refusals.extend(topics.iter().filter_map(|(of, is)| unknown(of, &is.contract, &known)));
        refusals.extend(config.sources.iter().flat_map(|source| no_files(source, contracts)));
    }
    refusals.extend(folder(&config.lake.uri));
    refusals.extend(generated(&config.lake.uri));
    if serves && let Err(failure) = serve::check(config) {
        refusals.push(refusal("api", failure.to_string(), None));
    }
    match found {
        Ok((contracts, catalog)) if refusals.is_empty() => {
            let definitions = wanted(config, &catalog)
                .map_err(|failure| vec![refusal("definitions", failure.to_string(), None)])?;
            Ok(Setup { sources, topics, contracts, catalog, definitions })
        }
        _ => Err(refusals),
    }
}

/// The failure of a command that is refused.
pub(crate) fn failure(refusals: &[Refusal]) -> Failure {
    let said = |refusal: &Refusal| match refusal.advice {
        Some(advice) => format!("{}; {advice}", refusal.text),
        None => refusal.text.clone(),
    };
    let first = refusals.first().map(said).unwrap_or_default();
    let more = match refusals.len().saturating_sub(1) {
        0 => String::new(),
        more => format!(" (and {more} more: `weir check` lists them)"),
    };
    Failure::Usage(first + &more)
}

pub(crate) fn refusal(subject: &str, text: String, advice: Option<&'static str>) -> Refusal {
    Refusal { subject: subject.to_owned(), text, advice }
}

/// The sources that are configured, not started yet. What is wrong with them is added to `refusals`.
pub(crate) fn sources(
    config: &Config,
    contracts: &[Contract],
    refusals: &mut Vec<Refusal>,
) -> Vec<Box<dyn Source>> {
    let mut sources: Vec<Box<dyn Source>> = Vec::new();
    if config.sources.is_empty() {
        let advice = "add one (`weir run` needs it; `weir demo` does not)";
        refusals.push(refusal("sources", "no [[sources]] are configured".into(), Some(advice)));
    }
    for source in &config.sources {
        let name = source.name();
        let subject = format!("source {name}");
        if sources.iter().any(|other| other.name() == name) {
            let advice = "give each of [[sources]] its own `name`";
            let text = format!("two sources are named `{name}`");
            refusals.push(refusal(&subject, text, Some(advice)));
            continue;
        }
        if let Some(reserved) = reserved(source) {
            let advice =
                "choose a name that does not begin with `_weir`: such names are weir's own";
            let text = format!("`{reserved}` of source `{name}` is a reserved name");
            refusals.push(refusal(&subject, text, Some(advice)));
            continue;
        }
        match source.open(contracts) {
            Ok(opened) => sources.push(opened),
            Err(error) => refusals.push(refusal(&subject, chain(&error), None)),
        }
        if let SourceConfig::File(file) = source
            && let Err(reason) = files(&file.path)
        {
            let advice = "correct `path` of the source, or let this user read it";
            refusals.push(refusal(&subject, reason, Some(advice)));
        }
    }
    sources
}

/// A name of the source, its own or a topic's, that only the built-in source may have.
fn reserved(source: &SourceConfig) -> Option<&str> {
    let topics = match source {
        SourceConfig::Kafka(kafka) => &kafka.topics,
        SourceConfig::File(file) => &file.topics,
    };
    let mut names = topics.keys().map(String::as_str).chain([source.name()]);
    names.find(|name| name.starts_with(RESERVED))
}

/// How many files there are to read.
///
/// # Errors
/// When one of them, or the folder, cannot be read; the text names it.
pub(crate) fn files(path: &Path) -> Result<usize, String> {
    let unreadable = |path: &Path, error: std::io::Error| {
        format!("`{}` cannot be read: {error}", path.display())
    };
    if !path.is_dir() {
        return File::open(path).map(|_| 1).map_err(|error| unreadable(path, error));
    }
    let mut files = 0;
    for entry in std::fs::read_dir(path).map_err(|error| unreadable(path, error))? {
        let entry = entry.map_err(|error| unreadable(path, error))?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !hidden && entry.path().is_file() {
            File::open(entry.path()).map_err(|error| unreadable(&entry.path(), error))?;
            files += 1;
        }
    }
    Ok(files)
}

fn unknown(topic: &(String, String), name: &str, contracts: &[Contract]) -> Option<Refusal> {
    let is_known = contracts.iter().any(|contract| contract.name == name);
    (!is_known).then(|| {
        let text = contracts::unknown_contract(topic, name, contracts);
        let advice = "name one of them, or add the contract's file under [contracts]";
        refusal(&format!("topic {}", topic.1), text, Some(advice))
    })
}

/// Refuses topics whose contract says that its rows are in files.
fn no_files(source: &SourceConfig, contracts: &[Contract]) -> Vec<Refusal> {
    let topics = match source {
        SourceConfig::Kafka(kafka) => &kafka.topics,
        SourceConfig::File(file) => &file.topics,
    };
    let format = |name: &str| contracts.iter().find(|contract| contract.name == name);
    let refused = |(topic, is): (&String, &Mapping)| {
        let contract =
            format(&is.contract).filter(|contract| Rows::is_of_files(&contract.format))?;
        let (name, format) = (&contract.name, &contract.format);
        let text = format!(
            "topic `{topic}` is of contract `{name}`, whose `{format}` is a format of files"
        );
        let advice = "say `format = \"rows\"` in the contract, or `contract` of a source of files";
        Some(refusal(&format!("topic {topic}"), text, Some(advice)))
    };
    topics.iter().filter_map(refused).collect()
}

/// Refuses what cannot be the folder of a lake.
pub(crate) fn folder(root: &Path) -> Option<Refusal> {
    let shown = root.display();
    let subject = format!("lake {shown}");
    if root.as_os_str().is_empty() {
        return Some(refusal(&subject, "[lake] uri is empty; name a folder".into(), None));
    }
    if root.to_string_lossy().contains("://") {
        let text = format!("the lake `{shown}` is no folder, and other places are not supported");
        return Some(refusal(&subject, text, Some("set [lake] uri to a folder on a local disk")));
    }
    let file = root.ancestors().find(|path| path.exists() && !path.is_dir())?;
    let text = format!("the lake `{shown}` cannot be a folder: `{}` is a file", file.display());
    Some(refusal(&subject, text, Some("set [lake] uri to another folder")))
}

/// Refuses a lake of the demo: configured sources beside a generated shop would be one wrong table.
fn generated(root: &Path) -> Option<Refusal> {
    Plan::is_kept_in(&root.join("_weir")).then(|| {
        let shown = root.display();
        let text = format!("the lake `{shown}` holds a shop that `weir demo` generated");
        let advice = "set [lake] uri to another folder, or go on with `weir demo --lake`";
        refusal(&format!("lake {shown}"), text, Some(advice))
    })
}

/// Refuses a lake with records of configured sources: a generated shop is no place for them.
///
/// # Errors
/// Also when the lake cannot be read.
pub(crate) fn refuse_configured(lake: &Lake) -> Result<(), Failure> {
    if Plan::is_kept_in(&lake.state_dir()) {
        return Ok(());
    }
    let held = match Table::open(lake, bronze::TABLE, At::Newest) {
        Err(LakeError::NoTable { .. }) => return Ok(()),
        table => bronze::held(&table?),
    };
    let mut sources = held.next.keys().filter(|of| !is_control(of));
    let Some(of) = sources.next() else { return Ok(()) };
    let (root, source) = (lake.root().display(), &of.source);
    Err(Failure::Usage(format!(
        "the lake `{root}` holds records of source `{source}`, which `weir run` read: give the demo another \
         folder with `--lake`"
    )))
}

/// The folder of the lake that a read-only command looks at.
pub(crate) fn lake_root<'a>(config: &'a Config, flag: Option<&'a Path>) -> &'a Path {
    flag.unwrap_or(&config.lake.uri)
}

/// Opens a lake for reading; that there is none is an error of usage.
pub(crate) fn open(config: &Config, flag: Option<&Path>) -> Result<Lake, Failure> {
    Lake::open_reader(lake_root(config, flag)).map_err(|error| match error {
        LakeError::NoLake { .. } => Failure::Usage(chain(&error)),
        error => error.into(),
    })
}

/// The lake, locked for writing; `None` when the run is to stop before another process has left it.
pub(crate) fn open_lake(config: &Config, stop: &Stop) -> Result<Option<Lake>, Failure> {
    let (begin, mut said) = (Instant::now(), false);
    loop {
        let clock: Arc<dyn Clock> = Arc::new(WallClock);
        let LakeConfig { uri, .. } = &config.lake;
        match Lake::open_writer_with(uri, config.lake.work_dir(), Duration::ZERO, clock) {
            Err(LakeError::LakeInUse { .. }) if stop.is_asked() => return Ok(None),
            Err(error @ LakeError::LakeInUse { .. }) if begin.elapsed() < LOCK_WAIT => {
                if !said {
                    tracing::warn!("trying for {} s: {error}", LOCK_WAIT.as_secs());
                    said = true;
                }
                std::thread::sleep(LOCK_RETRY);
            }
            opened => return Ok(Some(opened?)),
        }
    }
}

/// Contracts and KPI definitions in force.
pub(crate) fn definitions(config: &Config) -> Result<(Vec<Contract>, Arc<Catalog>), Failure> {
    definitions_of(config, &Around { lake: &config.lake.uri, topics: None })
}

/// The same where the lake or its topics are not those of the configuration.
pub(crate) fn definitions_of(
    config: &Config,
    around: &Around<'_>,
) -> Result<(Vec<Contract>, Arc<Catalog>), Failure> {
    definitions_or_all_wrong(config, Some(around)).map_err(first)
}

/// Every contract and KPI definition, also those that rest.
pub(crate) fn everything(config: &Config) -> Result<(Vec<Contract>, Arc<Catalog>), Failure> {
    definitions_or_all_wrong(config, None).map_err(first)
}

fn first(wrong: Vec<String>) -> Failure {
    Failure::Usage(wrong.into_iter().next().unwrap_or_default())
}

/// The same, or all that is wrong: every file that is refused, and every definition that does not fit.
fn definitions_or_all_wrong(
    config: &Config,
    around: Option<&Around<'_>>,
) -> Result<(Vec<Contract>, Arc<Catalog>), Vec<String>> {
    let (contracts, mut wrong) = contracts::load_all(config.contracts.folder());
    let is_whole = wrong.is_empty();
    let own = config.gold.folder().map(gold::definition::load_dir_all).transpose();
    let own = own.unwrap_or_else(|error| {
        wrong.push(chain(&error));
        None
    });
    let mut definitions = Vec::new();
    for own in own.into_iter().flatten() {
        match own {
            Ok(definition) => definitions.push(definition),
            Err(error) => wrong.push(chain(&error)),
        }
    }
    let (definitions, unfit) =
        gold::definition::with_converted(definitions, config.gold.reporting_currency());
    wrong.extend(unfit.iter().map(|error| chain(error)));
    // Without a contract that is refused nobody knows what fits it, nor without a view.
    if !is_whole {
        return Err(wrong);
    }
    let views = match views(config, &contracts) {
        Ok(views) => views,
        Err(refused) => {
            wrong.extend(refused.iter().map(|error| chain(error)));
            return Err(wrong);
        }
    };
    let problems = gold::catalog::problems(definitions.clone(), &contracts, Arc::clone(&views));
    let problems = problems.unwrap_or_else(|error| vec![error]);
    wrong.extend(problems.iter().map(|error| chain(error)));
    if !wrong.is_empty() {
        return Err(wrong);
    }
    let contracts = match around {
        Some(around) => around.in_force(config, contracts),
        None => contracts,
    };
    let catalog = gold::catalog::with_built_in(definitions, &contracts, views);
    let catalog = catalog.map_err(|error| vec![chain(&error)])?;
    let catalog = Arc::unwrap_or_clone(catalog).with_calendar(Arc::clone(config.time.calendar()));
    Ok((contracts, Arc::new(catalog.with_view_tables(config.gold.view_tables.into()))))
}

/// The views: the built-in ones and those of `[gold] definitions`.
fn views(
    config: &Config,
    contracts: &[Contract],
) -> Result<Arc<[gold::View]>, Vec<gold::DefinitionError>> {
    let own = config.gold.folder().map(gold::view_file::load_dir).transpose();
    let own = own.map_err(|error| vec![error])?.unwrap_or_default();
    gold::view_file::accept(&gold::view_file::with_built_in(own), contracts)
}

/// The texts of contracts and KPI definitions, as they are put in force.
pub(crate) fn wanted(config: &Config, catalog: &Catalog) -> Result<Vec<DefinitionChange>, Failure> {
    let (contracts, kpis) = (config.contracts.folder(), config.gold.folder());
    let wanted = engine::definitions::wanted(contracts, kpis, catalog.views());
    let mut wanted = wanted.map_err(Failure::Usage)?;
    wanted.retain(|own| around::is_wanted(own, catalog));
    for text in catalog.definitions().iter().filter_map(gold::Definition::converted_text) {
        let change = DefinitionChange::of_file(DefinitionKind::Kpi, &text);
        wanted.push(change.map_err(Failure::Usage)?);
    }
    Ok(wanted)
}

/// What all configured topics are. Plain rows of a source of files are of one table, whatever file they are
/// in, and the source's name is its origin.
pub(crate) fn topics(config: &Config, contracts: &[Contract]) -> Topics {
    let mut topics = Topics::new();
    for source in &config.sources {
        let (named, every, snapshots) = match source {
            SourceConfig::Kafka(kafka) => (&kafka.topics, None, kafka.snapshots),
            SourceConfig::File(file) => (&file.topics, file.contract.as_ref(), file.snapshots),
        };
        let is_plain = |name: &str| {
            let contract = contracts.iter().find(|contract| contract.name == name);
            contract.is_some_and(|contract| Rows::is_plain(&contract.format))
        };
        let every = every.cloned().map(|mut mapping| {
            if mapping.continues.is_none() && is_plain(&mapping.contract) {
                mapping.continues = Some(source.name().to_owned());
            }
            ("*".to_owned(), mapping)
        });
        for (topic, mut mapping) in named.clone().into_iter().chain(every) {
            if snapshots == Snapshots::Whole {
                mapping.snapshots = snapshots;
            }
            topics.insert((source.name().to_owned(), topic), mapping);
        }
    }
    topics
}

/// The runtime on which tables are committed.
pub(crate) fn tokio_runtime() -> Result<tokio::runtime::Runtime, Failure> {
    engine::tokio_runtime()
        .map_err(|e| Failure::Stopped(format!("could not start the runtime: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lake_is_a_folder_or_can_become_one() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("file");
        std::fs::write(&file, "").unwrap();
        for (root, says) in [
            (Path::new("s3://bucket/x"), "no folder"),
            (Path::new(""), "empty"),
            (file.as_path(), "is a file"),
            (&file.join("below/lake"), "is a file"),
        ] {
            let text = folder(root).unwrap().text;
            assert!(text.contains(says), "{text}");
        }
        for root in [Path::new("./new/lake"), Path::new("lake"), place.path()] {
            assert!(folder(root).is_none(), "{}", root.display());
        }
    }

    #[test]
    fn the_failure_says_the_first_refusal_and_how_many_more_there_are() {
        let two = [refusal("a", "no".into(), Some("do")), refusal("b", "never".into(), None)];
        assert_eq!(failure(&two).to_string(), "no; do (and 1 more: `weir check` lists them)");
        assert_eq!(failure(&two[1..]).to_string(), "never");
    }

    #[test]
    fn names_of_the_built_in_source_are_reserved() {
        let file = |name: &str, topic: &str| {
            let text =
                format!("kind='file'\nname='{name}'\npath='x'\ntopics={{'{topic}'='orders'}}");
            toml::from_str::<SourceConfig>(&text).unwrap()
        };
        assert_eq!(reserved(&file("shop", "a")), None);
        assert_eq!(reserved(&file("_weir.control", "a")), Some("_weir.control"));
        assert_eq!(reserved(&file("shop", "_weir.b")), Some("_weir.b"));
    }

    #[test]
    fn files_are_counted_as_the_source_reads_them() {
        let folder = tempfile::tempdir().unwrap();
        assert!(files(&folder.path().join("none")).unwrap_err().contains("none"));
        assert_eq!(files(folder.path()), Ok(0));
        for name in ["a.ndjson", ".hidden"] {
            std::fs::write(folder.path().join(name), "{}").unwrap();
        }
        assert_eq!(files(folder.path()), Ok(1));
        assert_eq!(files(&folder.path().join("a.ndjson")), Ok(1));
    }
}
