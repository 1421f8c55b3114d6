use super::*;

const TICK: Duration = ms(20);
const THRESHOLD: Duration = ms(100);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn at(millis: u64) -> AwakeInstant {
    AwakeInstant::START + ms(millis)
}

/// A thread, and the inspector's verdict on all that it does.
struct Thread {
    detector: RootDetector,
    now: u64,
    times: Times,
    judgement: Judgement,
    /// `None` while the inspector does not answer.
    polls: Option<bool>,
    not_before: u64,
    judged_at: u64,
    /// Whether the inspector looks only once.
    is_late: bool,
    lost: Duration,
}

impl Thread {
    fn new(polls: Option<bool>) -> Thread {
        Thread {
            detector: RootDetector::new(THRESHOLD, TICK, false),
            now: 0,
            times: Times {
                on_cpu: ms(0),
                waited: ms(0),
                turns: 1,
            },
            judgement: Judgement::default(),
            polls,
            not_before: 0,
            judged_at: 0,
            is_late: false,
            lost: Duration::ZERO,
        }
    }

    fn time(&self) -> AwakeTime {
        AwakeTime {
            now: at(self.now),
            lost: self.lost,
            held_up: Duration::ZERO,
        }
    }

    fn observe(&mut self) -> RootTransition {
        let transition = self.detector.observe(RootSeen {
            time: self.time(),
            times: Some(self.times),
            not_before: at(self.not_before),
            judgement: self.judgement,
        });
        if let RootTransition::Suspected(stretch) = transition {
            if let Some(polls) = self.polls {
                self.judgement = Judgement {
                    number: stretch.number,
                    polls,
                    seen_for: Duration::ZERO,
                };
                self.judged_at = self.now;
            }
        }
        transition
    }

    /// Does something for a while, `each` millisecond. Returns what changed, and when.
    fn pass(&mut self, millis: u64, each: fn(&mut Times)) -> Vec<(u64, RootTransition)> {
        let mut seen = Vec::new();
        for _ in 0..millis {
            self.now += 1;
            each(&mut self.times);
            if self.judgement.polls && !self.is_late {
                self.judgement.seen_for = ms(self.now - self.judged_at);
            }
            let due = self
                .detector
                .due_at()
                .is_some_and(|due| due <= at(self.now));
            if due || self.now % 20 == 0 {
                let transition = self.observe();
                if transition != RootTransition::None {
                    seen.push((self.now, transition));
                }
            }
        }
        seen
    }

    fn sleep(&mut self, millis: u64) -> Vec<(u64, RootTransition)> {
        self.pass(millis, |_| ())
    }

    fn spin(&mut self, millis: u64) -> Vec<(u64, RootTransition)> {
        self.pass(millis, |times| times.on_cpu += ms(1))
    }

    fn wake(&mut self) {
        self.times.turns += 1;
        self.times.on_cpu += Duration::from_micros(5);
    }
}

fn reports(seen: &[(u64, RootTransition)]) -> Vec<(u64, Phase, u64)> {
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap();
    let report = |(now, transition): &(u64, RootTransition)| match *transition {
        RootTransition::Live { phase, stuck_for } => Some((*now, phase, millis(stuck_for))),
        RootTransition::Over { lasted } => Some((*now, Phase::Ended, millis(lasted))),
        _ => None,
    };
    seen.iter().filter_map(report).collect()
}

#[test]
fn one_sleep_in_a_poll_is_a_stall_from_its_start_to_its_end() {
    let mut thread = Thread::new(Some(true));
    thread.sleep(40);
    thread.wake();
    let mut seen = thread.sleep(300);
    thread.wake();
    seen.extend(thread.sleep(20));
    let [started, ongoing, ended] = reports(&seen)[..] else {
        panic!("{seen:?}");
    };
    assert_eq!((started.1, started.2), (Phase::Started, 100));
    assert_eq!((ongoing.1, ongoing.2), (Phase::Ongoing, 200));
    assert_eq!(ended.1, Phase::Ended);
    assert!((300..=325).contains(&ended.2), "{ended:?}");
    assert!(ended.0 <= 350, "{ended:?}");
}

#[test]
fn a_pause_counts_only_at_the_end() {
    let mut thread = Thread::new(Some(true));
    thread.sleep(90);
    thread.lost += ms(5_000);
    let mut seen = thread.sleep(60);
    thread.wake();
    seen.extend(thread.sleep(20));
    let [started, ended] = reports(&seen)[..] else {
        panic!("{seen:?}");
    };
    assert_eq!((started.1, started.2), (Phase::Started, 100));
    assert!(ended.2 >= 5_130, "{ended:?}");
}

#[test]
fn what_was_before_the_watch_does_not_count() {
    let mut thread = Thread::new(Some(true));
    thread.now = 50_000;
    let mut seen = thread.sleep(200);
    thread.wake();
    seen.extend(thread.sleep(20));
    let (_, phase, lasted) = *reports(&seen).last().unwrap();
    assert_eq!(phase, Phase::Ended);
    assert!(lasted <= 225, "{seen:?}");
}

