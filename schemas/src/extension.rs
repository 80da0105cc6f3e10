//! Contracts that go on where another one was: which changes of a contract leave the rows of its table as they are.
//!
//! # Guarantees
//! - What extends another contract has all its columns, of the same types and in the same places, behind them at most
//!   columns that may be null, and the same key and tenant: every row of the one is a row of the other.
//!
//! # Non-guarantees
//! - Rows that were read before are not what the newer contract alone would make of their records.

use crate::contract::Contract;
use crate::event_field::EventField;

impl Contract {
    /// Whether the table of `before` goes on under this contract: records that came before stay as `before` has read them.
    pub fn extends(&self, before: &Contract) -> bool {
        let is_same_table = self.name == before.name
            && self.format == before.format
            && self.edition == before.edition
            && self.key == before.key
            && self.tenant == before.tenant;
        let held = before.columns.len();
        let has_all = self.columns.get(..held) == Some(&*before.columns);
        let reads_on = |(at, was): (usize, &EventField)| {
            let now = self.fields.get(at);
            now.is_some_and(|now| now == was || self.reads_on(at, now, was))
        };
        let all_read_on = before.fields.iter().enumerate().all(reads_on);
        is_same_table
            && has_all
            && all_read_on
            && (held..self.columns.len()).all(|at| self.is_free(at))
    }

    /// Whether a column is read on where it was read otherwise: from another field, or with a unit that there was none of
    /// before, so that its integers could not be read.
    fn reads_on(&self, at: usize, now: &EventField, was: &EventField) -> bool {
        let is_read = now.map.is_none() && was.map.is_none();
        let keeps_unit = was.unit.is_none() || was.unit == now.unit;
        let is_named =
            || [now, was].into_iter().any(|field| self.is_named(self.in_event(at, field)));
        is_read && keeps_unit && (was.from == now.from || !is_named())
    }

    /// Whether a column may be added: it may be null, and no other column is made of its field.
    fn is_free(&self, at: usize) -> bool {
        let is_optional = self.columns.get(at).is_some_and(|column| !column.required);
        let field = self.fields.get(at).filter(|field| field.map.is_none());
        is_optional && field.is_some_and(|field| !self.is_named(self.in_event(at, field)))
    }

    /// What a column is called in events.
    fn in_event<'a>(&'a self, at: usize, field: &'a EventField) -> &'a str {
        field.from.as_deref().unwrap_or_else(|| self.column_name(at))
    }

    /// Whether an expression may name a field: a column that reads it decides how it is typed there.
    fn is_named(&self, field: &str) -> bool {
        self.maps().any(|(_, map)| map.contains(field))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: &str = "name='t'\nformat='f'\nkey=['a']\ntenant='b'\n\
                          columns=[{name='a',type='text'},{name='b',type='text'},{name='at',type='timestamp'},\
                          {name='m',type='text',map='upper(x)'}]";

    fn of(from: &str, to: &str) -> Contract {
        Contract::parse(&BEFORE.replace(from, to)).unwrap()
    }

    #[test]
    fn what_reads_more_goes_on() {
        for (from, to) in [
            ("", ""),
            ("'upper(x)'}", "'upper(x)'},{name='c',type='decimal(4,2)'}"),
            (
                "'upper(x)'}",
                "'upper(x)'},{name='c',type='text',from='z',values=['x'],strict=true},{name='d',type='json'}",
            ),
            ("'timestamp'", "'timestamp',unit='ms'"),
            ("'timestamp'", "'timestamp',from='created_at'"),
            ("name='b',type='text'", "name='b',type='text',values=['x']"),
            ("key=", "lateness='2h'\nkey="),
        ] {
            assert!(of(from, to).extends(&of("", "")), "{to}");
        }
        let unit = of("'timestamp'", "'timestamp',unit='ms'");
        assert!(of("'timestamp'", "'timestamp',unit='ms',from='z'").extends(&unit));
    }

    #[test]
    fn what_makes_other_rows_of_what_was_read_does_not() {
        let unit = of("'timestamp'", "'timestamp',unit='ms'");
        assert!(!of("'timestamp'", "'timestamp',unit='us'").extends(&unit));
        assert!(!of("", "").extends(&unit), "a unit that is gone");
        assert!(!of("", "").extends(&of("'upper(x)'}", "'upper(x)'},{name='c',type='text'}")));
        for (from, to) in [
            ("name='t'", "name='u'"),
            ("format='f'", "format='g'"),
            ("key=['a']", "key=['b']"),
            ("tenant='b'", "tenant='a'"),
            ("key=", "edition=1\nkey="),
            ("name='a',type='text'", "name='a',type='json'"),
            ("name='b',type='text'", "name='b',type='text',required=true"),
            ("'upper(x)'", "'lower(x)'"),
            ("'upper(x)'", "'upper(x)',required=true"),
            ("'timestamp'},", "'timestamp'},{name='c',type='text'},"),
            ("'upper(x)'}", "'upper(x)'},{name='c',type='text',required=true}"),
            ("'upper(x)'}", "'upper(x)'},{name='c',type='text',map='x'}"),
            ("'upper(x)'}", "'upper(x)'},{name='x',type='json'}"),
            ("'timestamp'", "'timestamp',from='x'"),
        ] {
            assert!(!of(from, to).extends(&of("", "")), "{to}");
        }
        let read = of("'timestamp'", "'timestamp',from='x'");
        assert!(
            !of("'timestamp'", "'timestamp',from='z'").extends(&read),
            "a map names the field of before"
        );
    }
}
