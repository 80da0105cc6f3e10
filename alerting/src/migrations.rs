//! The tables of the outbox, in SQL that SQLite and PostgreSQL both take.

use std::pin::Pin;

use sqlx::error::BoxDynError;
use sqlx::migrate::{Migration, MigrationSource, MigrationType};
use sqlx::{SqlSafeStr, SqlStr};

/// All steps from nothing to today's tables. One that was released is never changed.
pub(crate) const MIGRATIONS: Migrations = Migrations;

const STEPS: [(&str, &str); 4] = [
    (
    "deliveries",
    "CREATE TABLE outbox_began (at BIGINT NOT NULL);
     CREATE TABLE alerts_told (alert TEXT PRIMARY KEY, told TEXT NOT NULL, is_open BIGINT NOT NULL, at BIGINT NOT NULL);
     CREATE TABLE deliveries (
         number BIGINT PRIMARY KEY,
         route TEXT NOT NULL,
         alert TEXT NOT NULL,
         kind TEXT NOT NULL,
         notice TEXT NOT NULL,
         state TEXT NOT NULL,
         made_at BIGINT NOT NULL,
         due_at BIGINT NOT NULL,
         ended_at BIGINT,
         attempts BIGINT NOT NULL,
         error TEXT
     );
     CREATE INDEX deliveries_by_route ON deliveries (route, state, due_at);
     CREATE INDEX deliveries_by_alert ON deliveries (alert, route, number);",
    ),
    ("quiet", "ALTER TABLE deliveries ADD COLUMN held_until BIGINT;"),
    ("digests", "CREATE TABLE digests (route TEXT PRIMARY KEY, upto BIGINT NOT NULL);"),
    (
        "suppressed",
        "CREATE TABLE suppressed (
             route TEXT NOT NULL,
             alert TEXT NOT NULL,
             silenced_by TEXT NOT NULL,
             inhibited_by TEXT NOT NULL,
             PRIMARY KEY (route, alert)
         );",
    ),
];

#[derive(Debug, Clone, Copy)]
pub(crate) struct Migrations;

impl MigrationSource<'static> for Migrations {
    fn resolve(
        self,
    ) -> Pin<Box<dyn Future<Output = Result<Vec<Migration>, BoxDynError>> + Send + 'static>> {
        let steps = (1..).zip(STEPS).map(|(version, (name, sql))| {
            let sql: SqlStr = sql.into_sql_str();
            Migration::new(version, name.into(), MigrationType::Simple, sql, false)
        });
        let steps = steps.collect();
        Box::pin(async move { Ok(steps) })
    }
}
