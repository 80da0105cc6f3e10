-- Orders from when they are placed until they are recognized, and what was recognized for six months from then on.
-- What was cancelled or refunded is neither.
SELECT b.tenant_id, p.period_start AS period, b.currency,
       SUM(b.backlog) AS backlog, SUM(b.backlog * 6) AS sixfold, SUM(b.recognized) AS recognized
FROM (
  SELECT tenant_id, currency, amount AS backlog, 0 AS recognized, placed_at AS started_at,
         CASE WHEN status = 'recognized' THEN recognized_at END AS ended_at
  FROM orders
  WHERE status NOT IN ('cancelled', 'refunded')
  UNION ALL
  SELECT tenant_id, currency, 0, amount, recognized_at, recognized_at + INTERVAL '6 months'
  FROM orders
  WHERE status = 'recognized'
) b
JOIN periods p ON b.started_at < p.period_end AND (b.ended_at IS NULL OR b.ended_at >= p.period_end)
GROUP BY 1, 2, 3
