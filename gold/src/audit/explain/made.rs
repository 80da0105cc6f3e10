//! Rows of views, with the rows of contracts that they are made of.
//!
//! # Guarantees
//! - Rows are those of the view's own SQL; what they are made of is what [`views::lineage`] says.
//! - A group of which many rows are made is read once.
//!
//! # Non-guarantees
//! - Of rows beyond [`Bounds::inputs`] a row says only that there are more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{RecordBatch, StringArray};
use datafusion::prelude::SessionContext;
use schemas::Contract;
use views::View;
use views::lineage::{GROUP, Lineage, Made, Origin, Slot, Traced, told};
use xxhash_rust::xxh3::xxh3_128;

use super::{Bounds, Brought, Feeding, Input, Part, Place, columns, conditions, some, texts};
use crate::audit::sql::tenant_of;
use crate::audit::{AuditError, compare};
use crate::catalog::Catalog;

/// The table of the groups that are asked for, and its column.
const WANTED: &str = "weir wanted";

/// Whether rows of a relation are made of all that they are said to be made of.
pub(super) fn is_exact(catalog: &Catalog, relation: &str) -> bool {
    let view = view(catalog, relation);
    view.is_none_or(|view| view.lineage(catalog.views(), &|_| None).is_exact)
}

fn view<'c>(catalog: &'c Catalog, name: &str) -> Option<&'c View> {
    catalog.views().iter().find(|view| view.name() == name)
}

/// The table of a contract, and what is told of a row: its key, and what [`Input`] has beside it.
fn origin(catalog: &Catalog, contract: &Contract) -> Option<Origin> {
    let relation = catalog.relation(&contract.name)?;
    let keys = contract.key.iter().filter_map(|at| contract.columns.get(*at));
    let own = ["_origin", "_position", "_doubt", "_epoch"].into_iter();
    let named = keys.map(|column| column.name.as_str()).chain(own);
    let text = |of: &str| format!("arrow_cast({of}, 'Utf8')");
    let told = named.map(|name| text(&format!("\"{name}\"")));
    let told = told.chain([text(&tenant_of(relation))]).collect();
    Some(Origin { table: relation.rows_table(), told })
}

/// The rows of a view that feed a part of some cells, and how many rows were read.
pub(super) async fn feeding(
    context: &SessionContext,
    catalog: &Catalog,
    contracts: &BTreeMap<&str, &Contract>,
    (part, place): (&Part, &Place),
    bounds: Bounds,
) -> Result<(Vec<Feeding>, usize), AuditError> {
    let (Some(view), Some(relation)) =
        (view(catalog, &part.contract), catalog.relation(&part.contract))
    else {
        return Ok((Vec::new(), 0));
    };
    let of = |name: &str| origin(catalog, contracts.get(name)?);
    let lineage = view.lineage(catalog.views(), &of);
    let slots = &lineage.rows.slots;
    let sql = format!(
        "SELECT {} FROM ({}) AS it WHERE {}{}",
        columns(part, place).into_iter().chain(selected(slots)).collect::<Vec<_>>().join(", "),
        lineage.rows.sql,
        conditions(catalog, relation, part, place).join(" AND "),
        bounds.rows.map(|most| format!(" LIMIT {most}")).unwrap_or_default(),
    );
    let (mut rows, mut made) = (Vec::new(), Vec::new());
    for batch in compare::rows(context, &part.kpi, &sql).await? {
        let brought = Brought::of(&batch, part)?;
        made.extend(slot_rows(&batch, &part.kpi, slots)?);
        let one = |row| (brought.dims(row), brought.amount(row));
        rows.extend((0..batch.num_rows()).map(one));
    }
    let mut read = Read { count: rows.len(), groups: vec![BTreeMap::new(); lineage.groups.len()] };
    read.groups_of(context, &part.kpi, &lineage, &made, bounds).await?;
    let mut known = Known::of(&lineage, read.groups, bounds.inputs);
    let place = (place.tenant.as_str(), bounds);
    let rows = rows.into_iter().zip(&made).map(|((dims, amount), made)| {
        let row = Feeding { dims, amount, ..Feeding::default() };
        known.fed(row, slots, made, place)
    });
    Ok((in_order(rows.collect(), contracts), read.count))
}

/// Slots in a SELECT, by their places.
fn selected(slots: &[Slot]) -> impl Iterator<Item = String> {
    let one = |(at, slot): (usize, &Slot)| {
        format!("arrow_cast(\"{}\", 'Utf8') AS \"made_{at}\"", slot.column)
    };
    slots.iter().enumerate().map(one)
}

/// What each row of an answer is made of, by slot.
type Texts = Vec<Option<String>>;

fn slot_rows(batch: &RecordBatch, what: &str, slots: &[Slot]) -> Result<Vec<Texts>, AuditError> {
    let columns = (0..slots.len()).map(|at| texts(batch, what, &format!("made_{at}")));
    let columns: Vec<StringArray> = columns.collect::<Result<_, AuditError>>()?;
    let row = |row| columns.iter().map(|column| some(column, row)).collect();
    Ok((0..batch.num_rows()).map(row).collect())
}

