//! Names for tables and columns, from those of files, topics and fields.

use std::collections::BTreeSet;

use schemas::contract::ADDED_COLUMNS;

/// The name of a table, from that of a file or topic: `shop.public.orders` is `orders`, `2024-09.csv` is
/// `t_2024_09`.
pub(super) fn table(name: &str) -> String {
    const ENDINGS: [&str; 7] = [".gz", ".csv", ".parquet", ".ndjson", ".jsonl", ".json", ".txt"];
    let mut stem = name;
    for ending in ENDINGS {
        stem = stem.strip_suffix(ending).unwrap_or(stem);
    }
    let last = stem.rsplit('.').find(|part| !part.is_empty()).unwrap_or("table");
    let plain = snake(last);
    let plain = plain.trim_matches('_');
    match plain.chars().next() {
        None => "table".to_owned(),
        Some(first) if first.is_ascii_digit() => format!("t_{plain}"),
        Some(_) => plain.to_owned(),
    }
}

/// Names of columns, of which no two are alike.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeSet<String>);

impl Names {
    /// The name of a column, from that of its field, in snake case.
    pub(super) fn column(&mut self, field: &str) -> String {
        let plain = snake(field);
        let plain = if plain.trim_matches('_').is_empty() { "column".to_owned() } else { plain };
        let is_taken = ADDED_COLUMNS.contains(&plain.as_str());
        let plain = if is_taken { format!("source{plain}") } else { plain };
        let mut name = plain.clone();
        let mut number = 2_u32;
        while !self.0.insert(name.clone()) {
            name = format!("{plain}_{number}");
            number += 1;
        }
        name
    }
}

/// `ChargePeriodStart` and `charge period start` are `charge_period_start`, `SKUId` is `sku_id`.
fn snake(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    let mut out = String::new();
    for (at, &letter) in letters.iter().enumerate() {
        if !letter.is_ascii_alphanumeric() {
            out.push('_');
            continue;
        }
        let before = at.checked_sub(1).and_then(|at| letters.get(at));
        let after = letters.get(at + 1);
        let begins = before.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
            || (before.is_some_and(char::is_ascii_uppercase)
                && after.is_some_and(char::is_ascii_lowercase));
        if letter.is_ascii_uppercase() && begins {
            out.push('_');
        }
        out.push(letter.to_ascii_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_tables_and_columns() {
        for (name, expected) in [
            ("shop.public.orders", "orders"),
            ("bill.csv.gz", "bill"),
            ("2024-09.parquet", "t_2024_09"),
            ("FocusExport.csv", "focus_export"),
            ("...", "table"),
            ("_x", "x"),
        ] {
            assert_eq!(table(name), expected);
        }
        let mut names = Names::default();
        for (field, expected) in [
            ("BilledCost", "billed_cost"),
            ("x_ChargeId", "x_charge_id"),
            ("SKUId", "sku_id"),
            ("skuid", "skuid"),
            ("charge period", "charge_period"),
            ("ChargePeriod", "charge_period_2"),
            ("_epoch", "source_epoch"),
            ("päckchen", "p_ckchen"),
            ("%", "column"),
            ("order_id", "order_id"),
        ] {
            assert_eq!(names.column(field), expected);
        }
    }
}
