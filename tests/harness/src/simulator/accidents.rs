//! What may happen to a source and its topics, as a set: each accident is switched on by itself.

use std::fmt;
use std::ops::BitOr;

use super::Kind;

/// A set of accidents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Accidents(u32);

impl Accidents {
    /// Nothing happens but inserts, updates and deletes after an initial snapshot.
    pub const NONE: Accidents = Accidents(0);
    /// A connector restarts and repeats its last records up to the present.
    pub const REDELIVERY: Accidents = Accidents(1);
    /// A whole blocking snapshot in the middle: what was not yet streamed is streamed after it.
    pub const SNAPSHOT: Accidents = Accidents(1 << 1);
    /// A blocking snapshot of some of the rows, which no event tells from a whole one.
    pub const FILTERED: Accidents = Accidents(1 << 2);
    /// Chunks of an incremental snapshot beside live changes.
    pub const INCREMENTAL: Accidents = Accidents(1 << 3);
    /// Changes are lost, deletes among them, and a new snapshot is taken.
    pub const GAP: Accidents = Accidents(1 << 4);
    /// An initial snapshot that ends in the middle and is begun anew later.
    pub const UNFINISHED: Accidents = Accidents(1 << 5);
    /// Another server goes on.
    pub const FAILOVER: Accidents = Accidents(1 << 6);
    /// Kafka removes records of a key that has later ones: deletes too, whose tombstones stay.
    pub const COMPACTION: Accidents = Accidents(1 << 7);
    /// Topics get partitions, so that keys move between them.
    pub const PARTITIONS: Accidents = Accidents(1 << 8);
    /// Topics are made anew, or their tables go on in another topic.
    pub const TOPICS: Accidents = Accidents(1 << 9);
    /// Two databases with equal keys, each with its topic.
    pub const SHARDS: Accidents = Accidents(1 << 10);
    /// Two databases with equal keys in one topic.
    pub const SHARED_TOPIC: Accidents = Accidents(1 << 11);
    /// Transactions are open beside others, and while snapshots are taken.
    pub const IN_FLIGHT: Accidents = Accidents(1 << 12);
    /// Rows get other keys.
    pub const KEYS: Accidents = Accidents(1 << 13);
    /// Large values that did not change are not sent.
    pub const TOAST: Accidents = Accidents(1 << 14);
    /// The table has a large column that is required.
    pub const REQUIRED: Accidents = Accidents(1 << 15);
    /// The table is truncated.
    pub const TRUNCATE: Accidents = Accidents(1 << 16);
    /// The connector begins without a snapshot: rows are seen when they change.
    pub const NO_DATA: Accidents = Accidents(1 << 17);
    /// Whoever reads was not told that every snapshot is whole.
    pub const ASK: Accidents = Accidents(1 << 18);
    /// Changes cannot be read: a value is none of its column.
    pub const UNREADABLE: Accidents = Accidents(1 << 19);
    /// The source's clock is put forward and back.
    pub const CLOCKS: Accidents = Accidents(1 << 20);
    /// The database is restored to an earlier state, on a log with lower places, and a snapshot is taken.
    pub const RESTORE: Accidents = Accidents(1 << 21);
    /// A column is dropped and added again, and gets more digits.
    pub const ALTER: Accidents = Accidents(1 << 22);
    /// All of them.
    pub const ALL: Accidents = Accidents((1 << 23) - 1);

    const NAMES: [&'static str; 23] = [
        "redelivery",
        "snapshot",
        "filtered",
        "incremental",
        "gap",
        "unfinished",
        "failover",
        "compaction",
        "partitions",
        "topics",
        "shards",
        "shared-topic",
        "in-flight",
        "keys",
        "toast",
        "required",
        "truncate",
        "no-data",
        "ask",
        "unreadable",
        "clocks",
        "restore",
        "alter",
    ];

    /// Those of both.
    #[must_use]
    pub const fn with(self, other: Accidents) -> Accidents {
        Accidents(self.0 | other.0)
    }

    /// Whether all of `other` are in it.
    pub fn has(self, other: Accidents) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether one of these is in it.
    fn any(self, others: &[Accidents]) -> bool {
        others.iter().any(|other| self.has(*other))
    }

    /// Those that are not in `other`.
    #[must_use]
    pub fn without(self, other: Accidents) -> Accidents {
        Accidents(self.0 & !other.0)
    }

