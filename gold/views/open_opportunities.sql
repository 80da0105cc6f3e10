-- Possible sales that are open at the end of each period.
SELECT o.tenant_id, p.period_start AS period, o.currency, SUM(o.amount) AS amount
FROM opportunities o
JOIN periods p ON o.opened_at < p.period_end AND (o.closed_at IS NULL OR o.closed_at >= p.period_end)
GROUP BY 1, 2, 3
