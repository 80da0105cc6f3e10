//! KPIs over views without a period: one cell of each series, of all time.
//!
//! # Guarantees
//! - They have the window `all` and no grain, without their file saying so; a file that says something else is refused.
//! - None is divided by a KPI of periods, nor the other way round.

use std::collections::BTreeSet;
use std::sync::Arc;

use schemas::{Grain, Grains};

use super::Catalog;
use crate::definition::{Definition, DefinitionError, Formula, Kind};
use crate::relation::{OverRows, Relation};

/// Gives KPIs over views without a period the one window that they have.
pub(super) fn take_periods(definitions: &mut [Definition], relations: &[Relation]) {
    let timeless = over_views(definitions, relations, &|own| own.is_of_all_time);
    for own in definitions.iter_mut().filter(|own| timeless.contains(&own.key)) {
        if own.grains == Grains::ALL {
            own.grains = Grains::NONE;
        }
        own.windows.get_or_insert_with(|| [Grain::Always].into_iter().collect());
    }
}

/// The KPIs over views of which this holds, and those that divide by one.
pub(super) fn over_views(
    definitions: &[Definition],
    relations: &[Relation],
    holds: &dyn Fn(&OverRows) -> bool,
) -> BTreeSet<Arc<str>> {
    let holds = |view: &str| {
        let found = relations.iter().filter(|own| own.name == *view);
        found.filter_map(|own| own.view.as_ref()).any(holds)
    };
    let mut found: BTreeSet<Arc<str>> = BTreeSet::new();
    for own in definitions {
        if matches!(&own.formula, Formula::OfView { view, .. } if holds(view)) {
            found.insert(Arc::clone(&own.key));
        }
    }
    let divide = definitions.iter().filter(|own| match &own.formula {
        Formula::Ratio { denominator, .. } => found.contains(denominator.as_str()),
        Formula::Flow { .. } | Formula::OfView { .. } | Formula::Converted { .. } => false,
    });
    let divide: Vec<Arc<str>> = divide.map(|own| Arc::clone(&own.key)).collect();
    found.extend(divide);
    found
}

impl Catalog {
    /// Whether a KPI is over a view without a period.
    pub(super) fn is_timeless(&self, definition: &Definition) -> bool {
        let computed = self.computed(definition);
        computed
            .is_ok_and(|computed| computed.flows().all(|flow| self.is_of_all_time(&flow.relation)))
    }

    fn is_of_all_time(&self, relation: &str) -> bool {
        let found = self.relation(relation).and_then(|own| own.view.as_ref());
        found.is_some_and(|own| own.is_of_all_time)
    }

    /// Refuses what a KPI over a view without a period cannot have.
    pub(super) fn check_timeless(&self, definition: &Definition) -> Result<(), DefinitionError> {
        let Formula::OfView { view, .. } = &definition.formula else {
            return match &definition.formula {
                Formula::Ratio { .. } if self.is_timeless(definition) => only_all(definition),
                _ => Ok(()),
            };
        };
        if !self.is_of_all_time(view) {
            return Ok(());
        }
        if definition.convert {
            let problem = format!(
                "money is converted day by day, and view `{view}` has no period; leave it out, or have the view \
                 select and group by `period(...) AS period`"
            );
            return Err(definition.refuse("convert", problem));
        }
        if self.kind(definition) == Kind::Percentile {
            let problem = format!(
                "a percentile of all time is not kept, and view `{view}` has no period; select and group by \
                 `period(...) AS period` in it"
            );
            return Err(definition.refuse("view", problem));
        }
        only_all(definition)
    }
}

fn only_all(definition: &Definition) -> Result<(), DefinitionError> {
    let problem = |what: &str| {
        format!(
            "the view has no period, so there is one cell of each series, `all`; leave {what} out, or have the view \
             select and group by `period(...) AS period`"
        )
    };
    if definition.grains != Grains::NONE {
        return Err(definition.refuse("grains", problem("grains")));
    }
    let all: Grains = [Grain::Always].into_iter().collect();
    match definition.windows {
        Some(windows) if windows != all => Err(definition.refuse("windows", problem("windows"))),
        _ => Ok(()),
    }
}