#[test]
fn one_sleep_outside_of_a_poll_is_judged_once() {
    let mut thread = Thread::new(Some(false));
    let seen = thread.sleep(10_000);
    let [
        (_, RootTransition::Suspected(_)),
        (_, RootTransition::Cleared),
    ] = seen[..]
    else {
        panic!("{seen:?}");
    };
    assert_eq!(thread.detector.due_at(), None);
    // The next sleep is another.
    thread.wake();
    thread.polls = Some(true);
    assert!(!reports(&thread.sleep(300)).is_empty());
}

#[test]
fn many_sleeps_are_none() {
    let mut thread = Thread::new(Some(true));
    for _ in 0..50 {
        assert_eq!(reports(&thread.sleep(80)), []);
        thread.wake();
    }
}

#[test]
fn without_a_verdict_there_is_no_report() {
    let mut thread = Thread::new(None);
    assert_eq!(reports(&thread.sleep(300)), []);
    thread.wake();
    assert_eq!(reports(&thread.spin(300)), []);
    // A verdict on an earlier stretch is none on this.
    thread.judgement = Judgement {
        number: 1,
        polls: true,
        seen_for: ms(1_000),
    };
    thread.wake();
    assert_eq!(reports(&thread.sleep(300)), []);
}

#[test]
fn running_in_a_poll_counts_from_when_that_was_known() {
    let mut thread = Thread::new(Some(true));
    thread.sleep(40);
    thread.wake();
    let mut seen = thread.spin(300);
    thread.judgement.polls = false;
    thread.polls = Some(false);
    seen.extend(thread.sleep(60));
    let [started, .., ended] = reports(&seen)[..] else {
        panic!("{seen:?}");
    };
    assert_eq!(started.1, Phase::Started);
    // Suspected after at least 20 ms, at a tick.
    assert!(
        started.0 >= 40 + 120 && started.0 <= 40 + 165,
        "{started:?}"
    );
    assert_eq!(ended.1, Phase::Ended);
    assert!(ended.2 >= 300, "{ended:?}");
}

#[test]
fn running_ends_when_the_inspector_sees_no_poll() {
    let mut thread = Thread::new(Some(true));
    let seen = thread.spin(200);
    assert_eq!(reports(&seen)[0].1, Phase::Started);
    thread.judgement.polls = false;
    thread.polls = Some(false);
    let seen = thread.spin(500);
    assert_eq!(reports(&seen).len(), 1, "{seen:?}");
    assert_eq!(reports(&seen)[0].1, Phase::Ended);
    // It is looked at again and again, as it may begin to poll.
    assert!(seen.len() > 10, "{seen:?}");
}

#[test]
fn running_is_not_reported_for_longer_than_it_was_looked_at() {
    let mut thread = Thread::new(Some(true));
    thread.is_late = true;
    assert_eq!(reports(&thread.spin(300)), []);
    let due = thread.detector.due_at().unwrap();
    assert!(due > at(thread.now), "{due:?}");
    thread.judgement.seen_for = ms(150);
    let seen = thread.spin(100);
    assert_eq!(reports(&seen)[0].1, Phase::Started);
    assert_eq!(reports(&seen).len(), 1);
}

#[test]
fn a_thread_that_mostly_sleeps_does_not_run() {
    let mut thread = Thread::new(Some(true));
    for _ in 0..20 {
        assert_eq!(thread.spin(2), []);
        assert_eq!(thread.sleep(38), []);
        thread.wake();
    }
}

#[test]
fn sleeps_in_a_row_are_a_stall_where_parks_are_counted() {
    let mut thread = Thread::new(Some(true));
    thread.detector = RootDetector::new(THRESHOLD, TICK, true);
    let mut seen = Vec::new();
    for _ in 0..30 {
        seen.extend(thread.sleep(10));
        thread.wake();
    }
    // The thread parks.
    thread.not_before = thread.now;
    seen.extend(thread.sleep(40));
    let [started, .., ended] = reports(&seen)[..] else {
        panic!("{seen:?}");
    };
    assert_eq!(started.1, Phase::Started);
    assert!(started.0 >= 120, "{seen:?}");
    assert_eq!(ended.1, Phase::Ended);
    assert!(ended.2 >= 280, "{seen:?}");
}

#[test]
fn waiting_for_a_cpu_counts_as_running() {
    let mut thread = Thread::new(Some(true));
    let seen = thread.pass(300, |times| {
        times.on_cpu += Duration::from_micros(200);
        times.waited += Duration::from_micros(800);
        times.turns += 1;
    });
    assert_eq!(reports(&seen)[0].1, Phase::Started);
}

#[test]
fn nothing_begins_before_it_can() {
    let mut thread = Thread::new(Some(true));
    thread.spin(40);
    thread.not_before = 120;
    let seen = thread.spin(300);
    let started = reports(&seen)[0];
    assert!(started.0 >= 220, "{seen:?}");
}

#[test]
fn a_thread_that_has_ended_is_not_stuck() {
    let mut thread = Thread::new(Some(true));
    let seen = thread.sleep(150);
    assert_eq!(reports(&seen)[0].1, Phase::Started);
    let gone = RootSeen {
        time: thread.time(),
        times: None,
        not_before: at(0),
        judgement: thread.judgement,
    };
    let ended = thread.detector.observe(gone);
    assert!(matches!(ended, RootTransition::Over { .. }), "{ended:?}");
    assert_eq!(thread.detector.observe(gone), RootTransition::None);
}
