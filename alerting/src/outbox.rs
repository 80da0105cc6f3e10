//! The outbox: what is to be told to whom, and what was, in SQLite or PostgreSQL.
//!
//! # Guarantees
//! - What is told of an alert is written for all its routes in one transaction, with what people know of the alert
//!   then: it is told to each of them or to none yet.
//! - What a route collects for its digest is in one digest, which is written with the mark that it was made.
//! - A delivery leaves the outbox as `delivered`, `refused`, `given up` or `skipped`, and never otherwise. One that was sent
//!   and not marked, because the process ended between, is sent again under its id.
//! - Of one alert a route is told in order: a delivery waits while an earlier one of its alert does.
//! - What is put off to the end of quiet hours is due before, when a later notice of its alert does not wait or ends it:
//!   then the courier sends it, or finds it moot ([`crate::quiet::moot`]).
//!
//! # Non-guarantees
//! - A store that is lost is made again. Alerts that are open then are told once more, under the same ids.
//! - Two lakes must not share one store.

use std::str::FromStr;
use std::time::Duration;

use schemas::Micros;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, AnyRow};
use sqlx::migrate::Migrator;
use sqlx::{Any, AnyPool, Row, Transaction};

use crate::error::StoreError;
use crate::migrations::MIGRATIONS;
use crate::notice::Notice;
use crate::quiet::Waits;
use crate::told::Told;

mod digest;
mod shown;

/// How long a lock of another process is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// Why something was skipped.
const OVER: &str = "it was over before the quiet hours were";
/// How long a delivery is kept after it ended.
const KEPT_US: i64 = 45 * 24 * 3_600 * 1_000_000;

/// What became of a delivery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It is to be sent.
    Waiting,
    /// The receiver has it.
    Delivered,
    /// The receiver will never take it.
    Refused,
    /// It was tried for too long.
    GivenUp,
    /// It waited for quiet hours to end, and was over by then.
    Skipped,
    /// The next digest of its route tells of it.
    Collected,
    /// A digest told of it.
    Digested,
}

impl State {
    /// The word used in tables.
    pub fn name(self) -> &'static str {
        match self {
            State::Waiting => "waiting",
            State::Delivered => "delivered",
            State::Refused => "refused",
            State::GivenUp => "given up",
            State::Skipped => "skipped",
            State::Collected => "collected",
            State::Digested => "digested",
        }
    }

    fn parse(name: &str) -> Option<State> {
        const ALL: [State; 7] = [
            State::Waiting,
            State::Delivered,
            State::Refused,
            State::GivenUp,
            State::Skipped,
            State::Collected,
            State::Digested,
        ];
        ALL.into_iter().find(|state| state.name() == name)
    }
}

/// One notice for one route.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Its place among all.
    pub number: i64,
    /// The route.
    pub route: String,
    /// What is told.
    pub notice: Notice,
    /// What became of it.
    pub state: State,
    /// When it was written.
    pub made_at: Micros,
    /// Until when it was put off, because of quiet hours.
    pub held_until: Option<Micros>,
    /// When it was delivered, given up or skipped.
    pub ended_at: Option<Micros>,
    /// How often it was tried.
    pub attempts: u32,
    /// Why the last try failed.
    pub error: Option<String>,
    /// Silences of the receiver that keep it from passing the alert on.
    pub silenced_by: Vec<String>,
    /// Alerts that keep the receiver from passing this one on.
    pub inhibited_by: Vec<String>,
}

impl Delivery {
    /// Until when it waits because of quiet hours, if it does at an instant.
    pub fn quiet_until(&self, now: Micros) -> Option<Micros> {
        self.held_until.filter(|until| self.state == State::Waiting && *until > now)
    }
}

/// The store of deliveries.
#[derive(Debug, Clone)]
pub struct Outbox {
    pool: AnyPool,
}

