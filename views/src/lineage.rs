//! What the rows of a view are made of: its rows as SQL that carries with each the rows of contracts behind it.
//!
//! # Guarantees
//! - The rows are those of [`View::rows_sql`], each as often as there.
//! - A row of a join is made of a row of each side that matched; one of UNION ALL of a row of its own SELECT; one of
//!   DISTINCT, or of a GROUP BY in between, of all rows of its group; one that a LIMIT or ROW_NUMBER lets through of
//!   itself. Views that are read are looked through.
//! - One of a window function is said to be made of all rows of its partition, which is more than decide it:
//!   [`Lineage::is_exact`] is false then.

use schemas::ColumnType;

use crate::plan::{Node, Plan};
use crate::print::{self, quoted};
use crate::view::View;

/// The column of [`Lineage::groups`] that says of which group a row is.
pub const GROUP: &str = "weir group";

/// The rows of a contract, as SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The table.
    pub table: String,
    /// Expressions of text over its columns, which say which row it is.
    pub told: Vec<String>,
}

/// Rows as SQL, with columns that say what each is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traced {
    /// The SQL.
    pub sql: String,
    /// Those columns.
    pub slots: Vec<Slot>,
}

/// A column of text that says what a row is made of; null: not of such a one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Its name.
    pub column: String,
    /// What it names.
    pub of: Made,
}

/// What a row may be made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// A row of this contract: [`told`] gives the values of [`Origin::told`].
    Row(String),
    /// The rows of a group, which is the number of one of [`Lineage::groups`]: those that have the same in [`GROUP`].
    Group(usize),
}

/// What the rows of a view are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lineage {
    /// The rows of the view.
    pub rows: Traced,
    /// The rows of groups, with the column [`GROUP`]. What they are made of themselves are groups of lower numbers.
    pub groups: Vec<Traced>,
    /// Whether each row is made of what it is said to be made of; otherwise of some of it.
    pub is_exact: bool,
}

impl View {
    /// What its rows are made of, where `views` are those that it may read, and `origin` knows contracts. The SQL is
    /// over the tables of these, and over the relations that the view reads.
    pub fn lineage(&self, views: &[View], origin: &dyn Fn(&str) -> Option<Origin>) -> Lineage {
        let mut tracer = Tracer { views, origin, groups: Vec::new(), slots: 0, is_exact: true };
        let rows = tracer.trace(self.rows());
        Lineage { rows, groups: tracer.groups, is_exact: tracer.is_exact }
    }
}

/// The values that a text of [`Made::Row`] has; `None` where it is none.
pub fn told(mut text: &str) -> Option<Vec<Option<String>>> {
    let mut found = Vec::new();
    while !text.is_empty() {
        if let Some(rest) = text.strip_prefix('-') {
            found.push(None);
            text = rest;
            continue;
        }
        let (length, rest) = text.split_once(':')?;
        let (value, rest) = rest.split_at_checked(length.parse().ok()?)?;
        found.push(Some(value.to_owned()));
        text = rest;
    }
    Some(found)
}

/// SQL of a text that has these values, each of them text or null, and no others.
fn telling(values: &[String]) -> String {
    let one = |value: &String| {
        format!(
            "CASE WHEN {value} IS NULL THEN '-' ELSE \
             concat(CAST(octet_length({value}) AS VARCHAR), ':', {value}) END"
        )
    };
    let all: Vec<String> = values.iter().map(one).collect();
    if all.is_empty() { "''".to_owned() } else { format!("concat({})", all.join(", ")) }
}

/// The same of columns of a step.
fn key(plan: &Plan, columns: impl Iterator<Item = usize>) -> String {
    let text = |at: usize| {
        let column = plan.schema.get(at)?;
        let name = quoted(&column.name);
        Some(match column.kind {
            // Some literals of SQL are in nanoseconds, and text of an instant asks for its zone.
            ColumnType::Timestamp => format!(
                "arrow_cast(CAST(arrow_cast({name}, 'Timestamp(Microsecond, Some(\"UTC\"))') AS BIGINT), 'Utf8')"
            ),
            _ => format!("arrow_cast({name}, 'Utf8')"),
        })
    };
    telling(&columns.filter_map(text).collect::<Vec<_>>())
}

struct Tracer<'t> {
    views: &'t [View],
    origin: &'t dyn Fn(&str) -> Option<Origin>,
    groups: Vec<Traced>,
    slots: usize,
    is_exact: bool,
}

