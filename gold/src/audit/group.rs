//! One group of cells against its SQL: a KPI, a tenant, a grain and a period, with all its dimensions.
//!
//! # Guarantees
//! - What is compared, and how, is what [`super::audit`] compares of these cells.
//! - A [`Slice`] leaves out no row of a contract's table that feeds the group, or might if values were known.
//!
//! # Non-guarantees
//! - Of what stands under a view no slice is known: its tables are read whole.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use lake::DataFile;
use schemas::contract::DEFAULT_TENANT;
use schemas::{Grain, Micros};

use super::judge::{Judge, Verdict};
use super::{AuditError, Clocks, EXAMPLES_MAX, compare, prepared, sql, tuned};
use crate::catalog::{Catalog, RATES};
use crate::flow::Flow;
use crate::relation::Relation;

/// Converted money is of whole days, which a window may cut.
const SLACK_US: i64 = 2 * 86_400_000_000;

/// Cells that are computed again together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// The KPI.
    pub kpi: String,
    /// Whose cells they are.
    pub tenant: String,
    /// The grain, or the window.
    pub grain: Grain,
    /// Where the period starts.
    pub period_start: Micros,
}

impl Group {
    /// The same where its window lies at an instant; other periods do not move.
    ///
    /// # Errors
    /// When a zone of a tenant cannot be read.
    pub fn at(self, catalog: &Catalog, at: Micros) -> Result<Group, AuditError> {
        if !self.grain.is_window() {
            return Ok(self);
        }
        let (start, _) = self.span(catalog, at)?;
        Ok(Group { period_start: Micros(start), ..self })
    }

    fn span(&self, catalog: &Catalog, at: Micros) -> Result<(i64, i64), AuditError> {
        let clocks = Clocks::of(catalog.calendar()).map_err(AuditError::Zones)?.at(at);
        Ok(clocks.span(&self.tenant, self.grain, self.period_start.0))
    }

    /// The condition on recomputed cells.
    fn of_expected(&self) -> String {
        let (tenant, start) = (text(&self.tenant), self.period_start.0);
        format!("tenant_id = {tenant} AND CAST(period_start AS BIGINT) = {start}")
    }

    /// The condition on rows of `kpi_current`. A window has one period, wherever it should lie.
    fn of_held(&self) -> String {
        let (kpi, tenant) = (text(&self.kpi), text(&self.tenant));
        let own = format!("kpi = {kpi} AND tenant_id = {tenant} AND grain = '{}'", self.grain);
        match self.grain.is_window() {
            true => own,
            false => format!("{own} AND period_start = {}", instant(self.period_start.0)),
        }
    }

    /// Whether a file of `gold/kpi_current` may hold cells of it, by what the log says.
    pub fn may_be_in(&self, file: &DataFile) -> bool {
        let has = |column: &str, value: &str| may_have_text(file, column, value);
        let start = file.range_i64("period_start").filter(|_| !self.grain.is_window());
        has("kpi", &self.kpi)
            && has("tenant_id", &self.tenant)
            && has("grain", self.grain.name())
            && start.is_none_or(|(min, max)| (min..=max).contains(&self.period_start.0))
    }
}

/// What a group needs of the table of a contract.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The contract.
    pub contract: String,
    /// The rows; `None`: all of them.
    rows: Option<Rows>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rows {
    /// The column that says whose a row is, and who is asked for.
    tenant: Option<(String, String)>,
    /// A row counts whose instant is in one of them.
    times: Vec<Times>,
}

/// The instants of a column up to, not including, `to`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Times {
    column: String,
    from: Option<i64>,
    to: i64,
}

impl Slice {
    /// The name under which the table, or those of its files that [`Slice::may_be_in`], is registered.
    pub fn registered(&self) -> String {
        format!("all_{}", self.contract)
    }

    /// Whether a file of the table may hold rows of it, by what the log says.
    pub fn may_be_in(&self, file: &DataFile) -> bool {
        let Some(rows) = &self.rows else { return true };
        let is_theirs = |(column, tenant): &(String, String)| {
            let has_none = || file.null_count(column).is_none_or(|nulls| nulls > 0);
            let is_default = tenant == DEFAULT_TENANT;
            may_have_text(file, column, tenant)
                || is_default && (has_none() || may_have_text(file, column, ""))
        };
        let is_then = |times: &Times| {
            file.range_i64(&times.column).is_none_or(|(min, max)| {
                min < times.to && times.from.is_none_or(|from| from <= max)
            })
        };
        rows.tenant.as_ref().is_none_or(is_theirs) && rows.times.iter().any(is_then)
    }

