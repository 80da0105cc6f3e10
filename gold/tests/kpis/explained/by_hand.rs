//! What the views of the test say of rows, in loops.

use std::collections::BTreeSet;

use super::shop::{Customer, DAY_US, Order, START, Shop};

/// A row of a view, whose and when it is, what it brings to which dimensions, and what it is made of.
pub(crate) struct Row {
    tenant: Option<&'static str>,
    /// The days in which it counts, from 0.
    days: Vec<i64>,
    currency: Option<&'static str>,
    country: Option<&'static str>,
    amount: String,
    inputs: BTreeSet<(String, i64)>,
}

/// The rows of a part of a KPI.
pub(crate) type Rows = fn(&Shop) -> Vec<Row>;

/// A row that is told.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) dims: String,
    pub(crate) amount: String,
    pub(crate) inputs: BTreeSet<(String, i64)>,
}

/// The rows of a tenant and a day, by one dimension or none.
pub(crate) fn of_day(rows: Vec<Row>, tenant: &str, day: i64, dim: &str) -> Vec<Found> {
    let is_own = |row: &Row| {
        let own = row.tenant.filter(|own| !own.is_empty()).unwrap_or("default");
        own == tenant && row.days.contains(&day)
    };
    let told = |row: Row| {
        let value = if dim == "country" { row.country } else { row.currency };
        let value = value.map_or("null".to_owned(), |own| format!("\"{own}\""));
        let dims = if dim.is_empty() { "{}".to_owned() } else { format!("{{\"{dim}\":{value}}}") };
        Found { dims, amount: row.amount, inputs: row.inputs }
    };
    let mut all: Vec<Found> = rows.into_iter().filter(is_own).map(told).collect();
    all.sort();
    all
}

/// A decimal as a whole number of the smallest unit of cells; what is none as it is.
pub(crate) fn amount(text: &str) -> String {
    let Some((whole, rest)) = text.split_once('.') else { return text.to_owned() };
    assert_eq!(rest.len(), 10, "{text}");
    let digits = format!("{whole}{rest}").parse::<i128>().unwrap();
    digits.to_string()
}

/// The same of hundredths.
fn hundredths(number: i64) -> String {
    (i128::from(number) * 100_000_000).to_string()
}

fn one() -> String {
    hundredths(100)
}

fn day(at: Option<i64>) -> Vec<i64> {
    at.map(|at| (at - START).div_euclid(DAY_US)).into_iter().collect()
}

fn of(contract: &str, id: i64) -> (String, i64) {
    (contract.to_owned(), id)
}

fn orders<'o>(all: impl IntoIterator<Item = &'o Order>) -> BTreeSet<(String, i64)> {
    all.into_iter().map(|own| of("orders", own.id)).collect()
}

/// A row of an order.
fn row(order: &Order, amount: String, inputs: BTreeSet<(String, i64)>) -> Row {
    let currency = Some(order.currency);
    Row { tenant: order.tenant, days: day(order.placed), currency, country: None, amount, inputs }
}

/// What a line of an order brings to the view `sales`.
fn sales(shop: &Shop, brings: impl Fn(&Order, Option<i64>) -> Option<String>) -> Vec<Row> {
    let mut rows = Vec::new();
    for order in shop.orders.iter().filter(|own| !own.cancelled) {
        for item in shop.items.iter().filter(|own| own.order == Some(order.id)) {
            let mut inputs = BTreeSet::from([of("orders", order.id), of("items", item.id)]);
            let customer = shop.customers.iter().find(|own| Some(own.id) == order.customer);
            inputs.extend(customer.map(|own| of("customers", own.id)));
            rows.extend(brings(order, item.price).map(|amount| row(order, amount, inputs)));
        }
    }
    rows
}

pub(crate) fn revenue(shop: &Shop) -> Vec<Row> {
    sales(shop, |_, price| price.filter(|own| *own != 0).map(hundredths))
}

pub(crate) fn lines(shop: &Shop) -> Vec<Row> {
    sales(shop, |_, _| Some(one()))
}

pub(crate) fn buyers(shop: &Shop) -> Vec<Row> {
    sales(shop, |order, _| order.customer.map(|own| own.to_string()))
}

/// The lines of orders, cancelled ones too.
fn backs(shop: &Shop, brings: impl Fn(Option<i64>) -> Option<String>) -> Vec<Row> {
    let mut rows = Vec::new();
    for item in &shop.items {
        for order in shop.orders.iter().filter(|own| item.order == Some(own.id)) {
            let inputs = BTreeSet::from([of("orders", order.id), of("items", item.id)]);
            rows.extend(brings(item.price).map(|amount| row(order, amount, inputs)));
        }
    }
    rows
}

