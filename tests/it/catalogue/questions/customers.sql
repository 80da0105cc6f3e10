-- new_customers (sum, hour to year, windows)
select tenant_id, signed_up_at as at, 1 as amount from customers

-- mrr (alive sum, day to year)
select tenant_id, started_at as starts, ended_at as ends, currency, mrr as amount
from subscriptions where status <> 'trial'

-- arr (alive sum, day to year)
select tenant_id, started_at as starts, ended_at as ends, currency, 12 * mrr as amount
from subscriptions where status <> 'trial'

-- subscriptions (alive sum, day to year)
select tenant_id, started_at as starts, ended_at as ends, currency, 1 as amount
from subscriptions where status <> 'trial'

-- mrr_new (sum, hour to year, windows)
select tenant_id, at, currency, case when before = 0 and is_first then after else 0 end as amount from movements

-- mrr_reactivation (sum, hour to year, windows)
select tenant_id, at, currency, case when before = 0 and not is_first then after else 0 end as amount from movements

-- mrr_expansion (sum, hour to year, windows)
select tenant_id, at, currency, case when before > 0 and after > before then after - before else 0 end as amount
from movements

-- mrr_contraction (sum, hour to year, windows)
select tenant_id, at, currency, case when after > 0 and after < before then before - after else 0 end as amount
from movements

-- mrr_churn (sum, hour to year, windows)
select tenant_id, at, currency, case when after = 0 then before else 0 end as amount from movements

-- mrr_change (sum, hour to year, windows)
select tenant_id, at, currency, after - before as amount from movements

-- subscribers_won (sum, hour to year, windows)
select tenant_id, at, case when before = 0 and is_first then 1 else 0 end as amount from movements

-- subscribers_lost (sum, hour to year, windows)
select tenant_id, at, case when after = 0 then 1 else 0 end as amount from movements

-- nrr (at the end quotient, day to year)
select tenant_id, grain, period_start, period_end, currency, case when before > 0 then after else 0 end as above,
       before as below
from twelve_months

-- grr (at the end quotient, day to year)
select tenant_id, grain, period_start, period_end, currency, least(before, after) as above, before as below
from twelve_months

-- revenue_churn (at the end quotient, day to year)
select tenant_id, grain, period_start, period_end, currency, before - least(before, after) as above, before as below
from twelve_months

-- logo_churn (at the end quotient, day to year)
select tenant_id, grain, period_start, period_end, currency, (before > 0 and after = 0)::int as above,
       (before > 0)::int as below
from twelve_months

-- ltv (at the end quotient, day to year)
select tenant_id, grain, period_start, period_end, currency, 12 * before as above,
       (before > 0 and after = 0)::int as below
from twelve_months

-- ltv_cac (cells, day to year)
select tenant as tenant_id, dims, grain, period_start, period_end,
       quotient(l.numerator * nullif(c.denominator, 0), l.denominator * c.numerator) as value,
       null::numeric as numerator, null::numeric as denominator
from (select * from cells where kpi = 'ltv') l
full join (select * from cells where kpi = 'cac_year') c using (tenant, dims, grain, period_start, period_end)

-- new_users (sum, hour to year, windows)
select tenant_id, min(occurred_at) as at, 1 as amount
from (select tenant(tenant_id) as tenant_id, user_id, occurred_at from activity where user_id is not null) a
group by tenant_id, user_id

-- dau (distinct, day, windows)
select tenant_id, occurred_at as at, user_id as who from activity

-- wau (distinct, week, windows)
select tenant_id, occurred_at as at, user_id as who from activity

-- mau (distinct, month, windows)
select tenant_id, occurred_at as at, user_id as who from activity

-- events_per_user (per head, day to month, windows)
select tenant_id, occurred_at as at, (user_id is not null)::int as above, user_id as who from activity

-- active_rate (at the end quotient, day to year)
select tenant_id, grain, period_start, period_end, (last_day + interval '30 days' >= period_end)::int as above, 1 as below
from users_then

-- churned_users (at the end sum, day to year)
select tenant_id, grain, period_start, period_end,
       (last_day + interval '30 days' < period_end and last_day + interval '60 days' >= period_end)::int as amount
from users_then

-- rfm_customers (alive sum, day to year)
select tenant_id, at as starts, next as ends, currency,
       case when days >= 365 then 'lost'
            when days >= 90 and (orders > 1 or spent >= 1000) then 'at_risk'
            when days >= 90 then 'hibernating'
            when orders > 3 and spent >= 1000 then 'champions'
            when orders > 1 then 'loyal'
            when spent >= 1000 then 'big_spenders'
            else 'new' end as segment,
       1 as amount
from standing
