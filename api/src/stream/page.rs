//! What the server says, as text: frames, and pages of cells and alerts. Pure.
//!
//! # Guarantees
//! - A page has at most [`PAGE_CELLS`] cells and not much more than [`PAGE_BYTES`], so that no frame outgrows the buffer of a socket.
//! - The offset of a page counts only when no page with `more` precedes the next one: all pages of an
//!   update but the last say `"more":true`.

use axum::extract::ws::{Message, Utf8Bytes};
use schemas::{EpochId, Micros, Unit};

use crate::compare::Compared;
use crate::store::{ServedAlert, ServedCell, StreamPosition};
use crate::wire::{AlertView, Cell, ComparedView, json};

/// Cells or alerts in one page.
pub(crate) const PAGE_CELLS: usize = 500;

/// Bytes after which a page ends, whatever the number of cells. A client that reads as slowly as 10 KB
/// in a second takes such a frame in time.
const PAGE_BYTES: usize = 64 << 10;

/// Subject of a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Channel {
    /// KPI cells.
    Kpi,
    /// Alerts.
    Alerts,
}

/// A reached epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Mark {
    /// Its number.
    pub(crate) offset: EpochId,
    /// Its clock.
    pub(crate) as_of: Micros,
}

impl From<&StreamPosition> for Mark {
    fn from(position: &StreamPosition) -> Mark {
        Mark { offset: position.offset, as_of: position.as_of }
    }
}

/// One frame without its subscription's id: everybody with the same filter shares it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    kind: &'static str,
    tail: Box<str>,
}

impl Page {
    /// The frame for one subscription.
    pub(crate) fn message(&self, id: u64) -> Message {
        let Page { kind, tail } = self;
        let mut frame = String::with_capacity(tail.len() + 64);
        for part in ["{\"type\":\"", kind, "\",\"id\":", &id.to_string(), ",", tail] {
            frame.push_str(part);
        }
        text(frame)
    }

    /// Its length without the head.
    pub(crate) fn len(&self) -> usize {
        self.tail.len()
    }
}

/// A text frame.
pub(crate) fn text(text: String) -> Message {
    Message::Text(Utf8Bytes::from(text))
}

/// A JSON string.
pub(crate) fn quoted(text: &str) -> String {
    json(&text)
}

/// One changed cell as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// Its new value.
    Upsert(&'a str),
    /// Its name: it is gone.
    Delete(&'a str),
}

impl<'a> Piece<'a> {
    fn upsert(self) -> Option<&'a str> {
        match self {
            Piece::Upsert(text) => Some(text),
            Piece::Delete(_) => None,
        }
    }

    fn delete(self) -> Option<&'a str> {
        match self {
            Piece::Delete(text) => Some(text),
            Piece::Upsert(_) => None,
        }
    }

    fn text(self) -> &'a str {
        match self {
            Piece::Upsert(text) | Piece::Delete(text) => text,
        }
    }
}

/// A cell as text.
pub(crate) fn upsert(cell: ServedCell<'_>, unit: Unit) -> String {
    json(&Cell::served(cell, unit))
}

/// A cell as text, with what it is compared with.
pub(crate) fn compared(cell: ServedCell<'_>, unit: Unit, compared: Option<Compared>) -> String {
    #[derive(serde::Serialize)]
    struct Both<'a> {
        #[serde(flatten)]
        cell: Cell<'a>,
        #[serde(flatten)]
        compared: ComparedView,
    }
    let compared = ComparedView::new(compared);
    json(&Both { cell: Cell::served(cell, unit), compared })
}

/// An alert as text.
pub(crate) fn alert(alert: &ServedAlert) -> String {
    json(&AlertView::new(&alert.alert, &alert.answer))
}

/// Adds texts with commas between them.
fn push_list<'a>(list: &mut String, texts: impl Iterator<Item = &'a str>) {
    for (at, text) in texts.enumerate() {
        if at > 0 {
            list.push(',');
        }
        list.push_str(text);
    }
}

/// Whether a page with so many items of so many bytes takes no more.
fn is_full(count: usize, bytes: usize) -> bool {
    count >= PAGE_CELLS || bytes >= PAGE_BYTES
}

