-- Users by the time of the first thing that they did.
SELECT tenant_id, period(first_at) AS period, COUNT(*) AS users
FROM first_activity
GROUP BY 1, 2
