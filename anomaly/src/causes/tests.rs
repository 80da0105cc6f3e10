//! Causes of changes that were made by hand.

use proptest::prelude::*;

use super::ratio::{Parts, at_expected_rates, effects};
use super::*;

const DIMS: [&str; 3] = ["cdn", "device", "country"];

/// Numbers that are like chance, and the same each time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// About normal: mean 0, deviation 1.
    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.next()).sum::<f64>() - 6.0
    }
}

/// Four CDNs, four devices and five countries, of 40 to 160 each, off by the root of it.
fn leaves(seed: u64, factor: impl Fn(&[&str]) -> f64) -> Vec<Leaf> {
    let mut chance = Chance(seed);
    let mut leaves = Vec::new();
    for cdn in ["1", "2", "3", "4"] {
        for device in ["ios", "phone", "tv", "web"] {
            for country in ["de", "es", "fr", "it", "pl"] {
                let expected = 40.0 + 120.0 * chance.next();
                let usual = expected + expected.sqrt() * chance.normal();
                let values = [cdn, device, country];
                leaves.push(Leaf {
                    values: values.iter().map(|value| Arc::from(*value)).collect(),
                    actual: (usual * factor(&values)).round(),
                    expected,
                });
            }
        }
    }
    leaves
}

fn named(found: &Found) -> Vec<String> {
    let element = |own: &Cause| {
        let pairs = own.element.iter().map(|(dim, value)| format!("{}={value}", DIMS[*dim]));
        pairs.collect::<Vec<_>>().join(", ")
    };
    found.causes.iter().map(element).collect()
}

fn in_counts(leaves: &[Leaf]) -> Vec<String> {
    named(&causes(leaves, Measure::Count))
}

#[test]
fn one_element_of_one_or_two_dimensions_is_found() {
    for (seed, factor) in [(1, 3.0), (2, 0.2), (3, 0.0)] {
        let one = leaves(seed, |own| if own[0] == "3" { factor } else { 1.0 });
        assert_eq!(in_counts(&one), ["cdn=3"], "{factor}");
        let is_two = |own: &[&str]| own[0] == "3" && own[1] == "tv";
        let two = leaves(seed, |own| if is_two(own) { factor } else { 1.0 });
        assert_eq!(in_counts(&two), ["cdn=3, device=tv"], "{factor}");
    }
}

#[test]
fn an_element_of_three_dimensions_is_found() {
    let single = leaves(4, |own| if own == ["3", "tv", "fr"] { 20.0 } else { 1.0 });
    assert_eq!(in_counts(&single), ["cdn=3, device=tv, country=fr"]);
}

#[test]
fn a_dimension_along_which_all_went_the_same_way_is_dropped() {
    // Behind CDN 3 phones fail twenty times as often. Elsewhere they do so three times as often, or hardly more.
    for (elsewhere, named) in [(3.2, "device=phone"), (1.2, "cdn=3, device=phone")] {
        let factor = |own: &[&str]| match own {
            ["3", "phone", _] => 20.0,
            [_, "phone", _] => elsewhere,
            _ => 1.0,
        };
        assert_eq!(in_counts(&leaves(10, factor)), [named]);
    }
}

#[test]
fn two_elements_of_one_cuboid_are_found() {
    let two = leaves(5, |own| if ["es", "pl"].contains(&own[2]) { 2.5 } else { 1.0 });
    let mut found = in_counts(&two);
    found.sort();
    assert_eq!(found, ["country=es", "country=pl"]);
}

#[test]
fn two_values_win_over_one_of_another_dimension_that_has_most_of_both() {
    // Two bitrates fail three times as often, and CDN 1 serves most of both.
    let leaf = |cdn: u32, bitrate: u32| {
        let expected = match (cdn, bitrate) {
            (1, 1 | 2) => 200.0,
            (1, _) | (_, 1 | 2) => 20.0,
            _ => 150.0,
        };
        let factor = if bitrate <= 2 { 3.0 } else { 1.05 };
        let values = [cdn, bitrate].map(|value| Arc::from(value.to_string())).to_vec();
        Leaf { values, actual: expected * factor, expected }
    };
    let of = |cdn: u32| (1..=5).map(move |bitrate| leaf(cdn, bitrate));
    let leaves: Vec<Leaf> = (1..=3).flat_map(of).collect();
    let found = causes(&leaves, Measure::Count);
    let mut found: Vec<Element> = found.causes.into_iter().map(|own| own.element).collect();
    found.sort();
    assert_eq!(found, [vec![(1, Arc::from("1"))], vec![(1, Arc::from("2"))]]);
}