    /// The view that the SQL of KPIs reads, over what is registered.
    fn view_sql(&self) -> String {
        let conditions = self.rows.as_ref().map_or_else(|| "TRUE".to_owned(), Rows::condition);
        let (name, all) = (&self.contract, self.registered());
        format!("CREATE VIEW \"silver_{name}\" AS SELECT * FROM \"{all}\" WHERE {conditions}")
    }
}

impl Rows {
    fn condition(&self) -> String {
        let times = self.times.iter().map(|Times { column, from, to }| {
            let from = from.iter().map(|from| format!("\"{column}\" >= {} AND ", instant(*from)));
            format!("({}\"{column}\" < {})", from.collect::<String>(), instant(*to))
        });
        let times = times.collect::<Vec<_>>().join(" OR ");
        match &self.tenant {
            None => format!("({times})"),
            Some((column, tenant)) if tenant == DEFAULT_TENANT => format!(
                "(\"{column}\" IS NULL OR \"{column}\" IN ('', {})) AND ({times})",
                text(tenant)
            ),
            Some((column, tenant)) => format!("\"{column}\" = {} AND ({times})", text(tenant)),
        }
    }
}

fn may_have_text(file: &DataFile, column: &str, value: &str) -> bool {
    let range = file.range_text(column);
    range.is_none_or(|(min, max)| min.as_str() <= value && value <= max.as_str())
}

fn text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn instant(at: i64) -> String {
    format!("arrow_cast({at}, 'Timestamp(Microsecond, Some(\"UTC\"))')")
}

/// What a group needs, by contract: its window as of an instant. Nothing of a KPI that there is not.
///
/// # Errors
/// When a zone of a tenant cannot be read.
pub fn slices(catalog: &Catalog, group: &Group, at: Micros) -> Result<Vec<Slice>, AuditError> {
    let Some(definition) = catalog.get(&group.kpi) else { return Ok(Vec::new()) };
    let Ok(computed) = catalog.computed(definition) else { return Ok(Vec::new()) };
    let (mut from, mut to) = group.span(catalog, at)?;
    let mut found: BTreeMap<String, Option<Rows>> = BTreeMap::new();
    if definition.is_converted() {
        // The newest rate may be of any day before.
        found.insert(RATES.to_owned(), None);
        (from, to) = (from.saturating_sub(SLACK_US), to.saturating_add(SLACK_US));
    }
    for flow in computed.flows() {
        let Some(relation) = catalog.relation(&flow.relation) else { continue };
        if relation.view.is_some() {
            let contracts = relation.contracts.iter().filter_map(|at| catalog.relations().get(*at));
            contracts.for_each(|own| drop(found.insert(own.name.clone(), None)));
            continue;
        }
        let rows = rows_of(flow, relation, group, (from, to));
        let held = found
            .entry(relation.name.clone())
            .or_insert_with(|| Some(Rows { tenant: rows.tenant.clone(), times: Vec::new() }));
        let news = rows.times.into_iter();
        if let Some(held) = held {
            let news: Vec<Times> = news.filter(|own| !held.times.contains(own)).collect();
            held.times.extend(news);
        }
    }
    let slice = |(contract, rows)| Slice { contract, rows };
    Ok(found.into_iter().map(slice).collect())
}

/// What a flow over the rows of a contract needs of them.
fn rows_of(flow: &Flow, relation: &Relation, group: &Group, (from, to): (i64, i64)) -> Rows {
    let column = relation.tenant.and_then(|at| relation.schema.get(at));
    let tenant = column.map(|column| (column.name.clone(), group.tenant.clone()));
    // What is alive may have come at any time before.
    let from = Some(from).filter(|_| flow.until.is_none());
    Rows { tenant, times: vec![Times { column: flow.time.clone(), from, to }] }
}

/// What the audit of a group found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupFinding {
    /// Cells that there are, or should be.
    pub cells: usize,
    /// How many of them differ.
    pub mismatches: usize,
    /// The first of those.
    pub details: Vec<Detail>,
}

