-- Where the monthly recurring revenue of a customer changes: by how much, to how much, and the how manieth time.
-- What ends and begins at one instant is one step, so that a change of plan is no loss.
SELECT tenant_id, customer_id, currency, at, step,
       SUM(step) OVER (PARTITION BY tenant_id, customer_id, currency ORDER BY at) AS mrr,
       SUM(CAST(1 AS DECIMAL(20,0))) OVER (PARTITION BY tenant_id, customer_id, currency ORDER BY at) AS number
FROM (
  SELECT tenant_id, customer_id, currency, at, SUM(step) AS step
  FROM (
    SELECT COALESCE(NULLIF(tenant_id, ''), 'default') AS tenant_id, customer_id, currency, started_at AS at,
           mrr AS step
    FROM subscriptions WHERE status <> 'trial'
    UNION ALL
    SELECT COALESCE(NULLIF(tenant_id, ''), 'default') AS tenant_id, customer_id, currency, ended_at AS at,
           -mrr AS step
    FROM subscriptions WHERE status <> 'trial' AND ended_at IS NOT NULL
  ) changes
  GROUP BY 1, 2, 3, 4
) steps
WHERE step <> 0
