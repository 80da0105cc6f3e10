-- The source database of the tests: an order system and the bills of its cloud provider.

create table if not exists orders (
    order_id      bigint primary key,
    tenant_id     text,
    customer_id   text,
    status        text not null,
    amount        numeric(18, 4) not null,
    currency      text not null,
    channel       text,
    campaign      text,
    placed_at     timestamptz not null,
    recognized_at timestamptz,
    updated_at    timestamptz not null
);

create table if not exists costs (
    charge_id           text primary key,
    tenant_id           text,
    service_name        text not null,
    charge_category     text not null,
    billed_cost         numeric(20, 10) not null,
    effective_cost      numeric(20, 10) not null,
    billing_currency    text not null,
    resource_id         text,
    charge_period_start timestamptz not null,
    charge_period_end   timestamptz not null,
    tags                jsonb,
    updated_at          timestamptz not null
);
