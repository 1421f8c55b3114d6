//! Every law, on the model of an event loop.

use super::*;

/// An event loop with one thread. Everything that is ready waits in one queue; a request that is admitted takes
/// a millisecond, one that is refused a twentieth.
struct EventLoop {
    law: Law,
    state: LawState,
    share: f64,
    /// Until when everything is refused.
    drain: f64,
    /// The monitor's interval.
    interval: f64,
    /// In milliseconds, as all times here.
    now: f64,
    random: u64,
    next_arrival: f64,
    /// When the sampler is due, and whether it has been seen and waits in the queue.
    sample_due: f64,
    queue: std::collections::VecDeque<Ready>,
    last_sample: f64,
    counts: [u32; 2],
    /// Of so many that are served, one blocks for 50 ms; zero for none.
    block_each: u32,
    served: u32,
    let_through: f64,
    results: Results,
}

enum Ready {
    Request(f64),
    Sampler(f64),
}

/// What happened since the last look.
#[derive(Debug, Default)]
struct Results {
    arrived: u32,
    /// Answered within 100 ms.
    good: u32,
    refused: u32,
    longest_lag: f64,
    longest_refusal: f64,
}

const COST: f64 = 1.0;
const REFUSAL: f64 = 0.05;
const BLOCK: f64 = 50.0;

impl EventLoop {
    fn new(law: Law, interval: f64) -> EventLoop {
        EventLoop {
            state: law.begin(),
            law,
            share: 0.0,
            drain: 0.0,
            interval,
            now: 0.0,
            random: 7,
            next_arrival: 0.0,
            sample_due: interval,
            queue: Default::default(),
            last_sample: 0.0,
            counts: [0; 2],
            block_each: 0,
            served: 0,
            let_through: 0.0,
            results: Results::default(),
        }
    }

