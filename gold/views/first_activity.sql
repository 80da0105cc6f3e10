-- When each user first did anything.
SELECT COALESCE(NULLIF(tenant_id, ''), 'default') AS tenant_id, user_id, MIN(occurred_at) AS first_at
FROM activity
WHERE user_id IS NOT NULL
GROUP BY 1, 2
