//! A catalog compiled for the engine: which columns of which rows feed which numbers of which cells.
//!
//! KPIs with the same dimension names live in one *cube*, so that a ratio finds its parts in one
//! cell. Flows with the same contract, filter, time column and dimension columns share one *view*:
//! their rows are looked at once.
//!
//! # Guarantees
//! - KPIs are in key order, which is the order of everything that the engine puts out.

mod converted;
mod selection;

use std::collections::BTreeSet;
use std::sync::Arc;

use expr::Expression;
use schemas::window::NO_START;
use schemas::{Grains, RowRef, decimal};

use crate::bag::Extract;
use crate::catalog::{Catalog, compile_filter, compile_sum};
use crate::definition::{Aggregate, Definition, DefinitionError, Unit};
use crate::flow::{Computed, Flow, Joined};
use crate::relation::Relation;
use crate::slabs::CellId;
use crate::sum::Numbers;
pub(crate) use converted::{Conversion, Conversions, Converted};
pub(crate) use selection::{Selection, counts_of, selection_of};

/// Rows of one relation that pass one filter, grouped in one way.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) relation: usize,
    pub(crate) filter: Option<Expression>,
    pub(crate) time: usize,
    pub(crate) joined: Joined,
    /// The column with the instant up to which a row counts, from its time on, where that is longer than an instant.
    pub(crate) until: Option<usize>,
    pub(crate) tenant: usize,
    /// Columns of the dimensions, in the order of the dimensions' names.
    pub(crate) dims: Vec<usize>,
    pub(crate) cube: usize,
    /// The first view whose rows belong to the same series and periods: this one, or one before it.
    pub(crate) placed_like: usize,
    /// Which count of the cube's cells it feeds. The next one counts rows in doubt: those of its rows that
    /// are, and those that would be its rows if values were known that were never sent.
    pub(crate) count: usize,
    /// Pairs of (what is summed, which sum of the cube's cells it feeds).
    pub(crate) sums: Vec<(Expression, usize)>,
    /// The same of what is spread over the days of a row.
    pub(crate) allocated: Vec<(Expression, usize)>,
    /// What is kept of all values of a column in each cell.
    pub(crate) bags: Vec<Bag>,
    /// Pairs of (values, the sum that says how many different ones there are).
    pub(crate) different: Vec<(Expression, usize)>,
}

/// The values of a column in a cell, from which one of the cell's sums follows.
#[derive(Debug, Clone)]
pub(crate) struct Bag {
    pub(crate) values: Expression,
    pub(crate) extract: Extract,
    /// The sum that it feeds.
    pub(crate) sum: usize,
    /// The sum that counts its values, where it has none without values.
    pub(crate) present: usize,
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

    /// The selection of rows of its cube that it is.
    pub(crate) fn selection(&self) -> usize {
        selection_of(self.count)
    }

    /// Whether it takes the same rows into the same groups.
    fn is_like(&self, other: &View) -> bool {
        self.is_placed_like(other) && self.until == other.until && self.filter == other.filter
    }

    /// Whether a row that both take belongs to the same series and periods.
    fn is_placed_like(&self, other: &View) -> bool {
        let placing = |view: &View| (view.cube, view.relation, view.time, view.tenant);
        placing(self) == placing(other) && self.dims == other.dims
    }
}

/// A number of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Measure {
    /// The count that says whether it exists.
    pub(crate) count: usize,
    /// The sum, or none for the count itself.
    pub(crate) sum: Option<usize>,
    /// A sum that is above 0 where there is a value: of a least or greatest one.
    pub(crate) present: Option<usize>,
    /// What brings it to the scale of KPI values.
    pub(crate) factor: i128,
}

impl Measure {
    /// The count of rows in doubt among those that feed it.
    pub(crate) fn doubt(&self) -> usize {
        self.count + 1
    }

    /// The sums that it follows from.
    pub(crate) fn sums(&self) -> impl Iterator<Item = usize> {
        self.sum.into_iter().chain(self.present)
    }
}

/// What is added up above the line, and what stands below it.
pub(crate) type Quotient = (Vec<(bool, Measure)>, Measure);

/// How a KPI follows from the numbers of its cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Rule {
    Flow(Measure),
    /// (minus, measure) terms that are added up.
    Sum(Vec<(bool, Measure)>),
    /// (minus, measure) terms above the line, one measure below.
    Ratio(Vec<(bool, Measure)>, Measure),
    /// A ratio divided by another one.
    Double(Box<[Quotient; 2]>),
    /// The money of another KPI in one currency.
    Converted(Converted),
}

