//! The relations that views may read: contracts, and other views.

use schemas::RowSchema;
use schemas::nearest::nearest;

use crate::view::View;

/// The name of the relation of periods, which is built in.
pub(crate) const PERIODS: &str = "periods";

/// What a view may read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Its name.
    pub name: String,
    /// Its columns.
    pub schema: RowSchema,
    /// Index of the tenant column, where it has one.
    pub tenant: Option<usize>,
    /// Whether it is a view with a period, which holds something else at each grain.
    pub has_period: bool,
}

/// The relations there are, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Relations(Vec<Relation>);

impl Relations {
    /// Adds a relation. Its number is how many were added before.
    pub fn add(&mut self, name: impl Into<String>, schema: RowSchema, tenant: Option<usize>) {
        self.0.push(Relation { name: name.into(), schema, tenant, has_period: false });
    }

    /// Adds what a view holds.
    pub fn add_view(&mut self, view: &View) {
        let tenant = view.tenant();
        let has_period = view.period().is_some();
        let (name, schema) = (view.name().to_owned(), view.schema());
        self.0.push(Relation { name, schema, tenant, has_period });
    }

    /// The relation of this name.
    pub fn find(&self, name: &str) -> Option<&Relation> {
        self.0.iter().find(|relation| relation.name == name)
    }

    /// The number of the relation of this name.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.0.iter().position(|relation| relation.name == name)
    }

    /// All of them, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = &Relation> {
        self.0.iter()
    }

    /// A hint at the name that was meant.
    pub(crate) fn hint(&self, name: &str) -> String {
        nearest(name, self.0.iter().map(|relation| relation.name.as_str()))
    }
}
