-- total_cost (sum, hour to year, windows)
select tenant_id, charge_period_start as at, billing_currency as currency, effective_cost as amount from costs

-- cost_by_service (sum, hour to year, windows)
select tenant_id, charge_period_start as at, billing_currency as currency, service_name, effective_cost as amount
from costs

-- accuracy_points (sum, hour to year, windows)
select tenant_id, charge_period_start as at, accuracy_score as amount from costs where accuracy_score is not null

-- scored_charges (sum, hour to year, windows)
select tenant_id, charge_period_start as at, 1 as amount from costs where accuracy_score is not null

-- attribution_accuracy (quotient, hour to year, windows)
select tenant_id, charge_period_start as at, accuracy_score as above, 1 as below
from costs where accuracy_score is not null

-- budget_variance (quotient, month to year)
select tenant_id, charge_period_start as at, billing_currency as currency, effective_cost as above, 0 as below from costs
union all select tenant_id, period_start, currency, -amount, amount from budgets

-- cost_per_conversion (quotient, hour to year, windows)
select tenant(tenant_id) as tenant_id, charge_period_start as at, billing_currency as currency, effective_cost as above,
       0 as below
from costs
union all
select tenant(tenant_id), occurred_at, currency, 0, 1
from activity a, (select distinct tenant(tenant_id) as charged, billing_currency as currency from costs) c
where kind = 'conversion' and charged = tenant(tenant_id)

-- cac (quotient, day to year, windows)
select tenant_id, at, currency, cost as above, customer as below from acquired

-- cac_year (alive quotient, day to year)
select tenant_id, at as starts, (at at time zone 'UTC' + interval '12 months') at time zone 'UTC' as ends, currency,
       cost as above, customer as below
from acquired
