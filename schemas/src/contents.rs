//! What a table holds that somebody should look at: values outside vocabularies, rows without a tenant,
//! values that were never sent; and the origins that it comes from.

use crate::time::Micros;

/// Rows with values outside the vocabulary of one column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outside {
    /// The column.
    pub column: String,
    /// How many rows have such a value.
    pub rows: u64,
    /// Whether records with one are dead letters from now on.
    pub is_strict: bool,
    /// What is allowed, in words.
    pub allowed: String,
    /// Some of the values, those of most rows first.
    pub values: Vec<OutsideValue>,
}

/// One value outside a vocabulary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutsideValue {
    /// The value, shortened.
    pub value: String,
    /// How many rows have it.
    pub rows: u64,
    /// ` (did you mean `x`?)`, or nothing.
    pub hint: String,
}

/// An origin of a table's rows: how far it was read, and why it stands still.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OriginState {
    /// The origin, as `_origin` of silver says it.
    pub origin: String,
    /// Source and topic of every topic by which it came.
    pub topics: Vec<(String, String)>,
    /// Where the change that was read last stands; `None` before there is one.
    pub position: Option<String>,
    /// The source's clock at that change, where it says one.
    pub source_at: Option<Micros>,
    /// The epoch that read it, and its clock.
    pub epoch: Option<u64>,
    /// See `epoch`.
    pub clock: Option<Micros>,
    /// Whether that epoch was a backlog or a snapshot.
    pub is_quiet: bool,
    /// Whether a snapshot of it is passing.
    pub has_snapshot: bool,
    /// Why it stands still, if it does.
    pub halted: Option<String>,
    /// Rows that a complete snapshot lacked, about which nobody has decided.
    pub lacking: u64,
    /// The same in words.
    pub lacking_why: Option<String>,
}

/// One table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Its contract.
    pub contract: String,
    /// Rows.
    pub rows: u64,
    /// The tenant column.
    pub tenant: String,
    /// Rows whose tenant is an empty text: they are those of the default tenant.
    pub empty_tenants: u64,
    /// Rows with a value that was never sent.
    pub unknown: u64,
    /// By column, how often an infinity came and was taken as null.
    pub infinite: Vec<(String, u64)>,
    /// By column that has any.
    pub outside: Vec<Outside>,
    /// How many origins there are.
    pub origins_total: u64,
    /// Some of them: those that wait for somebody first.
    pub origins: Vec<OriginState>,
}

impl Contents {
    /// What is to be looked at, a line each.
    pub fn lines(&self) -> Vec<String> {
        let infinite = self.infinite.iter();
        let infinite = infinite.map(|(column, times)| infinite_line(column, *times));
        self.outside_lines().into_iter().chain(self.tenant_line()).chain(infinite).collect()
    }

    /// The values that are not allowed, a line each.
    pub fn outside_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for Outside { column, allowed, values, rows: all, .. } in &self.outside {
            for OutsideValue { value, rows: own, hint } in values {
                let own = rows(*own);
                lines.push(format!(
                    "column `{column}`: {own} `{value}`, which is not {allowed}{hint}"
                ));
            }
            let listed: u64 = values.iter().map(|value| value.rows).sum();
            if *all > listed {
                let rest = rows(all - listed);
                lines
                    .push(format!("column `{column}`: {rest} other values that are not {allowed}"));
            }
        }
        lines
    }

    /// That there are empty tenants, where there are.
    pub fn tenant_line(&self) -> Option<String> {
        let (column, rows) = (&self.tenant, rows(self.empty_tenants));
        (self.empty_tenants > 0).then(|| {
            format!(
                "column `{column}`: {rows} an empty tenant, which is taken as null: the tenant `default`"
            )
        })
    }
}

fn rows(rows: u64) -> String {
    if rows == 1 { "1 row has".into() } else { format!("{rows} rows have") }
}

/// That a column had an infinity so many times, in words.
pub fn infinite_line(column: &str, times: u64) -> String {
    let times = if times == 1 { "once".to_owned() } else { format!("{times} times") };
    format!("column `{column}`: an infinity, or no number, came {times} and was taken as null")
}
