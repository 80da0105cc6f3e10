//! Digests in the outbox: what was collected becomes one notice, and that it did is marked with it.

use schemas::Micros;
use sqlx::Row;

use super::{Addressed, Outbox, Wait, insert, last_number, parse};
use crate::error::StoreError;
use crate::notice::Notice;

impl Outbox {
    /// Writes the digest of a route of all that it collected before an instant, unless that was done before; none of
    /// nothing.
    pub(crate) async fn digest(
        &self,
        route: &str,
        upto: Micros,
        compose: impl FnOnce(&[Notice]) -> Notice,
        now: Micros,
    ) -> Result<(), StoreError> {
        let mut transaction = self.pool.begin().await?;
        let sql = "SELECT upto FROM digests WHERE route = $1";
        let made = sqlx::query(sql).bind(route).fetch_optional(&mut *transaction).await?;
        let made: Option<i64> = made.map(|row| row.try_get("upto")).transpose()?;
        if made.is_some_and(|made| made >= upto.0) {
            return Ok(());
        }
        let sql = "INSERT INTO digests (route, upto) VALUES ($1, $2) \
                   ON CONFLICT (route) DO UPDATE SET upto = excluded.upto";
        sqlx::query(sql).bind(route).bind(upto.0).execute(&mut *transaction).await?;
        let sql = "SELECT notice FROM deliveries WHERE route = $1 AND state = 'collected' AND due_at < $2 \
                   ORDER BY number";
        let query = sqlx::query(sql).bind(route).bind(upto.0);
        let rows = query.fetch_all(&mut *transaction).await?;
        let collected: Vec<Notice> =
            rows.iter().map(|row| parse(row.try_get("notice")?)).collect::<Result<_, _>>()?;
        if !collected.is_empty() {
            let sql = "UPDATE deliveries SET state = 'digested', ended_at = $1 \
                       WHERE route = $2 AND state = 'collected' AND due_at < $3";
            let query = sqlx::query(sql).bind(now.0).bind(route).bind(upto.0);
            query.execute(&mut *transaction).await?;
            let notice = compose(&collected);
            let addressed = Addressed { route: route.to_owned(), notice, wait: Wait::No };
            let number = last_number(&mut transaction).await? + 1;
            insert(&mut transaction, number, &addressed, now).await?;
        }
        transaction.commit().await?;
        Ok(())
    }
}
