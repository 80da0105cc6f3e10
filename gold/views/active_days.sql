-- The days (UTC) on which a user did anything, each with the next one.
SELECT tenant_id, user_id, day, LAG(day, 1) OVER (PARTITION BY tenant_id, user_id ORDER BY day DESC) AS next_day
FROM (
  SELECT DISTINCT COALESCE(NULLIF(tenant_id, ''), 'default') AS tenant_id, user_id,
         date_trunc('day', occurred_at) AS day
  FROM activity
  WHERE user_id IS NOT NULL
) days
