//! Four views that most engines can keep: sums and counts, different values, an extreme, and the first of each day.
//!
//! # Guarantees
//! - What the views gave is added up, so that it can be held against an answer of DataFusion to the same SQL.

use std::collections::HashMap;

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use schemas::{Contract, Delta, RowLayout};
use views::{Graph, Relations, View, accept};

use crate::failure::Failure;

/// Sales: a day, a customer, an amount.
const SALES: &str = "name='sales'\nformat='rows'\nkey=['id']\ntenant='tenant_id'\ncolumns=[\
    {name='id',type='text',required=true},{name='tenant_id',type='text'},\
    {name='customer',type='bigint',required=true},{name='day',type='date',required=true},\
    {name='amount',type='decimal(12,2)',required=true}]";

/// The views by name.
pub const VIEWS: [(&str, &str); 4] = [
    (
        "revenue_by_day",
        "SELECT day, SUM(amount) AS revenue, COUNT(*) AS sales FROM sales GROUP BY day",
    ),
    ("buyers_by_day", "SELECT day, COUNT(DISTINCT customer) AS buyers FROM sales GROUP BY day"),
    ("largest_by_day", "SELECT day, MAX(amount) AS largest FROM sales GROUP BY day"),
    (
        "top_customers",
        "SELECT day, customer, revenue FROM (
           SELECT day, customer, revenue,
                  ROW_NUMBER() OVER (PARTITION BY day ORDER BY revenue DESC, customer) AS place
           FROM (SELECT day, customer, SUM(amount) AS revenue FROM sales GROUP BY day, customer)
         ) WHERE place <= 10",
    ),
];

/// The contract of sales.
///
/// # Errors
/// When it cannot be read.
pub fn contract() -> Result<Contract, Failure> {
    Contract::parse(SALES).map_err(|error| Failure::Worthless(error.to_string()))
}

/// The views at work, and what each holds.
#[derive(Debug)]
pub struct FourViews {
    views: Vec<View>,
    graph: Graph,
    held: Vec<HashMap<Vec<u8>, i64>>,
}

impl FourViews {
    /// Those with these names, over no rows; all where none is named.
    ///
    /// # Errors
    /// When one is refused.
    pub fn new(contract: &Contract, names: &[String]) -> Result<FourViews, Failure> {
        let mut relations = Relations::default();
        relations.add("sales", contract.columns.clone(), Some(contract.tenant));
        let refused = |refusal: views::Refusal| Failure::Worthless(refusal.to_string());
        let wanted = VIEWS
            .iter()
            .filter(|(name, _)| names.is_empty() || names.iter().any(|own| own == name));
        let views = wanted.map(|(name, text)| accept(name, text, &relations).map_err(refused));
        let views = views.collect::<Result<Vec<_>, _>>()?;
        let graph = Graph::with_results(&views, &relations, &|_| true).map_err(refused)?;
        let held = views.iter().map(|_| HashMap::new()).collect();
        Ok(FourViews { views, graph, held })
    }

    /// Has the views see changes of sales.
    ///
    /// # Errors
    /// When one of them cannot be.
    pub fn step(&mut self, delta: &Delta) -> Result<(), Failure> {
        let wrong = self.graph.step(&[(0, delta)]);
        wrong.first().map_or(Ok(()), |error| Err(Failure::Worthless(error.to_string())))
    }

    /// Adds up what the last step gave. Gives how many changes of rows that were.
    pub fn add_up(&mut self) -> usize {
        let mut given = 0;
        for (number, held) in self.held.iter_mut().enumerate() {
            let changes = self.graph.changes(number).and_then(|changes| changes.result);
            for (row, weight) in changes.into_iter().flat_map(Delta::iter) {
                given += 1;
                *held.entry(row.bytes().to_vec()).or_default() += weight;
            }
            held.retain(|_, weight| *weight != 0);
        }
        given
    }

    /// Rows, groups and values that they keep.
    pub fn kept(&self) -> usize {
        (0..self.views.len()).map(|view| self.graph.held(view)).sum()
    }

    /// The names of the views, each with what it asks.
    pub fn questions(&self) -> impl Iterator<Item = (&str, &str)> {
        self.views.iter().map(|view| (view.name(), view.sql()))
    }

    /// The rows that a view holds, each as a line, in order.
    ///
    /// # Errors
    /// When one is there less than never.
    pub fn lines(&self, view: usize) -> Result<Vec<String>, Failure> {
        let (Some(own), Some(held)) = (self.views.get(view), self.held.get(view)) else {
            return Ok(Vec::new());
        };
        let layout = RowLayout::new(&own.schema());
        let mut all = Vec::new();
        for (bytes, weight) in held {
            let times = usize::try_from(*weight).map_err(|_negative| {
                Failure::Worthless(format!("a row of {} is there {weight} times", own.name()))
            })?;
            all.extend(std::iter::repeat_n(layout.row(bytes), times));
        }
        let arrays = rows::arrays(&own.schema(), all.iter().copied())?;
        lines(&arrays)
    }
}

/// Rows of batches, each as a line, in order.
///
/// # Errors
/// When a value cannot be shown.
pub fn lines_of(batches: &[RecordBatch]) -> Result<Vec<String>, Failure> {
    let mut all = Vec::new();
    for batch in batches {
        all.extend(lines(batch.columns())?);
    }
    all.sort();
    Ok(all)
}

fn lines(arrays: &[arrow::array::ArrayRef]) -> Result<Vec<String>, Failure> {
    let rows = arrays.first().map_or(0, |array| array.len());
    let line = |row: usize| {
        let cells = arrays.iter().map(|array| array_value_to_string(array, row));
        Ok(cells.collect::<Result<Vec<_>, _>>()?.join(" | "))
    };
    let mut all = (0..rows).map(line).collect::<Result<Vec<_>, Failure>>()?;
    all.sort();
    Ok(all)
}
