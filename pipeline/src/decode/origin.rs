//! The table that an event is of, as one text.
//!
//! An origin is the logical server, database, schema and table of the event's source block, joined by
//! dots: `shop.orders_db.public.orders`. A part that has a dot or a quote in it stands in double quotes,
//! so that two tables never have one origin. The number of the server is no part of it: another one takes
//! over, and the tables stay what they are.

use super::column;
use super::source_block::Source;

/// The origin of the event before, which is most often that of the next one.
#[derive(Debug, Default)]
pub(crate) struct OriginBuffers {
    /// The parts as they stand in the event.
    raw: Vec<String>,
    text: String,
}

impl OriginBuffers {
    /// The origin that `source`, a block of the event `text`, names; `None` when it names no table.
    pub(super) fn of(&mut self, source: &Source, text: &str) -> Option<&str> {
        source.table.as_ref()?;
        let parts = [&source.name, &source.database, &source.schema, &source.table];
        let parts = parts.map(|part| part.clone().and_then(|piece| text.get(piece)).unwrap_or(""));
        if self.raw.as_slice() != parts {
            self.raw = parts.map(str::to_owned).into();
            self.text = joined(parts);
        }
        (!self.text.is_empty()).then_some(self.text.as_str())
    }
}

/// The origin of these parts, given as JSON; empty when the last, the table, is none.
fn joined(raw: [&str; 4]) -> String {
    let parts = raw.map(|raw| column::key_text(raw).unwrap_or_default());
    if parts.last().is_none_or(|table| table.is_empty()) {
        return String::new();
    }
    let parts = parts.iter().filter(|part| !part.is_empty());
    let quoted = parts.map(|part| match part.contains(['.', '"']) {
        true => format!("\"{}\"", part.replace('"', "\"\"")),
        false => part.to_string(),
    });
    quoted.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_joined_and_told_apart() {
        for (raw, origin) in [
            ([r#""shop""#, r#""db""#, r#""public""#, r#""orders""#], "shop.db.public.orders"),
            ([r#""shop""#, r#""db""#, "", r#""orders""#], "shop.db.orders"),
            ([r#""shop""#, r#""db""#, "null", r#""orders""#], "shop.db.orders"),
            ([r#""a.b""#, r#""c""#, "", r#""d""#], r#""a.b".c.d"#),
            ([r#""a""#, r#""b\"c""#, "", r#""d""#], r#"a."b""c".d"#),
            ([r#""a""#, r#""b""#, "", r#""""#], ""),
        ] {
            assert_eq!(joined(raw), origin);
        }
    }
}
