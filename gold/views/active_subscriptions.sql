-- Subscriptions that are alive at the end of each period; a trial is none.
SELECT s.tenant_id, p.period_start AS period, s.currency,
       SUM(s.mrr) AS mrr, SUM(s.mrr * 12) AS arr, COUNT(*) AS subscriptions
FROM subscriptions s
JOIN periods p ON s.started_at < p.period_end AND (s.ended_at IS NULL OR s.ended_at >= p.period_end)
WHERE s.status <> 'trial'
GROUP BY 1, 2, 3
