//! What answers make of alerts, and for how long.

use super::*;
use crate::kpi::CellKey;
use crate::time::Grain;

fn record(id: &str, decision: Decision) -> ControlRecord {
    ControlRecord { id: id.into(), at: Micros(7), by: "kim".into(), decision }
}

fn alert(id: &str, tenant: &str, severity: Severity) -> Alert {
    Alert {
        id: id.into(),
        key: CellKey {
            kpi: "revenue".into(),
            tenant: tenant.into(),
            dims: r#"{"channel":"web","country":null}"#.into(),
            grain: Grain::Hour,
            period_start: Micros(0),
        },
        incident: id.into(),
        rule: "seasonal".into(),
        anomaly_type: "drop".into(),
        severity,
        opened_at: Micros(1),
        resolved_at: None,
        resolution: None,
        value: None,
        expected: None,
        lower: None,
        upper: None,
        deviation: 0.0,
        z_score: 0.0,
        p_value: 0.0,
        confidence: 1.0,
        reason: "less than expected".into(),
        contributions: Vec::new(),
        epoch: 1,
    }
}

fn stamp(clock: i64) -> EpochStamp {
    EpochStamp { id: 3, clock: Micros(clock), quiet: false }
}

fn acknowledge(alert: &str, comment: &str) -> Decision {
    Decision::Acknowledge(Acknowledge { alert: alert.into(), comment: Some(comment.into()) })
}

fn mute(tenant: Option<&str>, matching: AlertMatch, until: i64) -> Decision {
    let (tenant, until) = (tenant.map(str::to_owned), Micros(until));
    Decision::Mute(Mute { tenant, matching, until, comment: None })
}

#[test]
fn the_newest_answer_counts() {
    let mut answers = Answers::default();
    let feedback = Feedback { alert: "a".into(), verdict: Verdict::No, comment: None };
    for decision in
        [acknowledge("a", "mine"), acknowledge("a", "still"), Decision::Feedback(feedback)]
    {
        assert!(answers.take(&record("r", decision), &stamp(9)).0);
    }
    let answer = answers.of(&alert("a", "acme", Severity::Error));
    let said = answer.acknowledged.unwrap();
    assert_eq!((&*said.by, said.at, said.comment.as_deref()), ("kim", Micros(7), Some("still")));
    assert_eq!(answer.feedback.unwrap().0, Verdict::No);
    assert_eq!(answers.of(&alert("b", "acme", Severity::Error)), Answer::default());
}

#[test]
fn a_mute_holds_from_its_epoch_until_its_end() {
    let mut answers = Answers::default();
    let is_muted = |answers: &Answers, tenant, severity| {
        answers.of(&alert("a", tenant, severity)).muted_until.is_some()
    };
    let errors = AlertMatch { severity: vec![Severity::Error], ..AlertMatch::default() };
    assert!(answers.take(&record("m1", mute(None, errors, 100)), &stamp(9)).0);
    assert!(is_muted(&answers, "acme", Severity::Error));
    assert!(!is_muted(&answers, "acme", Severity::Critical));
    assert_eq!(answers.next_due(), Some(Micros(100)));
    answers.pass(&stamp(99));
    assert!(is_muted(&answers, "acme", Severity::Error));
    answers.pass(&stamp(100));
    assert_eq!((answers.mutes().count(), answers.next_due()), (0, None));
    let (is_usual, said) =
        answers.take(&record("m2", mute(None, AlertMatch::default(), 100)), &stamp(100));
    assert!(!is_usual && said.contains("over already"), "{said}");
    answers.take(&record("m3", mute(None, AlertMatch::default(), 200)), &stamp(100));
    assert!(is_muted(&answers, "acme", Severity::Info), "without words all are meant");
    let end = || Decision::Unmute(Unmute { mute: "m3".into() });
    assert!(answers.take(&record("e", end()), &stamp(101)).0);
    assert!(!answers.take(&record("e", end()), &stamp(101)).0, "it is not there any more");
    assert!(!is_muted(&answers, "acme", Severity::Info));
}

#[test]
fn a_mute_of_a_tenant_concerns_no_other_whatever_it_matches() {
    let mut answers = Answers::default();
    let matching = AlertMatch { tenant: vec!["*".into()], ..AlertMatch::default() };
    // The name of a tenant is meant as it stands.
    answers.take(&record("m", mute(Some("ac*"), matching, 100)), &stamp(9));
    let until = |tenant| answers.of(&alert("a", tenant, Severity::Error)).muted_until;
    assert_eq!((until("ac*"), until("acme")), (Some(Micros(100)), None));
}

#[test]
fn dimensions_are_matched_where_they_have_a_value() {
    let of = |name: &str, word: &str| {
        let dims = [(name.to_owned(), vec![word.to_owned()])].into();
        let mut answers = Answers::default();
        let matching = AlertMatch { dims, ..AlertMatch::default() };
        answers.take(&record("m", mute(None, matching, 100)), &stamp(9));
        answers.of(&alert("a", "acme", Severity::Error)).muted_until.is_some()
    };
    assert!(of("channel", "w*") && !of("channel", "we"));
    assert!(!of("country", "*"), "null is no value");
}

#[test]
fn what_is_held_is_bounded() {
    let mut answers = Answers::default();
    for n in 0..=ALERTS_MAX {
        answers.take(&record("r", acknowledge(&n.to_string(), "")), &stamp(9));
    }
    assert!(answers.acknowledged("0").is_none() && answers.acknowledged("1").is_some());
    for n in 0..=MUTES_MAX {
        answers.take(&record(&n.to_string(), mute(None, AlertMatch::default(), 100)), &stamp(9));
    }
    assert_eq!(answers.mutes().count(), MUTES_MAX);
}

#[test]
fn answers_are_read_back_as_they_were() {
    let mut answers = Answers::default();
    answers.take(&record("r", acknowledge("a", "mine")), &stamp(9));
    answers.take(&record("m", mute(Some("acme"), AlertMatch::default(), 100)), &stamp(9));
    let text = serde_json::to_string(&answers).unwrap();
    assert_eq!(serde_json::from_str::<Answers>(&text).unwrap(), answers);
}
