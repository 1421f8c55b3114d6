//! A model of each reader of a monitor's samples. `fuzz/fuzz_targets/broadcast.rs` uses it, too.

use std::collections::VecDeque;
use std::time::Duration;

use loopmon::{Monitor, Samples};

use crate::support::{Read, manual, read};

/// What is done next. The numbers choose a reader.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Publish,
    Subscribe,
    Poll(usize),
    Drain(usize),
    Drop(usize),
    Stop,
    Restart,
}

/// A model of what a reader should get.
struct Model {
    capacity: usize,
    pending: VecDeque<Duration>,
    unreported: u64,
    ended: bool,
    published: u64,
    received: u64,
    missed: u64,
}

impl Model {
    fn publish(&mut self, lag: Duration) {
        if self.ended {
            return;
        }
        self.published += 1;
        self.pending.push_back(lag);
        if self.pending.len() > self.capacity {
            self.pending.pop_front();
            self.unreported += 1;
        }
    }

    fn read(&mut self) -> Read {
        match self.pending.pop_front() {
            Some(lag) => {
                let missed = std::mem::take(&mut self.unreported);
                self.received += 1;
                self.missed += missed;
                Read::Sample { lag, missed }
            }
            None if self.ended => Read::End,
            None => Read::Nothing,
        }
    }
}

struct Reader {
    samples: Samples,
    model: Model,
}

impl Reader {
    fn poll(&mut self) -> Read {
        let got = read(&mut self.samples);
        assert_eq!(got, self.model.read());
        assert_eq!(self.samples.missed(), self.model.missed);
        got
    }

    fn drain(&mut self) {
        while matches!(self.poll(), Read::Sample { .. }) {}
        assert_eq!(
            self.model.received + self.model.missed,
            self.model.published
        );
    }
}

/// Takes the steps on a monitor of the current runtime.
pub(crate) async fn follow(steps: Vec<Step>, capacity: usize) {
    let (hand, sampler) = manual();
    let monitor = Monitor::builder()
        .sampler(sampler)
        .capacity(capacity)
        .install()
        .unwrap();
    let mut readers: Vec<Reader> = Vec::new();
    for (lag, step) in (0..).map(Duration::from_nanos).zip(steps) {
        match step {
            Step::Publish if monitor.is_running() => {
                hand.publish(lag).await;
                for reader in &mut readers {
                    reader.model.publish(lag);
                }
            }
            Step::Subscribe => readers.push(Reader {
                samples: monitor.subscribe(),
                model: Model {
                    capacity,
                    pending: VecDeque::new(),
                    unreported: 0,
                    ended: false,
                    published: 0,
                    received: 0,
                    missed: 0,
                },
            }),
            Step::Poll(which) if !readers.is_empty() => {
                let which = which % readers.len();
                readers[which].poll();
            }
            Step::Drain(which) if !readers.is_empty() => {
                let which = which % readers.len();
                readers[which].drain();
            }
            Step::Drop(which) if !readers.is_empty() => {
                readers.swap_remove(which % readers.len());
            }
            Step::Stop => {
                monitor.stop();
                for reader in &mut readers {
                    reader.model.ended = true;
                }
            }
            Step::Restart if !monitor.is_running() => monitor.install().unwrap(),
            _ => {}
        }
    }
    for reader in &mut readers {
        reader.drain();
    }
    monitor.stop();
    for reader in &mut readers {
        reader.model.ended = true;
        assert_eq!(reader.poll(), Read::End);
    }
}
