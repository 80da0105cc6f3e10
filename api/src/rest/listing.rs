//! Pages of a list: in which order, how many at a time, and where to go on. Pure.
//!
//! # Guarantees
//! - A cursor says behind which cell to go on, by the cell's name and what it was ranked by: what comes or goes
//!   meanwhile moves nothing else. Of the newest cells it names the series, so that a new period does not bring
//!   a series twice.
//! - A cursor of another question, or of another token's tenants, is refused.

use std::cmp::Ordering;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemas::{Grain, Micros};

use super::POINTS_MAX;
use super::ask::Ask;
use crate::problem::Problem;
use crate::query::Query;
use crate::store::{Periods, ServedCell};

/// What cells are ranked by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    Value,
    Change,
}

/// An order of cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) by: By,
    is_descending: bool,
}

/// The words of orders.
const ORDERS: [(&str, Order); 4] = [
    ("value", Order { by: By::Value, is_descending: false }),
    ("-value", Order { by: By::Value, is_descending: true }),
    ("change", Order { by: By::Change, is_descending: false }),
    ("-change", Order { by: By::Change, is_descending: true }),
];

/// The place of a cell by its number: those without one come last.
pub(super) type Rank = (bool, i128);

impl Order {
    /// The place of a number.
    pub(super) fn rank(self, number: Option<i128>) -> Rank {
        let number = number.map(|own| if self.is_descending { own.saturating_neg() } else { own });
        (number.is_none(), number.unwrap_or(0))
    }
}

/// Which page of a list is asked for.
#[derive(Debug)]
pub(super) struct Listing {
    /// `None`: by name.
    pub(super) order: Option<Order>,
    limit: Option<usize>,
    after: Option<Place>,
    /// What else was asked, in short.
    question: String,
    periods: Periods,
}

/// What a page ended with.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Place {
    question: String,
    /// Without a number, and the number as text: JSON has none of that size.
    rank: (bool, String),
    tenant: String,
    kpi: String,
    dims: String,
    grain: String,
    start: i64,
}

impl Listing {
    /// The page that a query asks for.
    pub(super) fn of(
        ask: &Ask,
        query: &Query,
        periods: Periods,
        is_compared: bool,
    ) -> Result<Listing, Problem> {
        let words = ORDERS.map(|(word, _)| word);
        let word = query.word("sort", &words)?;
        let order = ORDERS.into_iter().find(|(own, _)| Some(*own) == word).map(|(_, order)| order);
        if order.is_some_and(|order| order.by == By::Change) && !is_compared {
            let detail = "`sort` by change needs `compare=previous` or `compare=year`";
            return Err(Problem::bad_parameter("sort", detail));
        }
        let limit = query.count("limit", POINTS_MAX)?;
        let question = ask.question(&["cursor", "limit"]);
        let after = query.text("cursor").map(|text| Place::read(text, &question)).transpose()?;
        Ok(Listing { order, limit, after, question, periods })
    }

    /// Whether all cells have to be looked at for a page.
    pub(super) fn reads_all(&self) -> bool {
        self.limit.is_none() || self.order.is_some()
    }

    /// One page of cells, which come in the order of their names, and the cursor of the next one.
    pub(super) fn page<'a>(
        &self,
        cells: impl Iterator<Item = ServedCell<'a>>,
        rank: impl Fn(&ServedCell<'a>) -> Rank,
    ) -> (Vec<ServedCell<'a>>, Option<String>) {
        let limit = self.limit.unwrap_or(POINTS_MAX);
        let ranked = cells.map(|cell| (rank(&cell), cell));
        let ranked = ranked.filter(|(rank, cell)| self.is_after(*rank, cell));
        let mut page: Vec<(Rank, ServedCell<'a>)> = match self.order {
            None => ranked.take(limit + 1).collect(),
            Some(_) => ranked.collect(),
        };
        // It is stable: equal ones stay in the order of their names.
        page.sort_by_key(|(rank, _)| *rank);
        let has_more = page.len() > limit;
        page.truncate(limit);
        let next = page.last().filter(|_| has_more).map(|(rank, cell)| self.cursor(*rank, cell));
        (page.into_iter().map(|(_, cell)| cell).collect(), next)
    }

    fn is_after(&self, rank: Rank, cell: &ServedCell<'_>) -> bool {
        let Some(after) = &self.after else { return true };
        let number = after.rank.1.parse().unwrap_or(0);
        let name = &cell.series;
        let own = (rank, &*name.tenant, &*name.kpi, &*name.dims, Some(cell.grain));
        let grain = Grain::parse(&after.grain);
        let last = ((after.rank.0, number), &*after.tenant, &*after.kpi, &*after.dims, grain);
        match own.cmp(&last) {
            Ordering::Equal => {
                self.periods == Periods::All && cell.period_start > Micros(after.start)
            }
            order => order == Ordering::Greater,
        }
    }

    fn cursor(&self, rank: Rank, cell: &ServedCell<'_>) -> String {
        let name = cell.series;
        let place = Place {
            question: self.question.clone(),
            rank: (rank.0, rank.1.to_string()),
            tenant: name.tenant.to_string(),
            kpi: name.kpi.to_string(),
            dims: name.dims.to_string(),
            grain: cell.grain.name().to_owned(),
            start: cell.period_start.0,
        };
        URL_SAFE_NO_PAD.encode(crate::wire::json(&place))
    }
}

impl Place {
    fn read(text: &str, question: &str) -> Result<Place, Problem> {
        let read = || {
            let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
            let place: Place = serde_json::from_slice(&bytes).ok()?;
            let is_whole =
                place.rank.1.parse::<i128>().is_ok() && Grain::parse(&place.grain).is_some();
            is_whole.then_some(place)
        };
        let refuse = |what: &str| {
            let detail =
                format!("`cursor` {what}; take `next` of an answer, or leave it out to begin");
            Problem::bad_parameter("cursor", detail)
        };
        let place = read().ok_or_else(|| refuse("is none that this route gave"))?;
        if place.question != question {
            return Err(refuse("is of another question or token: only `limit` may change"));
        }
        Ok(place)
    }
}