#[test]
fn elements_of_two_layers_are_found() {
    let factor = |own: &[&str]| match own {
        ["2", "ios", _] => 9.0,
        [_, _, "it"] => 3.0,
        _ => 1.0,
    };
    let mut found = in_counts(&leaves(6, factor));
    found.sort();
    assert_eq!(found, ["cdn=2, device=ios", "country=it"]);
}

#[test]
fn noise_has_no_cause() {
    let found = (0..200).filter(|seed| !in_counts(&leaves(*seed, |_| 1.0)).is_empty());
    assert!(found.count() <= 4);
}

#[test]
fn what_befalls_all_alike_is_no_element() {
    // Every value of a dimension doubles: no single one explains it, and each has its part.
    let found = causes(&leaves(7, |_| 2.0), Measure::Count);
    assert!(found.causes.iter().all(|own| own.element.len() == 1 && own.share < 0.5));
}

#[test]
fn parts_are_disjoint_sums() {
    let factor = |own: &[&str]| if own[0] == "3" && own[1] == "tv" { 4.0 } else { 1.0 };
    let leaves = leaves(8, factor);
    let found = causes(&leaves, Measure::Count);
    let [cause] = found.causes.as_slice() else { panic!("{found:?}") };
    let of_it = |own: &&Leaf| *own.values[0] == *"3" && *own.values[1] == *"tv";
    let actual: f64 = leaves.iter().filter(of_it).map(|own| own.actual).sum();
    let expected: f64 = leaves.iter().filter(of_it).map(|own| own.expected).sum();
    let change: f64 = leaves.iter().map(|own| own.actual - own.expected).sum();
    assert!((cause.actual - actual).abs() < 1e-6 && (cause.expected - expected).abs() < 1e-6);
    assert!((cause.share - (actual - expected) / change).abs() < 1e-9);
}

#[test]
fn amounts_of_any_unit_have_the_same_causes() {
    let factor = |own: &[&str]| if own[0] == "3" && own[1] == "tv" { 4.0 } else { 1.0 };
    for scale in [1e-6, 1.0, 1e6, 1e12] {
        let mut scaled = leaves(9, factor);
        for leaf in &mut scaled {
            (leaf.actual, leaf.expected) = (leaf.actual * scale, leaf.expected * scale);
        }
        assert_eq!(named(&causes(&scaled, Measure::Amount)), ["cdn=3, device=tv"], "{scale}");
    }
}

#[test]
fn nothing_and_nonsense_have_no_cause() {
    assert_eq!(causes(&[], Measure::Count), Found::default());
    let leaf = |actual: f64, expected: f64, values: &[&str]| Leaf {
        values: values.iter().map(|value| Arc::from(*value)).collect(),
        actual,
        expected,
    };
    let same = [leaf(5.0, 5.0, &["a"]), leaf(7.0, 7.0, &["b"])];
    assert_eq!(causes(&same, Measure::Amount), Found::default());
    let bad = [leaf(5.0, 5.0, &["a"]), leaf(f64::NAN, 1.0, &["b"]), leaf(9.0, 1.0, &["b", "c"])];
    let found = causes(&bad, Measure::Count);
    assert_eq!((found.causes.len(), found.leaves_left_out), (0, 2));
    let zeros = [leaf(0.0, 0.0, &["a"]), leaf(-3.0, 0.0, &["b"])];
    assert!(causes(&zeros, Measure::Amount).causes.len() <= 1);
    assert!(causes(&[leaf(1e9, 0.0, &[])], Measure::Count).causes.is_empty());
}

