//! The SQL that recomputes converted money: the days of what is converted by currency, each with the rate that was known
//! last, added up.
//!
//! # Guarantees
//! - Rates are found by SQL over silver, and rounding is done here: neither is the engine's.

use arrow::datatypes::i256;
use schemas::Grain;

use super::sql::{NUMBER, beyond, computed_sql, keys, start_of, tenant_of};
use crate::catalog::{CURRENCY, Catalog, RATES};
use crate::definition::Definition;

/// Digits after the point of products of values and rates.
pub(super) const EXACT_SCALE: i8 = 20;

/// A number with so many digits cut to ten, half to even.
pub(super) fn rounded(number: i256) -> i256 {
    let one = i256::from_i128(10_i128.pow(10));
    let (whole, rest) = (number.wrapping_div(one), number.wrapping_rem(one));
    let (away, two) = (if rest < i256::ZERO { -1 } else { 1 }, i256::from_i128(2));
    let twice = rest.wrapping_abs().wrapping_mul(two);
    let is_odd = whole.wrapping_rem(two) != i256::ZERO;
    match twice > one || (twice == one && is_odd) {
        true => whole.wrapping_add(i256::from_i128(away)),
        false => whole,
    }
}

/// The SQL that recomputes a converted KPI at a grain, with the columns of [`super::recompute_sql`].
pub(super) fn converted_sql(
    catalog: &Catalog,
    definition: &Definition,
    to: &str,
    grain: Grain,
) -> String {
    let Ok(of) = catalog.converts(definition) else { return String::new() };
    let Ok(computed) = catalog.computed(of) else { return String::new() };
    let Some(rates) = catalog.relation(RATES) else { return String::new() };
    let to = to.replace('\'', "''");
    let days = computed_sql(catalog, &computed, &catalog.dims(of), Grain::Day);
    let dims = catalog.dims(definition);
    let named: String = dims.iter().map(|name| format!(", \"dim_{name}\"")).collect();
    let start = start_of(catalog.calendar(), "tenant_id", "period_start", grain);
    let is_in =
        if grain.is_window() { format!(" WHERE {start} IS NOT NULL") } else { String::new() };
    let tenant = tenant_of(rates);
    let is_of_nobody = {
        let column = rates.tenant.and_then(|at| rates.schema.get(at));
        column.map_or("TRUE".to_owned(), |own| format!("NULLIF(\"{}\", '') IS NULL", own.name))
    };
    let table = rates.rows_table();
    // The day of the last rate up to each day, of a tenant's own and of nobody's.
    let last = |whose: &str, own: &str, key: &str| {
        format!(
            "SELECT {key}, currency, day, rate_day FROM (SELECT {key}, currency, day, is_asked, \
             LAST_VALUE(known) IGNORE NULLS OVER (PARTITION BY {key}, currency ORDER BY day, is_asked \
             ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS rate_day FROM (\
             SELECT DISTINCT {own} AS {key}, currency, day, 1 AS is_asked, CAST(NULL AS BIGINT) AS known FROM days \
             UNION ALL SELECT {key}, currency, day, 0 AS is_asked, day AS known FROM rates \
             WHERE {whose}) AS all_days) AS filled WHERE is_asked = 1 AND rate_day IS NOT NULL"
        )
    };
    let of_tenant = last("NOT is_of_nobody", "tenant_id", "tenant");
    let of_nobody = last("is_of_nobody", "''", "tenant");
    let (keys, out) = (keys(&dims), format!("(beyond + {})", beyond()));
    format!(
        "WITH days AS (SELECT *, \"dim_{CURRENCY}\" AS currency, \
         weir_day(tenant_id, CAST(period_start AS BIGINT)) AS day FROM ({days}) AS cells), \
         rates AS (SELECT CASE WHEN {is_of_nobody} THEN '' ELSE {tenant} END AS tenant, {is_of_nobody} AS is_of_nobody, \
         from_currency AS currency, CAST(CAST(\"day\" AS INT) AS BIGINT) AS day, \
         MAX(CASE WHEN rate > 0 THEN CAST(rate AS {NUMBER}) END) AS rate, \
         MAX(CASE WHEN \"_doubt\" IS NULL THEN 0 ELSE 1 END) AS doubt FROM \"{table}\" \
         WHERE to_currency = '{to}' AND from_currency IS NOT NULL AND \"day\" IS NOT NULL GROUP BY 1, 2, 3, 4), \
         of_tenant AS ({of_tenant}), of_nobody AS ({of_nobody}), \
         rated AS (SELECT d.*, CASE WHEN d.currency = '{to}' THEN CAST(1 AS {NUMBER}) ELSE r.rate END AS rate, \
         CASE WHEN d.currency = '{to}' THEN 0 ELSE COALESCE(r.doubt, 0) END AS rate_doubt FROM days AS d \
         LEFT JOIN of_tenant AS t ON t.tenant = d.tenant_id AND t.currency = d.currency AND t.day = d.day \
         LEFT JOIN of_nobody AS n ON n.currency = d.currency AND n.day = d.day \
         LEFT JOIN rates AS r ON r.currency = d.currency AND r.day = COALESCE(t.rate_day, n.rate_day) \
         AND r.tenant = CASE WHEN t.rate_day IS NULL THEN '' ELSE d.tenant_id END), \
         placed AS (SELECT tenant_id{named}, {start} AS period_start, cnt, \
         CASE WHEN doubt > 0 OR (cnt > 0 AND rate_doubt > 0) THEN 1 ELSE 0 END AS doubt, \
         CASE WHEN cnt > 0 AND rate IS NULL THEN 1 ELSE 0 END AS lacking, \
         CASE WHEN cnt > 0 AND rate IS NOT NULL THEN {out} ELSE 0 END AS beyond, \
         CASE WHEN cnt > 0 AND {out} = 0 THEN above * rate END AS exact FROM rated{is_in}) \
         SELECT {keys}, CASE WHEN SUM(lacking) > 0 THEN CAST(0 AS BIGINT) ELSE CAST(SUM(cnt) AS BIGINT) END AS cnt, \
         CAST(SUM(doubt) AS BIGINT) AS doubt, CAST(NULL AS {NUMBER}) AS above, CAST(SUM(beyond) AS BIGINT) AS beyond, \
         CAST(NULL AS {NUMBER}) AS below, CAST(0 AS BIGINT) AS below_cnt, \
         COALESCE(SUM(CAST(exact AS DECIMAL(76,20))), CAST(0 AS DECIMAL(76,20))) AS exact \
         FROM placed GROUP BY {keys}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_go_to_even() {
        let of = |number: i128| rounded(i256::from_i128(number)).to_i128().unwrap();
        let half = 5_000_000_000;
        for (number, whole) in [
            (half, 0),
            (half + 1, 1),
            (3 * half, 2),
            (5 * half, 2),
            (-half, 0),
            (-3 * half, -2),
            (-half - 1, -1),
            (4 * half, 2),
        ] {
            assert_eq!(of(number), whole, "{number}");
        }
    }
}