impl Rule {
    /// Whether any number that the KPI follows from differs.
    pub(crate) fn sees(&self, before: Numbers<'_>, after: Numbers<'_>) -> bool {
        self.any(|own| {
            before.counts[own.count..=own.doubt()] != after.counts[own.count..=own.doubt()]
                || own.sums().any(|sum| before.sums[sum] != after.sums[sum])
        })
    }

    /// Whether this holds for any of its measures.
    pub(crate) fn any(&self, holds: impl Fn(&Measure) -> bool) -> bool {
        match self {
            Rule::Flow(measure) => holds(measure),
            Rule::Sum(terms) => terms.iter().any(|(_, measure)| holds(measure)),
            Rule::Ratio(terms, below) => {
                holds(below) || terms.iter().any(|(_, measure)| holds(measure))
            }
            Rule::Double(both) => both.iter().any(|(terms, below)| {
                holds(below) || terms.iter().any(|(_, measure)| holds(measure))
            }),
            Rule::Converted(own) => holds(&own.all()) || holds(&own.lacking()),
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
    /// The selections of rows that it follows from.
    pub(crate) selections: Vec<usize>,
    pub(crate) grains: Grains,
    pub(crate) windows: Grains,
    /// Whether it is made of sums alone, whose values add up over periods.
    pub(crate) adds_up: bool,
    /// The numbers of the contracts that it reads, each once.
    pub(crate) contracts: Vec<usize>,
}

impl Kpi {
    /// Whether a cell is one of its own: of a grain of it, or the running period of a window of it.
    pub(crate) fn has(&self, id: CellId) -> bool {
        match id.grain.is_window() {
            true => self.windows.has(id.grain) && id.start == NO_START,
            false => self.grains.has(id.grain),
        }
    }
}

/// What a cube's cells hold.
#[derive(Debug, Default)]
pub(crate) struct CubeShape {
    /// Dimension names, sorted.
    pub(crate) dims: Vec<String>,
    /// In which periods rows count.
    pub(crate) joined: Joined,
    pub(crate) counts: usize,
    pub(crate) sums: usize,
    /// The sums that do not add up over periods: those that bags feed, and numbers of different values.
    pub(crate) bagged: Vec<usize>,
    /// The numbers of different values among them.
    pub(crate) different: Vec<usize>,
    /// By bag the sum that it feeds, the one that counts its values, and what is read from it.
    pub(crate) bags: Vec<(usize, usize, Extract)>,
    /// Those of any of its KPIs.
    pub(crate) grains: Grains,
    pub(crate) windows: Grains,
    /// What each selection of rows feeds.
    pub(crate) selections: Vec<Selection>,
    /// KPIs by index, in key order.
    pub(crate) kpis: Vec<usize>,
}

impl CubeShape {
    /// What tells it from other cubes: no dimension has such a name as marks a stock, or what overlaps.
    pub(crate) fn name(&self) -> Vec<String> {
        let mark = match self.joined {
            Joined::Point => None,
            Joined::Alive => Some("=stock".to_owned()),
            Joined::Overlap => Some("=overlap".to_owned()),
        };
        mark.into_iter().chain(self.dims.iter().cloned()).collect()
    }
}

/// The compiled catalog.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Names of relations, by number: those of contracts first.
    pub(crate) relations: Vec<String>,
    pub(crate) kpis: Vec<Kpi>,
    pub(crate) views: Vec<View>,
    pub(crate) cubes: Vec<CubeShape>,
    /// Per relation: the views it feeds.
    pub(crate) by_relation: Vec<Vec<usize>>,
    /// Those KPIs that are others' money in one currency.
    pub(crate) conversions: Option<Conversions>,
}

impl Plan {
    pub(crate) fn compile(catalog: &Catalog) -> Result<Plan, DefinitionError> {
        let relations = catalog.relations();
        let mut plan = Plan {
            relations: relations.iter().map(|relation| relation.name.clone()).collect(),
            by_relation: vec![Vec::new(); relations.len()],
            ..Plan::default()
        };
        for definition in catalog.definitions() {
            if definition.is_converted() {
                plan.convert(catalog, definition)?;
                continue;
            }
            let computed = catalog.computed(definition)?;
            let cube = plan.cube(catalog.dims(definition), computed.joined());
            let rule = plan.rule(definition, cube, &computed, relations)?;
            let views = plan.views.iter();
            let views = views.filter(|v| v.cube == cube && rule.any(|own| own.count == v.count));
            let mut reads: Vec<usize> =
                views.flat_map(|view| relations[view.relation].contracts.iter().copied()).collect();
            reads.sort_unstable();
            reads.dedup();
            plan.push(catalog, definition, cube, (rule, reads));
        }
        plan.select();
        Ok(plan)
    }

