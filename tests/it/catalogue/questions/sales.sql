-- pipeline_created (sum, hour to year, windows)
select tenant_id, opened_at as at, currency, amount from opportunities

-- opportunities_opened (sum, hour to year, windows)
select tenant_id, opened_at as at, currency, 1 as amount from opportunities

-- won_amount (sum, hour to year, windows)
select tenant_id, closed_at as at, currency, amount from opportunities where stage = 'won'

-- deals_won (sum, hour to year, windows)
select tenant_id, closed_at as at, currency, 1 as amount from opportunities where stage = 'won'

-- deals_closed (sum, hour to year, windows)
select tenant_id, closed_at as at, currency, 1 as amount from opportunities where stage = 'won' or stage = 'lost'

-- win_rate (alive quotient, day to year)
select tenant_id, closed_at as starts, (closed_at at time zone 'UTC' + interval '12 months') at time zone 'UTC' as ends,
       currency, (stage = 'won')::int as above, 1 as below
from opportunities where stage = 'won' or stage = 'lost'

-- average_deal (quotient, hour to year, windows)
select tenant_id, closed_at as at, currency, amount as above, 1 as below from opportunities where stage = 'won'

-- forecast (sum, hour to year, windows)
select tenant_id, opened_at as at, currency, amount * probability as amount
from opportunities where stage <> 'won' and stage <> 'lost'

-- open_pipeline (alive sum, day to year)
select tenant_id, opened_at as starts, closed_at as ends, currency, amount from opportunities

-- funnel (sum, hour to year, windows)
select tenant_id, occurred_at as at, kind, 1 as amount from activity

-- impressions (sum, hour to year, windows)
select tenant_id, occurred_at as at, 1 as amount from activity where kind = 'impression'

-- clicks (sum, hour to year, windows)
select tenant_id, occurred_at as at, 1 as amount from activity where kind = 'click'

-- engagements (sum, hour to year, windows)
select tenant_id, occurred_at as at, 1 as amount from activity where kind = 'engagement'

-- conversions (sum, hour to year, windows)
select tenant_id, occurred_at as at, 1 as amount from activity where kind = 'conversion'

-- conversions_by_campaign (sum, hour to year, windows)
select tenant_id, occurred_at as at, campaign, 1 as amount from activity where kind = 'conversion'

-- click_rate (quotient, hour to year, windows)
select tenant_id, occurred_at as at, case kind when 'click' then 1 end as above,
       case kind when 'impression' then 1 end as below
from activity where kind in ('click', 'impression')

-- conversion_rate (quotient, hour to year, windows)
select tenant_id, occurred_at as at, case kind when 'conversion' then 1 end as above,
       case kind when 'click' then 1 end as below
from activity where kind in ('conversion', 'click')

-- engagement_rate (quotient, hour to year, windows)
select tenant_id, occurred_at as at, case kind when 'engagement' then 1 end as above,
       case kind when 'click' then 1 end as below
from activity where kind in ('engagement', 'click')
