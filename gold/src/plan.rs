//! A catalog compiled for the engine: which columns of which rows feed which numbers of which cells.
//!
//! KPIs with the same dimension names live in one *cube*, so that a ratio finds its parts in one
//! cell. Flows with the same contract, filter, time column and dimension columns share one *view*:
//! their rows are looked at once.
//!
//! # Guarantees
//! - KPIs are in key order, which is the order of everything that the engine puts out.

use std::collections::BTreeSet;
use std::sync::Arc;

use expr::{Columns, Expression};
use schemas::{Contract, Grains, RowRef, decimal};

use crate::catalog::{Catalog, compile_filter, compile_sum};
use crate::definition::{Aggregate, Definition, DefinitionError, Formula, Unit};
use crate::sum::Numbers;

/// Rows of one contract that pass one filter, grouped in one way.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) contract: usize,
    pub(crate) filter: Option<Expression>,
    pub(crate) time: usize,
    pub(crate) tenant: usize,
    /// Columns of the dimensions, in the order of the dimensions' names.
    pub(crate) dims: Vec<usize>,
    pub(crate) cube: usize,
    /// Which count of the cube's cells it feeds. The next one counts rows in doubt: those of its rows that
    /// are, and those that would be its rows if values were known that were never sent.
    pub(crate) count: usize,
    /// Pairs of (what is summed, which sum of the cube's cells it feeds).
    pub(crate) sums: Vec<(Expression, usize)>,
}

impl View {
    /// Whether it counts a row.
    pub(crate) fn selects(&self, row: RowRef<'_>) -> bool {
        // Filters and sums that may fail on a row are refused with the definition.
        self.filter.as_ref().is_none_or(|filter| filter.selects(row) == Ok(true))
    }

    /// Whether it might count a row, if values were known that were never sent.
    pub(crate) fn may_select(&self, row: RowRef<'_>) -> bool {
        let may = |filter: &Expression| filter.may_select(row) == Ok(true);
        row.is_in_doubt() && self.filter.as_ref().is_some_and(may)
    }

    /// The columns that say which cells a row feeds.
    fn placing(&self) -> impl Iterator<Item = usize> {
        [self.time, self.tenant].into_iter().chain(self.dims.iter().copied())
    }

    /// Whether it takes the same rows into the same groups.
    fn is_like(&self, other: &View) -> bool {
        let grouping = |view: &View| (view.cube, view.contract, view.time, view.tenant);
        grouping(self) == grouping(other) && self.dims == other.dims && self.filter == other.filter
    }
}

/// A number of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Measure {
    /// The count that says whether it exists.
    pub(crate) count: usize,
    /// The sum, or none for the count itself.
    pub(crate) sum: Option<usize>,
    /// What brings it to the scale of KPI values.
    pub(crate) factor: i128,
}

impl Measure {
    /// The count of rows in doubt among those that feed it.
    pub(crate) fn doubt(&self) -> usize {
        self.count + 1
    }
}

/// How a KPI follows from the numbers of its cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule {
    Flow(Measure),
    /// (minus, measure) terms above the line, one measure below.
    Ratio(Vec<(bool, Measure)>, Measure),
}

impl Rule {
    /// Whether any number that the KPI follows from differs.
    pub(crate) fn sees(&self, before: Numbers<'_>, after: Numbers<'_>) -> bool {
        self.any(|own| {
            before.counts[own.count..=own.doubt()] != after.counts[own.count..=own.doubt()]
                || own.sum.is_some_and(|sum| before.sums[sum] != after.sums[sum])
        })
    }

    /// Whether this holds for any of its measures.
    pub(crate) fn any(&self, holds: impl Fn(&Measure) -> bool) -> bool {
        match self {
            Rule::Flow(measure) => holds(measure),
            Rule::Ratio(terms, below) => {
                holds(below) || terms.iter().any(|(_, measure)| holds(measure))
            }
        }
    }
}

/// One KPI.
#[derive(Debug)]
pub(crate) struct Kpi {
    pub(crate) key: Arc<str>,
    pub(crate) unit: Unit,
    pub(crate) cube: usize,
    /// Its place among the cube's KPIs.
    pub(crate) place: usize,
    pub(crate) rule: Rule,
    pub(crate) grains: Grains,
    /// The numbers of the contracts that it reads, each once.
    pub(crate) contracts: Vec<usize>,
}

/// What a cube's cells hold.
#[derive(Debug, Default)]
pub(crate) struct CubeShape {
    /// Dimension names, sorted.
    pub(crate) dims: Vec<String>,
    pub(crate) counts: usize,
    pub(crate) sums: usize,
    /// Those of any of its KPIs.
    pub(crate) grains: Grains,
    /// KPIs by index, in key order.
    pub(crate) kpis: Vec<usize>,
}

/// The compiled catalog.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Names of contracts, by number.
    pub(crate) contracts: Vec<String>,
    pub(crate) kpis: Vec<Kpi>,
    pub(crate) views: Vec<View>,
    pub(crate) cubes: Vec<CubeShape>,
    /// Per contract: the views it feeds.
    pub(crate) by_contract: Vec<Vec<usize>>,
}

