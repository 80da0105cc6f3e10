//! Quotients of KPIs: what their parts must have in common.
//!
//! # Guarantees
//! - The parts have the same dimensions, and are flows all of them, or stocks all of them, or overlap periods all of them:
//!   what is alive at the end of a period is never divided by what happens in it.
//! - A quotient of two quotients is one of views each, and computed of their exact parts.

use schemas::nearest::nearest;

use super::Catalog;
use crate::definition::{Definition, DefinitionError, Kind, Term};
use crate::flow::Joined;

impl Catalog {
    pub(super) fn check_ratio(
        &self,
        ratio: &Definition,
        numerator: &[Term],
        denominator: &str,
    ) -> Result<(), DefinitionError> {
        if let Some((above, below)) = self.quotients(numerator, denominator) {
            self.check_alike(ratio, above, below)?;
            ratio.check_periods(Kind::Ratio, self.joined(below))?;
            return self.computed(ratio).map(drop);
        }
        let below = self.part(ratio, "denominator", denominator)?;
        ratio.check_periods(Kind::Ratio, self.joined(below))?;
        let mut unit = None;
        for term in numerator {
            let part = self.part(ratio, "numerator", &term.kpi)?;
            self.check_alike(ratio, part, below)?;
            if unit.is_some_and(|unit| unit != part.unit) {
                let problem = format!("`{}` has another unit than the KPIs before it", term.kpi);
                return Err(ratio.refuse("numerator", problem));
            }
            unit = Some(part.unit);
        }
        self.computed(ratio).map(drop)
    }

    /// Refuses parts that are not of the same rows in time, or have other dimensions.
    fn check_alike(
        &self,
        ratio: &Definition,
        above: &Definition,
        below: &Definition,
    ) -> Result<(), DefinitionError> {
        let (own, its) = (self.joined(above), self.joined(below));
        if own != its && (own == Joined::Overlap || its == Joined::Overlap) {
            let is_below = its == Joined::Overlap;
            let (over, other) = if is_below { (below, above) } else { (above, below) };
            let problem = format!(
                "rows of `{}` overlap periods and those of `{}` do not: have one view spread both, so that they are of \
                 the same days",
                over.key, other.key
            );
            return Err(ratio.refuse("numerator", problem));
        }
        if self.is_timeless(above) != self.is_timeless(below) {
            let (timeless, other) =
                if self.is_timeless(below) { (below, above) } else { (above, below) };
            let problem = format!(
                "`{}` is of a view without a period and `{}` has periods: give the view `period(...) AS period`",
                timeless.key, other.key
            );
            return Err(ratio.refuse("numerator", problem));
        }
        if own != its {
            let is_below = its == Joined::Alive;
            let (stock, other) = if is_below { (below, above) } else { (above, below) };
            let problem = format!(
                "`{}` is a stock and `{}` is none: what is alive at the end of a period is not divided by what \
                 happens in it, nor the other way round; what a view has alive for so long after it happened is a \
                 stock",
                stock.key, other.key
            );
            return Err(ratio.refuse("numerator", problem));
        }
        if self.dims(above) == self.dims(below) {
            return Ok(());
        }
        let problem = format!(
            "`{}` has dimensions [{}] but `{}` has [{}]; parts must have the same",
            above.key,
            self.dims(above).join(", "),
            below.key,
            self.dims(below).join(", "),
        );
        Err(ratio.refuse("numerator", problem))
    }

    fn part(
        &self,
        ratio: &Definition,
        field: &'static str,
        key: &str,
    ) -> Result<&Definition, DefinitionError> {
        let Some(part) = self.get(key) else {
            let hint = nearest(key, self.definitions.iter().map(|d| &*d.key));
            return Err(ratio.refuse(field, format!("there is no KPI `{key}`{hint}")));
        };
        if part.is_converted() {
            let problem = format!(
                "`{key}` is converted, and no sum of rows that a quotient could be made of; name the KPI that it \
                 converts, in each currency"
            );
            return Err(ratio.refuse(field, problem));
        }
        if self.kind(part).is_ratio() {
            let problem = format!(
                "`{key}` is itself a ratio, and a quotient of rounded quotients is not exact; \
                 name the KPIs it is made of, or divide one quotient of a view by another"
            );
            return Err(ratio.refuse(field, problem));
        }
        Ok(part)
    }
}
