//! Control records: what people and Weir itself decide, as records of a built-in source.
//!
//! A decision is a record like any other: in an epoch, in bronze, in the ledger's spans. So what it
//! does is a function of the epochs, and replay agrees. Nothing else changes state from outside.
//!
//! Their form is tagged JSON, `{"v":1,"id":"...","at":"...","by":"...","kind":"...","body":{...}}`.
//!
//! # Guarantees
//! - [`ControlRecord::to_json`] and [`ControlRecord::parse`] are inverse.
//! - A kind or version that this program does not know is no error: it is kept and ignored.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::EpochId;
use crate::answer::{Acknowledge, Feedback, Mute, Unmute};
use crate::definition::DefinitionChange;
use crate::letter::{Letter, LetterAt};
use crate::models::Models;
use crate::time::Micros;

/// The name of the built-in source, and of its only topic. Names that begin with `_weir` are reserved.
pub const CONTROL: &str = "_weir.control";

/// The beginning of reserved names.
pub const RESERVED: &str = "_weir";

/// The version of the form that this program writes, and the highest that it reads.
const VERSION: u32 = 1;

/// One decision, who made it and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ControlRecord {
    /// Unlike that of any other record.
    pub id: String,
    /// When it was decided, on the clock of the machine where that was.
    pub at: Micros,
    /// Who decided: a command, a user of the API, or `weir run` itself.
    pub by: String,
    /// What was decided.
    pub decision: Decision,
}

/// What was decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// A halted table takes what comes from here on as later than everything it holds.
    ResumeTable {
        /// The table's contract.
        table: String,
    },
    /// The rows that complete snapshots lacked are gone: the snapshots were taken without conditions.
    SweepTable {
        /// The table's contract.
        table: String,
    },
    /// The machine's clock is right as it was then, and the lake's time goes on from where it stands.
    AcceptClock,
    /// A batch run ends: the KPI history waits for nothing any longer.
    EndBatch,
    /// Nobody waits for what could not be read of a table: it puts no row in doubt any more.
    DropDeadLetters {
        /// The table's contract; empty for a letter that is of none.
        table: String,
        /// One record; all before the decision without it.
        letter: Option<LetterAt>,
    },
    /// Dead letters are read again, by the contract in force, as records that come late.
    RetryDeadLetters {
        /// The table's contract.
        table: String,
        /// The records as they came.
        letters: Vec<Letter>,
    },
    /// A KPI's cells are not what they should be, or somebody wants to be sure: they are written again, and the next
    /// run computes them anew.
    RebuildKpi {
        /// The KPI.
        kpi: String,
        /// The epoch as of which that was found.
        epoch: EpochId,
    },
    /// The files of definitions have changed, and are to be read again without waiting for a start.
    ApplyDefinitions,
    /// These definitions are in force from here on.
    Define(Vec<DefinitionChange>),
    /// Models that were trained are in force from here on.
    Train(Models),
    /// Somebody looks after an alert.
    Acknowledge(Acknowledge),
    /// Somebody says whether an alert was right.
    Feedback(Feedback),
    /// Nobody is told of some alerts for a while. The record's id is that of the mute.
    Mute(Mute),
    /// A mute ends before its time.
    Unmute(Unmute),
    /// Nothing that this program knows.
    Unknown {
        /// The kind as it is written.
        kind: String,
        /// The version as it is written.
        version: u32,
    },
}

/// Why bytes are no control record.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// They are not JSON of the form.
    #[error("no control record: {0}")]
    Form(serde_json::Error),
    /// The instant cannot be read.
    #[error("no control record: `at` is `{0}`, which is no instant")]
    Instant(String),
    /// The kind is known and its body is not one of it.
    #[error("no control record of kind `{kind}`: {error}")]
    Body {
        /// The kind.
        kind: &'static str,
        /// What is wrong.
        error: serde_json::Error,
    },
}