impl Outbox {
    /// Opens the store at a URL, `sqlite://` with a path or `postgres://`, and brings its tables up to date.
    ///
    /// # Errors
    /// When it cannot be reached, or was made by a newer version.
    pub async fn open(url: &str) -> Result<Outbox, StoreError> {
        sqlx::any::install_default_drivers();
        let options = AnyConnectOptions::from_str(url)?;
        let is_file = url.starts_with("sqlite:");
        let pool = AnyPoolOptions::new()
            // SQLite has one writer at a time.
            .max_connections(if is_file { 1 } else { 4 })
            .acquire_timeout(PATIENCE)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    if is_file {
                        let settings = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 10000";
                        sqlx::raw_sql(settings).execute(&mut *connection).await?;
                    }
                    Ok(())
                })
            })
            .connect_with(options)
            .await?;
        let migrator = Migrator::new(MIGRATIONS).await?;
        migrator.run(&pool).await?;
        Ok(Outbox { pool })
    }

    /// Everything that people know, by alert.
    pub(crate) async fn told(&self) -> Result<Vec<(String, Told)>, StoreError> {
        let rows = sqlx::query("SELECT alert, told FROM alerts_told").fetch_all(&self.pool).await?;
        rows.iter().map(|row| Ok((row.try_get("alert")?, parse(row.try_get("told")?)?))).collect()
    }

    /// Whether anything was ever written.
    pub(crate) async fn is_new(&self) -> Result<bool, StoreError> {
        let row = sqlx::query("SELECT COUNT(*) FROM outbox_began").fetch_one(&self.pool).await?;
        Ok(row.try_get::<i64, _>(0)? == 0)
    }

    /// Writes what is told, and to whom, and what people know then.
    pub(crate) async fn write(&self, written: &Written, now: Micros) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        for (alert, told) in &written.told {
            let sql = "INSERT INTO alerts_told (alert, told, is_open, at) VALUES ($1, $2, $3, $4) ON CONFLICT (alert) \
                       DO UPDATE SET told = excluded.told, is_open = excluded.is_open, at = excluded.at";
            let query =
                sqlx::query(sql).bind(alert).bind(print(told)?).bind(i64::from(told.is_open));
            query.bind(now.0).execute(&mut *transaction).await?;
        }
        let mut number = last_number(&mut transaction).await?;
        for addressed in &written.deliveries {
            number += 1;
            release(&mut transaction, addressed, now).await?;
            insert(&mut transaction, number, addressed, now).await?;
        }
        if written.begins {
            let sql = "INSERT INTO outbox_began (at) VALUES ($1)";
            sqlx::query(sql).bind(now.0).execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// The delivery of a route that is to be tried next: of those that are due the one that was tried least, and of
    /// each alert the first.
    pub(crate) async fn next(
        &self,
        route: &str,
        now: Micros,
    ) -> Result<Option<Delivery>, StoreError> {
        let sql = "SELECT * FROM deliveries d WHERE route = $1 AND state = 'waiting' AND due_at <= $2 \
                   AND NOT EXISTS (SELECT 1 FROM deliveries e WHERE e.route = d.route AND e.state = 'waiting' \
                   AND e.alert = d.alert AND e.number < d.number) ORDER BY attempts, number LIMIT 1";
        let row = sqlx::query(sql).bind(route).bind(now.0).fetch_optional(&self.pool).await?;
        row.as_ref().map(delivery).transpose()
    }

    /// When the first delivery of a route that waits is due, since when the oldest of them could have been sent, and how
    /// many there are.
    pub(crate) async fn waiting(
        &self,
        route: &str,
    ) -> Result<Option<(Micros, Micros, u64)>, StoreError> {
        let sql = "SELECT MIN(due_at) AS due, MIN(COALESCE(held_until, made_at)) AS made, COUNT(*) AS n \
                   FROM deliveries WHERE route = $1 AND state = 'waiting'";
        let row = sqlx::query(sql).bind(route).fetch_one(&self.pool).await?;
        let (due, made): (Option<i64>, Option<i64>) = (row.try_get("due")?, row.try_get("made")?);
        let count = u64::try_from(row.try_get::<i64, _>("n")?).unwrap_or_default();
        Ok(due.zip(made).map(|(due, made)| (Micros(due), Micros(made), count)))
    }

    /// The deliveries of an alert to a route that wait, in order.
    pub(crate) async fn waits(&self, route: &str, alert: &str) -> Result<Vec<Waits>, StoreError> {
        let sql = "SELECT * FROM deliveries WHERE route = $1 AND alert = $2 AND state = 'waiting' ORDER BY number";
        let rows = sqlx::query(sql).bind(route).bind(alert).fetch_all(&self.pool).await?;
        let found: Vec<Delivery> = rows.iter().map(delivery).collect::<Result<_, _>>()?;
        let waits = |own: Delivery| Waits {
            number: own.number,
            kind: own.notice.kind,
            is_held: own.held_until.is_some() && own.attempts == 0,
        };
        Ok(found.into_iter().map(waits).collect())
    }

    /// Marks that these need not be sent, all or none.
    pub(crate) async fn skip(&self, numbers: &[i64], now: Micros) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        for number in numbers {
            let sql = "UPDATE deliveries SET state = 'skipped', error = $1, ended_at = $2 WHERE number = $3";
            let query = sqlx::query(sql).bind(OVER).bind(now.0).bind(number);
            query.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    /// Marks how a delivery ended.
    pub(crate) async fn end(
        &self,
        number: i64,
        state: State,
        why: Option<&str>,
        now: Micros,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE deliveries SET state = $1, error = $2, ended_at = $3, attempts = attempts + 1 \
                   WHERE number = $4";
        let query = sqlx::query(sql).bind(state.name()).bind(why).bind(now.0).bind(number);
        query.execute(&self.pool).await?;
        Ok(())
    }

    /// Marks that a try failed, and when the next is due.
    pub(crate) async fn later(
        &self,
        number: i64,
        why: &str,
        due: Micros,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE deliveries SET attempts = attempts + 1, error = $1, due_at = $2 WHERE number = $3";
        sqlx::query(sql).bind(why).bind(due.0).bind(number).execute(&self.pool).await?;
        Ok(())
    }

    /// What a route was told last of each alert that goes on, or that ended after an instant.
    pub(crate) async fn standing(
        &self,
        route: &str,
        ended_after: Micros,
    ) -> Result<Vec<Notice>, StoreError> {
        let sql = "SELECT notice FROM deliveries d WHERE route = $1 AND state = 'delivered' \
                   AND (kind IN ('opened', 'updated') OR ended_at > $2) \
                   AND NOT EXISTS (SELECT 1 FROM deliveries e WHERE e.route = d.route AND e.alert = d.alert \
                   AND e.state = 'delivered' AND e.number > d.number) ORDER BY number";
        let rows = sqlx::query(sql).bind(route).bind(ended_after.0).fetch_all(&self.pool).await?;
        rows.iter().map(|row| parse(row.try_get("notice")?)).collect()
    }

    /// What was told last of an alert, to anybody.
    pub(crate) async fn last_notice(&self, alert: &str) -> Result<Option<Notice>, StoreError> {
        let sql = "SELECT notice FROM deliveries WHERE alert = $1 ORDER BY number DESC LIMIT 1";
        let row = sqlx::query(sql).bind(alert).fetch_optional(&self.pool).await?;
        row.map(|row| parse(row.try_get("notice")?)).transpose()
    }

    /// Deletes what ended long ago of alerts that are over.
    pub(crate) async fn tidy(&self, now: Micros) -> Result<(), StoreError> {
        let before = now.0 - KEPT_US;
        let over = "DELETE FROM alerts_told WHERE is_open = 0 AND at < $1";
        sqlx::query(over).bind(before).execute(&self.pool).await?;
        // Of a route that makes no digests any more.
        let collected = "DELETE FROM deliveries WHERE state = 'collected' AND made_at < $1";
        sqlx::query(collected).bind(before).execute(&self.pool).await?;
        let ended = "DELETE FROM deliveries WHERE state <> 'waiting' AND ended_at < $1 \
                     AND alert NOT IN (SELECT alert FROM alerts_told)";
        sqlx::query(ended).bind(before).execute(&self.pool).await?;
        Ok(())
    }
}

/// A notice, for whom it is, and what it waits for.
#[derive(Debug)]
pub(crate) struct Addressed {
    pub(crate) route: String,
    pub(crate) notice: Notice,
    pub(crate) wait: Wait,
}

/// What a notice waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wait {
    /// For nothing.
    No,
    /// For quiet hours to end.
    Until(Micros),
    /// For the next digest, which tells of it.
    Digest,
}

