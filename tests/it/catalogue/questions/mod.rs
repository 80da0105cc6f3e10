//! The question of each KPI of the catalogue, in SQL over the tables of the source, from its definition in words.
//!
//! # Guarantees
//! - Nothing here is made of the product's SQL. A question selects rows; [`Question::sql`] says what a period makes of them.
//! - A KPI without a question, and a question without a KPI, fail the test.

/// By what a question is headed: `-- key (shape, grains[, windows])`, with `windows of days` for all but the last 24 hours.
const FILES: [&str; 5] = [
    include_str!("orders.sql"),
    include_str!("costs.sql"),
    include_str!("sales.sql"),
    include_str!("customers.sql"),
    include_str!("operations.sql"),
];

const GRAINS: [&str; 6] = ["hour", "day", "week", "month", "quarter", "year"];
const WINDOWS: [&str; 5] = ["last_24h", "last_7d", "last_30d", "last_90d", "all"];

/// Columns of a question that are no dimension.
const NO_DIMENSIONS: &str = "array['tenant_id', 'at', 'starts', 'ends', 'amount', 'above', 'below', 'who', 'grain', \
                             'period_start', 'period_end']";

/// What is alive when a period ends.
const ALIVE: &str = "f.starts < p.period_end and (f.ends is null or f.ends >= p.period_end)";

/// What a KPI asks.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub(super) kpi: String,
    shape: String,
    /// Grains and windows.
    periods: Vec<&'static str>,
    rows: String,
}

/// All questions.
pub(super) fn questions() -> Vec<Question> {
    let mut found: Vec<Question> = Vec::new();
    for line in FILES.iter().flat_map(|text| text.lines()) {
        match line.strip_prefix("-- ") {
            Some(head) => found.push(Question::headed(head)),
            None => found.last_mut().unwrap().rows += &format!("{line}\n"),
        }
    }
    found
}

impl Question {
    fn headed(head: &str) -> Question {
        let (kpi, rest) = head.split_once(" (").unwrap_or_else(|| panic!("no question: {head}"));
        let words: Vec<&str> = rest.trim_end_matches(')').split(", ").collect();
        let (from, to) = words[1].split_once(" to ").unwrap_or((words[1], words[1]));
        let place = |name| GRAINS.iter().position(|grain| *grain == name).unwrap();
        let mut periods = GRAINS[place(from)..=place(to)].to_vec();
        match words.get(2) {
            Some(&"windows") => periods.extend(WINDOWS),
            Some(&"windows of days") => periods.extend(&WINDOWS[1..]),
            other => assert_eq!(other, None, "{head}"),
        }
        let (kpi, shape) = (kpi.to_owned(), words[0].to_owned());
        Question { kpi, shape, periods, rows: String::new() }
    }

    /// Whether it is a sum of money by currency, of which there may be one in another currency.
    pub(super) fn is_money(&self, unit: &str) -> bool {
        self.shape == "sum" && unit == "currency"
    }

