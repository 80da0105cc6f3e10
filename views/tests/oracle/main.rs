//! Random views over random streams of changes, each against DataFusion's own answer over what the tables
//! hold, after every step.
//!
//! `WEIR_SEED` is the first seed and `WEIR_CASES` how many there are; a failure names its seed. `WEIR_SHOW`
//! prints the views.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]

mod grammar;
mod tables;

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use datafusion::execution::FunctionRegistry;
use datafusion::prelude::{SessionConfig, SessionContext};
use rows::RowReader;
use schemas::split_mix::SplitMix;
use schemas::{ColumnType, Delta, RowBuilder, RowLayout, RowSchema};
use views::{Graph, Relations, View, accept};

use grammar::Grammar;
use tables::{Tables, relations};

/// Random numbers.
pub(crate) struct Dice(SplitMix);

impl Dice {
    /// A number below `among`.
    pub(crate) fn pick(&mut self, among: usize) -> usize {
        usize::try_from(self.0.draw() % u64::try_from(among.max(1)).unwrap()).unwrap()
    }

    /// One of several.
    pub(crate) fn of<T: Clone>(&mut self, among: &[T]) -> T {
        among[self.pick(among.len())].clone()
    }

    /// Whether one of so many.
    pub(crate) fn one_in(&mut self, among: usize) -> bool {
        self.pick(among) == 0
    }
}

/// Failures that one run shows.
const WRONG_MAX: usize = 12;

/// What DataFusion says where it cannot plan its own query.
const BROKEN: [&str; 3] = ["SanityCheckPlan", "a bug in DataFusion's code", "Optimizer rule"];

/// Rules of its optimizer that change what a query gives: a constant key is dropped, and then there is a row
/// of no rows; a sum beside a COUNT(DISTINCT) is summed again, and has more digits.
const WRONG_RULES: [&str; 2] =
    ["eliminate_group_by_constant", "single_distinct_aggregation_to_group_by"];

/// Rows with how often each is there.
type Bag = BTreeMap<Vec<u8>, i64>;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

#[tokio::test]
async fn views_hold_what_datafusion_computes() {
    let (seed, cases) = (number("WEIR_SEED", 1), number("WEIR_CASES", 300));
    #[cfg(feature = "defects")]
    views::defect::set(&std::env::var("WEIR_DEFECT").unwrap_or_default());
    let mut refused: BTreeMap<&'static str, usize> = BTreeMap::new();
    let mut wrong: Vec<u64> = Vec::new();
    for seed in seed..seed + cases {
        match case(seed).await {
            Ok(()) => {}
            Err(Trouble::Refused(code)) => *refused.entry(code).or_default() += 1,
            Err(Trouble::Wrong(what)) => {
                println!("WEIR_SEED={seed} WEIR_CASES=1: {what}\n");
                wrong.push(seed);
            }
        }
        if wrong.len() == WRONG_MAX {
            break;
        }
    }
    assert!(wrong.is_empty(), "wrong: seeds {wrong:?}");
    let count: usize = refused.values().sum();
    println!("{cases} cases from {seed}, refused: {refused:?}");
    // What the grammar makes is accepted, but for digits and names that it does not keep count of.
    assert!(u64::try_from(count).unwrap() * 10 <= cases, "{count} refused of {cases}: {refused:?}");
}

