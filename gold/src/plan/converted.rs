//! Converted KPIs as the engine computes them: which cells their days follow from, and which numbers of their own
//! cells say it.

use std::sync::Arc;

use schemas::Grain;

use super::{Kpi, Measure, Plan, Rule, selection_of};
use crate::catalog::{CURRENCY, Catalog, RateColumns};
use crate::definition::{Definition, DefinitionError, Formula};
use crate::flow::Joined;

/// The numbers of a cell that say what is converted. They add up over days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Converted {
    /// Counts days of currencies with a value; the next one those in doubt.
    count: usize,
    /// The exact sum, in two parts: [`crate::converted::Exact`] puts them together.
    sum: usize,
}

impl Converted {
    /// What there is, and its exact sum.
    pub(crate) fn all(self) -> Measure {
        Measure { count: self.count, sum: Some(self.sum), present: Some(self.sum + 1), factor: 1 }
    }

    /// How much of that has no rate; next to it how much is beyond the range.
    pub(crate) fn lacking(self) -> Measure {
        Measure { count: self.count + 2, sum: None, present: None, factor: 1 }
    }

    /// The counts: days of currencies with a value, those in doubt, without a rate, beyond the range.
    pub(crate) fn counts(self) -> std::ops::Range<usize> {
        self.count..self.count + 4
    }

    /// The selections that its counts are of: as many as two have. The sums are with the first.
    pub(crate) fn selections(self) -> [usize; 2] {
        [selection_of(self.count), selection_of(self.count + 2)]
    }

    /// The two parts of the exact sum.
    pub(crate) fn sums(self) -> [usize; 2] {
        [self.sum, self.sum + 1]
    }
}

/// From where a converted KPI has its days.
#[derive(Debug)]
pub(crate) struct Conversion {
    /// The converted KPI.
    pub(crate) kpi: usize,
    /// Its cube, and the numbers in that.
    pub(crate) cube: usize,
    pub(crate) numbers: Converted,
    /// The cube of what is converted, and how that follows from its cells.
    pub(crate) from: usize,
    pub(crate) rule: Rule,
    /// The selections of rows that it follows from.
    pub(crate) selections: Vec<usize>,
    /// Which of that cube's dimensions is the currency.
    pub(crate) currency: usize,
    /// The currency that all is converted to.
    pub(crate) to: Arc<str>,
}

/// The converted KPIs, and where rates come from.
#[derive(Debug)]
pub(crate) struct Conversions {
    /// The relation of rates.
    pub(crate) relation: usize,
    pub(crate) columns: RateColumns,
    pub(crate) all: Vec<Conversion>,
}

impl Conversions {
    /// The columns that say which cells a rate is for.
    pub(super) fn placing(&self) -> [usize; 4] {
        let RateColumns { from, to, day, tenant, .. } = self.columns;
        [from, to, day, tenant]
    }
}

impl Plan {
    /// Adds a converted KPI; what it converts is there already, as its key comes first.
    pub(super) fn convert(
        &mut self,
        catalog: &Catalog,
        definition: &Definition,
    ) -> Result<(), DefinitionError> {
        let Formula::Converted { of, to } = &definition.formula else { return Ok(()) };
        let (relation, columns) = catalog.rates(definition)?;
        let missing = || definition.refuse("convert", format!("there is no KPI `{of}`"));
        let base = self.kpis.iter().find(|kpi| *kpi.key == **of).ok_or_else(missing)?;
        let (from, rule, mut contracts) = (base.cube, base.rule.clone(), base.contracts.clone());
        contracts.push(relation);
        contracts.sort_unstable();
        contracts.dedup();
        let currency = self.cubes[from].dims.iter().position(|dim| dim == CURRENCY);
        let currency = currency.ok_or_else(missing)?;
        let cube = self.cube(catalog.dims(definition), Joined::Point);
        let shape = &mut self.cubes[cube];
        let numbers = Converted { count: shape.counts, sum: shape.sums };
        shape.counts = numbers.counts().end;
        shape.sums += numbers.sums().len();
        let kpi = self.kpis.len();
        let conversions =
            self.conversions.get_or_insert(Conversions { relation, columns, all: Vec::new() });
        let to = Arc::from(to.as_str());
        conversions.all.push(Conversion {
            kpi,
            cube,
            numbers,
            from,
            rule,
            selections: Vec::new(),
            currency,
            to,
        });
        self.push(catalog, definition, cube, (Rule::Converted(numbers), contracts));
        Ok(())
    }

    /// Adds a KPI to its cube.
    pub(super) fn push(
        &mut self,
        catalog: &Catalog,
        definition: &Definition,
        cube: usize,
        (rule, contracts): (Rule, Vec<usize>),
    ) {
        let (number, shape) = (self.kpis.len(), &mut self.cubes[cube]);
        let (grains, windows) = (definition.grains, catalog.windows(definition));
        debug_assert!(!definition.is_converted() || !grains.has(Grain::Hour));
        let place = shape.kpis.len();
        shape.kpis.push(number);
        shape.grains = shape.grains.or(grains);
        shape.windows = shape.windows.or(windows);
        let is_bagged = |own: &Measure| own.sums().any(|sum| shape.bagged.contains(&sum));
        let adds_up = !rule.any(is_bagged);
        let (key, unit) = (Arc::clone(&definition.key), definition.unit);
        self.kpis.push(Kpi {
            key,
            unit,
            cube,
            place,
            rule,
            selections: Vec::new(),
            grains,
            windows,
            adds_up,
            contracts,
        });
    }
}