/// What is written at once.
#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) told: Vec<(String, Told)>,
    pub(crate) deliveries: Vec<Addressed>,
    /// Whether this is the first that is ever written.
    pub(crate) begins: bool,
}

impl Written {
    /// Adds what is written at the same time.
    pub(crate) fn append(&mut self, other: Written) {
        self.told.extend(other.told);
        self.deliveries.extend(other.deliveries);
        self.begins |= other.begins;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.told.is_empty() && self.deliveries.is_empty() && !self.begins
    }
}

/// What was put off of the same alert does not wait behind its quiet hours any more, when something is told of it
/// now or it is over.
async fn release(
    transaction: &mut Transaction<'_, Any>,
    addressed: &Addressed,
    now: Micros,
) -> Result<(), StoreError> {
    let sql = match (addressed.notice.kind.is_last(), addressed.wait) {
        (false, Wait::Until(_)) | (_, Wait::Digest) => return Ok(()),
        // Whether it is moot is seen by that it was put off.
        (true, _) => {
            "UPDATE deliveries SET due_at = $1 WHERE route = $2 AND alert = $3 AND state = 'waiting' \
             AND held_until > $4 AND attempts = 0"
        }
        (false, Wait::No) => {
            "UPDATE deliveries SET due_at = $1, held_until = NULL WHERE route = $2 AND alert = $3 \
             AND state = 'waiting' AND held_until > $4 AND attempts = 0"
        }
    };
    let query = sqlx::query(sql).bind(now.0).bind(&addressed.route);
    query.bind(&addressed.notice.alert).bind(now.0).execute(&mut **transaction).await?;
    Ok(())
}