/// What was read of groups.
struct Read {
    count: usize,
    /// By group, and by what it has in [`GROUP`], its rows.
    groups: Vec<BTreeMap<String, Vec<Texts>>>,
}

impl Read {
    /// Reads the groups that rows are made of, and those that these are made of.
    async fn groups_of(
        &mut self,
        context: &SessionContext,
        what: &str,
        lineage: &Lineage,
        rows: &[Texts],
        bounds: Bounds,
    ) -> Result<(), AuditError> {
        let mut wanted = vec![BTreeSet::new(); lineage.groups.len()];
        want(&mut wanted, &lineage.rows.slots, rows);
        // Groups are made of groups of lower numbers.
        for (at, group) in lineage.groups.iter().enumerate().rev() {
            let own = wanted.get_mut(at).map(std::mem::take).unwrap_or_default();
            let left = bounds.rows.map(|most| most.saturating_sub(self.count));
            if own.is_empty() || left == Some(0) {
                continue;
            }
            let found = read_group(context, what, group, own, (bounds.inputs, left)).await?;
            for (of, made) in found {
                self.count += 1;
                want(&mut wanted, &group.slots, std::slice::from_ref(&made));
                if let Some(held) = self.groups.get_mut(at) {
                    held.entry(of).or_default().push(made);
                }
            }
        }
        Ok(())
    }
}

/// Adds the groups that rows are made of.
fn want(wanted: &mut [BTreeSet<String>], slots: &[Slot], rows: &[Texts]) {
    for (slot, text) in rows.iter().flat_map(|row| slots.iter().zip(row)) {
        let Made::Group(group) = slot.of else { continue };
        if let (Some(all), Some(text)) = (wanted.get_mut(group), text)
            && !all.contains(text)
        {
            all.insert(text.clone());
        }
    }
}

/// The first rows of some groups, one more of each than is told.
async fn read_group(
    context: &SessionContext,
    what: &str,
    group: &Traced,
    wanted: BTreeSet<String>,
    (inputs, left): (usize, Option<usize>),
) -> Result<Vec<(String, Texts)>, AuditError> {
    let failed = |source| AuditError::Query { what: what.into(), source: Box::new(source) };
    let column: StringArray = wanted.into_iter().map(Some).collect();
    let batch = RecordBatch::try_from_iter([(WANTED, Arc::new(column) as _)]);
    let batch = batch.map_err(|error| failed(error.into()))?;
    let table = format!("\"{WANTED}\"");
    context.register_batch(&table, batch).map_err(failed)?;
    let order = group.slots.iter().map(|slot| format!("\"{}\"", slot.column));
    let order = order.chain([format!("\"{GROUP}\"")]).collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT arrow_cast(\"{GROUP}\", 'Utf8') AS \"made_of\"{} FROM (SELECT *, \
         ROW_NUMBER() OVER (PARTITION BY \"{GROUP}\" ORDER BY {order}) AS \"weir number\" FROM ({}) AS it \
         WHERE \"{GROUP}\" IN (SELECT \"{WANTED}\" FROM {table})) AS it WHERE \"weir number\" <= {}{}",
        selected(&group.slots).map(|slot| format!(", {slot}")).collect::<String>(),
        group.sql,
        inputs.saturating_add(1),
        left.map(|left| format!(" LIMIT {left}")).unwrap_or_default(),
    );
    let found = compare::rows(context, what, &sql).await;
    context.deregister_table(table.as_str()).map_err(failed)?;
    let mut rows = Vec::new();
    for batch in found? {
        let of = texts(&batch, what, "made_of")?;
        let made = slot_rows(&batch, what, &group.slots)?.into_iter().enumerate();
        rows.extend(made.map(|(row, made)| (some(&of, row).unwrap_or_default(), made)));
    }
    Ok(rows)
}

/// Rows of contracts, by number, each once.
#[derive(Default)]
struct Gathered {
    numbers: Vec<usize>,
    seen: BTreeSet<usize>,
    has_more: bool,
}

impl Gathered {
    fn add(&mut self, number: usize, most: usize) {
        match self.numbers.len() < most {
            true if self.seen.insert(number) => self.numbers.push(number),
            false if !self.seen.contains(&number) => self.has_more = true,
            _ => {}
        }
    }
}

/// Rows of contracts that are known, and the groups that are made of them.
struct Known {
    inputs: Vec<Arc<Input>>,
    /// Contract and text to number.
    numbers: BTreeMap<(String, String), usize>,
    groups: Vec<BTreeMap<String, Gathered>>,
    most: usize,
}