    fn random(&mut self) -> f64 {
        // An LCG, D. Knuth's MMIX.
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Runs for `time`, at a load that depends on the time since the beginning of this run.
    fn run(&mut self, time: f64, load: impl Fn(f64) -> f64) -> Results {
        let began = self.now;
        self.results = Results::default();
        while self.now < began + time {
            self.arrive(|now| load(now - began));
            match self.queue.pop_front() {
                None => self.now = self.next_arrival.min(self.sample_due),
                Some(Ready::Request(arrived)) => self.serve(arrived),
                Some(Ready::Sampler(due)) => self.sample(due),
            }
        }
        std::mem::take(&mut self.results)
    }

    fn arrive(&mut self, load: impl Fn(f64) -> f64) {
        while self.next_arrival.min(self.sample_due) <= self.now {
            if self.sample_due <= self.next_arrival {
                self.queue.push_back(Ready::Sampler(self.sample_due));
                self.sample_due = f64::INFINITY;
                continue;
            }
            self.queue.push_back(Ready::Request(self.next_arrival));
            self.results.arrived += 1;
            let wait = -(1.0 - self.random()).ln() * COST / load(self.next_arrival);
            self.next_arrival += wait;
        }
    }

    fn sample(&mut self, due: f64) {
        let lag = self.now - due;
        let [admitted, refused] = std::mem::take(&mut self.counts);
        let asked = admitted + refused;
        self.share = self.state.update(Observation {
            elapsed: millis(self.now - self.last_sample),
            lag: millis(lag),
            admitted: if asked == 0 {
                1.0
            } else {
                f64::from(admitted) / f64::from(asked)
            },
        });
        self.drain = self.now + self.state.drain().as_secs_f64() * 1e3;
        self.results.longest_lag = self.results.longest_lag.max(lag);
        self.last_sample = self.now;
        self.sample_due = self.now + self.interval;
    }

    fn serve(&mut self, arrived: f64) {
        let overdue = self.now - self.last_sample - self.interval;
        let is_stuck = overdue >= self.law.limit().as_secs_f64() * 1e3;
        let refused_for = self.now - self.let_through;
        let refuse =
            is_stuck || self.now < self.drain || f64::from(spread()) / 65_536.0 < self.share;
        if refuse && refused_for < 100.0 {
            self.counts[1] += 1;
            self.now += REFUSAL;
            self.results.refused += 1;
            return;
        }
        self.results.longest_refusal = self.results.longest_refusal.max(refused_for);
        self.let_through = self.now;
        self.counts[0] += 1;
        self.served += 1;
        let blocks = self.block_each > 0 && self.served % self.block_each == 0;
        self.now += if blocks { BLOCK } else { COST };
        self.results.good += u32::from(self.now - arrived <= 100.0);
    }
}

/// The share of what the loop could have done in that time, if it had refused just what is too much, that it did.
fn goodput(results: &Results, time: f64) -> f64 {
    let possible =
        f64::from(results.arrived).min((time - f64::from(results.refused) * REFUSAL) / COST);
    f64::from(results.good) / possible
}

#[test]
fn a_loop_that_keeps_up_refuses_nothing() {
    for law in laws() {
        let mut event_loop = EventLoop::new(law, 10.0);
        let results = event_loop.run(20_000.0, |_| 0.7);
        assert_eq!(results.refused, 0, "{law:?}");
        assert_eq!(results.good, results.arrived);
    }
}

#[test]
fn balanced_serves_what_is_possible_at_any_load() {
    // A short queue is empty more often: the lower the target, the more is lost near the limit.
    let default = [(1.0, 0.8), (1.5, 0.85), (2.0, 0.88), (4.0, 0.93)];
    let patient = default.map(|(load, _)| (load, 0.93));
    for (target, loads) in [(TARGET, patient), (Law::DEFAULT_TARGET, default)] {
        for (load, least) in loads {
            for interval in [10.0, 100.0] {
                let mut event_loop = EventLoop::new(Law::balanced(target), interval);
                // The step.
                let first = event_loop.run(1_000.0, |_| load);
                assert!(goodput(&first, 1_000.0) > 0.8, "{load}: {first:?}");
                let then = event_loop.run(20_000.0, |_| load);
                let served = goodput(&then, 20_000.0);
                assert!(served > least, "{target:?} {interval} {load}: {then:?}");
                // It swings no further than to twice the target, and what arrives in one sample of the monitor.
                let most = 2.0 * target.as_secs_f64() * 1e3 + 10.0;
                assert!(then.longest_lag < most, "{interval} {load}: {then:?}");
            }
        }
    }
}

#[test]
fn balanced_makes_little_of_a_single_late_sample() {
    // As late as a host may run a thread.
    for (target, late, interval, most) in [
        (TARGET, 30.0, 10.0, 0.25),
        (TARGET, 30.0, 100.0, 0.15),
        (Law::DEFAULT_TARGET, 10.0, 10.0, 0.0),
        (Law::DEFAULT_TARGET, 10.0, 100.0, 0.0),
    ] {
        let mut law = Law::balanced(target).begin();
        let mut update = |elapsed, lag| {
            let share = law.update(Observation {
                elapsed: millis(elapsed),
                lag: millis(lag),
                admitted: 1.0,
            });
            (share, law.drain())
        };
        for _ in 0..100 {
            assert_eq!(update(interval, 0.1), (0.0, Duration::ZERO));
        }
        let (share, drain) = update(interval + late, late);
        assert!(share <= most, "{interval}: {share}");
        assert!(most > 0.0 || drain.is_zero(), "{drain:?}");
        assert_eq!(update(interval, 0.1), (0.0, Duration::ZERO));
    }
}

#[test]
fn balanced_goes_on_after_blocks() {
    for (interval, least) in [(10.0, 0.88), (100.0, 0.79)] {
        let mut event_loop = EventLoop::new(Law::default(), interval);
        event_loop.block_each = 200;
        event_loop.run(1_000.0, |_| 2.0);
        let results = event_loop.run(20_000.0, |_| 2.0);
        // A fifth of the time is blocked.
        let goodput = goodput(&results, 20_000.0) * (199.0 + BLOCK) / 200.0;
        assert!(goodput > least, "{interval}: {goodput}, {results:?}");
    }
}

#[test]
fn every_law_keeps_a_step_from_drowning_the_loop() {
    for law in laws() {
        let mut event_loop = EventLoop::new(law, 10.0);
        event_loop.run(3_000.0, |_| 2.0);
        let results = event_loop.run(10_000.0, |_| 2.0);
        assert!(goodput(&results, 10_000.0) > 0.6, "{law:?}: {results:?}");
        assert!(results.longest_lag < 250.0, "{law:?}: {results:?}");
    }
}

#[test]
fn balanced_follows_a_ramp_and_a_sawtooth() {
    let mut event_loop = EventLoop::new(Law::balanced(TARGET), 10.0);
    let ramp = event_loop.run(20_000.0, |now| 0.5 + now / 20_000.0 * 3.5);
    assert!(goodput(&ramp, 20_000.0) > 0.9, "{ramp:?}");
    assert!(ramp.longest_lag < 50.0, "{ramp:?}");
    let mut event_loop = EventLoop::new(Law::balanced(TARGET), 10.0);
    let sawtooth = event_loop.run(20_000.0, |now| 0.5 + (now % 2_000.0) / 1_000.0);
    assert!(goodput(&sawtooth, 20_000.0) > 0.85, "{sawtooth:?}");
    assert!(sawtooth.longest_lag < 50.0, "{sawtooth:?}");
}

#[test]
fn after_a_spike_of_ten_seconds_every_law_admits_everything_again() {
    for law in laws() {
        let mut event_loop = EventLoop::new(law, 10.0);
        event_loop.run(2_000.0, |_| 0.5);
        let spike = event_loop.run(10_000.0, |_| 4.0);
        assert!(spike.refused > 10_000, "{law:?}: {spike:?}");
        event_loop.run(500.0, |_| 0.5);
        let after = event_loop.run(5_000.0, |_| 0.5);
        assert_eq!(after.refused, 0, "{law:?}: {after:?}");
        assert_eq!(after.good, after.arrived, "{law:?}");
    }
}