async fn insert(
    transaction: &mut Transaction<'_, Any>,
    number: i64,
    addressed: &Addressed,
    now: Micros,
) -> Result<(), StoreError> {
    let Addressed { route, notice, wait } = addressed;
    let (state, held_until) = match wait {
        Wait::No => (State::Waiting, None),
        Wait::Until(until) => (State::Waiting, Some(*until)),
        Wait::Digest => (State::Collected, None),
    };
    let due = held_until.unwrap_or(now);
    let sql = "INSERT INTO deliveries \
               (number, route, alert, kind, notice, state, made_at, attempts, due_at, held_until) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, 0, $8, $9)";
    let query = sqlx::query(sql).bind(number).bind(route).bind(&notice.alert);
    let query = query.bind(notice.kind.name()).bind(print(notice)?).bind(state.name());
    let query = query.bind(now.0).bind(due.0);
    query.bind(held_until.map(|until| until.0)).execute(&mut **transaction).await?;
    Ok(())
}

async fn last_number(transaction: &mut Transaction<'_, Any>) -> Result<i64, StoreError> {
    let sql = "SELECT COALESCE(MAX(number), 0) FROM deliveries";
    Ok(sqlx::query(sql).fetch_one(&mut **transaction).await?.try_get(0)?)
}

fn delivery(row: &AnyRow) -> Result<Delivery, StoreError> {
    let state: &str = row.try_get("state")?;
    let state =
        State::parse(state).ok_or_else(|| StoreError::Content(format!("state `{state}`")))?;
    Ok(Delivery {
        number: row.try_get("number")?,
        route: row.try_get("route")?,
        notice: parse(row.try_get("notice")?)?,
        state,
        made_at: Micros(row.try_get("made_at")?),
        held_until: row.try_get::<Option<i64>, _>("held_until")?.map(Micros),
        ended_at: row.try_get::<Option<i64>, _>("ended_at")?.map(Micros),
        attempts: u32::try_from(row.try_get::<i64, _>("attempts")?).unwrap_or(u32::MAX),
        error: row.try_get("error")?,
        silenced_by: Vec::new(),
        inhibited_by: Vec::new(),
    })
}

fn print(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Content(e.to_string()))
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|e| StoreError::Content(e.to_string()))
}
