//! The tables that the demo fills: all contracts that are built in.
//!
//! Guarantees: one topic a table, named after it; the order of [`Table::ALL`] is that of lanes and never changes.

/// A table of the demo's database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Table {
    Orders,
    Costs,
    OrderItems,
    Customers,
    Subscriptions,
    Opportunities,
    Budgets,
    Activity,
    Runs,
    Uptime,
    FxRates,
}

impl Table {
    pub(crate) const ALL: [Table; 11] = [
        Table::Orders,
        Table::Costs,
        Table::OrderItems,
        Table::Customers,
        Table::Subscriptions,
        Table::Opportunities,
        Table::Budgets,
        Table::Activity,
        Table::Runs,
        Table::Uptime,
        Table::FxRates,
    ];

    /// Topic and name of the table, which is that of its contract.
    const fn names(self) -> (&'static str, &'static str) {
        match self {
            Table::Orders => ("demo.public.orders", "orders"),
            Table::Costs => ("demo.public.costs", "costs"),
            Table::OrderItems => ("demo.public.order_items", "order_items"),
            Table::Customers => ("demo.public.customers", "customers"),
            Table::Subscriptions => ("demo.public.subscriptions", "subscriptions"),
            Table::Opportunities => ("demo.public.opportunities", "opportunities"),
            Table::Budgets => ("demo.public.budgets", "budgets"),
            Table::Activity => ("demo.public.activity", "activity"),
            Table::Runs => ("demo.public.runs", "runs"),
            Table::Uptime => ("demo.public.uptime", "uptime"),
            Table::FxRates => ("demo.public.fx_rates", "fx_rates"),
        }
    }

    pub(crate) const fn topic(self) -> &'static str {
        self.names().0
    }

    pub(crate) const fn name(self) -> &'static str {
        self.names().1
    }

    /// Its place among all tables.
    pub(crate) const fn lane(self) -> u64 {
        self as u64
    }
}
