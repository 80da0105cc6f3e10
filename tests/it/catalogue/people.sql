-- What several questions ask: customers by what they pay, users by when they were there, and what customers cost.

create table paying as
select tenant(tenant_id) as tenant_id, customer_id, currency, mrr, started_at, ended_at
from subscriptions where status <> 'trial';

-- Each instant at which a customer begins to pay another sum, with what it is just before and from then on.
create table movements as
select * from (
  select tenant_id, customer_id, currency, at,
         (select coalesce(sum(mrr), 0) from paying p
          where (p.tenant_id, p.customer_id, p.currency) = (t.tenant_id, t.customer_id, t.currency)
            and started_at < at and (ended_at is null or ended_at >= at)) as before,
         (select coalesce(sum(mrr), 0) from paying p
          where (p.tenant_id, p.customer_id, p.currency) = (t.tenant_id, t.customer_id, t.currency)
            and started_at <= at and (ended_at is null or ended_at > at)) as after,
         not exists (select from paying p
                     where (p.tenant_id, p.customer_id, p.currency) = (t.tenant_id, t.customer_id, t.currency)
                       and started_at < at) as is_first
  from (select tenant_id, customer_id, currency, started_at as at from paying
        union select tenant_id, customer_id, currency, ended_at from paying where ended_at is not null) t
) changes
where before <> after;

-- At the end of each period what each customer paid twelve months before it (of the calendar of UTC), and pays then.
create table twelve_months as
with shifted as (
  select *, (started_at at time zone 'UTC' + interval '12 months') at time zone 'UTC' as began,
         (ended_at at time zone 'UTC' + interval '12 months') at time zone 'UTC' as stopped
  from paying
)
select s.tenant_id, s.currency, p.grain, p.period_start, p.period_end, c.customer_id,
       coalesce(sum(mrr) filter (where began < period_end and (stopped is null or stopped >= period_end)), 0) as before,
       coalesce(sum(mrr) filter (where started_at < period_end and (ended_at is null or ended_at >= period_end)), 0)
         as after
from (select tenant_id, currency, min(began) as first from shifted group by 1, 2) s
join periods p on p.tenant = s.tenant_id and p.period_end > s.first and p.period_start <= @NOW@
join shifted c on (c.tenant_id, c.currency) = (s.tenant_id, s.currency)
group by 1, 2, 3, 4, 5, 6;

-- At the end of each period the last day (of UTC) on which each user did anything.
create table users_then as
with days as (
  select distinct tenant(tenant_id) as tenant_id, user_id, utc_day(occurred_at) as day from activity where user_id is not null
)
select p.tenant as tenant_id, p.grain, p.period_start, p.period_end, user_id, max(day) as last_day
from days d join periods p on p.tenant = d.tenant_id and d.day < p.period_end and p.period_start <= @NOW@
group by 1, 2, 3, 4, 5;

-- What was paid to win customers, and the customers who signed up, by the currency that their tenant pays that in.
create table acquired as
with spent as (
  select tenant(tenant_id) as tenant_id, charge_period_start as at, billing_currency as currency, effective_cost as cost
  from costs where tags ->> 'cost_center' = 'sales' or tags ->> 'cost_center' = 'marketing'
)
select tenant_id, at, currency, cost, 0 as customer from spent
union all
select c.tenant_id, c.at, currency, 0, 1
from (select tenant(tenant_id) as tenant_id, signed_up_at as at from customers where signed_up_at is not null) c
join (select distinct tenant_id, currency from spent) s on s.tenant_id = c.tenant_id;

-- Orders of customers whose row there is, and each instant at which what they say of a customer may change.
create table counting as
select tenant(tenant_id) as tenant_id, customer_id, currency, amount, placed_at as at
from orders o
where status <> 'cancelled' and status <> 'refunded'
  and exists (select from customers c where c.customer_id = o.customer_id and tenant(c.tenant_id) = tenant(o.tenant_id));
create table standing as
select t.tenant_id, t.customer_id, t.currency, t.at,
       lead(t.at) over (partition by t.tenant_id, t.customer_id, t.currency order by t.at) as next,
       (extract(epoch from t.at - max(c.at)) / 86400)::numeric as days, count(*) as orders, sum(c.amount) as spent
from (
  select distinct tenant_id, customer_id, currency, at + hours * interval '1 hour' as at
  from counting cross join (values (0), (90 * 24), (365 * 24)) ages(hours)
) t
join counting c on (c.tenant_id, c.customer_id, c.currency) = (t.tenant_id, t.customer_id, t.currency) and c.at <= t.at
group by t.tenant_id, t.customer_id, t.currency, t.at;
analyze stamps, paying, movements, twelve_months, users_then, acquired, standing;
