//! The KPIs of a lake: definitions checked against the contracts and against each other.
//!
//! # Guarantees
//! - Every column and KPI that a definition of a catalog names exists and has the right type.
//! - Money has a `currency` dimension: currencies are never added together, nor compared.
//! - The parts of a ratio are flows, or stocks, with the same dimensions, so a ratio never adds cells up wrongly.

mod budget;
mod converted;
mod kin;
mod lateness;
mod money;
mod quotient;
mod resting;
mod spelled;
mod tabled;
mod timeless;

use std::collections::BTreeSet;
use std::sync::Arc;

use expr::{Columns, Expression};
use schemas::nearest::nearest;
use schemas::{Calendar, ColumnType, Contract, Grain, Grains, KpiInfo, decimal};
use views::View;

use crate::definition::{Aggregate, Definition, DefinitionError, Formula, Kind, Unit};
use crate::flow::{Flow, Joined};
use crate::relation::Relation;
use crate::view_table::ViewTables;
pub(crate) use converted::{RATES, RateColumns};
pub use resting::{Resting, Why};
pub use spelled::Misspelled;

/// The dimension that keeps sums of money apart.
pub const CURRENCY: &str = "currency";

/// Checked definitions, ordered by key.
#[derive(Debug, Clone)]
pub struct Catalog {
    definitions: Vec<Definition>,
    views: Arc<[View]>,
    relations: Vec<Relation>,
    calendar: Arc<Calendar>,
    resting: Vec<Resting>,
    view_tables: ViewTables,
    /// The views that have tables, by name.
    tabled: BTreeSet<String>,
}

impl Catalog {
    /// Checks definitions against contracts and each other.
    ///
    /// # Errors
    /// When a key is defined twice, a name does not exist, or a KPI would not mean what it says.
    pub fn new(
        definitions: Vec<Definition>,
        contracts: &[Contract],
        views: Arc<[View]>,
    ) -> Result<Catalog, DefinitionError> {
        let catalog = Catalog::unchecked(definitions, contracts, views);
        catalog.problems().into_iter().next().map_or(Ok(catalog), Err)
    }

    fn unchecked(
        mut definitions: Vec<Definition>,
        contracts: &[Contract],
        views: Arc<[View]>,
    ) -> Catalog {
        definitions.sort_by(|a, b| a.key.cmp(&b.key));
        let relations = Relation::all(contracts, &views);
        // All that there are of what is alive at the end of a period, or overlaps it.
        let lasting = timeless::over_views(&definitions, &relations, &|own| own.until.is_some());
        let is_all = |own: &&mut Definition| own.grains == Grains::ALL;
        for own in definitions.iter_mut().filter(is_all).filter(|own| lasting.contains(&own.key)) {
            own.grains = own.grains.iter().filter(|grain| *grain != Grain::Hour).collect();
        }
        timeless::take_periods(&mut definitions, &relations);
        Catalog {
            definitions,
            views,
            relations,
            calendar: Arc::default(),
            resting: Vec::new(),
            view_tables: ViewTables::None,
            tabled: BTreeSet::new(),
        }
    }

    /// The same KPIs by the periods of another calendar.
    #[must_use]
    pub fn with_calendar(mut self, calendar: Arc<Calendar>) -> Catalog {
        self.calendar = calendar;
        self
    }

    /// The periods of every tenant.
    pub fn calendar(&self) -> &Arc<Calendar> {
        &self.calendar
    }

    /// Everything that is wrong with the definitions, the first of each.
    fn problems(&self) -> Vec<DefinitionError> {
        let pairs = self.definitions.iter().zip(self.definitions.iter().skip(1));
        let doubled = pairs.filter(|(one, two)| one.key == two.key).map(|(one, two)| {
            let problem = format!("`{}` is already defined in {}", two.key, one.file);
            two.refuse("key", problem)
        });
        let unfit = self.definitions.iter().filter_map(|definition| self.check(definition).err());
        doubled.chain(unfit).collect()
    }

    fn check(&self, definition: &Definition) -> Result<(), DefinitionError> {
        budget::check(self, definition)?;
        self.check_timeless(definition)?;
        match &definition.formula {
            Formula::Flow { .. } => self.check_flow_of_contract(definition),
            Formula::Ratio { numerator, denominator } => {
                self.check_ratio(definition, numerator, denominator)
            }
            Formula::OfView { kind, .. } => self.check_of_view(definition, *kind),
            Formula::Converted { .. } => self.check_converted(definition),
        }
    }

    /// The definitions that are not in force, because a contract that they read is not; ordered by key.
    pub fn resting(&self) -> &[Resting] {
        &self.resting
    }

    /// What KPIs may be computed over.
    pub(crate) fn relations(&self) -> &[Relation] {
        &self.relations
    }