const RESUME: &str = "table.resume";
const SWEEP: &str = "table.sweep";
const ACCEPT_CLOCK: &str = "clock.accept";
const END_BATCH: &str = "batch.end";
const DROP: &str = "dead_letters.drop";
const RETRY: &str = "dead_letters.retry";
const REBUILD: &str = "kpi.rebuild";
const APPLY: &str = "definitions.apply";
const DEFINITIONS: &str = "definitions";
const MODELS: &str = "models";
const ACKNOWLEDGE: &str = "alert.acknowledge";
const FEEDBACK: &str = "alert.feedback";
const MUTE: &str = "mute";
const UNMUTE: &str = "mute.end";

#[derive(Serialize, Deserialize)]
struct Envelope {
    v: u32,
    id: String,
    at: String,
    by: String,
    kind: String,
    body: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfTable {
    table: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfLetters {
    table: String,
    letter: Option<LetterAt>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Carried {
    table: String,
    letters: Vec<Letter>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfKpi {
    kpi: String,
    epoch: EpochId,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Definitions {
    changes: Vec<DefinitionChange>,
}

impl ControlRecord {
    /// Reads the value of a record.
    ///
    /// # Errors
    /// When it is no control record at all.
    pub fn parse(value: &[u8]) -> Result<ControlRecord, ControlError> {
        let envelope: Envelope = serde_json::from_slice(value).map_err(ControlError::Form)?;
        let Envelope { v: version, id, at, by, kind, body } = envelope;
        let at = Micros::parse(&at).ok_or(ControlError::Instant(at))?;
        let decision = match kind.as_str() {
            _ if version > VERSION => Decision::Unknown { kind, version },
            RESUME => {
                let OfTable { table } = body_of(RESUME, body)?;
                Decision::ResumeTable { table }
            }
            SWEEP => {
                let OfTable { table } = body_of(SWEEP, body)?;
                Decision::SweepTable { table }
            }
            ACCEPT_CLOCK => {
                let Nothing {} = body_of(ACCEPT_CLOCK, body)?;
                Decision::AcceptClock
            }
            END_BATCH => {
                let Nothing {} = body_of(END_BATCH, body)?;
                Decision::EndBatch
            }
            DROP => {
                let OfLetters { table, letter } = body_of(DROP, body)?;
                Decision::DropDeadLetters { table, letter }
            }
            RETRY => {
                let Carried { table, letters } = body_of(RETRY, body)?;
                Decision::RetryDeadLetters { table, letters }
            }
            REBUILD => {
                let OfKpi { kpi, epoch } = body_of(REBUILD, body)?;
                Decision::RebuildKpi { kpi, epoch }
            }
            APPLY => {
                let Nothing {} = body_of(APPLY, body)?;
                Decision::ApplyDefinitions
            }
            DEFINITIONS => {
                let Definitions { changes } = body_of(DEFINITIONS, body)?;
                Decision::Define(changes)
            }
            MODELS => Decision::Train(body_of(MODELS, body)?),
            ACKNOWLEDGE => Decision::Acknowledge(body_of(ACKNOWLEDGE, body)?),
            FEEDBACK => Decision::Feedback(body_of(FEEDBACK, body)?),
            MUTE => Decision::Mute(body_of(MUTE, body)?),
            UNMUTE => Decision::Unmute(body_of(UNMUTE, body)?),
            _ => Decision::Unknown { kind, version },
        };
        Ok(ControlRecord { id, at, by, decision })
    }

    /// The value of its record.
    pub fn to_json(&self) -> String {
        let (kind, body) = self.decision.parts();
        let envelope = Envelope {
            v: VERSION,
            id: self.id.clone(),
            at: self.at.to_string(),
            by: self.by.clone(),
            kind: kind.to_owned(),
            body,
        };
        serde_json::to_string(&envelope).unwrap_or_default()
    }
}

impl Decision {
    fn parts(&self) -> (&str, Value) {
        // Plain texts in plain structures: serialising them cannot fail.
        match self {
            Decision::ResumeTable { table } => {
                let body = serde_json::to_value(OfTable { table: table.clone() });
                (RESUME, body.unwrap_or_default())
            }
            Decision::SweepTable { table } => {
                let body = serde_json::to_value(OfTable { table: table.clone() });
                (SWEEP, body.unwrap_or_default())
            }
            Decision::AcceptClock => {
                (ACCEPT_CLOCK, serde_json::to_value(Nothing {}).unwrap_or_default())
            }
            Decision::EndBatch => (END_BATCH, serde_json::to_value(Nothing {}).unwrap_or_default()),
            Decision::DropDeadLetters { table, letter } => {
                let (table, letter) = (table.clone(), letter.clone());
                let body = serde_json::to_value(OfLetters { table, letter });
                (DROP, body.unwrap_or_default())
            }
            Decision::RetryDeadLetters { table, letters } => {
                let (table, letters) = (table.clone(), letters.clone());
                (RETRY, serde_json::to_value(Carried { table, letters }).unwrap_or_default())
            }
            Decision::RebuildKpi { kpi, epoch } => {
                let body = serde_json::to_value(OfKpi { kpi: kpi.clone(), epoch: *epoch });
                (REBUILD, body.unwrap_or_default())
            }
            Decision::ApplyDefinitions => {
                (APPLY, serde_json::to_value(Nothing {}).unwrap_or_default())
            }
            Decision::Define(changes) => {
                let body = serde_json::to_value(Definitions { changes: changes.clone() });
                (DEFINITIONS, body.unwrap_or_default())
            }
            Decision::Train(of) => (MODELS, serde_json::to_value(of).unwrap_or_default()),
            Decision::Acknowledge(of) => {
                (ACKNOWLEDGE, serde_json::to_value(of).unwrap_or_default())
            }
            Decision::Feedback(of) => (FEEDBACK, serde_json::to_value(of).unwrap_or_default()),
            Decision::Mute(of) => (MUTE, serde_json::to_value(of).unwrap_or_default()),
            Decision::Unmute(of) => (UNMUTE, serde_json::to_value(of).unwrap_or_default()),
            Decision::Unknown { kind, .. } => (kind, Value::Null),
        }
    }
}

fn body_of<T: serde::de::DeserializeOwned>(
    kind: &'static str,
    body: Value,
) -> Result<T, ControlError> {
    serde_json::from_value(body).map_err(|error| ControlError::Body { kind, error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Answers;
    use crate::definition::DefinitionKind;

    fn record(decision: Decision) -> ControlRecord {
        let at = Micros(1_795_245_775_412_170);
        ControlRecord { id: "a1".into(), at, by: "weir tables resume".into(), decision }
    }

    fn change(of: DefinitionKind, name: &str, identity: Option<&str>) -> DefinitionChange {
        let identity = identity.map(str::to_owned);
        let (name, text) = (name.into(), identity.clone());
        DefinitionChange { of, name, identity, text, extends: false }
    }

    #[test]
    fn the_form_is_this_one_for_ever() {
        let resume = record(Decision::ResumeTable { table: "orders".into() });
        let text = "{\"v\":1,\"id\":\"a1\",\"at\":\"2026-11-21T07:22:55.412170Z\",\"by\":\"weir tables \
                    resume\",\"kind\":\"table.resume\",\"body\":{\"table\":\"orders\"}}";
        assert_eq!(resume.to_json(), text);
        let contract = change(DefinitionKind::Contract, "orders", Some("x"));
        let gone = change(DefinitionKind::Kpi, "roi", None);
        let define = record(Decision::Define(vec![contract, gone]));
        let rebuild = record(Decision::RebuildKpi { kpi: "roi".into(), epoch: 7 });
        assert!(
            rebuild.to_json().ends_with("\"kpi.rebuild\",\"body\":{\"epoch\":7,\"kpi\":\"roi\"}}")
        );
        let apply = record(Decision::ApplyDefinitions);
        assert!(apply.to_json().ends_with("\"kind\":\"definitions.apply\",\"body\":{}}"));
        let sweep = record(Decision::SweepTable { table: "orders".into() });
        assert!(sweep.to_json().ends_with("\"table.sweep\",\"body\":{\"table\":\"orders\"}}"));
        let body = "{\"table\":\"t\",\"letters\":[{\"source\":\"s\",\"topic\":\"t\",\"incarnation\":\"i\",\
                    \"partition\":1,\"offset\":7,\"epoch\":3,\"clock\":9,\"timestamp\":null,\"key\":null,\
                    \"value\":\"v\",\"headers\":[[\"h\",{\"hex\":\"ff\"}]]}]}";
        let kind = "\"dead_letters.retry\"";
        let retry = text.replace("\"table.resume\"", kind).replace("{\"table\":\"orders\"}", body);
        let retry = ControlRecord::parse(retry.as_bytes()).unwrap();
        let Decision::RetryDeadLetters { letters, .. } = &retry.decision else {
            panic!("{retry:?}")
        };
        assert_eq!((letters[0].offset, letters[0].size()), (7, 3));
        let answers = [
            ("alert.acknowledge", r#"{"alert":"5f","comment":null}"#),
            ("alert.feedback", r#"{"alert":"5f","comment":"a sale","verdict":"planned"}"#),
            (
                "mute",
                r#"{"comment":null,"match":{"dims":{"channel":["web"]},"kpi":["rev*"],"severity":["error"],"tenant":[]},"tenant":"acme","until":"2026-11-22T00:00:00Z"}"#,
            ),
            ("mute.end", r#"{"mute":"a1"}"#),
        ];
        for (kind, body) in answers {
            let text = text.replace("table.resume", kind).replace("{\"table\":\"orders\"}", body);
            let answer = ControlRecord::parse(text.as_bytes()).unwrap();
            assert!(Answers::is_answer(&answer.decision), "{answer:?}");
            assert_eq!(answer.to_json(), text);
        }
        let body = "{\"detector\":\"calendar\",\"kpi\":\"roi\",\"series\":[{\"dims\":\"{}\",\"grain\":\"day\",\"model\":\"0f\",\
                    \"tenant\":\"t\"}]}";
        let models = text.replace("table.resume", "models").replace("{\"table\":\"orders\"}", body);
        let models = ControlRecord::parse(models.as_bytes()).unwrap();
        assert!(models.to_json().contains(body), "{}", models.to_json());
        let other = models.to_json().replace("\"day\"", "\"fortnight\"");
        let error = ControlRecord::parse(other.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("fortnight"), "{error}");
        for record in [resume, sweep, define, retry, rebuild, apply, models] {
            assert_eq!(ControlRecord::parse(record.to_json().as_bytes()).unwrap(), record);
        }
    }

    #[test]
    fn what_is_not_known_is_kept_apart_from_what_is_wrong() {
        let good = record(Decision::ResumeTable { table: "orders".into() }).to_json();
        let unknown = |from: &str, to: &str| {
            let parsed = ControlRecord::parse(good.replace(from, to).as_bytes());
            matches!(parsed.unwrap().decision, Decision::Unknown { .. })
        };
        assert!(unknown("table.resume", "table.rename"));
        assert!(unknown("\"v\":1", "\"v\":2"));
        assert!(!unknown("\"by\"", "\"more\":0,\"by\""), "a field more in the envelope");
        for (from, to, says) in [
            ("table\":", "tabel\":", "table.resume"),
            ("2026-11-21T", "yesterday", "no instant"),
            ("{\"v\"", "[\"v\"", "no control record"),
            ("\"body\"", "\"bdoy\"", "body"),
        ] {
            let error = ControlRecord::parse(good.replace(from, to).as_bytes()).unwrap_err();
            assert!(error.to_string().contains(says), "{error}");
        }
    }
}