pub(crate) fn net(shop: &Shop) -> Vec<Row> {
    let is_any = |own: &i64| *own != 0;
    let mut rows = backs(shop, |price| price.filter(is_any).map(|own| hundredths(-own)));
    for order in &shop.orders {
        let amount = order.amount.filter(is_any).map(hundredths);
        rows.extend(amount.map(|amount| row(order, amount, orders([order]))));
    }
    rows
}

pub(crate) fn back(shop: &Shop) -> Vec<Row> {
    backs(shop, |_| Some(one()))
}

/// Orders that have the same in some values.
fn alike<'o, K: PartialEq>(shop: &'o Shop, key: impl Fn(&'o Order) -> K) -> Vec<Vec<&'o Order>> {
    let mut groups: Vec<(K, Vec<&Order>)> = Vec::new();
    for order in &shop.orders {
        let own = key(order);
        match groups.iter_mut().find(|(other, _)| *other == own) {
            Some((_, all)) => all.push(order),
            None => groups.push((own, vec![order])),
        }
    }
    groups.into_iter().map(|(_, all)| all).collect()
}

/// Groups of orders, each by the first of them.
fn by_first(groups: Vec<Vec<&Order>>) -> Vec<Row> {
    let one_of = |all: Vec<&Order>| Row {
        tenant: all[0].tenant,
        days: day(all.iter().filter_map(|own| own.placed).min()),
        currency: None,
        country: None,
        amount: one(),
        inputs: orders(all),
    };
    groups.into_iter().map(one_of).collect()
}

pub(crate) fn newcomers(shop: &Shop) -> Vec<Row> {
    let mut groups = alike(shop, |own| (own.customer, own.tenant));
    groups.retain(|all| all[0].customer.is_some());
    by_first(groups)
}

pub(crate) fn regulars(shop: &Shop) -> Vec<Row> {
    let mut groups = alike(shop, |own| (own.customer, own.tenant));
    groups.retain(|all| all.len() > 1);
    by_first(groups)
}

/// A customer on the days at whose end they are there.
fn staying(own: &Customer, amount: String) -> Row {
    let is_there = |day: &i64| {
        let end = START + (day + 1) * DAY_US;
        own.since.is_some_and(|at| at < end) && own.left.is_none_or(|at| at >= end)
    };
    let days = (0..10).filter(is_there).collect();
    let inputs = BTreeSet::from([of("customers", own.id)]);
    Row { tenant: own.tenant, days, currency: None, country: own.country, amount, inputs }
}

pub(crate) fn alive(shop: &Shop) -> Vec<Row> {
    shop.customers.iter().map(|own| staying(own, one())).collect()
}

pub(crate) fn ids_alive(shop: &Shop) -> Vec<Row> {
    let all = shop.customers.iter().filter(|own| own.id != 0);
    all.map(|own| staying(own, hundredths(own.id * 100))).collect()
}

pub(crate) fn totals(shop: &Shop) -> Vec<Row> {
    let mut rows = Vec::new();
    for group in alike(shop, |own| (own.tenant, own.customer)) {
        for order in group.iter().filter(|own| own.placed.is_some()) {
            let before =
                group.iter().filter(|own| own.placed.is_some_and(|at| Some(at) <= order.placed));
            let amounts: Vec<i64> = before.filter_map(|own| own.amount).collect();
            let sum: i64 = amounts.iter().sum();
            if sum != 0 {
                rows.push(row(order, hundredths(sum), orders(group.iter().copied())));
            }
        }
    }
    rows
}

pub(crate) fn best(shop: &Shop) -> Vec<Row> {
    let mut rows = Vec::new();
    for mut group in alike(shop, |own| (own.tenant, own.currency)) {
        group.sort_by_key(|own| (own.amount.is_none(), std::cmp::Reverse(own.amount), own.id));
        for order in group.into_iter().take(2) {
            let amount = order.amount.filter(|own| *own != 0).map(hundredths);
            rows.extend(amount.map(|amount| row(order, amount, orders([order]))));
        }
    }
    rows
}

pub(crate) fn markets(shop: &Shop) -> Vec<Row> {
    let mut rows = Vec::new();
    for group in alike(shop, |own| (own.tenant, own.currency)) {
        let (tenant, currency) = (group[0].tenant, Some(group[0].currency));
        let is_own = |own: &&Customer| tenant.is_some() && own.tenant == tenant;
        for customer in shop.customers.iter().filter(is_own) {
            let mut inputs = orders(group.iter().copied());
            inputs.insert(of("customers", customer.id));
            let days = day(customer.since);
            rows.push(Row { tenant, days, currency, country: None, amount: one(), inputs });
        }
    }
    rows
}
