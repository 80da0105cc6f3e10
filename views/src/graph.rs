//! Views at work: the steps of all of them, in an order in which each follows what it reads.
//!
//! # Guarantees
//! - One step takes the changes of all relations at once, and every view sees them in it.
//! - What a view gives is consolidated.
//! - Steps that are not [`Needed`] are left out of a step only where they keep nothing.
//!
//! # Non-guarantees
//! - The steps of two views are not shared, be they the same.

use std::collections::BTreeSet;
use std::sync::Arc;

use schemas::key::RowKey;
use schemas::{Delta, RowLayout};

use crate::operator::{Distinct, Group, Join, Map, Operator, StepError, TopN, Union, Window};
use crate::plan::{Node, Plan};
use crate::refusal::{Code, Refusal};
use crate::relations::Relations;
use crate::view::View;

/// Where changes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Relation(usize),
    Step(usize),
}

#[derive(Debug)]
struct Step {
    operator: Box<dyn Operator>,
    inputs: Vec<Source>,
    out: Delta,
    /// Of which view it is.
    view: usize,
    #[cfg(feature = "defects")]
    kind: &'static str,
}

/// Where a view's changes are.
#[derive(Debug)]
struct Outputs {
    name: String,
    rows: Source,
    result: Option<Source>,
}

/// The steps of views.
#[derive(Debug)]
pub struct Graph {
    /// No changes, for relations that have none.
    none: Vec<Delta>,
    steps: Vec<Step>,
    views: Vec<Outputs>,
    is_begun: bool,
}

/// What changed of a view in a step.
#[derive(Debug, Clone, Copy)]
pub struct Changes<'a> {
    /// Of its rows.
    pub rows: &'a Delta,
    /// Of what it holds: for views that are not regroupable, for those that views read, and where it was asked for.
    pub result: Option<&'a Delta>,
}

/// Steps that have to see the rows of relations, because they keep some or because of what they lead to.
#[derive(Debug)]
pub struct Needed {
    steps: Vec<Need>,
    relations: BTreeSet<usize>,
}

/// What of a step is needed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    Nothing,
    /// What it keeps.
    Kept,
    /// That, and what it gives.
    Given,
}

impl Needed {
    /// Whether they read this relation.
    pub fn reads(&self, relation: usize) -> bool {
        self.relations.contains(&relation)
    }

    /// Whether more is needed of what changes come from than was known.
    fn grows(&mut self, source: Source, need: Need) -> bool {
        match source {
            Source::Step(at) => self.steps.get_mut(at).is_some_and(|own| {
                let grows = *own < need;
                *own = need.max(*own);
                grows
            }),
            Source::Relation(relation) => self.relations.insert(relation),
        }
    }
}

impl Graph {
    /// The steps of `views` over `relations`, each view behind those that it reads.
    ///
    /// # Errors
    /// When one reads what is not there before it.
    pub fn new(views: &[View], relations: &Relations) -> Result<Graph, Refusal> {
        Graph::with_results(views, relations, &|_| false)
    }

    /// The same, with what those views hold that are asked for.
    ///
    /// # Errors
    /// As [`Graph::new`].
    pub fn with_results(
        views: &[View],
        relations: &Relations,
        is_asked: &dyn Fn(&View) -> bool,
    ) -> Result<Graph, Refusal> {
        let mut building = Building { graph: Graph::empty(relations), relations, view: 0 };
        for (at, view) in views.iter().enumerate() {
            building.view = at;
            let is_read = views.iter().any(|other| other.inputs().iter().any(|n| n == view.name()));
            building.add(view, is_read || is_asked(view))?;
        }
        Ok(building.graph)
    }

    /// The steps of a view above its rows alone: relation 0 are rows of it, and what changes of view 0 are the
    /// rows that it holds over these.
    ///
    /// # Errors
    /// When the view does nothing with its rows.
    pub fn above_rows(view: &View) -> Result<Graph, Refusal> {
        let mut relations = Relations::default();
        relations.add(view.name(), view.rows_schema().clone(), None);
        let graph = Graph::empty(&relations);
        let mut building = Building { graph, relations: &relations, view: 0 };
        let rows = building.above(view.plan(), view.base(), Source::Relation(0))?;
        let rows = building.stepped(rows, view.plan());
        let name = view.name().to_owned();
        building.graph.views.push(Outputs { name, rows, result: None });
        Ok(building.graph)
    }

