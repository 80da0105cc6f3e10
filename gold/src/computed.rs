//! What definitions come down to: flows over relations, sums of them, and quotients.
//!
//! # Guarantees
//! - Whatever form a definition has, the engine and the audit see this one.

use std::collections::{BTreeMap, BTreeSet};

use schemas::nearest::nearest;

use crate::catalog::Catalog;
use crate::definition::{Aggregate, Definition, DefinitionError, Formula, Term};
use crate::flow::{Computed, Flow, Joined};
use crate::relation::{Measured, OverRows, Relation};

impl Catalog {
    /// What a definition comes down to.
    ///
    /// # Errors
    /// When it names what does not exist or cannot stand there.
    pub(crate) fn computed(&self, definition: &Definition) -> Result<Computed, DefinitionError> {
        match &definition.formula {
            Formula::Flow { contract, filter, time, aggregate, dims } => {
                let flow = Flow {
                    relation: contract.clone(),
                    filter: filter.clone(),
                    time: time.clone(),
                    joined: Joined::Point,
                    until: None,
                    aggregate: aggregate.clone(),
                    dims: dims.clone(),
                };
                Ok(Computed { above: vec![(false, flow)], below: None, over: None })
            }
            Formula::Ratio { numerator, denominator } => {
                if let Some((above, below)) = self.quotients(numerator, denominator) {
                    let over = Some(Box::new(self.computed(below)?));
                    return Ok(Computed { over, ..self.computed(above)? });
                }
                let part = |field: &'static str, key: &str| {
                    // A ratio is no part, and might be one of itself; what is converted is no sum of rows.
                    let is_part = |part: &&Definition| {
                        !matches!(part.formula, Formula::Ratio { .. } | Formula::Converted { .. })
                    };
                    let found = self.get(key).filter(is_part);
                    let found = found.map(|part| self.computed(part)).transpose()?;
                    let mut flows = found.into_iter().flat_map(|part| part.above);
                    match (flows.next(), flows.next()) {
                        (Some((_, flow)), None) => Ok(flow),
                        _ => {
                            let problem = format!(
                                "`{key}` is a sum itself; name the KPIs that it is made of"
                            );
                            Err(definition.refuse(field, problem))
                        }
                    }
                };
                let term = |term: &Term| Ok((term.minus, part("numerator", &term.kpi)?));
                let above = numerator.iter().map(term).collect::<Result<_, DefinitionError>>()?;
                Ok(Computed { above, below: Some(part("denominator", denominator)?), over: None })
            }
            Formula::OfView { view, above, below, dims, .. } => {
                self.of_view(definition, view, (above, below.as_deref()), dims)
            }
            Formula::Converted { .. } => self.computed(self.converts(definition)?),
        }
    }

    fn of_view(
        &self,
        definition: &Definition,
        view: &str,
        (above, below): (&[Term], Option<&str>),
        dims: &BTreeMap<String, String>,
    ) -> Result<Computed, DefinitionError> {
        let (relation, rows) = self.view_rows(definition, view)?;
        let lacks = |what: &str, advice: &str| {
            definition.refuse("view", format!("`{view}` has no {what}; {advice} in it"))
        };
        if relation.tenant.is_none() {
            return Err(lacks("column `tenant_id`", "select and group by one"));
        }
        let period = || lacks("period", "select `period(...) AS period`, and group by it,");
        let time = rows.period.clone().ok_or_else(period)?;
        let mut own_dims = BTreeMap::new();
        for (name, column) in dims {
            let own = rows.groups.get(column).ok_or_else(|| {
                let hint = nearest(column, rows.groups.keys().map(String::as_str));
                let problem = format!("view `{view}` is not grouped by a column `{column}`{hint}");
                definition.refuse("dims", problem)
            })?;
            own_dims.insert(name.clone(), own.clone());
        }
        let named: BTreeSet<&String> = dims.values().collect();
        let left = rows.groups.keys().find(|own| !named.contains(own));
        if let Some(left) = left.filter(|_| rows.is_whole) {
            let problem = format!(
                "view `{view}` has DISTINCT, HAVING, LIMIT or a window function, or groups nothing, so its KPIs have \
                 all its columns that are no numbers of a group; add `{left}`, or have another view group what it gives"
            );
            return Err(definition.refuse("dims", problem));
        }
        let flow = |aggregate: Aggregate| Flow {
            relation: relation.name.clone(),
            filter: None,
            time: time.clone(),
            joined: rows.joined,
            until: rows.until.clone(),
            aggregate,
            dims: own_dims.clone(),
        };
        let mut parts = Vec::new();
        for term in above {
            match measured(definition, (view, rows), &term.kpi)? {
                Measured::Aggregate(aggregate) => parts.push((term.minus, flow(aggregate))),
                Measured::Average { sum, count } if above.len() == 1 && below.is_none() => {
                    return Ok(Computed {
                        above: vec![(term.minus, flow(sum))],
                        below: Some(flow(count)),
                        over: None,
                    });
                }
                Measured::Average { .. } => return Err(average_inside(definition, &term.kpi)),
            }
        }
        let below = match below {
            None => None,
            Some(name) => match measured(definition, (view, rows), name)? {
                Measured::Aggregate(aggregate) => Some(flow(aggregate)),
                Measured::Average { .. } => return Err(average_inside(definition, name)),
            },
        };
        Ok(Computed { above: parts, below, over: None })
    }

    /// The two quotients of views that one divides by the other.
    pub(crate) fn quotients(
        &self,
        numerator: &[Term],
        denominator: &str,
    ) -> Option<(&Definition, &Definition)> {
        let [Term { minus: false, kpi }] = numerator else { return None };
        let quotient = |key: &str| {
            // Those of KPIs are no parts: one might be of itself.
            let is_one = |own: &&Definition| {
                matches!(own.formula, Formula::OfView { .. }) && self.kind(own).is_ratio()
            };
            self.get(key).filter(is_one)
        };
        Some((quotient(kpi)?, quotient(denominator)?))
    }

    fn view_rows(
        &self,
        definition: &Definition,
        view: &str,
    ) -> Result<(&Relation, &OverRows), DefinitionError> {
        let found = self.relation(view).and_then(|own| Some((own, own.view.as_ref()?)));
        found.ok_or_else(|| {
            let views = self.relations().iter().filter(|own| own.view.is_some());
            let hint = nearest(view, views.map(|own| own.name.as_str()));
            definition.refuse("view", format!("there is no view `{view}`{hint}"))
        })
    }
}

/// What a column of a view is, as numbers of a cell.
fn measured(
    definition: &Definition,
    (view, rows): (&str, &OverRows),
    column: &str,
) -> Result<Measured, DefinitionError> {
    let problem = match rows.measures.get(column) {
        Some(Ok(measured)) => return Ok(measured.clone()),
        Some(Err(why)) => format!("column `{column}` of view `{view}` {why}"),
        None => {
            let hint = nearest(column, rows.measures.keys().map(String::as_str));
            format!("view `{view}` has no aggregate `{column}`{hint}")
        }
    };
    Err(definition.refuse("value", problem))
}

fn average_inside(definition: &Definition, column: &str) -> DefinitionError {
    let problem = format!(
        "`{column}` is an average, and a quotient of rounded quotients is not exact; have the view give \
         the sum and the count"
    );
    definition.refuse("value", problem)
}