    /// The relation with this name.
    pub(crate) fn relation(&self, name: &str) -> Option<&Relation> {
        self.relations.iter().find(|relation| relation.name == name)
    }

    /// Whether this contract is in force.
    pub fn has_contract(&self, name: &str) -> bool {
        self.relation(name).is_some_and(|relation| relation.view.is_none())
    }

    /// The views that KPIs may be computed over, each behind those that it reads.
    pub fn views(&self) -> &Arc<[View]> {
        &self.views
    }

    /// How the values of a KPI's periods go together.
    pub fn kind(&self, definition: &Definition) -> Kind {
        match definition.formula {
            Formula::Ratio { .. } => Kind::Ratio,
            // What the file calls so has been checked.
            Formula::OfView { kind: Some(Kind::Retention), .. } => Kind::Retention,
            Formula::Flow { .. } | Formula::OfView { .. } | Formula::Converted { .. } => {
                self.computed(definition).map_or(Kind::Flow, |computed| computed.kind())
            }
        }
    }

    /// In which periods its rows count.
    fn joined(&self, definition: &Definition) -> Joined {
        self.computed(definition).map(|computed| computed.joined()).unwrap_or_default()
    }

    /// The definitions, ordered by key.
    pub fn definitions(&self) -> &[Definition] {
        &self.definitions
    }

    /// The definition with this key.
    pub fn get(&self, key: &str) -> Option<&Definition> {
        let at = self.definitions.binary_search_by(|d| (*d.key).cmp(key)).ok()?;
        self.definitions.get(at)
    }

    /// The names of a KPI's dimensions, sorted; a ratio has those of its parts.
    pub fn dims(&self, definition: &Definition) -> Vec<String> {
        match &definition.formula {
            Formula::Flow { dims, .. } | Formula::OfView { dims, .. } => {
                dims.keys().cloned().collect()
            }
            Formula::Ratio { denominator, .. } => match self.get(denominator).map(|d| &d.formula) {
                Some(Formula::Flow { dims, .. } | Formula::OfView { dims, .. }) => {
                    dims.keys().cloned().collect()
                }
                _ => Vec::new(),
            },
            Formula::Converted { of, .. } => {
                let dims = self.get(of).map(|of| self.dims(of)).unwrap_or_default();
                dims.into_iter().filter(|dim| dim != CURRENCY).collect()
            }
        }
    }

    /// A KPI's windows: those that its file names, else all of them, where it has at most one dimension beside
    /// the currency and a window is what its hours and days are together.
    pub fn windows(&self, definition: &Definition) -> Grains {
        if let Some(windows) = definition.windows {
            return windows;
        }
        let kind = self.kind(definition);
        let is_rolling = matches!(kind, Kind::Flow | Kind::Ratio | Kind::Distinct | Kind::Extreme)
            && self.joined(definition) == Joined::Point;
        let dims = self.dims(definition);
        let few = dims.iter().filter(|dim| *dim != CURRENCY).count() <= 1;
        // Hours are not converted.
        let has = |window: &Grain| *window != Grain::Last24Hours || !definition.is_converted();
        let all = Grain::WINDOWS.into_iter().filter(has).collect();
        if is_rolling && few { all } else { Grains::NONE }
    }

    /// What other parts of Weir need to know of each KPI, ordered by key.
    pub fn infos(&self) -> Vec<KpiInfo> {
        let info = |definition: &Definition| KpiInfo {
            key: Arc::clone(&definition.key),
            title: definition.title.clone(),
            description: definition.description.clone(),
            unit: definition.unit,
            good: definition.good,
            group: definition.group.as_deref().map(Arc::from),
            kind: self.kind(definition),
            dims: self.dims(definition),
            grains: definition.grains,
            windows: self.windows(definition),
            breakdown_of: self.broken_down(definition),
            parts: self.parts(definition),
            is_net: definition.formula.is_net(),
            currency: match &definition.formula {
                Formula::Converted { to, .. } => Some(Arc::from(to.as_str())),
                _ => None,
            },
            watching: self.watching(definition),
        };
        self.definitions.iter().map(info).collect()
    }
}

impl Catalog {
    fn check_flow_of_contract(&self, definition: &Definition) -> Result<(), DefinitionError> {
        let Formula::Flow { contract: name, aggregate, dims, .. } = &definition.formula else {
            return Ok(());
        };
        let contracts = || self.relations.iter().filter(|relation| relation.view.is_none());
        if !contracts().any(|contract| contract.name == *name) {
            let hint = nearest(name, contracts().map(|contract| contract.name.as_str()));
            let problem = format!("there is no contract `{name}`{hint}");
            return Err(definition.refuse("contract", problem));
        }
        self.computed(definition)?
            .flows()
            .try_for_each(|flow| self.check_flow(definition, flow))?;
        match aggregate {
            Aggregate::Count if definition.unit != Unit::Count => {
                Err(definition.refuse("unit", "must be count for count(*)"))
            }
            Aggregate::Sum(_)
                if definition.unit == Unit::Currency && !dims.contains_key(CURRENCY) =>
            {
                let problem = "a sum of money needs the dimension `currency`: \
                               currencies are never added together";
                Err(definition.refuse("dims", problem))
            }
            _ => Ok(()),
        }
    }

