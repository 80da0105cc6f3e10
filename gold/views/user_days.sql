-- Users from the first day (UTC) on which they did anything; each such day for thirty days or up to the next one; and
-- the thirty days after those in which they do nothing.
SELECT u.tenant_id, p.period_start AS period, COUNT(*) FILTER (WHERE u.what = 'user') AS users,
       COUNT(*) FILTER (WHERE u.what = 'active') AS active, COUNT(*) FILTER (WHERE u.what = 'churned') AS churned
FROM (
  SELECT tenant_id, date_trunc('day', first_at) AS started_at, NULL AS ended_at, 'user' AS what
  FROM first_activity
  UNION ALL
  SELECT tenant_id, day, CASE WHEN next_day < day + INTERVAL '30 days' THEN next_day ELSE day + INTERVAL '30 days' END,
         'active'
  FROM active_days
  UNION ALL
  SELECT tenant_id, day + INTERVAL '30 days',
         CASE WHEN next_day < day + INTERVAL '60 days' THEN next_day ELSE day + INTERVAL '60 days' END, 'churned'
  FROM active_days
  WHERE next_day IS NULL OR next_day > day + INTERVAL '30 days'
) u
JOIN periods p ON u.started_at < p.period_end AND (u.ended_at IS NULL OR u.ended_at >= p.period_end)
GROUP BY 1, 2
