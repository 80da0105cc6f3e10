//! What a client holds, and the rules that every frame must keep. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Figures, split};
use crate::error::Error;

/// The id of the only subscription.
pub(super) const ID: u64 = 1;

/// Differences that a message names.
const SHOWN: usize = 5;

/// What the stream has told.
#[derive(Debug, Default)]
pub struct View {
    cells: BTreeMap<String, String>,
    generation: String,
    /// What it has everything up to; none without a whole snapshot.
    reached: Option<u64>,
    as_of: String,
    /// An unfinished snapshot or update.
    pending: Option<u64>,
    /// Cells in it.
    paged: BTreeSet<String>,
    /// It asked to go on and has no answer yet.
    is_asking: bool,
    pub(super) figures: Figures,
}

impl View {
    /// What to ask for after a break.
    pub(super) fn since(&self) -> Option<Value> {
        let offset = self.reached?;
        Some(json!({"generation": self.generation, "offset": offset}))
    }

    /// A new connection.
    pub(super) fn begin(&mut self, asks: bool) {
        (self.pending, self.is_asking) = (None, asks);
        self.paged.clear();
        if !asks {
            self.cells.clear();
        }
    }

    /// The offset that it has everything up to, unless it is amid an update.
    pub fn reached(&self) -> Option<u64> {
        self.reached.filter(|_| self.pending.is_none())
    }

    pub(super) fn figures(&self) -> Figures {
        let cells = self.cells.len() as u64;
        Figures { cells, offset: self.reached.unwrap_or(0), ..self.figures.clone() }
    }

    /// Takes a frame; whether it carried cells.
    pub(super) fn take(&mut self, frame: &Value) -> Result<bool, Error> {
        let wrong = |what: String| Error::new(format!("{what}: {}", shorten(frame)));
        let offset = frame["offset"].as_u64();
        match (frame["type"].as_str(), offset) {
            (Some("connected"), Some(_)) => Ok(false),
            (Some("subscribed"), Some(offset)) => {
                self.take_answer(frame, offset).map_err(wrong)?;
                Ok(false)
            }
            (Some("snapshot"), Some(offset)) => {
                self.take_snapshot(frame, offset).map_err(wrong)?;
                Ok(true)
            }
            (Some("kpi_update"), Some(offset)) => {
                self.take_update(frame, offset).map_err(wrong)?;
                Ok(true)
            }
            (Some("progress"), Some(offset)) => {
                self.take_progress(frame, offset).map_err(wrong)?;
                Ok(false)
            }
            (Some("disconnect" | "refreshed"), _) => Ok(false),
            _ => Err(wrong("no frame that was to be expected".into())),
        }
    }

    fn take_answer(&mut self, frame: &Value, offset: u64) -> Result<(), String> {
        if !std::mem::take(&mut self.is_asking) {
            return Err("an answer without a question".into());
        }
        if frame["recovered"] == true {
            if self.reached != Some(offset) {
                return Err(format!("it goes on elsewhere than at {:?}", self.reached));
            }
            self.figures.resumed += 1;
        } else {
            self.figures.restarted += 1;
            self.reached = None;
            self.cells.clear();
            self.as_of.clear();
        }
        Ok(())
    }

    fn take_snapshot(&mut self, frame: &Value, offset: u64) -> Result<(), String> {
        if self.reached.is_some() || self.is_asking {
            return Err("a second snapshot".into());
        }
        if self.pending.is_some_and(|pending| pending != offset) {
            return Err("pages of one snapshot have several offsets".into());
        }
        self.check(frame)?;
        for cell in list(frame, "upserts")? {
            let (name, says) = split(cell);
            if self.cells.insert(name, says).is_some() {
                return Err(format!("a cell is there twice, {cell}"));
            }
        }
        self.pending = Some(offset);
        if frame["more"] == false {
            frame["generation"].as_str().unwrap_or_default().clone_into(&mut self.generation);
            (self.reached, self.pending) = (Some(offset), None);
            self.figures.snapshots += 1;
        }
        Ok(())
    }