    /// How a KPI follows from the numbers of the cells of a cube, which hold what it needs from here on.
    fn rule(
        &mut self,
        definition: &Definition,
        cube: usize,
        computed: &Computed,
        relations: &[Relation],
    ) -> Result<Rule, DefinitionError> {
        let mut measure = |flow: &Flow| self.measure(definition, cube, flow, relations);
        let above = computed.above.iter().map(|(minus, flow)| Ok((*minus, measure(flow)?)));
        let above = above.collect::<Result<Vec<_>, DefinitionError>>()?;
        let below = computed.below.as_ref().map(&mut measure).transpose()?;
        let rule = match (above.as_slice(), below) {
            (_, Some(below)) => Rule::Ratio(above, below),
            ([(false, one)], None) => Rule::Flow(*one),
            (_, None) => Rule::Sum(above),
        };
        let over = computed.over.as_ref().map(|own| self.rule(definition, cube, own, relations));
        Ok(match (rule, over.transpose()?) {
            (Rule::Ratio(above, below), Some(Rule::Ratio(terms, last))) => {
                Rule::Double(Box::new([(above, below), (terms, last)]))
            }
            (rule, _) => rule,
        })
    }

    /// The columns of a row that leave open which cells it feeds, ascending.
    pub(crate) fn unplaced(&self, contract: usize, row: RowRef<'_>) -> BTreeSet<usize> {
        if !row.has_unknown() {
            return BTreeSet::new();
        }
        let views = self.by_relation.get(contract).into_iter().flatten();
        let views = views.map(|view| &self.views[*view]);
        let takers = views.filter(|view| view.selects(row) || view.may_select(row));
        let rates = self.conversions.iter().filter(|own| own.relation == contract);
        let placing = takers.flat_map(View::placing).chain(rates.flat_map(Conversions::placing));
        placing.filter(|column| row.is_unknown(*column)).collect()
    }

    /// The KPIs whose cells a column of a contract tells apart.
    pub(crate) fn placed_by(&self, contract: usize, column: usize) -> Vec<&str> {
        let is_placing = |cube: usize, measure: &Measure| {
            let of = |view: &&View| view.cube == cube && view.count == measure.count;
            let view = self.views.iter().find(of);
            view.is_some_and(|v| v.relation == contract && v.placing().any(|own| own == column))
        };
        let rates = self.conversions.as_ref();
        let is_of_rate =
            rates.is_some_and(|own| own.relation == contract && own.placing().contains(&column));
        let is_placed = |kpi: &&Kpi| match kpi.rule {
            Rule::Converted(_) => is_of_rate,
            ref rule => rule.any(|measure| is_placing(kpi.cube, measure)),
        };
        self.kpis.iter().filter(is_placed).map(|kpi| &*kpi.key).collect()
    }

    fn cube(&mut self, dims: Vec<String>, joined: Joined) -> usize {
        let is_it = |cube: &CubeShape| cube.dims == dims && cube.joined == joined;
        let found = self.cubes.iter().position(is_it);
        found.unwrap_or_else(|| {
            let (grains, windows) = (Grains::NONE, Grains::NONE);
            self.cubes.push(CubeShape { dims, joined, grains, windows, ..CubeShape::default() });
            self.cubes.len() - 1
        })
    }

