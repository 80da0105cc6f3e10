-- Users who did anything.
SELECT tenant_id, period(occurred_at) AS period,
       COUNT(DISTINCT user_id) AS users, COUNT(user_id) AS events
FROM activity
GROUP BY 1, 2