impl Known {
    fn of(lineage: &Lineage, read: Vec<BTreeMap<String, Vec<Texts>>>, most: usize) -> Known {
        let (inputs, numbers) = (Vec::new(), BTreeMap::new());
        let mut known = Known { inputs, numbers, groups: Vec::new(), most };
        for (group, rows) in lineage.groups.iter().zip(read) {
            let mut own = BTreeMap::new();
            for (of, rows) in rows {
                // More rows of the group than are told may be made of fewer, but were not all read.
                let mut gathered = Gathered { has_more: rows.len() > most, ..Gathered::default() };
                for row in &rows {
                    known.gather(&mut gathered, &group.slots, row);
                }
                own.insert(of, gathered);
            }
            known.groups.push(own);
        }
        known
    }

    /// Adds the rows of contracts that a row is made of.
    fn gather(&mut self, gathered: &mut Gathered, slots: &[Slot], row: &Texts) {
        for (slot, text) in slots.iter().zip(row) {
            let Some(text) = text else { continue };
            match &slot.of {
                Made::Row(contract) => {
                    if let Some(number) = self.number(contract, text) {
                        gathered.add(number, self.most);
                    }
                }
                Made::Group(group) => {
                    let held = self.groups.get(*group).and_then(|own| own.get(text));
                    let numbers = held.into_iter().flat_map(|own| &own.numbers);
                    numbers.for_each(|number| gathered.add(*number, self.most));
                    gathered.has_more |= held.is_some_and(|own| own.has_more);
                }
            }
        }
    }

    /// The number of a row, which gets one.
    fn number(&mut self, contract: &str, text: &str) -> Option<usize> {
        let place = (contract.to_owned(), text.to_owned());
        if let Some(number) = self.numbers.get(&place) {
            return Some(*number);
        }
        let input = Input::of(contract, text)?;
        self.inputs.push(Arc::new(input));
        self.numbers.insert(place, self.inputs.len() - 1);
        Some(self.inputs.len() - 1)
    }

    /// A row with what it is made of.
    fn fed(
        &mut self,
        row: Feeding,
        slots: &[Slot],
        made: &Texts,
        (tenant, bounds): (&str, Bounds),
    ) -> Feeding {
        let mut gathered = Gathered::default();
        self.gather(&mut gathered, slots, made);
        let all = gathered.numbers.iter().filter_map(|number| self.inputs.get(*number));
        let all: Vec<&Arc<Input>> = all.collect();
        let is_told = |input: &&&Arc<Input>| bounds.others || input.tenant == tenant;
        let inputs: Vec<Arc<Input>> =
            all.iter().filter(is_told).map(|own| Arc::clone(own)).collect();
        let first = inputs.first();
        Feeding {
            key: first.map(|own| own.key.clone()).unwrap_or_default(),
            origin: first.map(|own| own.origin.clone()).unwrap_or_default(),
            position: first.map(|own| own.position.clone()).unwrap_or_default(),
            epoch: all.iter().map(|own| own.epoch).max().unwrap_or_default(),
            doubt: all.iter().find_map(|own| own.doubt.clone()),
            has_more: gathered.has_more,
            withheld: all.len() - inputs.len(),
            inputs,
            ..row
        }
    }
}

impl Input {
    /// What [`origin`] tells of a row.
    fn of(contract: &str, text: &str) -> Option<Input> {
        let mut told = told(text)?;
        let (tenant, epoch) = (told.pop()??, told.pop()??.parse().ok()?);
        let (doubt, position) = (told.pop()?, told.pop()?.unwrap_or_default());
        let origin = told.pop()?.unwrap_or_default();
        let key = told.into_iter().map(Option::unwrap_or_default).collect();
        Some(Input { contract: contract.to_owned(), key, origin, position, epoch, doubt, tenant })
    }
}

/// Rows by dimensions, key and origin, those that have the same told apart.
fn in_order(mut rows: Vec<Feeding>, contracts: &BTreeMap<&str, &Contract>) -> Vec<Feeding> {
    let key = |row: &Feeding| -> Vec<(String, String)> {
        let contract = row.inputs.first().and_then(|own| contracts.get(own.contract.as_str()));
        let names = contract.into_iter().flat_map(|own| {
            own.key.iter().filter_map(|at| own.columns.get(*at)).map(|column| column.name.clone())
        });
        names.zip(row.key.iter().cloned()).collect()
    };
    for row in &mut rows {
        let told: Vec<_> =
            row.inputs.iter().map(|own| (&own.contract, &own.key, &own.origin)).collect();
        row.tie = format!("{:032x}", xxh3_128(format!("{told:?}").as_bytes()));
    }
    rows.sort_by_cached_key(|row| {
        let last = (row.tie.clone(), row.amount.clone(), row.withheld);
        (row.dims.clone(), key(row), row.origin.clone(), last)
    });
    let mut before: Option<(String, Vec<String>, String, String)> = None;
    let mut number = 0_u32;
    for row in &mut rows {
        let own = (row.dims.clone(), row.key.clone(), row.origin.clone(), row.tie.clone());
        number = if before.as_ref() == Some(&own) { number + 1 } else { 0 };
        row.tie.push_str(&format!("{number:08x}"));
        before = Some(own);
    }
    rows
}
