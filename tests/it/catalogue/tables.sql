-- A table for each contract that comes with Weir.
create table orders (
  order_id bigint primary key, tenant_id text, customer_id text, status text not null, amount numeric(18,4) not null,
  currency text not null, channel text, campaign text, placed_at timestamptz not null, recognized_at timestamptz,
  type text, cost numeric(18,4), updated_at timestamptz not null default now()
);
create table order_items (
  order_item_id text primary key, tenant_id text, order_id text not null, product_id text, category text,
  quantity numeric(18,4) not null, unit_price numeric(18,4) not null, currency text not null,
  updated_at timestamptz not null default now()
);
create table costs (
  charge_id text primary key, tenant_id text, service_name text not null, charge_category text not null,
  billed_cost numeric(20,10) not null, effective_cost numeric(20,10) not null, billing_currency text not null,
  resource_id text, charge_period_start timestamptz not null, charge_period_end timestamptz not null, tags jsonb,
  accuracy_score numeric(9,6), updated_at timestamptz not null default now()
);
create table customers (
  customer_id text primary key, tenant_id text, name text, country text, segment text, signed_up_at timestamptz,
  updated_at timestamptz not null default now()
);
create table subscriptions (
  subscription_id text primary key, tenant_id text, customer_id text not null, plan text, status text not null,
  mrr numeric(18,4) not null, currency text not null, started_at timestamptz not null, ended_at timestamptz,
  updated_at timestamptz not null default now()
);
create table opportunities (
  opportunity_id text primary key, tenant_id text, customer_id text, stage text not null,
  amount numeric(18,4) not null, currency text not null, probability numeric(9,6), opened_at timestamptz not null,
  closed_at timestamptz, updated_at timestamptz not null default now()
);
create table budgets (
  budget_id text primary key, tenant_id text, service_name text, amount numeric(18,4) not null,
  currency text not null, period_start timestamptz not null, period_end timestamptz not null,
  updated_at timestamptz not null default now()
);
create table activity (
  event_id text primary key, tenant_id text, user_id text, kind text not null, campaign text,
  occurred_at timestamptz not null, updated_at timestamptz not null default now()
);
create table runs (
  run_id text primary key, tenant_id text, agent_id text, user_id text, status text not null,
  duration_seconds numeric(20,6), credits numeric(20,6), started_at timestamptz not null,
  updated_at timestamptz not null default now()
);
create table uptime (
  check_id text primary key, tenant_id text, service text, up boolean not null, checked_at timestamptz not null,
  updated_at timestamptz not null default now()
);
create table fx_rates (
  from_currency text, to_currency text, day date, tenant_id text, rate numeric(20,10) not null,
  updated_at timestamptz not null default now(), primary key (from_currency, to_currency, day)
);

-- Instants by which clocks, days, weeks, months and years begin somewhere, and those just before: rows lie on them.
create table zones (tenant text primary key, zone text not null);
insert into zones values
  ('default', 'UTC'), ('berlin', 'Europe/Berlin'), ('kolkata', 'Asia/Kolkata'), ('azores', 'Atlantic/Azores');
create table edges (number serial primary key, at timestamptz not null);
insert into edges (at)
select distinct hour - earlier
from zones
cross join generate_series(date_trunc('hour', now()) - interval '400 days', now() + interval '1 day', interval '1 hour') hour
cross join (values (interval '0'), (interval '1 microsecond'), (interval '30 minutes')) before(earlier)
where extract(hour from hour at time zone zone)
      <> extract(hour from (hour - interval '1 hour') at time zone zone + interval '1 hour');
insert into edges (at)
select distinct (day at time zone zone) - earlier
from zones
cross join generate_series(date_trunc('day', now()::timestamp) - interval '400 days', now()::timestamp, interval '1 day') day
cross join (values (interval '0'), (interval '1 microsecond')) before(earlier)
where extract(day from day) = 1 or day > now()::timestamp - interval '9 days';