impl Plan {
    pub(crate) fn compile(
        catalog: &Catalog,
        contracts: &[Contract],
    ) -> Result<Plan, DefinitionError> {
        let mut plan = Plan {
            contracts: contracts.iter().map(|contract| contract.name.clone()).collect(),
            by_contract: vec![Vec::new(); contracts.len()],
            ..Plan::default()
        };
        for definition in catalog.definitions() {
            let dims = catalog.dims(definition);
            let cube = plan.cube(dims);
            let rule = match &definition.formula {
                Formula::Flow { .. } => Rule::Flow(plan.measure(definition, cube, contracts)?),
                Formula::Ratio { numerator, denominator } => {
                    let mut part = |key: &str| match catalog.get(key) {
                        Some(part) => plan.measure(part, cube, contracts),
                        None => {
                            Err(definition.refuse("numerator", format!("there is no KPI `{key}`")))
                        }
                    };
                    let terms = numerator
                        .iter()
                        .map(|term| Ok((term.minus, part(&term.kpi)?)))
                        .collect::<Result<_, DefinitionError>>()?;
                    Rule::Ratio(terms, part(denominator)?)
                }
            };
            let shape = &mut plan.cubes[cube];
            let place = shape.kpis.len();
            shape.kpis.push(plan.kpis.len());
            let grains = definition.grains;
            shape.grains = shape.grains.or(grains);
            let key = Arc::clone(&definition.key);
            let mut reads: Vec<usize> = plan
                .views
                .iter()
                .filter(|view| view.cube == cube && rule.any(|own| own.count == view.count))
                .map(|view| view.contract)
                .collect();
            reads.sort_unstable();
            reads.dedup();
            let unit = definition.unit;
            plan.kpis.push(Kpi { key, unit, cube, place, rule, grains, contracts: reads });
        }
        Ok(plan)
    }

    /// The columns of a row that leave open which cells it feeds, ascending.
    pub(crate) fn unplaced(&self, contract: usize, row: RowRef<'_>) -> BTreeSet<usize> {
        if !row.has_unknown() {
            return BTreeSet::new();
        }
        let views = self.by_contract.get(contract).into_iter().flatten();
        let views = views.map(|view| &self.views[*view]);
        let takers = views.filter(|view| view.selects(row) || view.may_select(row));
        takers.flat_map(View::placing).filter(|column| row.is_unknown(*column)).collect()
    }

    /// The KPIs whose cells a column of a contract tells apart.
    pub(crate) fn placed_by(&self, contract: usize, column: usize) -> Vec<&str> {
        let is_placing = |cube: usize, measure: &Measure| {
            let of = |view: &&View| view.cube == cube && view.count == measure.count;
            let view = self.views.iter().find(of);
            view.is_some_and(|v| v.contract == contract && v.placing().any(|own| own == column))
        };
        let own = self.kpis.iter().filter(|kpi| match &kpi.rule {
            Rule::Flow(measure) => is_placing(kpi.cube, measure),
            Rule::Ratio(terms, below) => {
                let mut parts = terms.iter().map(|(_, measure)| measure).chain([below]);
                parts.any(|measure| is_placing(kpi.cube, measure))
            }
        });
        own.map(|kpi| &*kpi.key).collect()
    }

    fn cube(&mut self, dims: Vec<String>) -> usize {
        let found = self.cubes.iter().position(|cube| cube.dims == dims);
        found.unwrap_or_else(|| {
            self.cubes.push(CubeShape { dims, grains: Grains::NONE, ..CubeShape::default() });
            self.cubes.len() - 1
        })
    }

    /// The measure of a flow, with the view that feeds it.
    fn measure(
        &mut self,
        definition: &Definition,
        cube: usize,
        contracts: &[Contract],
    ) -> Result<Measure, DefinitionError> {
        let Formula::Flow { contract, filter, time, aggregate, dims } = &definition.formula else {
            return Err(definition.refuse("numerator", "is no flow"));
        };
        let missing =
            |field, name: &str| definition.refuse(field, format!("`{name}` does not exist"));
        let contract_index = contracts.iter().position(|c| c.name == *contract);
        let contract_index = contract_index.ok_or_else(|| missing("contract", contract))?;
        let contract = &contracts[contract_index];
        let column = |field, name: &str| contract.column(name).ok_or_else(|| missing(field, name));
        let dims = dims.values().map(|c| column("dims", c)).collect::<Result<Vec<_>, _>>()?;
        let columns = Columns::of(contract);
        let filter = filter.as_ref().map(|text| compile_filter(definition, text, &columns));
        let view = self.view(View {
            contract: contract_index,
            filter: filter.transpose()?,
            time: column("time", time)?,
            tenant: contract.tenant,
            dims,
            cube,
            count: 0,
            sums: Vec::new(),
        });
        let count = self.views[view].count;
        let Aggregate::Sum(name) = aggregate else {
            return Ok(Measure { count, sum: None, factor: 10_i128.pow(decimal::VALUE_SCALE) });
        };
        let summed = compile_sum(definition, name, &columns)?;
        let scale = u32::from(summed.scale().unwrap_or_default());
        let factor = decimal::VALUE_SCALE.checked_sub(scale).map(|by| 10_i128.pow(by));
        let factor = factor.ok_or_else(|| definition.refuse("aggregate", "has too many digits"))?;
        Ok(Measure { count, sum: Some(self.sum(view, cube, summed)), factor })
    }

    /// The view that selects and groups in this way, made if there is none.
    fn view(&mut self, fresh: View) -> usize {
        if let Some(view) = self.views.iter().position(|view| view.is_like(&fresh)) {
            return view;
        }
        let shape = &mut self.cubes[fresh.cube];
        let count = shape.counts;
        shape.counts += 2;
        self.by_contract[fresh.contract].push(self.views.len());
        self.views.push(View { count, ..fresh });
        self.views.len() - 1
    }

    fn sum(&mut self, view: usize, cube: usize, summed: Expression) -> usize {
        let view = &mut self.views[view];
        if let Some((_, sum)) = view.sums.iter().find(|(own, _)| *own == summed) {
            return *sum;
        }
        let shape = &mut self.cubes[cube];
        view.sums.push((summed, shape.sums));
        shape.sums += 1;
        shape.sums - 1
    }
}
