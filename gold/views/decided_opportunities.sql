-- Sales that were won or lost, each for twelve months (of UTC's calendar) from when it was closed on.
SELECT o.tenant_id, p.period_start AS period, o.currency, COUNT(*) AS closed,
       COUNT(*) FILTER (WHERE o.stage = 'won') AS won
FROM (
  SELECT tenant_id, currency, stage, closed_at, closed_at + INTERVAL '12 months' AS until
  FROM opportunities
  WHERE stage IN ('won', 'lost')
) o
JOIN periods p ON o.closed_at < p.period_end AND (o.until IS NULL OR o.until >= p.period_end)
GROUP BY 1, 2, 3
