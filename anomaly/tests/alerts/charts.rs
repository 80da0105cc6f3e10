//! Bands for charts.

use anomaly::Expected;
use schemas::{Bands, CellValue, Grain, KnownSeries, Micros, Observer};

use crate::world::{HOUR, Rng, SECOND, World, change, flow, kpis, monday};

fn at(hour: i64) -> Micros {
    monday().plus(hour * HOUR)
}

fn points(hours: i64) -> Vec<(Micros, CellValue)> {
    let mut rng = Rng::new(5);
    (-35 * 24..hours)
        .map(|hour| {
            let level = 800.0 + 300.0 * ((hour.rem_euclid(24)) as f64 / 4.0).sin();
            (at(hour), flow((level * (1.0 + 0.04 * rng.normal())).round()).unwrap())
        })
        .collect()
}

fn orders(grain: Grain, points: &[(Micros, CellValue)]) -> KnownSeries<'_> {
    KnownSeries { kpi: "orders", tenant: "t", grain, points, model: None }
}

#[test]
fn the_band_of_a_chart_is_the_band_of_the_alert() {
    let known = points(1);
    let mut world = World::new();
    let changes: Vec<_> = known
        .iter()
        .take(35 * 24)
        .map(|(start, value)| change("orders", Grain::Hour, *start, Some(*value)))
        .collect();
    world.epoch(at(0).plus(31 * SECOND), true, &changes);
    world.epoch(at(0).plus(60 * SECOND), false, &[]);
    let alerts = world.epoch(
        at(0).plus(90 * SECOND),
        false,
        &[change("orders", Grain::Hour, at(0), flow(9_000.0))],
    );
    assert_eq!((alerts.len(), world.scorer.alerts().len()), (1, 1));
    let bands = Expected::new(kpis()).bands(&orders(Grain::Hour, &known), &[at(0)]);
    let band = bands[0].unwrap();
    assert_eq!(alerts[0].expected, Some(band.expected));
    assert_eq!((alerts[0].lower, alerts[0].upper), (Some(band.lower), Some(band.upper)));
}

#[test]
fn bands_are_made_from_the_past_and_only_when_there_is_one() {
    let bands = Expected::new(kpis());
    let (mut known, wanted) = (points(48), [at(-35 * 24 + 5), at(0), at(20)]);
    let before = bands.bands(&orders(Grain::Hour, &known), &wanted);
    assert!(before[0].is_none() && before[1].is_some() && before[2].is_some());
    for (start, value) in &mut known {
        if *start >= at(20) {
            *value = flow(7.0).unwrap();
        }
    }
    assert_eq!(bands.bands(&orders(Grain::Hour, &known), &wanted), before);
    for grain in Grain::ALL.into_iter().filter(|grain| grain.is_long()) {
        assert_eq!(bands.bands(&orders(grain, &known), &wanted), vec![None; 3], "{grain}");
    }
    let unknown = KnownSeries { kpi: "nothing", ..orders(Grain::Hour, &known) };
    assert_eq!(bands.bands(&unknown, &wanted), vec![None; 3]);
    assert_eq!(bands.bands(&orders(Grain::Hour, &[]), &wanted), vec![None; 3]);
    // Behind the last point a flow is 0, and there is a band all the same.
    assert!(bands.bands(&orders(Grain::Hour, &known), &[at(50)])[0].is_some());
}