    fn take_update(&mut self, frame: &Value, offset: u64) -> Result<(), String> {
        let reached = self.reached.ok_or("an update before the snapshot")?;
        match self.pending {
            _ if self.is_asking => return Err("an update before the answer".into()),
            Some(pending) if pending != offset => return Err("an update amid another one".into()),
            None if offset <= reached => return Err(format!("not after {reached}")),
            _ => {}
        }
        self.check(frame)?;
        let (upserts, deletes) = (list(frame, "upserts")?, list(frame, "deletes")?);
        if upserts.is_empty() && deletes.is_empty() {
            return Err("an update of nothing".into());
        }
        for (cell, is_gone) in
            upserts.iter().map(|cell| (cell, false)).chain(deletes.iter().map(|cell| (cell, true)))
        {
            self.take_cell(cell, is_gone)?;
        }
        self.figures.updates += 1;
        self.pending = Some(offset);
        if frame["more"] != true {
            (self.reached, self.pending) = (Some(offset), None);
            self.paged.clear();
        }
        Ok(())
    }

    fn take_cell(&mut self, cell: &Value, is_gone: bool) -> Result<(), String> {
        let (name, says) = split(cell);
        if !self.paged.insert(name.clone()) {
            return Err(format!("a cell is there twice, {cell}"));
        }
        if is_gone {
            self.figures.deletes += 1;
            self.figures.unknown_deletes += u64::from(self.cells.remove(&name).is_none());
        } else {
            self.figures.upserts += 1;
            let is_same = self.cells.get(&name) == Some(&says);
            self.figures.unchanged_upserts += u64::from(is_same);
            self.cells.insert(name, says);
        }
        Ok(())
    }

    fn take_progress(&mut self, frame: &Value, offset: u64) -> Result<(), String> {
        if self.pending.is_some() {
            return Err("progress amid an update".into());
        }
        self.figures.progress += 1;
        // It says nothing of a subscription that has not been answered.
        let Some(reached) = self.reached.filter(|_| !self.is_asking) else { return Ok(()) };
        if offset < reached {
            return Err(format!("progress back from {reached}"));
        }
        self.check_clock(frame)?;
        self.reached = Some(offset);
        Ok(())
    }

    fn check(&mut self, frame: &Value) -> Result<(), String> {
        if frame["id"] != ID {
            return Err("it is of another subscription".into());
        }
        self.check_clock(frame)
    }

    /// Clocks ascend. RFC 3339 texts of different precision do not compare as texts.
    fn check_clock(&mut self, frame: &Value) -> Result<(), String> {
        let as_of = frame["as_of"].as_str().ok_or("there is no `as_of`")?;
        let parse = schemas::Micros::parse;
        if parse(as_of).is_none() || parse(as_of) < parse(&self.as_of) {
            return Err(format!("its clock is not after `{}`", self.as_of));
        }
        as_of.clone_into(&mut self.as_of);
        Ok(())
    }

    /// Compares with what REST answered at an epoch at which this stands.
    pub(super) fn compare(
        &mut self,
        epoch: u64,
        other: &BTreeMap<String, String>,
    ) -> Result<(), Error> {
        self.figures.compared += 1;
        if self.cells == *other {
            return Ok(());
        }
        let names: BTreeSet<&String> = self.cells.keys().chain(other.keys()).collect();
        let wrong: Vec<String> = names
            .into_iter()
            .filter(|name| self.cells.get(*name) != other.get(*name))
            .map(|name| {
                format!("{name}: stream {:?}, REST {:?}", self.cells.get(name), other.get(name))
            })
            .collect();
        let shown: Vec<&str> = wrong.iter().take(SHOWN).map(String::as_str).collect();
        Err(Error::new(format!(
            "{} cells differ from REST at epoch {epoch}:\n{}",
            wrong.len(),
            shown.join("\n")
        )))
    }
}

fn list<'a>(frame: &'a Value, field: &str) -> Result<&'a Vec<Value>, String> {
    frame[field].as_array().ok_or_else(|| format!("there is no list `{field}`"))
}

