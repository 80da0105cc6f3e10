-- total_runs (sum, hour to year, windows)
select tenant_id, started_at as at, 1 as amount from runs

-- runs_by_agent (sum, hour to year, windows)
select tenant_id, started_at as at, agent_id, 1 as amount from runs

-- successful_runs (sum, hour to year, windows)
select tenant_id, started_at as at, (status = 'succeeded')::int as amount from runs

-- failed_runs (sum, hour to year, windows)
select tenant_id, started_at as at, (status = 'failed')::int as amount from runs

-- credits_used (sum, hour to year, windows)
select tenant_id, started_at as at, credits as amount from runs

-- success_rate (quotient, hour to year, windows)
select tenant_id, started_at as at, (status = 'succeeded')::int as above,
       (status in ('succeeded', 'failed'))::int as below
from runs

-- success_rate_by_agent (quotient, hour to year, windows)
select tenant_id, started_at as at, agent_id, (status = 'succeeded')::int as above,
       (status in ('succeeded', 'failed'))::int as below
from runs

-- average_runtime (quotient, hour to year, windows)
select tenant_id, started_at as at, duration_seconds as above, (duration_seconds is not null)::int as below from runs

-- runtime_p95 (percentile 0.95, hour to year)
select tenant_id, started_at as at, duration_seconds as amount from runs

-- active_agents (distinct, day to year, windows)
select tenant_id, started_at as at, agent_id as who from runs

-- uptime (quotient, hour to year, windows)
select tenant_id, checked_at as at, up::int as above, 1 as below from uptime

-- uptime_by_service (quotient, hour to year, windows)
select tenant_id, checked_at as at, service, up::int as above, 1 as below from uptime

-- health_score (quotient, day to year, windows of days)
select tenant_id, day as at, div(60 * sum(up::int) * 1e10, count(*)) * 1e-10 as above, 0.6 as below
from (select tenant(tenant_id) as tenant_id, up, same_day(tenant_id, checked_at) as day from uptime) checks group by tenant_id, day
union all
select tenant_id, day, div(40 * sum((status = 'succeeded')::int) * 1e10, count(*)) * 1e-10, 0.4
from (select tenant(tenant_id) as tenant_id, status, same_day(tenant_id, started_at) as day from runs) ended
where status in ('succeeded', 'failed') group by tenant_id, day

-- efficiency_score (quotient, day to year, windows of days)
select tenant_id, day as at, round(div(sum(accuracy_score) * 1e10, count(*)) * 0.5e-10, 10) as above, 0.5 as below
from (select tenant(tenant_id) as tenant_id, accuracy_score, same_day(tenant_id, charge_period_start) as day from costs) scored
where accuracy_score is not null group by tenant_id, day
union all
select tenant_id, day, div(5 * sum((status = 'succeeded')::int) * 1e9, count(*)) * 1e-10, 0.5
from (select tenant(tenant_id) as tenant_id, status, same_day(tenant_id, started_at) as day from runs) ended
where status in ('succeeded', 'failed') group by tenant_id, day
