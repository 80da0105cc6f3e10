-- What sales and marketing cost, by the tag `cost_center` of charges, beside new customers, who count once for each
-- currency that the tenant is charged in for these.
SELECT tenant_id, period(at) AS period, currency, SUM(cost) AS cost, SUM(customer) AS customers
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
GROUP BY 1, 2, 3
