//! Rows of all other tables: customers and what they subscribe to, sales in the making, budgets, what users do, runs
//! of agents, checks of services, exchange rates.
//!
//! Guarantees: what a row refers to exists when it is written: a customer signs up before it subscribes or negotiates.
//! A row's instants are at or before the change that writes it.

use super::tables::Table;

/// One state of a row. Equal ids of a table are one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fact {
    pub(crate) id: u64,
    /// None where the row is nobody's.
    pub(crate) tenant: Option<usize>,
    /// Whether this is the row's first state.
    pub(crate) is_new: bool,
    pub(crate) row: Row,
}

/// A customer, by tenant and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Customer {
    pub(crate) tenant: usize,
    pub(crate) number: u64,
}

/// The columns of a row that are its own. Amounts have four decimals.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Row {
    Customer {
        customer: Customer,
        country: &'static str,
        segment: &'static str,
        signed_up_at: i64,
    },
    Subscription {
        customer: Customer,
        plan: &'static str,
        status: &'static str,
        mrr: i64,
        started_at: i64,
        ended_at: Option<i64>,
    },
    Opportunity {
        customer: Customer,
        stage: &'static str,
        amount: i64,
        /// Permille.
        probability: i64,
        opened_at: i64,
        closed_at: Option<i64>,
    },
    Budget {
        service: &'static str,
        amount: i64,
        from: i64,
        to: i64,
    },
    Activity {
        user: u64,
        kind: &'static str,
        campaign: Option<&'static str>,
        occurred_at: i64,
    },
    Run {
        agent: u64,
        user: u64,
        status: &'static str,
        /// Milliseconds; none while it runs.
        took: Option<i64>,
        started_at: i64,
    },
    Check {
        service: &'static str,
        up: bool,
        checked_at: i64,
    },
    Rate {
        from: &'static str,
        to: &'static str,
        /// Days since 1970-01-01.
        day: i64,
        /// Ten decimals.
        rate: i64,
    },
}

impl Row {
    pub(crate) fn table(&self) -> Table {
        match self {
            Row::Customer { .. } => Table::Customers,
            Row::Subscription { .. } => Table::Subscriptions,
            Row::Opportunity { .. } => Table::Opportunities,
            Row::Budget { .. } => Table::Budgets,
            Row::Activity { .. } => Table::Activity,
            Row::Run { .. } => Table::Runs,
            Row::Check { .. } => Table::Uptime,
            Row::Rate { .. } => Table::FxRates,
        }
    }
}