/// The pages of an update; none without a change.
pub(crate) fn updates<'a>(to: Mark, pieces: impl Iterator<Item = Piece<'a>>) -> Vec<Page> {
    let mut pages = Vec::new();
    let Mark { offset, as_of } = to;
    let head = format!("\"offset\":{offset},\"as_of\":\"{as_of}\",\"upserts\":[");
    let (mut own, mut bytes): (Vec<Piece<'a>>, usize) = (Vec::new(), 0);
    let page = |own: &[Piece<'a>], bytes: usize, more: &str| {
        let mut tail = String::with_capacity(head.len() + bytes + own.len() + 40);
        tail.push_str(&head);
        push_list(&mut tail, own.iter().filter_map(|piece| piece.upsert()));
        tail.push_str("],\"deletes\":[");
        push_list(&mut tail, own.iter().filter_map(|piece| piece.delete()));
        for part in ["]", more, "}"] {
            tail.push_str(part);
        }
        Page { kind: "kpi_update", tail: tail.into() }
    };
    for piece in pieces {
        if is_full(own.len(), bytes) {
            pages.push(page(&own, bytes, ",\"more\":true"));
            own.clear();
            bytes = 0;
        }
        bytes += piece.text().len();
        own.push(piece);
    }
    if !own.is_empty() {
        pages.push(page(&own, bytes, ""));
    }
    pages
}

/// The pages of a snapshot; one of nothing. `field` is `upserts` or `alerts`.
pub(crate) fn snapshot(
    position: &StreamPosition,
    field: &str,
    items: impl Iterator<Item = String>,
) -> Vec<Page> {
    let mut pages = Vec::new();
    let (mut list, mut count) = (String::new(), 0);
    let generation = quoted(&position.generation);
    let Mark { offset, as_of } = Mark::from(position);
    let page = |list: &mut String, more: bool| {
        let list = std::mem::take(list);
        let tail = format!(
            "\"generation\":{generation},\"offset\":{offset},\"as_of\":\"{as_of}\",\
             \"{field}\":[{list}],\"more\":{more}}}"
        );
        Page { kind: "snapshot", tail: tail.into() }
    };
    for item in items {
        if is_full(count, list.len()) {
            pages.push(page(&mut list, true));
            count = 0;
        }
        if count > 0 {
            list.push(',');
        }
        count += 1;
        list.push_str(&item);
    }
    pages.push(page(&mut list, false));
    pages
}

/// One page for each alert, given with the epochs of their last change, ascending.
pub(crate) fn alerts(alerts: &[(EpochId, &str)]) -> Vec<Page> {
    let next = alerts.iter().skip(1).map(|(epoch, _)| Some(*epoch)).chain([None]);
    let page = |((offset, text), next): (&(EpochId, &str), Option<EpochId>)| {
        let more = if next == Some(*offset) { ",\"more\":true" } else { "" };
        let tail = format!("\"offset\":{offset},\"alert\":{text}{more}}}");
        Page { kind: "anomaly_alert", tail: tail.into() }
    };
    alerts.iter().zip(next).map(page).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn json(page: &Page) -> serde_json::Value {
        let Message::Text(text) = page.message(7) else { panic!("not text") };
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn long_updates_are_paged_and_only_the_last_page_counts() {
        let to = Mark { offset: 9, as_of: Micros(0) };
        let texts: Vec<String> = (0..1_201).map(|n| n.to_string()).collect();
        let pieces = texts.iter().enumerate().map(|(n, text)| match n % 3 {
            0 => Piece::Delete(text),
            _ => Piece::Upsert(text),
        });
        let pages: Vec<_> = updates(to, pieces).iter().map(json).collect();
        assert_eq!(pages.len(), 3);
        let more: Vec<bool> = pages.iter().map(|page| page["more"] == true).collect();
        assert_eq!(more, [true, true, false]);
        let count = |field: &str| -> usize {
            pages.iter().map(|page| page[field].as_array().unwrap().len()).sum()
        };
        assert_eq!((count("upserts"), count("deletes")), (800, 401));
        assert!(updates(to, std::iter::empty()).is_empty());
    }

    #[test]
    fn alerts_of_one_epoch_belong_together() {
        let pages = alerts(&[(3, "1"), (3, "2"), (5, "3")]);
        let pages: Vec<_> = pages.iter().map(json).collect();
        let told: Vec<_> =
            pages.iter().map(|page| (page["offset"].as_u64(), &page["more"])).collect();
        let (yes, no) = (serde_json::json!(true), serde_json::Value::Null);
        assert_eq!(told, [(Some(3), &yes), (Some(3), &no), (Some(5), &no)]);
    }

    #[test]
    fn a_snapshot_of_nothing_is_one_page() {
        let position = StreamPosition {
            generation: "g\"1".into(),
            offset: 4,
            as_of: Micros(0),
            degraded: Arc::default(),
        };
        let pages = snapshot(&position, "upserts", std::iter::empty());
        let expected = serde_json::json!({
            "type": "snapshot", "id": 7, "generation": "g\"1", "offset": 4,
            "as_of": "1970-01-01T00:00:00Z", "upserts": [], "more": false,
        });
        assert_eq!(pages.iter().map(json).collect::<Vec<_>>(), [expected]);
    }
}