    /// The measure of a flow, with the view that feeds it.
    fn measure(
        &mut self,
        definition: &Definition,
        cube: usize,
        flow: &Flow,
        relations: &[Relation],
    ) -> Result<Measure, DefinitionError> {
        let missing =
            |field, name: &str| definition.refuse(field, format!("`{name}` does not exist"));
        let number = relations.iter().position(|relation| relation.name == flow.relation);
        let number = number.ok_or_else(|| missing("contract", &flow.relation))?;
        let relation = &relations[number];
        let column =
            |field, name: &str| relation.schema.find(name).ok_or_else(|| missing(field, name));
        let dims = flow.dims.values().map(|c| column("dims", c)).collect::<Result<Vec<_>, _>>()?;
        let columns = &relation.columns;
        let filter = flow.filter.as_ref().map(|text| compile_filter(definition, text, columns));
        let view = self.view(View {
            relation: number,
            filter: filter.transpose()?,
            time: column("time", &flow.time)?,
            joined: flow.joined,
            until: flow.until.as_ref().map(|name| column("view", name)).transpose()?,
            tenant: relation.tenant.ok_or_else(|| missing("view", "tenant_id"))?,
            dims,
            cube,
            placed_like: 0,
            count: 0,
            sums: Vec::new(),
            allocated: Vec::new(),
            bags: Vec::new(),
            different: Vec::new(),
        });
        let count = self.views[view].count;
        let one = 10_i128.pow(decimal::VALUE_SCALE);
        let argument = match &flow.aggregate {
            // The count is of all that ever came.
            Aggregate::Count if flow.joined == Joined::Alive => "1",
            Aggregate::Count => {
                return Ok(Measure { count, sum: None, present: None, factor: one });
            }
            Aggregate::Distinct(name) => {
                let values = Expression::parse(name, columns);
                let values = values.map_err(|e| definition.refuse("aggregate", e.to_string()))?;
                let sum = Some(self.different(view, cube, values));
                return Ok(Measure { count, sum, present: None, factor: one });
            }
            Aggregate::Sum(text)
            | Aggregate::Allocated(text)
            | Aggregate::Min(text)
            | Aggregate::Max(text)
            | Aggregate::Percentile { of: text, .. } => text.as_str(),
        };
        let argument = compile_sum(definition, argument, columns)?;
        let scale = u32::from(argument.scale().unwrap_or_default());
        let factor = decimal::VALUE_SCALE.checked_sub(scale).map(|by| 10_i128.pow(by));
        let factor = factor.ok_or_else(|| definition.refuse("aggregate", "has too many digits"))?;
        let extract = match flow.aggregate {
            Aggregate::Min(_) => Extract::Least,
            Aggregate::Max(_) => Extract::Greatest,
            Aggregate::Percentile { millionths, cuts, .. } => {
                Extract::Percentile { millionths, cuts }
            }
            _ => {
                let sum = Some(self.sum((view, cube), argument, &flow.aggregate));
                return Ok(Measure { count, sum, present: None, factor });
            }
        };
        let (sum, present) = self.bag(view, cube, argument, extract);
        Ok(Measure { count, sum: Some(sum), present: Some(present), factor })
    }

    /// The sum that a bag of values feeds, and the one that counts the values.
    fn bag(
        &mut self,
        view: usize,
        cube: usize,
        values: Expression,
        extract: Extract,
    ) -> (usize, usize) {
        let view = &mut self.views[view];
        let is_it = |own: &&Bag| own.values == values && own.extract == extract;
        if let Some(bag) = view.bags.iter().find(is_it) {
            return (bag.sum, bag.present);
        }
        let shape = &mut self.cubes[cube];
        let (sum, present) = (shape.sums, shape.sums + 1);
        shape.sums += 2;
        shape.bagged.extend([sum, present]);
        shape.bags.push((sum, present, extract));
        view.bags.push(Bag { values, extract, sum, present });
        (sum, present)
    }

    /// The sum that says how many different values there are.
    fn different(&mut self, view: usize, cube: usize, values: Expression) -> usize {
        let view = &mut self.views[view];
        if let Some((_, sum)) = view.different.iter().find(|(own, _)| *own == values) {
            return *sum;
        }
        let shape = &mut self.cubes[cube];
        let sum = shape.sums;
        shape.sums += 1;
        shape.bagged.push(sum);
        shape.different.push(sum);
        view.different.push((values, sum));
        sum
    }

    /// The view that selects and groups in this way, made if there is none.
    fn view(&mut self, fresh: View) -> usize {
        if let Some(view) = self.views.iter().position(|view| view.is_like(&fresh)) {
            return view;
        }
        let placed_like = self.views.iter().position(|view| view.is_placed_like(&fresh));
        let placed_like = placed_like.unwrap_or(self.views.len());
        let shape = &mut self.cubes[fresh.cube];
        let count = shape.counts;
        shape.counts += 2;
        self.by_relation[fresh.relation].push(self.views.len());
        self.views.push(View { placed_like, count, ..fresh });
        self.views.len() - 1
    }

    /// The sum of an expression, made if there is none; one of its own for what is spread over the days of rows.
    fn sum(
        &mut self,
        (view, cube): (usize, usize),
        summed: Expression,
        aggregate: &Aggregate,
    ) -> usize {
        let view = &mut self.views[view];
        let sums = match aggregate {
            Aggregate::Allocated(_) => &mut view.allocated,
            _ => &mut view.sums,
        };
        if let Some((_, sum)) = sums.iter().find(|(own, _)| *own == summed) {
            return *sum;
        }
        let shape = &mut self.cubes[cube];
        sums.push((summed, shape.sums));
        shape.sums += 1;
        shape.sums - 1
    }
}
