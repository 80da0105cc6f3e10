-- Total cost beside conversions, which count once for each currency that the tenant is charged in.
SELECT tenant_id, period(at) AS period, currency, SUM(cost) AS cost, SUM(conversion) AS conversions
FROM (
  SELECT COALESCE(NULLIF(tenant_id, ''), 'default') AS tenant_id, charge_period_start AS at,
         billing_currency AS currency, effective_cost AS cost, 0 AS conversion
  FROM costs
  UNION ALL
  SELECT k.tenant_id, a.occurred_at, k.currency, 0, 1
  FROM activity a
  JOIN (
    SELECT DISTINCT COALESCE(NULLIF(tenant_id, ''), 'default') AS tenant_id, billing_currency AS currency FROM costs
  ) k
    ON k.tenant_id = COALESCE(NULLIF(a.tenant_id, ''), 'default')
  WHERE a.kind = 'conversion'
) both
GROUP BY 1, 2, 3
