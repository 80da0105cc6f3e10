//! Random rows of three tables, as they stand in silver.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Decimal128Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use datafusion::prelude::SessionContext;

pub(crate) const DAY_US: i64 = 86_400_000_000;
pub(crate) const START: i64 = 20_450 * DAY_US;
/// Behind all days that are asked for.
pub(crate) const NOW: i64 = START + 10 * DAY_US;

pub(crate) const CONTRACTS: [&str; 3] = [
    "name='orders'\nformat='debezium-json'\nkey=['order_id']\ntenant='tenant_id'\n\
     columns=[{name='order_id',type='bigint',required=true},{name='tenant_id',type='text'},\
     {name='customer_id',type='bigint'},{name='currency',type='text'},{name='amount',type='decimal(12,2)'},\
     {name='placed_at',type='timestamp'},{name='status',type='text'}]",
    "name='items'\nformat='debezium-json'\nkey=['item_id']\ntenant='tenant_id'\n\
     columns=[{name='item_id',type='bigint',required=true},{name='tenant_id',type='text'},\
     {name='order_id',type='bigint'},{name='price',type='decimal(12,2)'}]",
    "name='customers'\nformat='debezium-json'\nkey=['customer_id']\ntenant='tenant_id'\n\
     columns=[{name='customer_id',type='bigint',required=true},{name='tenant_id',type='text'},\
     {name='country',type='text'},{name='since',type='timestamp'},{name='left_at',type='timestamp'}]",
];

/// Numbers that follow from a seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, end: u64) -> i64 {
        crate::told::below(&mut self.0, end)
    }

    pub(crate) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    fn some(&mut self, end: u64) -> Option<i64> {
        let number = self.below(end);
        (self.below(10) > 0).then_some(number)
    }

    fn tenant(&mut self) -> Option<&'static str> {
        self.one(&[Some("a"), Some("a"), Some("b"), Some("b"), Some(""), Some("default"), None])
    }

    /// An instant in one of three days, often the very beginning of one.
    fn instant(&mut self) -> Option<i64> {
        let at = START + self.below(3) * DAY_US;
        let within = self.below(DAY_US.unsigned_abs());
        let at = if self.below(4) == 0 { at } else { at + within };
        (self.below(12) > 0).then_some(at)
    }
}

#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) id: i64,
    pub(crate) tenant: Option<&'static str>,
    pub(crate) customer: Option<i64>,
    pub(crate) currency: &'static str,
    pub(crate) amount: Option<i64>,
    pub(crate) placed: Option<i64>,
    pub(crate) cancelled: bool,
}

#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) id: i64,
    pub(crate) tenant: Option<&'static str>,
    pub(crate) order: Option<i64>,
    pub(crate) price: Option<i64>,
}

#[derive(Debug)]
pub(crate) struct Customer {
    pub(crate) id: i64,
    pub(crate) tenant: Option<&'static str>,
    pub(crate) country: Option<&'static str>,
    pub(crate) since: Option<i64>,
    pub(crate) left: Option<i64>,
}

/// All rows. Some orders are of customers that there are not.
pub(crate) struct Shop {
    pub(crate) orders: Vec<Order>,
    pub(crate) items: Vec<Item>,
    pub(crate) customers: Vec<Customer>,
}

impl Shop {
    pub(crate) fn random(dice: &mut Dice) -> Shop {
        let order = |id, dice: &mut Dice| Order {
            id,
            tenant: dice.tenant(),
            customer: dice.some(30),
            currency: dice.one(&["EUR", "USD"]),
            amount: dice.some(5_000).map(|own| if own < 500 { 0 } else { own - 1_000 }),
            placed: dice.instant(),
            cancelled: dice.below(4) == 0,
        };
        let item = |id, dice: &mut Dice| Item {
            id,
            tenant: dice.tenant(),
            order: dice.some(50),
            price: dice.some(2_000).map(|own| if own < 200 { 0 } else { own }),
        };
        let customer = |id, dice: &mut Dice| {
            let since = dice.instant();
            let days = dice.below(3);
            let left = since.filter(|_| dice.below(2) == 0).map(|at| at + days * DAY_US);
            let (tenant, country) = (dice.tenant(), dice.one(&[Some("DE"), Some("FR"), None]));
            Customer { id, tenant, country, since, left }
        };
        Shop {
            orders: (0..60).map(|id| order(id, dice)).collect(),
            items: (0..120).map(|id| item(id, dice)).collect(),
            customers: (0..24).map(|id| customer(id, dice)).collect(),
        }
    }

    /// A session with the tables `silver_<contract>`.
    pub(crate) fn context(&self) -> SessionContext {
        let context = gold::audit::session();
        let own = &self.orders;
        let columns = vec![
            ("order_id", numbers(own.iter().map(|own| Some(own.id)))),
            ("tenant_id", texts(own.iter().map(|own| own.tenant))),
            ("customer_id", numbers(own.iter().map(|own| own.customer))),
            ("currency", texts(own.iter().map(|own| Some(own.currency)))),
            ("amount", money(own.iter().map(|own| own.amount))),
            ("placed_at", instants(own.iter().map(|own| own.placed))),
            ("status", texts(own.iter().map(|own| Some(status(own.cancelled))))),
        ];
        put(&context, "orders", own.iter().map(|own| own.id).collect(), columns);
        let own = &self.items;
        let columns = vec![
            ("item_id", numbers(own.iter().map(|own| Some(own.id)))),
            ("tenant_id", texts(own.iter().map(|own| own.tenant))),
            ("order_id", numbers(own.iter().map(|own| own.order))),
            ("price", money(own.iter().map(|own| own.price))),
        ];
        put(&context, "items", own.iter().map(|own| own.id).collect(), columns);
        let own = &self.customers;
        let columns = vec![
            ("customer_id", numbers(own.iter().map(|own| Some(own.id)))),
            ("tenant_id", texts(own.iter().map(|own| own.tenant))),
            ("country", texts(own.iter().map(|own| own.country))),
            ("since", instants(own.iter().map(|own| own.since))),
            ("left_at", instants(own.iter().map(|own| own.left))),
        ];
        put(&context, "customers", own.iter().map(|own| own.id).collect(), columns);
        context
    }
}

fn status(cancelled: bool) -> &'static str {
    if cancelled { "cancelled" } else { "paid" }
}

fn numbers(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(Int64Array::from_iter(values))
}

fn texts<'t>(values: impl Iterator<Item = Option<&'t str>>) -> ArrayRef {
    Arc::new(StringArray::from_iter(values))
}

fn money(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    let values = Decimal128Array::from_iter(values.map(|own| own.map(i128::from)));
    Arc::new(values.with_precision_and_scale(12, 2).unwrap())
}

fn instants(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter(values).with_timezone("UTC"))
}

/// Registers a table of silver, with what silver says of each row.
fn put(context: &SessionContext, name: &str, ids: Vec<i64>, mut columns: Vec<(&str, ArrayRef)>) {
    let told = |of: &dyn Fn(i64) -> String| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(ids.iter().map(|id| of(*id))))
    };
    let none: ArrayRef = Arc::new(StringArray::from_iter(ids.iter().map(|_| None::<&str>)));
    columns.extend([
        ("_origin", told(&|id| format!("s{}.{name}", id % 2))),
        ("_position", told(&|id| format!("at {id} of {name}"))),
        ("_doubt", none),
        ("_epoch", numbers(ids.iter().map(|id| Some(id + 7)))),
    ]);
    let columns = columns.into_iter().map(|(name, column)| (name, column, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    context.register_batch(format!("silver_{name}"), batch).unwrap();
}
