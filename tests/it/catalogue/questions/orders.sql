-- revenue_booked (sum, hour to year, windows)
select tenant_id, placed_at as at, currency, amount from orders where status <> 'cancelled'

-- orders (sum, hour to year, windows)
select tenant_id, placed_at as at, currency, 1 as amount from orders where status <> 'cancelled'

-- average_order_value (quotient, hour to year, windows)
select tenant_id, placed_at as at, currency, amount as above, 1 as below from orders where status <> 'cancelled'

-- revenue_by_channel (sum, hour to year, windows)
select tenant_id, placed_at as at, channel, currency, amount from orders where status <> 'cancelled'

-- revenue_recognized (sum, hour to year, windows)
select tenant_id, recognized_at as at, currency, amount from orders where status = 'recognized'

-- book_to_bill (quotient, hour to year, windows)
select tenant_id, placed_at as at, currency, amount as above, null as below from orders where status <> 'cancelled'
union all select tenant_id, recognized_at, currency, null, amount from orders where status = 'recognized'

-- gross_margin (quotient, hour to year, windows)
select tenant_id, recognized_at as at, currency, amount as above, amount as below from orders where status = 'recognized'
union all select tenant_id, charge_period_start, billing_currency, -effective_cost, null from costs

-- roi (quotient, hour to year, windows)
select tenant_id, recognized_at as at, currency, amount as above, null as below from orders where status = 'recognized'
union all select tenant_id, charge_period_start, billing_currency, -effective_cost, effective_cost from costs

-- costed_revenue (sum, hour to year, windows)
select tenant_id, placed_at as at, currency, amount from orders where status <> 'cancelled' and cost is not null

-- order_profit (sum, hour to year, windows)
select tenant_id, placed_at as at, currency, amount - cost as amount
from orders where status <> 'cancelled' and cost is not null

-- order_margin (quotient, hour to year, windows)
select tenant_id, placed_at as at, currency, amount - cost as above, amount as below
from orders where status <> 'cancelled' and cost is not null

-- mrr_orders (sum, month to year, windows)
select tenant_id, placed_at as at, currency, amount
from orders where status <> 'cancelled' and (type = 'subscription' or type = 'recurring')

-- backlog (alive sum, month to year)
select tenant_id, placed_at as starts, case status when 'recognized' then recognized_at end as ends, currency, amount
from orders where status not in ('cancelled', 'refunded')

-- coverage_months (alive quotient, month to year)
select tenant_id, placed_at as starts, case status when 'recognized' then recognized_at end as ends, currency,
       6 * amount as above, 0 as below
from orders where status not in ('cancelled', 'refunded')
union all
select tenant_id, recognized_at, (recognized_at at time zone 'UTC' + interval '6 months') at time zone 'UTC', currency,
       0, amount
from orders where status = 'recognized'

-- buyers (distinct, day to year, windows)
select tenant_id, placed_at as at, customer_id as who from orders where status <> 'cancelled'

-- revenue_per_buyer (per head, day to year, windows)
select tenant_id, placed_at as at, currency, amount as above, customer_id as who from orders where status <> 'cancelled'

-- revenue_by_country (sum, hour to year, windows)
select o.tenant_id, placed_at as at, currency, amount,
       (select country from customers c where c.customer_id = o.customer_id) as country
from orders o where status <> 'cancelled'

-- revenue_by_segment (sum, hour to year, windows)
select o.tenant_id, placed_at as at, currency, amount,
       (select segment from customers c where c.customer_id = o.customer_id) as segment
from orders o where status <> 'cancelled'

-- revenue_by_category (sum, hour to year, windows)
select o.tenant_id, o.placed_at as at, o.currency, i.category, i.quantity * i.unit_price as amount
from order_items i, orders o where i.order_id = o.order_id::text and o.status <> 'cancelled'

-- units_sold (sum, hour to year, windows)
select o.tenant_id, o.placed_at as at, i.quantity as amount
from order_items i, orders o where i.order_id = o.order_id::text and o.status <> 'cancelled'