    /// Each by itself.
    pub fn each(self) -> impl Iterator<Item = Accidents> {
        (0..23).map(|bit| Accidents(1 << bit)).filter(move |one| self.has(*one))
    }

    /// About half of all of them, drawn by a seed.
    pub fn together(seed: u64) -> Accidents {
        let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        Accidents(Accidents::ALL.0 & u32::try_from(mixed).unwrap_or(0))
    }

    /// Those that can happen to a connector of this kind and whose result its events determine.
    ///
    /// Without a source block only offsets order changes: what spreads a key, or a truncate and its rows,
    /// over partitions leaves no order, two databases in one topic are one origin, and nothing says where
    /// a snapshot ends. Kafka refuses records without a key, such as truncates, in a compacted topic.
    /// Whose change could not be read is known where each is streamed once and in order: not where a
    /// snapshot overtakes it, a cleaner removes what was before it, or its value is that of another.
    /// A clock that jumps decides nothing only where places do: in one log, and while a key stays in its partition.
    /// Which shape a row had before it was streamed no event tells; nor, after a restore, in which partition a key
    /// is from then on; nor, of Oracle, that there was one, where a cleaner removes what the first row of the snapshot is
    /// compared with. MongoDB has neither keys that change nor a truncate, no large
    /// values that are left out, and a place made of its clock.
    #[must_use]
    pub fn possible(self, kind: Kind) -> Accidents {
        let mut possible = self;
        if kind == Kind::Plain {
            let ordered = Accidents::PARTITIONS | Accidents::TRUNCATE;
            possible = possible.without(ordered | Accidents::SHARED_TOPIC | Accidents::FAILOVER);
        }
        if possible.has(Accidents::COMPACTION) {
            possible = possible.without(Accidents::TRUNCATE);
        }
        if !possible.has(Accidents::ASK) {
            possible = possible.without(Accidents::FILTERED);
        }
        let unclear = [
            Accidents::SNAPSHOT,
            Accidents::FILTERED,
            Accidents::GAP,
            Accidents::UNFINISHED,
            Accidents::COMPACTION,
            Accidents::IN_FLIGHT,
            Accidents::KEYS,
            Accidents::TOAST,
            Accidents::NO_DATA,
            Accidents::RESTORE,
        ];
        if kind == Kind::MongoDb {
            let none =
                [Accidents::KEYS, Accidents::TRUNCATE, Accidents::TOAST, Accidents::IN_FLIGHT];
            possible = none.into_iter().fold(possible, Accidents::without);
        }
        if !matches!(kind, Kind::SqlServer | Kind::Oracle)
            || possible.any(&[Accidents::PARTITIONS, Accidents::TOPICS])
        {
            possible = possible.without(Accidents::CLOCKS);
        }
        let spread = [Accidents::PARTITIONS, Accidents::TOPICS, Accidents::COMPACTION];
        if matches!(kind, Kind::MongoDb | Kind::Plain)
            || possible.any(&[Accidents::PARTITIONS, Accidents::TOPICS])
            || possible.any(&[Accidents::ASK, Accidents::NO_DATA, Accidents::CLOCKS])
            || kind == Kind::Oracle && possible.has(Accidents::COMPACTION)
        {
            possible = possible.without(Accidents::RESTORE);
        }
        let overtaking =
            [Accidents::SNAPSHOT, Accidents::FILTERED, Accidents::GAP, Accidents::IN_FLIGHT];
        if kind == Kind::Plain
            || possible.any(&spread)
            || possible.any(&overtaking)
            || possible.any(&[Accidents::UNFINISHED, Accidents::RESTORE])
        {
            possible = possible.without(Accidents::ALTER);
        }
        if unclear.into_iter().any(|other| possible.has(other)) {
            possible = possible.without(Accidents::UNREADABLE);
        }
        possible
    }
}

impl BitOr for Accidents {
    type Output = Accidents;

    fn bitor(self, other: Accidents) -> Accidents {
        self.with(other)
    }
}

impl fmt::Display for Accidents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = (0..).zip(Accidents::NAMES).filter(|(bit, _)| self.0 & (1 << bit) != 0);
        let names: Vec<&str> = named.map(|(_, name)| name).collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join("+"))
    }
}
