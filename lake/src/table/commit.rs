//! Commits: checked against the state, put if absent, and never in doubt afterwards.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use uuid::Uuid;

use super::{Lost, Table, Writing};
use crate::actions::{Line, Txn};
use crate::data_file::StagedFile;
use crate::error::{CommitError, LakeError};
use crate::features::Feature;
use crate::log::Log;
use crate::seal::{self, Draft, Fault};
use crate::vector::{self, DeletionVector};
use crate::version::DataFile;

/// What a commit changes. Rows, removals and progress take effect together.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// Files that become live.
    pub adds: Vec<StagedFile>,
    /// Paths of files that stop being live.
    pub removes: Vec<String>,
    /// Files some rows of which are gone. Only where the table carries deletion vectors.
    pub marks: Vec<Mark>,
    /// Whether the table carries deletion vectors from here on; `None` leaves that as it is. To leave
    /// them off, every file with a vector must be removed.
    pub deletion_vectors: Option<bool>,
    /// Progress: id and new value. Values never go back, and at least one must move forward.
    /// Empty for maintenance, which changes no rows.
    pub progress: Vec<(String, i64)>,
    /// What the caller believes the table to hold; anything else is [`CommitError::Gap`].
    pub expects: Vec<(String, Option<i64>)>,
    /// The operation's name in the history, as `WRITE`.
    pub operation: &'static str,
    /// More for the history.
    pub info: BTreeMap<String, serde_json::Value>,
}

/// A durable vector that no commit refers to yet, and its file.
#[derive(Debug, Clone)]
pub struct Mark {
    path: String,
    vector: DeletionVector,
}

impl Table {
    /// Whether the table carries deletion vectors.
    pub fn has_deletion_vectors(&self) -> bool {
        self.state.features.has(Feature::DeletionVectors)
    }

    /// Writes down which rows of files are gone, all of them, also those of earlier commits.
    pub(crate) fn stage_marks(
        &self,
        marks: &[(String, roaring::RoaringBitmap)],
    ) -> Result<Vec<Mark>, LakeError> {
        let rows: Vec<_> = marks.iter().map(|(_, rows)| rows).collect();
        let vectors = vector::stage(&*self.log.store, &rows)?;
        let paths = marks.iter().map(|(path, _)| path.clone());
        Ok(paths.zip(vectors).map(|(path, vector)| Mark { path, vector }).collect())
    }

    /// Makes the commit and returns its version. When this returns `Ok`, the commit is durable.
    pub async fn commit(&mut self, commit: &Commit) -> Result<i64, CommitError> {
        self.check_progress(commit)?;
        let mut lines = self.lines(commit)?;
        lines.splice(0..0, self.description_lines(commit)?);
        let version = self.put(commit, lines).await?;
        if let Some(writing) = &mut self.writing {
            writing.replacement = None;
        }
        Ok(version)
    }

    /// What the commit changes of the table's schema and features.
    fn description_lines(&self, commit: &Commit) -> Result<Vec<Line>, CommitError> {
        let kept = || self.files().filter(|file| !commit.removes.contains(&file.path));
        let replacement = self.writing.as_ref().and_then(|writing| writing.replacement.clone());
        if replacement.is_some()
            && !self.is_widened()
            && let Some(file) = kept().next()
        {
            let path = &file.path;
            return Err(self.conflict(format!("{path} has another schema and is not removed")));
        }
        let held = self.has_deletion_vectors();
        let wanted = commit.deletion_vectors.unwrap_or(held);
        if !wanted {
            let marks = commit.marks.iter().map(|mark| &mark.path);
            let marked = kept().filter(|file| file.vector.is_some()).map(|file| &file.path);
            if let Some(path) = marks.chain(marked).next() {
                return Err(self.conflict(format!("{path} would keep its deletion vector")));
            }
        }
        let mut lines = Vec::new();
        let features = self.state.features.with(Feature::DeletionVectors, wanted);
        if wanted != held {
            lines.push(Line { protocol: Some(features.protocol()), ..Line::default() });
        }
        if wanted != held || replacement.is_some() {
            let mut metadata = replacement.or_else(|| self.state.metadata.clone());
            if let Some(metadata) = &mut metadata {
                features.set_properties(&mut metadata.configuration);
            }
            lines.push(Line { meta_data: metadata, ..Line::default() });
        }
        Ok(lines)
    }

    fn check_progress(&self, commit: &Commit) -> Result<(), CommitError> {
        for (app, expected) in &commit.expects {
            let held = self.progress(app);
            if held != *expected {
                let (table, app) = (self.name.clone(), app.clone());
                return Err(CommitError::Gap { table, app, held, expected: *expected });
            }
        }
        let back = commit
            .progress
            .iter()
            .find(|(app, given)| self.progress(app).is_some_and(|held| *given < held));
        let moves = |(app, given): &(String, i64)| self.progress(app) != Some(*given);
        let still = commit.progress.first().filter(|_| !commit.progress.iter().any(moves));
        match back.or(still) {
            Some((app, given)) => Err(CommitError::AlreadyApplied {
                table: self.name.clone(),
                app: app.clone(),
                held: self.progress(app).unwrap_or(*given),
                given: *given,
            }),
            None => Ok(()),
        }
    }