/// A cell that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// Its dimensions, JSON.
    pub dims: String,
    /// What SQL says of it; `None`: there should be none.
    pub expected: Option<String>,
    /// What the table says; `None`: there is none.
    pub found: Option<String>,
    /// What is wrong, in words.
    pub problem: String,
}

/// A session for the audit of a group, on one thread, in so many bytes of memory and none of disk.
///
/// # Errors
/// When DataFusion refuses that.
pub fn small_session(memory: usize) -> Result<SessionContext, AuditError> {
    let config = SessionConfig::new().with_target_partitions(1);
    let disk = DiskManagerBuilder::default().with_mode(DiskManagerMode::Disabled);
    let runtime = RuntimeEnvBuilder::new().with_memory_limit(memory, 1.0);
    let runtime = runtime.with_disk_manager_builder(disk).build_arc();
    let failed = |source| AuditError::Query { what: "settings".into(), source: Box::new(source) };
    Ok(tuned(SessionContext::new_with_config_rt(config, runtime.map_err(failed)?)))
}

/// Recomputes a group from its slices and compares with the table `kpi_current`, all of which `context` must
/// have registered, at the instant `at`.
///
/// # Errors
/// When a query cannot be run.
pub async fn audit_group(
    context: &SessionContext,
    catalog: &Catalog,
    group: &Group,
    slices: &[Slice],
    at: Micros,
) -> Result<GroupFinding, AuditError> {
    let Some(definition) = catalog.get(&group.kpi) else { return Ok(GroupFinding::default()) };
    prepared(context, catalog, at).await?;
    for slice in slices {
        compare::rows(context, &slice.contract, &slice.view_sql()).await?;
    }
    for sql in sql::views_for(catalog, &needed(catalog, group)) {
        compare::rows(context, "a view", &sql).await?;
    }
    let of = group.of_expected();
    let expected = compare::expected(context, catalog, definition, group.grain, Some(&of)).await?;
    let mut held = compare::held(context, Some(&group.of_held())).await?;
    let held = held.remove(&(group.kpi.clone(), group.grain)).unwrap_or_default();
    let judge = Judge::of(context, catalog, definition).await?;
    let cells: BTreeSet<&compare::Cell> = expected.keys().chain(held.keys()).collect();
    let mut finding = GroupFinding { cells: cells.len(), ..GroupFinding::default() };
    for cell in cells {
        let (own, rows) = (expected.get(cell), held.get(cell).map_or(&[][..], Vec::as_slice));
        let Verdict::Wrong(problem) = judge.judge(own, rows) else { continue };
        finding.mismatches += 1;
        if finding.details.len() < EXAMPLES_MAX {
            finding.details.push(Detail {
                dims: cell.dims().to_owned(),
                expected: own.map(compare::Expected::told),
                found: rows.first().map(compare::Held::told),
                problem: problem.to_string(),
            });
        }
    }
    Ok(finding)
}

/// The relations that a KPI over views needs, those under its views included; nothing for other KPIs.
fn needed(catalog: &Catalog, group: &Group) -> BTreeSet<String> {
    let computed = catalog.get(&group.kpi).and_then(|own| catalog.computed(own).ok());
    let mut open: Vec<String> = Vec::new();
    for flow in computed.iter().flat_map(|computed| computed.flows()) {
        let is_view = catalog.relation(&flow.relation).is_some_and(|own| own.view.is_some());
        open.extend(is_view.then(|| flow.relation.clone()));
    }
    under(catalog, open)
}

/// Relations, and all those that they read.
pub(super) fn under(catalog: &Catalog, mut open: Vec<String>) -> BTreeSet<String> {
    let mut needed: BTreeSet<String> = BTreeSet::new();
    while let Some(name) = open.pop() {
        if needed.insert(name.clone()) {
            let view = catalog.views().iter().find(|view| view.name() == name);
            open.extend(view.into_iter().flat_map(|view| view.inputs().iter().cloned()));
        }
    }
    needed
}

/// Every KPI of a catalog with each of its grains and windows.
pub fn audited(catalog: &Catalog) -> Vec<(Arc<str>, Grain)> {
    let of = |definition: &crate::definition::Definition| {
        let grains = definition.grains.iter().chain(catalog.windows(definition).iter());
        grains.map(|grain| (Arc::clone(&definition.key), grain)).collect::<Vec<_>>()
    };
    catalog.definitions().iter().flat_map(of).collect()
}
