//! Planted defects: wrong on purpose behind a switch, so that tests can prove that they would fail.
//! Only compiled with the feature `defects`, which no release has.

use std::sync::Mutex;

use schemas::Delta;

use crate::plan::Node;

static PLANTED: Mutex<String> = Mutex::new(String::new());

/// Plants the defect with this name: in steps of this kind (`map`, `union`, `distinct`, `join`, `group`,
/// `top_n`, `window`), rows that go stay. Any other name removes it.
pub fn set(name: &str) {
    if let Ok(mut planted) = PLANTED.lock() {
        name.clone_into(&mut planted);
    }
}

/// The kind of a step, by the name of its defect.
pub(crate) fn kind(node: &Node) -> &'static str {
    match node {
        Node::Scan { .. } | Node::Map { .. } => "map",
        Node::Union { .. } => "union",
        Node::Distinct { .. } => "distinct",
        Node::Join { .. } => "join",
        Node::Group { .. } => "group",
        Node::TopN { .. } => "top_n",
        Node::Window { .. } => "window",
    }
}

/// Spoils what a step of a kind gives, where that is planted.
pub(crate) fn spoil(kind: &str, out: &mut Delta) {
    if PLANTED.lock().is_ok_and(|planted| *planted == kind) {
        let all = out.clone();
        out.clear();
        all.iter().filter(|(_, weight)| *weight > 0).for_each(|(row, weight)| out.add(row, weight));
    }
}
