//! What people see of the outbox: deliveries, and what receivers do not pass on.

use sqlx::Row;
use sqlx::any::AnyRow;

use super::{Delivery, Outbox, State, delivery, parse, print};
use crate::error::StoreError;
use crate::suppressed::Suppressed;

/// Deliveries with what their receivers say of their alerts: which, and in which order.
macro_rules! shown {
    ($which:literal) => {
        concat!(
            "SELECT d.*, s.silenced_by, s.inhibited_by FROM deliveries d ",
            "LEFT JOIN suppressed s ON s.route = d.route AND s.alert = d.alert ",
            $which
        )
    };
}

impl Outbox {
    /// Deliveries, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn list(&self, most: u32) -> Result<Vec<Delivery>, StoreError> {
        let sql = shown!("ORDER BY d.number DESC LIMIT $1");
        let rows = sqlx::query(sql).bind(i64::from(most)).fetch_all(&self.pool).await?;
        rows.iter().map(shown).collect()
    }

    /// Deliveries of an alert, the newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn of_alert(&self, alert: &str, most: u32) -> Result<Vec<Delivery>, StoreError> {
        let sql = shown!("WHERE d.alert = $1 ORDER BY d.number DESC LIMIT $2");
        let query = sqlx::query(sql).bind(alert).bind(i64::from(most));
        let rows = query.fetch_all(&self.pool).await?;
        rows.iter().map(shown).collect()
    }

    /// Keeps what the receiver of a route says that it does not pass on, instead of what it said before.
    pub(crate) async fn suppress(
        &self,
        route: &str,
        suppressed: &[Suppressed],
    ) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        let sql = "DELETE FROM suppressed WHERE route = $1";
        sqlx::query(sql).bind(route).execute(&mut *transaction).await?;
        for own in suppressed {
            let sql = "INSERT INTO suppressed (route, alert, silenced_by, inhibited_by) VALUES ($1, $2, $3, $4)";
            let query = sqlx::query(sql).bind(route).bind(&own.alert);
            let query = query.bind(print(&own.silenced_by)?).bind(print(&own.inhibited_by)?);
            query.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}

fn shown(row: &AnyRow) -> Result<Delivery, StoreError> {
    let mut shown = delivery(row)?;
    // What never came there is suppressed by nobody.
    if shown.state == State::Delivered {
        shown.silenced_by = list(row, "silenced_by")?;
        shown.inhibited_by = list(row, "inhibited_by")?;
    }
    Ok(shown)
}

fn list(row: &AnyRow, column: &str) -> Result<Vec<String>, StoreError> {
    row.try_get::<Option<&str>, _>(column)?.map_or(Ok(Vec::new()), parse)
}