    /// The actions of a commit, checked against the live files.
    fn lines(&self, commit: &Commit) -> Result<Vec<Line>, CommitError> {
        let timestamp = self.next_timestamp();
        let data_change = !commit.progress.is_empty();
        let mut lines = Vec::new();
        for (app, version) in &commit.progress {
            let (app_id, version) = (app.clone(), *version);
            let txn = Some(Txn { app_id, version, last_updated: Some(timestamp) });
            lines.push(Line { txn, ..Line::default() });
        }
        let mut removed = std::collections::BTreeSet::new();
        for path in &commit.removes {
            let file = self.file(path).filter(|_| removed.insert(path));
            let file = file.ok_or_else(|| self.conflict(format!("{path} is not live")))?;
            let remove = Some(file.to_remove(timestamp, data_change));
            lines.push(Line { remove, ..Line::default() });
        }
        for Mark { path, vector } in &commit.marks {
            let file = self.file(path).filter(|_| removed.insert(path));
            let file = file.ok_or_else(|| self.conflict(format!("{path} is not live")))?;
            if vector.row_count() > file.rows || vector.row_count() <= file.rows - file.live_rows()
            {
                return Err(self.conflict(format!("a vector of {path} does not mark more rows")));
            }
            let remove = Some(file.to_remove(timestamp, data_change));
            lines.push(Line { remove, ..Line::default() });
            let add = Some(file.marked(vector.clone()).to_add(data_change));
            lines.push(Line { add, ..Line::default() });
        }
        let mut added = std::collections::BTreeSet::new();
        for file in &commit.adds {
            let path = file.path();
            if self.file(path).is_some() || !added.insert(path) {
                return Err(self.conflict(format!("{path} is already live")));
            }
            lines.push(Line { add: Some(add(file, data_change)), ..Line::default() });
        }
        Ok(lines)
    }

    /// Seals the lines and puts them as the next version.
    pub(crate) async fn put(
        &mut self,
        commit: &Commit,
        lines: Vec<Line>,
    ) -> Result<i64, CommitError> {
        let version = self.state.version + 1;
        match &self.writing {
            None => return Err(self.conflict("the table was opened for reading".to_owned())),
            Some(Writing { lost: Some(lost), .. }) => return Err(self.lost_error(lost.clone())),
            Some(_) => {}
        }
        let timestamp = self.next_timestamp();
        let commit_id = Uuid::new_v4().to_string();
        let draft = Draft {
            version,
            timestamp,
            operation: commit.operation,
            commit_id: &commit_id,
            previous_seal: &self.state.seal,
            row_count: commit.adds.iter().map(StagedFile::rows).sum(),
            progress: &commit.progress,
            info: &commit.info,
            lines: &lines,
        };
        let (bytes, hash) = draft.seal().map_err(|error| self.conflict(error.to_string()))?;
        let (store, name) = (Arc::clone(&self.log.store), Log::entry_name(version));
        let put = tokio::task::spawn_blocking(move || store.put_new(&name, &[&bytes])).await;
        if let Err(error) = put.map_err(io::Error::other).flatten() {
            self.settle(version, &commit_id, &error.to_string())?;
        }
        for line in lines {
            self.state.apply(version, line).map_err(|error| self.conflict(error))?;
        }
        self.state.version = version;
        self.state.timestamp = timestamp;
        self.state.seal = hash;
        Ok(version)
    }

    /// A put failed. Whether it took effect is in the log: `Ok` if the entry is ours.
    fn settle(&mut self, version: i64, commit_id: &str, cause: &str) -> Result<(), CommitError> {
        let name = Log::entry_name(version);
        let objects = &self.log.store;
        let store = |table: &Table, detail: String| CommitError::Store {
            table: table.name.clone(),
            version,
            detail,
        };
        let lost = match objects.read(&name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(store(self, cause.to_owned()));
            }
            Err(error) => Lost::Conflict {
                version,
                detail: format!("{cause}, and the entry cannot be read back: {error}"),
            },
            Ok(bytes) => match seal::open(version, &bytes) {
                Ok(entry) if entry.info.commit_id == commit_id => {
                    // The name is there, but perhaps not yet on the disk.
                    match objects.confirm(&name) {
                        Ok(()) => return Ok(()),
                        Err(error) => Lost::Conflict {
                            version,
                            detail: format!("{cause}, and the log cannot be synced: {error}"),
                        },
                    }
                }
                Ok(entry) => Lost::Fenced { version, by: entry.info.commit_id },
                Err(Fault::Damaged(detail) | Fault::Foreign(detail)) => {
                    let place = objects.place(&name);
                    Lost::Conflict { version, detail: format!("{} {detail}", place.display()) }
                }
            },
        };
        if let Some(writing) = &mut self.writing {
            writing.lost = Some(lost.clone());
        }
        Err(self.lost_error(lost))
    }

    fn lost_error(&self, lost: Lost) -> CommitError {
        let table = self.name.clone();
        match lost {
            Lost::Fenced { version, by } => CommitError::Fenced { table, version, by },
            Lost::Conflict { version, detail } => CommitError::Conflict { table, version, detail },
        }
    }

    fn conflict(&self, detail: String) -> CommitError {
        let version = self.state.version + 1;
        CommitError::Conflict { table: self.name.clone(), version, detail }
    }

    /// Milliseconds, and never before the version before.
    fn next_timestamp(&self) -> i64 {
        let clock = self.lake.writer(&self.name).map(|writer| writer.clock.now().0);
        clock.unwrap_or_default().div_euclid(1_000).max(self.state.timestamp)
    }
}

fn add(file: &StagedFile, data_change: bool) -> crate::actions::Add {
    let staged = file.inner();
    let file = DataFile {
        path: staged.name.clone(),
        size: staged.size,
        rows: staged.rows,
        partition: staged.partition.clone(),
        stats: staged.stats.clone(),
        modified_ms: staged.modified_ms,
        hash: Some(staged.hash.clone()),
        vector: None,
    };
    file.to_add(data_change)
}
