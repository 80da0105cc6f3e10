//! The contracts of Weir: ids, time, money, rows and their changes, positions, epochs, control records, KPI cells; and
//! the list that rows and cells are kept in.
//!
//! # Guarantees
//! - No IO, no async, no clock and no sibling crate: everything here is a pure value or function.
//! - Every textual and binary form that outlives the process (positions, rows, periods, decimals)
//!   has exactly one canonical form, so equal values are equal bytes.
//!
//! # Non-guarantees
//! - Nothing here validates business meaning; contracts say which columns and types a table has.

pub mod alert;
pub mod alert_match;
pub mod answer;
pub mod calendar;
pub mod civil;
pub mod clock_guard;
pub mod column;
pub mod contents;
pub mod contract;
pub mod control;
pub mod datum;
mod debt;
pub mod decimal;
pub mod definition;
pub mod delta;
pub mod epoch;
mod error_chain;
pub mod event_field;
pub mod exact_sum;
mod extension;
pub mod feed;
pub mod hex;
pub mod ics;
pub mod identity;
pub mod in_force;
pub mod key;
pub mod kpi;
pub mod letter;
pub mod marks;
pub mod models;
pub mod nearest;
pub mod observe;
pub mod paged;
pub mod past;
pub mod planned;
pub mod position;
mod provenance;
pub mod row;
pub mod split_mix;
pub mod state;
pub mod time;
pub mod vocabulary;
pub mod watching;
pub mod window;
pub mod zone;

pub use alert::{Alert, Contribution, RESOLVED_FOR, Severity, alert_id};
pub use alert_match::AlertMatch;
pub use answer::{Answer, Answers};
pub use calendar::{Calendar, CalendarSettings, Periods};
pub use column::{Column, ColumnType, RowSchema};
pub use contents::{Contents, OriginState, Outside, OutsideValue};
pub use contract::{Contract, ContractError};
pub use control::{CONTROL, ControlRecord, Decision};
pub use datum::Datum;
pub use debt::Debt;
pub use definition::{DefinitionChange, DefinitionKind};
pub use delta::{Delta, KeyChange};
pub use epoch::{EpochId, EpochStamp, Span};
pub use error_chain::chain;
pub use event_field::{EventField, TimeUnit};
pub use exact_sum::ExactSum;
pub use feed::{Feed, Published, Reason, Start};
pub use identity::{Fingerprint, Identity};
pub use in_force::InForce;
pub use key::RowKey;
pub use kpi::{
    CellKey, CellValue, Good, KpiInfo, KpiKind, KpiPart, KpiUpdate, SeriesId, Status, Unit,
};
pub use letter::{Letter, LetterAt, StillDead};
pub use marks::Marks;
pub use models::{ModelOf, Models, ModelsInForce};
pub use observe::{
    Band, Bands, Cells, Feeding, Forecast, Found, FrozenObserver, KnownSeries, Observer,
    OriginName, Scored, Sight, Trial,
};
pub use paged::Paged;
pub use past::{KpiHistory, PastCells, PastQuestion};
pub use planned::{Event, Planned};
pub use position::{Place, Position};
pub use provenance::{
    FedCell, FedInput, FedPart, FeedingRow, KpiProvenance, NotLedBack, Provenance,
    ProvenanceQuestion, SourceRecord,
};
pub use row::{RowBuilder, RowLayout, RowRef};
pub use state::{Records, Saved, SavedPart, StatePart};
pub use time::{Clock, Date, Grain, Grains, Micros};
pub use vocabulary::{Values, Vocabulary};
pub use watching::{Against, ChangeRule, Direction, Sensitivity, Watching};
pub use window::{Counterpart, Window};
