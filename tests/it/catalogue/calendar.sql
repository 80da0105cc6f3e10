-- Periods and windows of each tenant at the instant @NOW@: weeks from Sunday, years from February, and the cells that
-- the questions fill.
create function tenant(id text) returns text language sql immutable as $$ select coalesce(nullif(id, ''), 'default') $$;

-- The first day of the period that a day is in.
create function first_day(grain text, day date) returns date language sql immutable as $$
  select case grain
    when 'day' then day
    when 'week' then day - extract(dow from day)::int
    when 'month' then date_trunc('month', day::timestamp)::date
    else (date_trunc(grain, date_trunc('month', day::timestamp) - interval '1 month') + interval '1 month')::date
  end
$$;

create function utc_day(at timestamptz) returns timestamptz language sql immutable as $$
  select date_trunc('day', at at time zone 'UTC') at time zone 'UTC'
$$;

-- When a day begins by the clocks of a zone: where they repeat midnight, the first time.
create function begins(day date, zone text) returns timestamptz language sql immutable as $$
  select least(day::timestamp at time zone zone,
               (day::timestamp - interval '1 hour') at time zone zone + interval '1 hour')
$$;

-- The quotient and the sum with ten digits after the point, halves to the even digit.
create function whole(number numeric) returns numeric language sql immutable as $$
  select 1e-10 * case
    when abs(number * 1e10 - trunc(number * 1e10)) <> 0.5 then round(number * 1e10)
    when mod(trunc(number * 1e10), 2) = 0 then trunc(number * 1e10)
    else trunc(number * 1e10) + sign(number) end
$$;
create function quotient(above numeric, below numeric) returns numeric language sql immutable as $$
  select case when below = 0 or below is null or above is null then null else (
    select case when twice > abs(below) or (twice = abs(below) and mod(cut, 2) <> 0)
                then cut + sign(above) * sign(below) else cut end
    from (select cut, 2 * abs(above * 1e10 - cut * below) as twice
          from (select div(above * 1e10, below) as cut) a) b
  ) * 1e-10 end
$$;

-- When the day begins for a tenant that has the date which an instant has in UTC.
create function same_day(tenant_id text, at timestamptz) returns timestamptz language sql stable as $$
  select begins((at at time zone 'UTC')::date, zone) from zones where zones.tenant = tenant(tenant_id)
$$;

create table periods as
select tenant, grain, first, begins(first, zone) as period_start, begins(next, zone) as period_end
from zones
cross join (values ('day', '1 day'), ('week', '7 days'), ('month', '1 month'), ('quarter', '3 months'), ('year', '1 year'))
  lengths(grain, length)
cross join lateral (
  select distinct first_day(grain, day::date) as first
  from generate_series(@NOW@ - interval '4 years', @NOW@ + interval '4 years', interval '1 day') day
) firsts
cross join lateral (select (first + length::interval)::date as next) nexts;

create table windows as
select tenant, 'last_24h' as grain, hour - interval '24 hours' as period_start, hour as period_end
from zones cross join (select date_trunc('hour', @NOW@ at time zone 'UTC') at time zone 'UTC' + interval '1 hour' as hour) running
union all
select tenant, 'last_' || days || 'd', begins(today - days + 1, zone), begins(today + 1, zone)
from (select *, (@NOW@ at time zone zone)::date as today from zones) z cross join (values (7), (30), (90)) lengths(days)
union all
select tenant, 'all', begins('1970-01-01', zone), begins((@NOW@ at time zone zone)::date + 1, zone) from zones;

-- Every instant at which something happened to a tenant, with the periods and windows that it is in.
create table instants as
select distinct tenant(tenant_id) as tenant, at from (
  select tenant_id, placed_at as at from orders union all select tenant_id, recognized_at from orders
  union all select tenant_id, charge_period_start from costs union all select tenant_id, period_start from budgets
  union all select tenant_id, signed_up_at from customers union all select tenant_id, opened_at from opportunities
  union all select tenant_id, closed_at from opportunities union all select tenant_id, occurred_at from activity
  union all select tenant_id, started_at from runs union all select tenant_id, checked_at from uptime
  union all select tenant_id, started_at from subscriptions union all select tenant_id, ended_at from subscriptions
  union all select tenant_id, same_day(tenant_id, at) from (
    select tenant_id, checked_at as at from uptime union all select tenant_id, started_at from runs
    union all select tenant_id, charge_period_start from costs
  ) days
) happened where at is not null;
analyze periods, instants;

create table stamps as
with dated as materialized (
  select tenant, at, grain, first_day(grain, (at at time zone zone)::date) as first
  from instants join zones using (tenant)
  cross join (values ('day'), ('week'), ('month'), ('quarter'), ('year')) grains(grain)
), hours as (select tenant, at, date_trunc('hour', at at time zone 'UTC') at time zone 'UTC' as hour from instants)
select tenant, at, grain, period_start, period_end from dated join periods using (tenant, grain, first)
union all
select tenant, at, 'hour', hour, hour + interval '1 hour' from hours
union all
select i.tenant, i.at, w.grain, w.period_start, w.period_end
from instants i join windows w on w.tenant = i.tenant and i.at >= w.period_start and i.at < w.period_end;

create table cells (
  kpi text, tenant text, dims jsonb, grain text, period_start timestamptz, period_end timestamptz,
  value numeric, numerator numeric, denominator numeric
);