    fn empty(relations: &Relations) -> Graph {
        let empty = |schema| Delta::new(Arc::new(RowLayout::new(schema)), RowKey::default());
        let none = relations.iter().map(|relation| empty(&relation.schema)).collect();
        Graph { none, steps: Vec::new(), views: Vec::new(), is_begun: false }
    }

    /// Takes the changes of relations, by number; each is consolidated. Gives what could not be done: the
    /// rows are left out, all else is done.
    pub fn step(&mut self, changes: &[(usize, &Delta)]) -> Vec<StepError> {
        self.step_needed(changes, None)
    }

    /// The same of those steps alone that are needed, where it is said which. No others give anything, nor do those
    /// of which only what they keep is needed.
    pub fn step_needed(
        &mut self,
        changes: &[(usize, &Delta)],
        needed: Option<&Needed>,
    ) -> Vec<StepError> {
        let mut errors = Vec::new();
        for at in 0..self.steps.len() {
            let (before, rest) = self.steps.split_at_mut(at);
            let Some(step) = rest.first_mut() else { break };
            step.out.clear();
            let need = needed.and_then(|needed| needed.steps.get(at)).copied();
            if need == Some(Need::Nothing) {
                continue;
            }
            let inputs = step.inputs.iter().filter_map(|source| match source {
                Source::Step(at) => before.get(*at).map(|step| &step.out),
                Source::Relation(at) => {
                    let found = changes.iter().find(|(relation, _)| relation == at);
                    found.map(|(_, delta)| *delta).or_else(|| self.none.get(*at))
                }
            });
            let inputs: Vec<&Delta> = inputs.collect();
            if self.is_begun && inputs.iter().all(|input| input.is_empty()) {
                continue;
            }
            let done = match need {
                Some(Need::Kept) => step.operator.take_in(&inputs, &mut step.out),
                _ => step.operator.step(&inputs, &mut step.out),
            };
            if let Err(mut error) = done {
                let name = self.views.get(step.view).map_or("", |view| &view.name);
                error.node = format!("view {name}: {}", error.node);
                errors.push(error);
            }
            #[cfg(feature = "defects")]
            crate::defect::spoil(step.kind, &mut step.out);
            step.out.consolidate();
        }
        self.is_begun = true;
        errors
    }

    /// What changed of a view in the last step, by its number.
    pub fn changes(&self, view: usize) -> Option<Changes<'_>> {
        let outputs = self.views.get(view)?;
        let rows = self.out(outputs.rows)?;
        Some(Changes { rows, result: outputs.result.and_then(|source| self.out(source)) })
    }

    /// The steps that keep something, those that lead to what is wanted of views, and all before them.
    pub fn needed(&self, is_wanted: &dyn Fn(usize) -> bool) -> Needed {
        let steps = vec![Need::Nothing; self.steps.len()];
        let mut needed = Needed { steps, relations: BTreeSet::new() };
        let wanted = self.views.iter().enumerate().filter(|(number, _)| is_wanted(*number));
        let wanted = wanted.flat_map(|(_, own)| [Some(own.rows), own.result]).flatten();
        let keeping = self.steps.iter().enumerate().filter(|(_, s)| !s.operator.is_stateless());
        let keeping = keeping.map(|(at, _)| (Source::Step(at), Need::Kept));
        let mut open: Vec<_> = wanted.map(|source| (source, Need::Given)).chain(keeping).collect();
        while let Some((source, need)) = open.pop() {
            if needed.grows(source, need)
                && let Source::Step(at) = source
            {
                let inputs = self.steps.get(at).into_iter().flat_map(|step| &step.inputs);
                open.extend(inputs.map(|input| (*input, Need::Given)));
            }
        }
        needed
    }

    /// Rows, groups and values that the steps of a view keep.
    pub fn held(&self, view: usize) -> usize {
        self.steps.iter().filter(|s| s.view == view).map(|s| s.operator.held()).sum()
    }

    fn out(&self, source: Source) -> Option<&Delta> {
        match source {
            Source::Step(at) => self.steps.get(at).map(|step| &step.out),
            Source::Relation(_) => None,
        }
    }
}

struct Building<'a> {
    graph: Graph,
    relations: &'a Relations,
    view: usize,
}

