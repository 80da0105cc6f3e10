-- Every KPI cell of the shop, computed by PostgreSQL from its own rows.
-- kpi, tenant, dims, grain, start in microseconds, value, numerator, denominator, status
with
grains(grain) as (values ('hour'), ('day'), ('week'), ('month'), ('quarter'), ('year')),

booked as (
  select coalesce(tenant_id, 'default') as tenant, currency, channel, grain,
         date_trunc(grain, placed_at at time zone 'UTC') as start, amount
  from orders cross join grains
  where status <> 'cancelled'
),
recognized as (
  select coalesce(tenant_id, 'default') as tenant, currency, grain,
         date_trunc(grain, recognized_at at time zone 'UTC') as start, amount
  from orders cross join grains
  where status = 'recognized' and recognized_at is not null
),
billed as (
  select coalesce(tenant_id, 'default') as tenant, billing_currency as currency, service_name,
         grain, date_trunc(grain, charge_period_start at time zone 'UTC') as start, effective_cost
  from costs cross join grains
),

flows as (
  select 'revenue_booked' as kpi, tenant, json_build_object('currency', currency)::text as dims,
         grain, start, sum(amount)::numeric as value
  from booked group by tenant, currency, grain, start
  union all
  select 'orders', tenant, json_build_object('currency', currency)::text,
         grain, start, count(*)::numeric
  from booked group by tenant, currency, grain, start
  union all
  select 'revenue_by_channel', tenant,
         json_build_object('channel', channel, 'currency', currency)::text, grain, start, sum(amount)
  from booked group by tenant, channel, currency, grain, start
  union all
  select 'revenue_recognized', tenant, json_build_object('currency', currency)::text,
         grain, start, sum(amount)
  from recognized group by tenant, currency, grain, start
  union all
  select 'total_cost', tenant, json_build_object('currency', currency)::text,
         grain, start, sum(effective_cost)
  from billed group by tenant, currency, grain, start
  union all
  select 'cost_by_service', tenant,
         json_build_object('currency', currency, 'service_name', service_name)::text,
         grain, start, sum(effective_cost)
  from billed group by tenant, currency, service_name, grain, start
),

-- A ratio is there when any sum that it names is; an absent sum above the line is 0.
earnings as (
  select coalesce(r.tenant, c.tenant) as tenant, coalesce(r.dims, c.dims) as dims,
         coalesce(r.grain, c.grain) as grain, coalesce(r.start, c.start) as start,
         r.value as revenue, c.value as cost
  from (select * from flows where kpi = 'revenue_recognized') r
  full join (select * from flows where kpi = 'total_cost') c
    on (r.tenant, r.dims, r.grain, r.start) = (c.tenant, c.dims, c.grain, c.start)
),
ratios as (
  select 'average_order_value' as kpi, b.tenant, b.dims, b.grain, b.start,
         b.value as numerator, o.value as denominator
  from (select * from flows where kpi = 'revenue_booked') b
  join (select * from flows where kpi = 'orders') o
    on (b.tenant, b.dims, b.grain, b.start) = (o.tenant, o.dims, o.grain, o.start)
  union all
  select 'gross_margin', tenant, dims, grain, start,
         coalesce(revenue, 0) - coalesce(cost, 0), revenue from earnings
  union all
  select 'roi', tenant, dims, grain, start,
         coalesce(revenue, 0) - coalesce(cost, 0), cost from earnings
),

-- Ten digits after the point, halves to the even digit, from whole numbers alone.
whole as (
  select *, numerator * 10000000000 as above,
         case when coalesce(denominator, 0) <> 0
              then div(numerator * 10000000000, denominator) end as cut
  from ratios
),
remainders as (
  select *, 2 * abs(above - cut * denominator) as twice_rest,
         sign(above) * sign(denominator) as away
  from whole
),
quotients as (
  select *, case
    when cut is null then null
    when twice_rest > abs(denominator) then cut + away
    when twice_rest = abs(denominator) and mod(cut, 2) <> 0 then cut + away
    else cut end as units
  from remainders
),

cells as (
  select kpi, tenant, dims, grain, start, value,
         null::numeric as numerator, null::numeric as denominator, 'ok' as status
  from flows
  union all
  select kpi, tenant, dims, grain, start, units * 0.0000000001,
         numerator, denominator, case when units is null then 'no_data' else 'ok' end
  from quotients
)
select kpi, tenant, replace(replace(dims, ' : ', ':'), ', "', ',"'), grain,
       (extract(epoch from start) * 1000000)::bigint,
       round(value, 10), round(numerator, 10), round(denominator, 10), status
from cells
order by 1, 2, 3, 4, 5;
