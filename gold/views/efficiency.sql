-- Points of each day (UTC) out of 1: 0.5 for how sure charges are attributed (the mean of `accuracy_score`), 0.5 for
-- runs that succeed of those that ended. Where a day has only one of them, that one has all the weight. It counts at
-- ten o'clock in UTC, when nearly all zones have its date.
SELECT tenant_id, period(day) AS period, SUM(points) AS points, SUM(weight) AS weight
FROM (
  SELECT COALESCE(NULLIF(tenant_id, ''), 'default') AS tenant_id,
         date_trunc('day', charge_period_start) + INTERVAL '10 hours' AS day,
         CAST(0.5 * AVG(accuracy_score) AS DECIMAL(20,10)) AS points, CAST(0.5 AS DECIMAL(20,10)) AS weight
  FROM costs
  WHERE accuracy_score IS NOT NULL
  GROUP BY 1, 2
  UNION ALL
  SELECT COALESCE(NULLIF(tenant_id, ''), 'default') AS tenant_id,
         date_trunc('day', started_at) + INTERVAL '10 hours' AS day,
         CAST(CAST(0.5 AS DECIMAL(20,6)) * COUNT(*) FILTER (WHERE status = 'succeeded') / NULLIF(COUNT(*), 0) AS DECIMAL(20,10)) AS points,
         CAST(0.5 AS DECIMAL(20,10)) AS weight
  FROM runs
  WHERE status IN ('succeeded', 'failed')
  GROUP BY 1, 2
) signals
GROUP BY 1, 2