    /// Checks the names and types of one flow.
    fn check_flow(&self, definition: &Definition, flow: &Flow) -> Result<(), DefinitionError> {
        let Some(relation) = self.relation(&flow.relation) else { return Ok(()) };
        let columns = &relation.columns;
        let kind = |field: &'static str, column: &str| {
            let found = relation.schema.find(column).and_then(|at| relation.schema.kind(at));
            found.ok_or_else(|| definition.refuse(field, columns.unknown(column)))
        };
        let time = &flow.time;
        if kind("time", time)? != ColumnType::Timestamp {
            return Err(definition.refuse("time", format!("column `{time}` is no timestamp")));
        }
        for column in flow.dims.values() {
            if kind("dims", column)? != ColumnType::Text {
                return Err(definition.refuse("dims", format!("column `{column}` is no text")));
            }
        }
        if let Some(text) = &flow.filter {
            compile_filter(definition, text, columns)?;
        }
        match &flow.aggregate {
            Aggregate::Count | Aggregate::Distinct(_) => Ok(()),
            Aggregate::Sum(text)
            | Aggregate::Allocated(text)
            | Aggregate::Min(text)
            | Aggregate::Max(text)
            | Aggregate::Percentile { of: text, .. } => {
                compile_sum(definition, text, columns).map(drop)
            }
        }
    }

    fn check_of_view(
        &self,
        definition: &Definition,
        kind: Option<Kind>,
    ) -> Result<(), DefinitionError> {
        if !matches!(definition.formula, Formula::OfView { .. }) {
            return Ok(());
        }
        let computed = self.computed(definition)?;
        computed.flows().try_for_each(|flow| self.check_flow(definition, flow))?;
        let (is, joined) = (computed.kind(), computed.joined());
        let is_stocks = is == Kind::Ratio && joined == Joined::Alive;
        let is_retention = kind == Some(Kind::Retention) && is_stocks;
        if let Some(kind) = kind.filter(|kind| *kind != is && !is_retention) {
            let problem =
                format!("`{}` is not what the view says: it is `{}`", kind.name(), is.name());
            return Err(definition.refuse("kind", problem));
        }
        definition.check_periods(is, joined)?;
        if computed.above.len() > 1 && !computed.adds_up() {
            let problem = "only sums and counts may be added up; have the view say the rest";
            return Err(definition.refuse("value", problem));
        }
        self.check_currencies(definition, &computed)
    }
}

/// Reads a filter, which must have a value for every row.
pub(crate) fn compile_filter(
    definition: &Definition,
    text: &str,
    columns: &Columns,
) -> Result<Expression, DefinitionError> {
    let refused = |refusal: expr::Refusal| definition.refuse("filter", refusal.to_string());
    Expression::parse_condition(text, columns).and_then(Expression::never_failing).map_err(refused)
}

/// Reads the argument of a sum: a number with a value for every row that fits a KPI's digits.
pub(crate) fn compile_sum(
    definition: &Definition,
    text: &str,
    columns: &Columns,
) -> Result<Expression, DefinitionError> {
    let field = match definition.formula {
        Formula::OfView { .. } => "value",
        Formula::Flow { .. } | Formula::Ratio { .. } | Formula::Converted { .. } => "aggregate",
    };
    let refuse = |problem: String| definition.refuse(field, problem);
    let argument = Expression::parse(text, columns).and_then(Expression::never_failing);
    let argument = argument.map_err(|refusal| refuse(refusal.to_string()))?;
    let what = if argument.as_column().is_some() { "column " } else { "" };
    match argument.scale() {
        Some(scale) if u32::from(scale) <= decimal::VALUE_SCALE => Ok(argument),
        Some(_) => Err(refuse(format!("{what}`{text}` has more than 10 digits after the point"))),
        None => Err(refuse(format!("{what}`{text}` is no decimal"))),
    }
}

/// The built-in definitions and those of `more`, checked; a key of `more` replaces a built-in one. Those over a
/// contract that comes with Weir and is not among these rest, and so do views over it, and built-in ones that do not
/// fit a contract of the user's own.
///
/// # Errors
/// As [`Catalog::new`].
pub fn with_built_in(
    more: Vec<Definition>,
    contracts: &[Contract],
    views: Arc<[View]>,
) -> Result<Arc<Catalog>, DefinitionError> {
    let mut definitions = merged(more)?;
    let (views, resting) = resting::take(&mut definitions, contracts, &views)?;
    let catalog = Catalog::new(definitions, contracts, views)?;
    Ok(Arc::new(Catalog { resting, ..catalog }))
}

