-- Customers by how long ago they ordered last, how often they ordered and for how much, in each currency. From one order
-- to the next only time changes what a customer is: after ninety days, and after 365.
SELECT s.tenant_id, p.period_start AS period, s.currency, s.segment, COUNT(*) AS customers
FROM (
  SELECT tenant_id, currency, at AS started_at,
         CASE WHEN next_at < at + INTERVAL '90 days' THEN next_at ELSE at + INTERVAL '90 days' END AS ended_at,
         CASE WHEN orders >= 4 AND spent >= 1000 THEN 'champions' WHEN orders >= 2 THEN 'loyal'
              WHEN spent >= 1000 THEN 'big_spenders' ELSE 'new' END AS segment
  FROM order_steps
  UNION ALL
  SELECT tenant_id, currency, at + INTERVAL '90 days',
         CASE WHEN next_at < at + INTERVAL '365 days' THEN next_at ELSE at + INTERVAL '365 days' END,
         CASE WHEN orders >= 2 OR spent >= 1000 THEN 'at_risk' ELSE 'hibernating' END
  FROM order_steps
  WHERE next_at IS NULL OR next_at > at + INTERVAL '90 days'
  UNION ALL
  SELECT tenant_id, currency, at + INTERVAL '365 days', next_at, 'lost'
  FROM order_steps
  WHERE next_at IS NULL OR next_at > at + INTERVAL '365 days'
) s
JOIN periods p ON s.started_at < p.period_end AND (s.ended_at IS NULL OR s.ended_at >= p.period_end)
GROUP BY 1, 2, 3, 4
