//! Columns that a tree compares with texts, for equality.

use crate::node::{Node, Test, Typed};
use crate::value::Value;

/// Adds each column with the text that it is compared with.
pub(crate) fn find<'t>(tree: &'t Typed, into: &mut Vec<(usize, &'t str)>) {
    match &tree.node {
        Node::Compare { test: Test::Equal | Test::NotEqual, left, right } => {
            into.extend(pair(left, right).or_else(|| pair(right, left)));
        }
        Node::In { operand, list, .. } => {
            into.extend(list.iter().filter_map(|item| pair(operand, item)));
        }
        Node::Case { operand: Some(operand), branches, .. } => {
            into.extend(branches.iter().filter_map(|(when, _)| pair(operand, when)));
        }
        _ => {}
    }
    tree.children().into_iter().for_each(|child| find(child, into));
}

fn pair<'t>(column: &Typed, literal: &'t Typed) -> Option<(usize, &'t str)> {
    match literal.as_literal()? {
        Value::Text(text) => Some((column.as_column()?, text)),
        _ => None,
    }
}