/// Everything that is wrong with the built-in definitions and those of `more` together.
///
/// # Errors
/// When a built-in one does not parse.
pub fn problems(
    more: Vec<Definition>,
    contracts: &[Contract],
    views: Arc<[View]>,
) -> Result<Vec<DefinitionError>, DefinitionError> {
    let mut definitions = merged(more)?;
    let (views, _) = resting::take(&mut definitions, contracts, &views)?;
    Ok(Catalog::unchecked(definitions, contracts, views).problems())
}

/// The built-in definitions but those that `more` replaces, then `more`.
fn merged(more: Vec<Definition>) -> Result<Vec<Definition>, DefinitionError> {
    let mut all = crate::definition::built_in()?;
    all.retain(|built_in| more.iter().all(|own| own.key != built_in.key));
    all.extend(more);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contracts() -> Vec<Contract> {
        schemas::contract::built_in()
            .iter()
            .map(|(_, text)| Contract::parse(text).unwrap())
            .collect()
    }

    fn refusal(key: &str, rest: &str) -> String {
        let text = format!("key='{key}'\ntitle='T'\ngood='up'\n{rest}");
        let own = Definition::parse(&format!("{key}.toml"), &text).unwrap();
        with_built_in(vec![own], &contracts(), Arc::from([])).unwrap_err().to_string()
    }

    #[test]
    fn built_in_definitions_fit_the_built_in_contracts() {
        let catalog = with_built_in(Vec::new(), &contracts(), Arc::from([])).unwrap();
        assert_eq!(catalog.dims(catalog.get("roi").unwrap()), ["currency"]);
        assert_eq!(catalog.get("cost_by_service").unwrap().unit, Unit::Currency);
        assert!(catalog.get("nope").is_none());
    }

    #[test]
    fn a_breakdown_knows_what_it_splits_up() {
        let infos = with_built_in(Vec::new(), &contracts(), Arc::from([])).unwrap().infos();
        let of = |key: &str| infos.iter().find(|info| *info.key == *key).unwrap();
        assert_eq!(of("cost_by_service").breakdown_of.as_deref(), Some("total_cost"));
        assert_eq!(of("revenue_by_channel").breakdown_of.as_deref(), Some("revenue_booked"));
        assert_eq!(of("total_cost").breakdown_of, None);
        let parts = |key: &str| -> Vec<String> {
            let sign = |lowers: bool| if lowers { "-" } else { "+" };
            let parts = of(key).parts.iter();
            parts.map(|part| format!("{}{}", sign(part.lowers), part.kpi)).collect()
        };
        assert_eq!(parts("roi"), ["+revenue_recognized", "-total_cost"]);
        assert_eq!(parts("orders"), [""; 0]);
        assert!(of("roi").is_ratio());
    }

    #[test]
    fn refuses_what_would_not_mean_what_it_says() {
        let flow = "unit='currency'\ncontract='orders'\ntime='placed_at'\n\
                    aggregate='sum(amount)'\ndims=['currency']\n";
        let ratio = "unit='ratio'\nnumerator='revenue_booked'\ndenominator='orders'\n";
        for (base, from, to, says) in [
            (flow, "['currency']", "[]", "x.toml: dims: a sum of money needs the dimension"),
            (flow, "'orders'", "'order'", "no contract `order` (did you mean `orders`?)"),
            (flow, "sum(amount)", "sum(amuont)", "column `amuont` (did you mean `amount`?)"),
            (flow, "sum(amount)", "sum(status)", "column `status` is no decimal"),
            (flow, "placed_at", "status", "x.toml: time: column `status` is no timestamp"),
            (flow, "['currency']", "['placed_at','currency']", "column `placed_at` is no text"),
            (
                flow,
                "dims",
                "filter=\"stat = 1\"\ndims",
                "x.toml: filter: contract `orders` has no column",
            ),
            (flow, "sum(amount)", "count(*)", "x.toml: unit: must be count"),
            (ratio, "'orders'", "'order'", "no KPI `order` (did you mean `orders`?)"),
            (ratio, "'orders'", "'roi'", "x.toml: denominator: `roi` is itself a ratio"),
            (ratio, "'orders'", "'cost_by_service'", "parts must have the same"),
            (ratio, "revenue_booked", "revenue_booked + orders", "has another unit"),
        ] {
            let error = refusal("x", &base.replace(from, to));
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn a_ratio_of_itself_is_refused() {
        let error = refusal("x", "unit='ratio'\nnumerator='x'\ndenominator='orders'\n");
        assert!(error.contains("itself a ratio"), "{error}");
    }
}