fn shorten(frame: &Value) -> String {
    frame.to_string().chars().take(600).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "2026-11-21T10:00:00Z";

    fn cell(currency: &str, value: &str) -> Value {
        json!({
            "kpi": "orders", "tenant": "t1", "dims": {"currency": currency}, "grain": "day",
            "period_start": AT, "value": value, "unit": "count", "status": "ok",
        })
    }

    fn snapshot(offset: u64, cells: &[Value], more: bool) -> Value {
        json!({"type": "snapshot", "id": 1, "generation": "g", "offset": offset, "as_of": AT,
            "upserts": cells, "more": more})
    }

    fn update(offset: u64, upserts: &[Value], deletes: &[Value]) -> Value {
        json!({"type": "kpi_update", "id": 1, "offset": offset, "as_of": AT, "upserts": upserts,
            "deletes": deletes})
    }

    fn progress(offset: u64) -> Value {
        json!({"type": "progress", "offset": offset, "as_of": AT})
    }

    fn answer(offset: u64, recovered: bool) -> Value {
        json!({"type": "subscribed", "id": 1, "generation": "g", "offset": offset,
            "recovered": recovered})
    }

    /// What comes of these frames: the first complaint, or nothing.
    fn complaint(frames: &[Value]) -> Option<String> {
        let mut view = View::default();
        view.begin(false);
        frames.iter().find_map(|frame| view.take(frame).err()).map(|error| error.to_string())
    }

    #[test]
    fn keeps_what_it_is_told_and_goes_on() {
        let mut view = View::default();
        view.begin(false);
        assert_eq!(view.since(), None);
        let (a, b) = (cell("A", "1"), cell("B", "2"));
        for frame in [
            snapshot(5, std::slice::from_ref(&a), true),
            snapshot(5, std::slice::from_ref(&b), false),
            update(7, &[cell("A", "3")], &[]),
            update(8, &[], std::slice::from_ref(&b)),
            progress(11),
        ] {
            view.take(&frame).unwrap();
        }
        assert_eq!(view.reached(), Some(11));
        let held = BTreeMap::from([split(&cell("A", "3"))]);
        view.compare(11, &held).unwrap();
        assert!(view.compare(11, &BTreeMap::from([split(&a)])).is_err());
        assert!(view.compare(11, &BTreeMap::new()).is_err());
        assert_eq!(view.since(), Some(json!({"generation": "g", "offset": 11})));
        view.begin(true);
        view.take(&answer(11, true)).unwrap();
        let mut page = update(12, std::slice::from_ref(&b), &[]);
        page["more"] = true.into();
        view.take(&page).unwrap();
        assert_eq!(
            (view.reached(), view.since()),
            (None, Some(json!({"generation": "g", "offset": 11})))
        );
        view.begin(true);
        view.take(&answer(0, false)).unwrap();
        view.take(&snapshot(12, &[], false)).unwrap();
        assert_eq!((view.figures().cells, view.figures().resumed), (0, 1));
    }

    #[test]
    fn every_broken_rule_is_noticed() {
        let a = || cell("A", "1");
        let begun = || snapshot(5, &[], false);
        let mut page = update(6, &[a()], &[]);
        page["more"] = true.into();
        let mut other = update(6, &[a()], &[]);
        other["id"] = 2.into();
        let mut early = update(6, &[a()], &[]);
        early["as_of"] = "2026-11-21T09:59:59.9Z".into();
        for (frames, word) in [
            (vec![update(6, &[a()], &[])], "before the snapshot"),
            (vec![snapshot(5, &[a(), a()], false)], "twice"),
            (vec![snapshot(5, &[], true), snapshot(6, &[], false)], "several offsets"),
            (vec![begun(), begun()], "second snapshot"),
            (vec![begun(), update(5, &[a()], &[])], "not after"),
            (vec![begun(), update(6, &[a()], &[]), update(6, &[a()], &[])], "not after"),
            (vec![begun(), update(6, &[], &[])], "of nothing"),
            (vec![begun(), update(6, &[a(), a()], &[])], "twice"),
            (vec![begun(), update(6, &[a()], &[a()])], "twice"),
            (vec![begun(), page.clone(), page.clone()], "twice"),
            (vec![begun(), page.clone(), progress(9)], "amid"),
            (vec![begun(), page, update(7, &[cell("B", "1")], &[])], "amid"),
            (vec![begun(), progress(4)], "back"),
            (vec![begun(), other], "another subscription"),
            (vec![begun(), early], "clock"),
            (vec![begun(), answer(5, true)], "without a question"),
            (vec![json!({"type": "error", "code": "forbidden"})], "expected"),
        ] {
            let complaint = complaint(&frames).unwrap_or_default();
            assert!(complaint.contains(word), "{word}: {complaint}");
        }
    }
}