    /// SQL that puts its cells into the table `cells`.
    pub(super) fn sql(&self, now: &str) -> String {
        let value = match self.shape.trim_start_matches("alive ").trim_start_matches("at the end ")
        {
            "sum" => "coalesce(sum(amount), 0), null, null",
            "quotient" => {
                "quotient(coalesce(sum(above), 0), sum(below)), coalesce(sum(above), 0), sum(below)"
            }
            "distinct" => "count(distinct who), null, null",
            "per head" => {
                "quotient(coalesce(sum(above), 0), count(distinct who)), coalesce(sum(above), 0), count(distinct who)"
            }
            "percentile 0.95" => "percentile_disc(0.95) within group (order by amount), null, null",
            "cells" => "value, numerator, denominator",
            other => panic!("{}: no shape `{other}`", self.kpi),
        };
        let (kpi, rows) = (&self.kpi, &self.rows);
        let periods = self.periods.iter().map(|name| format!("'{name}'")).collect::<Vec<_>>();
        let periods = periods.join(", ");
        let facts = self.facts();
        let insert = format!("insert into cells {facts}\nselect '{kpi}'");
        if self.shape == "cells" {
            return format!(
                "insert into cells select '{kpi}', tenant_id, dims, grain, period_start, period_end, {value}\n\
                 from ({rows}) q;\n"
            );
        }
        if self.shape.starts_with("at the end") {
            return format!(
                "{insert}, tenant, dims, grain, period_start, period_end, {value}\n\
                 from f where grain in ({periods}) group by 2, 3, 4, 5, 6;\n"
            );
        }
        if self.shape.starts_with("alive") {
            // Of what is not alive there is a cell all the same, of nothing.
            let value = value.replace("sum(below)", "coalesce(sum(below), 0)");
            return format!(
                "{insert}, s.tenant, s.dims, p.grain, p.period_start, p.period_end, {value}\n\
                 from (select tenant, dims, min(starts) as first from f where starts is not null group by 1, 2) s\n\
                 join periods p on p.tenant = s.tenant and p.period_end > s.first and p.period_start <= {now}\n\
                 left join f on f.tenant = s.tenant and f.dims = s.dims and {ALIVE}\n\
                 where p.grain in ({periods}) group by 2, 3, 4, 5, 6;\n"
            );
        }
        let some =
            if self.shape.starts_with("percentile") { "having count(amount) > 0" } else { "" };
        format!(
            "{insert}, f.tenant, f.dims, s.grain, s.period_start, s.period_end, {value}\n\
             from f join stamps s on s.tenant = f.tenant and s.at = f.at\n\
             where s.grain in ({periods}) group by 2, 3, 4, 5, 6 {some};\n"
        )
    }

    /// Its rows as `f`, each with its tenant and its dimensions.
    fn facts(&self) -> String {
        let rows = &self.rows;
        format!(
            "with f as (select *, tenant(tenant_id) as tenant, to_jsonb(q) - {NO_DIMENSIONS} as dims from ({rows}) q)"
        )
    }

    /// SQL that puts what its money is in one currency into the table `cells`: each day's sum at the day's rate.
    pub(super) fn converted(&self, to: &str) -> String {
        let (kpi, facts) = (format!("{}_converted", self.kpi), self.facts());
        let periods = self.periods.iter().filter(|name| !["hour", "last_24h"].contains(name));
        let periods = periods.map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ");
        let rate = |whose: &str| {
            format!(
                "(select rate from fx_rates r where from_currency = dims ->> 'currency' and to_currency = '{to}'\n\
                 and day <= first and nullif(r.tenant_id, '') {whose} order by day desc limit 1)"
            )
        };
        let (own, general) = (rate("= c.tenant"), rate("is null"));
        format!(
            "insert into cells {facts}, c as (\n\
               select f.tenant, dims, p.first, s.period_start as at, coalesce(sum(amount), 0) as value\n\
               from f join stamps s on s.tenant = f.tenant and s.at = f.at and s.grain = 'day'\n\
               join periods p on (p.tenant, p.grain, p.period_start) = (s.tenant, s.grain, s.period_start)\n\
               group by 1, 2, 3, 4\n\
             ), days as (\n\
               select c.tenant, dims - 'currency' as dims, at, value,\n\
                      case dims ->> 'currency' when '{to}' then 1 else coalesce({own}, {general}) end as rate\n\
               from c\n\
             ), spans as (\n\
               select distinct tenant, grain, period_start, period_end from stamps where grain in ({periods})\n\
             )\n\
             select '{kpi}', d.tenant, dims, grain, s.period_start, s.period_end,\n\
                    case when bool_and(coalesce(rate > 0, false)) then whole(sum(value * rate)) end, null, null\n\
             from days d join spans s on s.tenant = d.tenant and d.at >= s.period_start and d.at < s.period_end\n\
             group by 2, 3, 4, 5, 6;\n"
        )
    }
}