enum Trouble {
    Refused(&'static str),
    Wrong(String),
}

/// One view, one that reads it, and a stream.
async fn case(seed: u64) -> Result<(), Trouble> {
    let mut dice = Dice(SplitMix::new(seed.wrapping_mul(0x2545_f491_4f6c_dd1d)));
    let mut known = relations();
    let mut grammar = Grammar::new(&mut dice);
    let text = grammar.view();
    if std::env::var_os("WEIR_SHOW").is_some() {
        println!("{seed}: {text}");
    }
    let wrong = |what: String| Trouble::Wrong(format!("{what}\n{text}"));
    // What DataFusion cannot plan is no view, either.
    let is_planned = Tables::new().context().sql(&text).await.is_ok();
    let view = accept("v", &text, &known).map_err(|refusal| match refusal.code.name() {
        "INVALID" if !is_planned => Trouble::Refused("INVALID"),
        "TYPE_MISMATCH" => Trouble::Refused("TYPE_MISMATCH"),
        _ if refusal.problem.starts_with("two keys") => Trouble::Refused("two keys"),
        _ => wrong(format!("refused: {refusal}")),
    })?;
    let again = accept("v", view.sql(), &known).map_err(|e| wrong(format!("canonical: {e}")))?;
    assert_eq!(again.sql(), view.sql());
    known.add_view(&view);
    // A view that reads it makes the graph give the whole result of both.
    let above = "SELECT * FROM v".to_owned();
    let above = accept("w", &above, &known).map_err(|e| wrong(format!("above: {e}")))?;
    let mut graph = Graph::new(&[view.clone(), above], &relations())
        .map_err(|refusal| wrong(format!("graph: {refusal}")))?;
    let mut tables = Tables::new();
    let (mut rows, mut result, mut over) = (Bag::new(), Bag::new(), Bag::new());
    let steps = 2 + dice.pick(4);
    for step in 0..steps {
        let deltas = tables.change(&mut dice);
        let changes: Vec<(usize, &Delta)> = deltas.iter().enumerate().collect();
        let errors = graph.step(&changes);
        if let Some(error) = errors.first() {
            return Err(wrong(format!("step {step}: {error}")));
        }
        let changes = graph.changes(0).unwrap();
        let above = graph.changes(1).unwrap();
        add(&mut rows, changes.rows).map_err(wrong)?;
        add(&mut result, changes.result.unwrap()).map_err(wrong)?;
        add(&mut over, above.result.unwrap()).map_err(wrong)?;
        let context = tables.context();
        let at = |what: String| match BROKEN.iter().find(|broken| what.contains(*broken)) {
            Some(broken) => Trouble::Refused(broken),
            None => wrong(format!("step {step}: {what}")),
        };
        compare(&context, &text, &view.schema(), &result, true).await.map_err(at)?;
        if step + 1 == steps {
            let context = tables.context();
            let schema = view.rows_schema();
            let (of_rows, of_result) = (view.rows_sql(), view.result_sql());
            compare(&context, &of_rows, schema, &rows, false).await.map_err(at)?;
            compare(&context, &of_result, &view.schema(), &result, false).await.map_err(at)?;
            if over != result {
                return Err(at("a view that reads all of it holds something else".into()));
            }
        }
    }
    Ok(())
}

/// Adds changes to what there is.
fn add(bag: &mut Bag, delta: &Delta) -> Result<(), String> {
    for (row, weight) in delta.iter() {
        *bag.entry(row.bytes().to_vec()).or_default() += weight;
    }
    bag.retain(|_, count| *count != 0);
    if bag.values().any(|count| *count < 0) {
        return Err("a row goes that is not there".into());
    }
    Ok(())
}

/// Compares with what DataFusion gives, both ways.
async fn compare(
    context: &SessionContext,
    sql: &str,
    schema: &RowSchema,
    own: &Bag,
    exact: bool,
) -> Result<(), String> {
    let asked = async { context.sql(sql).await?.collect().await };
    let batches = asked.await.map_err(|error| {
        let error = error.to_string();
        format!("DataFusion: {}\n{sql}", error.get(..300).unwrap_or(&error))
    })?;
    let layout = RowLayout::new(schema);
    let mut theirs = Bag::new();
    for batch in &batches {
        if exact {
            types(batch, schema)?;
        }
        read(batch, &layout, &mut theirs)?;
    }
    for (one, other, whose) in [(own, &theirs, "held"), (&theirs, own, "computed")] {
        for (bytes, count) in one {
            let there = other.get(bytes).copied().unwrap_or_default();
            if *count > there {
                let row = layout.row(bytes);
                let row: Vec<String> = (0..schema.len())
                    .map(|at| row.datum(at).text(schema.kind(at).unwrap()).to_string())
                    .collect();
                let all = [own.len(), theirs.len()];
                return Err(format!(
                    "{count} times {whose}, else {there}: {row:?} of {all:?}\n{sql}"
                ));
            }
        }
    }
    Ok(())
}

/// Whether DataFusion's types are those of the view.
fn types(batch: &RecordBatch, schema: &RowSchema) -> Result<(), String> {
    for (field, column) in batch.schema().fields().iter().zip(schema) {
        let is_same = match (field.data_type(), column.kind) {
            (DataType::Int32 | DataType::UInt64, ColumnType::Bigint) => true,
            (DataType::Utf8View, ColumnType::Text) => true,
            // A literal has nanoseconds there.
            (DataType::Timestamp(..), ColumnType::Timestamp) => true,
            (theirs, own) => *theirs == rows::data_type(own),
        };
        if !is_same || *field.name() != column.name {
            let theirs = format!("{} {}", field.name(), field.data_type());
            return Err(format!("{} {} is {theirs} to DataFusion", column.name, column.kind));
        }
    }
    Ok(())
}

fn read(batch: &RecordBatch, layout: &RowLayout, into: &mut Bag) -> Result<(), String> {
    let reader = RowReader::new(layout.schema(), batch).map_err(|error| error.to_string())?;
    let mut builder = RowBuilder::default();
    for at in 0..reader.len() {
        reader.read(at, &mut builder);
        let mut bytes = Vec::new();
        builder.finish(layout, &mut bytes);
        *into.entry(bytes).or_default() += 1;
    }
    Ok(())
}

/// A session that reads SQL as views do.
pub(crate) fn session() -> SessionContext {
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().sql_parser.parse_float_as_decimal = true;
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    let mut context = SessionContext::new_with_config(config);
    context.register_udf(views::period().as_ref().clone());
    for percentile in views::percentile::percentiles() {
        context.register_udaf(percentile.as_ref().clone());
    }
    for rule in WRONG_RULES {
        assert!(context.remove_optimizer_rule(rule), "{rule}");
    }
    for planner in expr::planners(true) {
        context.register_expr_planner(planner).unwrap();
    }
    context
}

/// Every view of a period: rows only, as what it holds depends on the grain.
#[tokio::test]
async fn rows_of_a_view_with_a_period_are_those_of_its_sql() {
    let text = "SELECT a.tenant_id, period(a.at) AS period, b.name, SUM(a.q * b.m) AS worth, \
                COUNT(DISTINCT a.k) FILTER (WHERE a.f) AS keys, COUNT(*) AS n \
                FROM a JOIN b ON a.k = b.k WHERE a.g <> 'x' GROUP BY 1, 2, 3";
    let known: Relations = relations();
    let view: View = accept("v", text, &known).unwrap();
    assert!(view.is_regroupable());
    let names: Vec<&str> = view.rows_schema().iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["tenant_id", "period", "name", "argument_1", "argument_2"]);
    let mut graph = Graph::new(std::slice::from_ref(&view), &known).unwrap();
    let (mut dice, mut tables, mut rows) = (Dice(SplitMix::new(7)), Tables::new(), Bag::new());
    for _ in 0..20 {
        let deltas = tables.change(&mut dice);
        let changes: Vec<(usize, &Delta)> = deltas.iter().enumerate().collect();
        assert_eq!(graph.step(&changes), Vec::new());
        let changes = graph.changes(0).unwrap();
        assert!(changes.result.is_none());
        add(&mut rows, changes.rows).unwrap();
        let context = tables.context();
        compare(&context, &view.rows_sql(), view.rows_schema(), &rows, false).await.unwrap();
    }
    assert!(rows.len() > 3);
}

/// The layout of a relation.
pub(crate) fn layout(schema: &RowSchema) -> Arc<RowLayout> {
    Arc::new(RowLayout::new(schema))
}
