//! The stream over kills and restarts of the server: what clients hold is what REST says.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use harness::stream::{Figures, Options, follow};

use super::Demo;

/// How long each life of the server lasts.
const LIFE: Duration = Duration::from_secs(4);

fn follower(options: Options, stop: &Arc<AtomicBool>) -> JoinHandle<Figures> {
    let stop = Arc::clone(stop);
    std::thread::spawn(move || follow(&options, &stop).unwrap())
}

#[test]
fn clients_hold_what_rest_says_over_kills_and_restarts() {
    let mut demo = Demo::start();
    let standard = Options {
        patience: Duration::from_secs(60),
        compare_every: Some(Duration::from_secs(1)),
        ..Options::new(&format!("127.0.0.1:{}", demo.port), &demo.token)
    };
    let some = |text: &str| Some(text.to_owned());
    let wishes = [
        Options { tenant: some("tenant-01"), ..standard.clone() },
        Options { tenant: some("tenant-02"), grain: some("day"), ..standard.clone() },
        Options { kpi: some("cost_by_service"), grain: some("hour"), ..standard },
    ];
    let stop = Arc::new(AtomicBool::new(false));
    let followers = wishes.map(|wish| follower(wish, &stop));
    for life in 0..4 {
        std::thread::sleep(LIFE);
        let run = demo.run.take().unwrap();
        // Killed and stopped in turns.
        if life % 2 == 0 {
            assert!(run.kill(), "it ran until it was killed");
        } else {
            run.stops();
        }
        demo.run();
    }
    std::thread::sleep(LIFE);
    stop.store(true, Ordering::Release);
    for follower in followers {
        let figures = follower.join().expect("a client of the stream");
        println!("stream over kills:\n{figures}");
        assert!(figures.compared > 3 && figures.updates > 20 && figures.cells > 10, "{figures}");
        assert_eq!(figures.lost, 4, "{figures}");
        assert!(figures.resumed >= 3, "a restart is no reason to begin anew: {figures}");
    }
}
