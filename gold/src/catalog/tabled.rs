//! Which views have tables.
//!
//! # Guarantees
//! - A view is the user's own unless one of this name and meaning comes with Weir.

use std::collections::BTreeMap;

use views::View;

use super::Catalog;
use crate::view_file;
use crate::view_table::{self, ViewTables};

impl Catalog {
    /// The same with tables of some of the views.
    #[must_use]
    pub fn with_view_tables(mut self, view_tables: ViewTables) -> Catalog {
        let coming: BTreeMap<String, Option<String>> = match view_tables {
            ViewTables::Own => {
                let files = view_file::built_in().into_iter();
                files.map(|file| (file.name, views::canonical(&file.text))).collect()
            }
            ViewTables::None | ViewTables::All => BTreeMap::new(),
        };
        let comes = |view: &View| {
            let text = coming.get(view.name()).and_then(Option::as_deref);
            text == Some(view.sql())
        };
        let is_wanted = |view: &&View| view_tables != ViewTables::None && !comes(view);
        let wanted = self.views.iter().filter(is_wanted);
        let tabled = wanted.filter(|view| view_table::columns(view).is_ok());
        self.tabled = tabled.map(|view| view.name().to_owned()).collect();
        self.view_tables = view_tables;
        self
    }

    /// Of which views there are to be tables.
    pub fn view_tables(&self) -> ViewTables {
        self.view_tables
    }

    /// Whether a view has a table.
    pub fn has_table(&self, view: &View) -> bool {
        self.tabled.contains(view.name())
    }

    /// The views that have tables, each behind those that it reads.
    pub fn tabled(&self) -> impl Iterator<Item = &View> {
        self.views.iter().filter(|view| self.has_table(view))
    }
}