impl Tracer<'_> {
    fn trace(&mut self, plan: &Plan) -> Traced {
        match &plan.node {
            Node::Scan { relation } => self.scan(plan, relation),
            Node::Union { inputs } => self.union(plan, inputs),
            Node::Map { input, .. } | Node::TopN { input, .. } => {
                let input = self.trace(input);
                let sql =
                    print::step(plan, &[from(&input.sql)], &[through(&input.slots, print::INPUT)]);
                Traced { sql, ..input }
            }
            Node::Join { left, right, .. } => {
                let (left, right) = (self.trace(left), self.trace(right));
                let sources = [from(&left.sql), from(&right.sql)];
                let more = [through(&left.slots, print::LEFT), through(&right.slots, print::RIGHT)];
                let slots = [left.slots, right.slots].concat();
                Traced { sql: print::step(plan, &sources, &more), slots }
            }
            Node::Distinct { input } => {
                let slot = self.group(input, 0..plan.schema.len());
                let also = made(&slot, &key(input, 0..plan.schema.len()));
                let sql = print::step(plan, &[print::source(input)], &[also]);
                Traced { sql, slots: vec![slot] }
            }
            Node::Window { input, partition, .. } => {
                self.is_exact = false;
                let slot = self.group(input, partition.iter().copied());
                let also = made(&slot, &key(input, partition.iter().copied()));
                let sql = print::step(plan, &[print::source(input)], &[also]);
                Traced { sql, slots: vec![slot] }
            }
            Node::Group { input, keys, .. } => {
                let slot = self.group(input, keys.iter().copied());
                let also = made(&slot, &key(plan, 0..keys.len()));
                let sql =
                    format!("SELECT *{also} FROM {} AS {}", print::source(plan), print::INPUT);
                Traced { sql, slots: vec![slot] }
            }
        }
    }

    fn scan(&mut self, plan: &Plan, relation: &str) -> Traced {
        if let Some(view) = self.views.iter().find(|view| view.name() == relation) {
            return self.trace(view.plan());
        }
        let slot = self.slot(Made::Row(relation.to_owned()));
        let columns = plan.schema.iter().map(|column| quoted(&column.name));
        let columns = columns.collect::<Vec<_>>().join(", ");
        // What is no contract has no rows to tell.
        let Some(origin) = (self.origin)(relation) else {
            let sql = format!("SELECT {columns} FROM {}", quoted(relation));
            return Traced { sql, slots: Vec::new() };
        };
        let also = made(&slot, &telling(&origin.told));
        let sql = format!("SELECT {columns}{also} FROM {}", quoted(&origin.table));
        Traced { sql, slots: vec![slot] }
    }

    fn union(&mut self, plan: &Plan, inputs: &[Plan]) -> Traced {
        let inputs: Vec<Traced> = inputs.iter().map(|input| self.trace(input)).collect();
        let slots: Vec<Slot> = inputs.iter().flat_map(|input| input.slots.clone()).collect();
        let more = inputs.iter().map(|input| {
            let own = |slot: &Slot| match input.slots.contains(slot) {
                true => made(slot, &quoted(&slot.column)),
                false => made(slot, "CAST(NULL AS VARCHAR)"),
            };
            slots.iter().map(own).collect()
        });
        let sources: Vec<String> = inputs.iter().map(|input| from(&input.sql)).collect();
        let sql = print::step(plan, &sources, &more.collect::<Vec<String>>());
        Traced { sql, slots }
    }

    /// The rows of a step as those of groups that are equal in these columns.
    fn group(&mut self, input: &Plan, columns: impl Iterator<Item = usize>) -> Slot {
        let Traced { sql, slots } = self.trace(input);
        let (own, also) = (key(input, columns), through(&slots, print::INPUT));
        let (group, source) = (quoted(GROUP), from(&sql));
        let sql = format!("SELECT {own} AS {group}{also} FROM {source} AS {}", print::INPUT);
        self.groups.push(Traced { sql, slots });
        self.slot(Made::Group(self.groups.len() - 1))
    }

    fn slot(&mut self, of: Made) -> Slot {
        self.slots += 1;
        Slot { column: format!("weir made of {}", self.slots), of }
    }
}

fn from(sql: &str) -> String {
    format!("({sql})")
}

/// A slot in a SELECT.
fn made(slot: &Slot, of: &str) -> String {
    format!(", {of} AS {}", quoted(&slot.column))
}

/// Slots as they are, of what has this name.
fn through(slots: &[Slot], of: &str) -> String {
    slots.iter().map(|slot| made(slot, &format!("{of}.{}", quoted(&slot.column)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_told_apart_whatever_is_in_them() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(told(""), Some(vec![]));
        assert_eq!(told("-0:-"), Some(vec![None, some(""), None]));
        assert_eq!(
            told("4:a1:-6:\u{20ac}\u{20ac}"),
            Some(vec![some("a1:-"), some("\u{20ac}\u{20ac}")])
        );
        for wrong in ["x", "3:ab", "1:\u{20ac}", ":a", "1", "-1:"] {
            assert_eq!(told(wrong), None, "{wrong}");
        }
    }
}
