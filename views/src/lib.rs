//! SQL views over relations, kept up to date by the changes of their rows.
//!
//! A view is one SELECT in DataFusion's SQL. DataFusion parses it and names its types, once; what it asks
//! for becomes operators on changes of rows, and anything else is refused when it is read. What is accepted
//! is in `docs/reference/views.md`.
//!
//! # Guarantees
//! - What a view holds after any changes of its inputs is what its SQL gives over what they hold then, in
//!   type and value, rows that come several times included.
//! - What is not accepted is a [`Refusal`] with code, place and advice; no view is kept approximately.
//! - A row that makes an expression fail is left out, and said with the row; all others are kept.
//! - Views that read views see the same changes in the same step.
//!
//! # Non-guarantees
//! - A view has no order. Rows that an ORDER BY of a LIMIT or of ROW_NUMBER leaves equal go by their other
//!   columns, in the order of these.
//! - State lives in memory.

mod compared;
#[cfg(feature = "defects")]
pub mod defect;
mod explain;
mod graph;
pub mod lineage;
mod lower;
mod names;
mod operator;
pub mod percentile;
mod plan;
mod print;
mod refusal;
mod relations;
mod sql;
mod view;

pub use compared::Compared;
pub use explain::{Explain, NodeCost};
pub use graph::{Changes, Graph, Needed};
pub use names::period;
pub use operator::{
    Call, Distinct, Function, Group, Join, JoinKind, Map, Operator, SortBy, StepError, TopN, Union,
    Window, WindowFunction,
};
pub use refusal::{Code, Refusal};
pub use relations::{Relation, Relations};
pub use view::{Role, View, ViewColumn, accept, accept_all, canonical, check_all};

#[cfg(test)]
mod tests;
