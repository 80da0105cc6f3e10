-- What sales and marketing cost, by the tag `cost_center` of charges, and new customers, each for twelve months (of
-- UTC's calendar) from then on. Customers count once for each currency that the tenant is charged in for these.
SELECT a.tenant_id, p.period_start AS period, a.currency, SUM(a.cost) AS cost, SUM(a.customer) AS customers
FROM (
  SELECT tenant_id, currency, cost, customer, at, at + INTERVAL '12 months' AS until
  FROM (
    SELECT COALESCE(NULLIF(tenant_id, ''), 'default') AS tenant_id, charge_period_start AS at,
           billing_currency AS currency, effective_cost AS cost, 0 AS customer
    FROM costs
    WHERE tags ->> 'cost_center' IN ('sales', 'marketing')
    UNION ALL
    SELECT k.tenant_id, c.signed_up_at, k.currency, 0, 1
    FROM customers c
    JOIN (
      SELECT DISTINCT COALESCE(NULLIF(tenant_id, ''), 'default') AS tenant_id, billing_currency AS currency
      FROM costs
      WHERE tags ->> 'cost_center' IN ('sales', 'marketing')
    ) k ON k.tenant_id = COALESCE(NULLIF(c.tenant_id, ''), 'default')
  ) both
) a
JOIN periods p ON a.at < p.period_end AND (a.until IS NULL OR a.until >= p.period_end)
GROUP BY 1, 2, 3