impl Building<'_> {
    fn add(&mut self, view: &View, is_read: bool) -> Result<(), Refusal> {
        let base = self.build(view.base())?;
        let base = self.stepped(base, view.base());
        let needs_result = is_read || !view.is_regroupable();
        let result = match needs_result {
            true => Some(self.above(view.plan(), view.base(), base)?),
            false => None,
        };
        let rows = match view.always() {
            Some(_) => self.push(view.rows(), vec![base])?,
            None => base,
        };
        let name = view.name().to_owned();
        self.graph.views.push(Outputs { name, rows, result });
        Ok(())
    }

    /// The steps of a plan, of which those below `known` are there already.
    fn above(&mut self, plan: &Plan, known: &Plan, rows: Source) -> Result<Source, Refusal> {
        if std::ptr::eq(plan, known) {
            return Ok(rows);
        }
        match &plan.node {
            // The rows are right below the first group.
            Node::Group { .. } => self.push(plan, vec![rows]),
            Node::Map { input, .. }
            | Node::Distinct { input }
            | Node::TopN { input, .. }
            | Node::Window { input, .. } => {
                let below = self.above(input, known, rows)?;
                self.push(plan, vec![below])
            }
            _ => self.build(plan),
        }
    }

    fn build(&mut self, plan: &Plan) -> Result<Source, Refusal> {
        if let Node::Scan { relation } = &plan.node {
            return self.scan(relation);
        }
        let inputs = plan.inputs().into_iter().map(|input| self.build(input));
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        self.push(plan, inputs)
    }

    fn scan(&self, name: &str) -> Result<Source, Refusal> {
        let view = self.graph.views.iter().find(|view| view.name == name);
        let found = view.and_then(|view| view.result);
        let relation = self.relations.index(name).map(Source::Relation);
        found.or(relation).ok_or_else(|| {
            let problem = format!("there is no contract, and no view before it, named `{name}`");
            Refusal::new(Code::UnknownRelation, name, problem, "")
        })
    }

    /// Changes of a relation as those of a step.
    fn stepped(&mut self, source: Source, plan: &Plan) -> Source {
        match source {
            Source::Step(_) => source,
            Source::Relation(_) => {
                let map = Map::new(None, plan.through(), plan.schema.clone());
                self.add_step(plan, Box::new(map), vec![source])
            }
        }
    }

    fn push(&mut self, plan: &Plan, inputs: Vec<Source>) -> Result<Source, Refusal> {
        let layout = |plan: &Plan| Arc::new(RowLayout::new(&plan.schema));
        let out = layout(plan);
        let operator: Box<dyn Operator> = match &plan.node {
            Node::Map { condition, columns, .. } => {
                Box::new(Map::new(condition.clone(), columns.clone(), plan.schema.clone()))
            }
            Node::Union { .. } | Node::Scan { .. } => Box::new(Union::new(out)),
            Node::Distinct { .. } => Box::new(Distinct::new(out)),
            Node::Join { left, right, on, kind } => {
                Box::new(Join::new(layout(left), layout(right), on.clone(), *kind))
            }
            Node::Group { input, keys, calls } => {
                let group = Group::new(layout(input), keys.clone(), calls.clone(), out);
                Box::new(group.map_err(|error| {
                    Refusal::new(Code::Aggregate, &error.node, error.problem.clone(), "")
                })?)
            }
            Node::Window { input, partition, order, function } => {
                let (partition, order) = (partition.clone(), order.clone());
                let window = Window::new(layout(input), partition, order, *function);
                Box::new(window.map_err(|error| {
                    Refusal::new(Code::Window, &error.row, error.problem.clone(), "")
                })?)
            }
            Node::TopN { input, partition, order, limit, rank } => {
                Box::new(TopN::new(layout(input), partition.clone(), order.clone(), *limit, *rank))
            }
        };
        Ok(self.add_step(plan, operator, inputs))
    }

    fn add_step(
        &mut self,
        #[cfg_attr(not(feature = "defects"), expect(unused_variables))] plan: &Plan,
        operator: Box<dyn Operator>,
        inputs: Vec<Source>,
    ) -> Source {
        let out = Delta::new(Arc::clone(operator.layout()), RowKey::default());
        self.graph.steps.push(Step {
            operator,
            inputs,
            out,
            view: self.view,
            #[cfg(feature = "defects")]
            kind: crate::defect::kind(&plan.node),
        });
        Source::Step(self.graph.steps.len() - 1)
    }
}