#[test]
fn work_is_bounded_and_what_is_passed_over_is_said() {
    let leaf = |number: usize| Leaf {
        values: (0..12).map(|dim| Arc::from((number % (dim + 2)).to_string())).collect(),
        actual: if number.is_multiple_of(13) { 300.0 } else { 100.0 },
        expected: 100.0,
    };
    let leaves: Vec<Leaf> = (0..LEAVES + 5_000).map(leaf).collect();
    let found = causes(&leaves, Measure::Count);
    assert_eq!(found.dims_left_out.len(), 2);
    assert!(found.leaves_left_out <= 5_000);
    let element = &found.causes[0].element;
    assert_eq!(element.as_slice(), [(11, Arc::from("0"))]);
}

#[test]
fn rates_that_rose_are_found_where_sums_are_as_they_were() {
    let parts = |cdn: &str, device: &str| {
        let is_bad = cdn == "2" && device == "tv";
        // Half of its viewers are gone, and one in five of those left fails instead of one in ten.
        let (denominator, rate) = if is_bad { (500.0, 0.2) } else { (1000.0, 0.1) };
        Parts {
            values: vec![Arc::from(cdn), Arc::from(device)],
            numerator: denominator * rate,
            denominator,
            expected_numerator: 100.0,
            expected_denominator: 1000.0,
        }
    };
    let of = |cdn: &&str| ["ios", "tv", "web"].map(|device| parts(cdn, device)).to_vec();
    let parts: Vec<Parts> = ["1", "2", "3"].iter().flat_map(of).collect();
    assert_eq!(in_counts(&at_expected_rates(&parts)), ["cdn=2, device=tv"]);
    let effects = effects(&parts).unwrap();
    let at = parts.iter().position(|own| *own.values[0] == *"2" && *own.values[1] == *"tv");
    let most = (0..effects.len()).max_by(|a, b| effects[*a].rate.total_cmp(&effects[*b].rate));
    assert_eq!(most, at);
}

#[test]
fn without_a_denominator_there_is_no_ratio() {
    assert_eq!(effects(&[]), None);
}

fn parts() -> impl Strategy<Value = Vec<Parts>> {
    let number = || prop_oneof![Just(0.0), 0.0..1e6f64];
    let one = (number(), number(), number(), number()).prop_map(|(a, b, c, d)| Parts {
        values: vec![Arc::from("x")],
        numerator: a,
        denominator: b,
        expected_numerator: c,
        expected_denominator: d,
    });
    prop::collection::vec(one, 1..30)
}

proptest! {
    #[test]
    fn effects_add_up_to_the_change_of_the_ratio(parts in parts()) {
        let sum = |of: fn(&Parts) -> f64| parts.iter().map(of).sum::<f64>();
        let Some(effects) = effects(&parts) else {
            let none = sum(|own| own.denominator) <= 0.0 || sum(|own| own.expected_denominator) <= 0.0;
            prop_assert!(none);
            return Ok(());
        };
        let change = sum(|own| own.numerator) / sum(|own| own.denominator)
            - sum(|own| own.expected_numerator) / sum(|own| own.expected_denominator);
        let told: f64 = effects.iter().map(|own| own.rate + own.mix).sum();
        let size: f64 = effects.iter().map(|own| own.rate.abs() + own.mix.abs()).sum();
        prop_assert!((told - change).abs() <= 1e-9 * (1.0 + size), "{told} {change}");
    }

    #[test]
    fn the_order_of_leaves_does_not_matter(
        seed in 0..1000u64,
        order in Just((0..80).collect::<Vec<usize>>()).prop_shuffle(),
    ) {
        let leaves = leaves(seed, |own| if own[0] == "3" && own[2] == "it" { 3.0 } else { 1.0 });
        let shuffled: Vec<Leaf> = order.iter().map(|at| leaves[*at].clone()).collect();
        prop_assert_eq!(causes(&leaves, Measure::Count), causes(&shuffled, Measure::Count));
        prop_assert_eq!(causes(&leaves, Measure::Amount), causes(&shuffled, Measure::Amount));
    }

    #[test]
    fn leaves_may_come_in_pieces(seed in 0..1000u64) {
        let whole = leaves(seed, |own| if own[1] == "tv" { 2.0 } else { 1.0 });
        let half = |own: &Leaf| Leaf { actual: own.actual / 2.0, expected: own.expected / 2.0, ..own.clone() };
        let halves: Vec<Leaf> = whole.iter().chain(&whole).map(half).collect();
        prop_assert_eq!(causes(&whole, Measure::Count), causes(&halves, Measure::Count));
    }
}
