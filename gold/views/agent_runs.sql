-- Runs of agents by the time of their start; a run has ended when it succeeded or failed.
SELECT tenant_id, period(started_at) AS period, agent_id,
       COUNT(*) AS runs,
       COUNT(*) FILTER (WHERE status = 'succeeded') AS succeeded,
       COUNT(*) FILTER (WHERE status = 'failed') AS failed,
       COUNT(*) FILTER (WHERE status IN ('succeeded', 'failed')) AS ended,
       SUM(duration_seconds) AS seconds, COUNT(duration_seconds) AS timed,
       PERCENTILE_EXACT(duration_seconds, 0.95) AS seconds_p95,
       SUM(credits) AS credits,
       COUNT(DISTINCT agent_id) AS agents, COUNT(DISTINCT user_id) AS users
FROM runs
GROUP BY 1, 2, 3
