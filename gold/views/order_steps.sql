-- The orders of a customer whose row there is, in each currency, in a row: how many there were up to each and for how
-- much, and when the next one came. What was cancelled or refunded is none.
SELECT tenant_id, customer_id, currency, at,
       SUM(orders) OVER (PARTITION BY tenant_id, customer_id, currency ORDER BY at) AS orders,
       SUM(amount) OVER (PARTITION BY tenant_id, customer_id, currency ORDER BY at) AS spent,
       LAG(at, 1) OVER (PARTITION BY tenant_id, customer_id, currency ORDER BY at DESC) AS next_at
FROM (
  SELECT o.tenant_id, o.customer_id, o.currency, o.at, COUNT(*) AS orders, SUM(o.amount) AS amount
  FROM (
    SELECT COALESCE(NULLIF(tenant_id, ''), 'default') AS tenant_id, customer_id, currency, placed_at AS at, amount
    FROM orders
    WHERE status NOT IN ('cancelled', 'refunded')
  ) o
  JOIN (
    SELECT DISTINCT COALESCE(NULLIF(tenant_id, ''), 'default') AS tenant_id, customer_id FROM customers
  ) c ON c.customer_id = o.customer_id AND c.tenant_id = o.tenant_id
  GROUP BY 1, 2, 3, 4
) placed
