//! Open-loop load: requests arrive whether earlier ones were answered or not, and their latency counts from when
//! they were meant to arrive.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, BufReader};
use tokio::runtime::{Builder, Runtime};
use tower::ServiceExt;

use crate::figures::Figures;
use crate::ways::{Shedding, Way};

/// What a request does. Each takes 1 ms of a thread's time, but for blocks.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Handler {
    Compute,
    /// Half of it, 5 ms of waiting, the other half.
    Mixed,
    /// One in 200 blocks for 50 ms.
    SometimesBlocks,
}

impl Handler {
    pub(crate) async fn run(self, number: u32) {
        match self {
            Handler::Compute => spin(Duration::from_millis(1)),
            Handler::Mixed => {
                spin(Duration::from_micros(500));
                tokio::time::sleep(Duration::from_millis(5)).await;
                spin(Duration::from_micros(500));
            }
            Handler::SometimesBlocks if number % 200 == 7 => {
                thread::sleep(Duration::from_millis(50));
            }
            Handler::SometimesBlocks => spin(Duration::from_millis(1)),
        }
    }

    /// Seconds of a thread's time for each request.
    fn cost(self) -> f64 {
        match self {
            Handler::Compute | Handler::Mixed => 0.001,
            Handler::SometimesBlocks => (199.0 * 0.001 + 0.05) / 200.0,
        }
    }
}

fn spin(duration: Duration) {
    let began = Instant::now();
    while began.elapsed() < duration {
        std::hint::spin_loop();
    }
}

pub(crate) struct Load {
    handler: Handler,
    /// Zero for `current_thread`.
    workers: usize,
    /// From when on, in seconds, there is which share of the possible load; the last is the end.
    steps: Vec<(f64, f64)>,
    /// What happens before does not count.
    warm_up: f64,
}

impl Load {
    pub(crate) fn steady(handler: Handler, workers: usize, share: f64, seconds: u64) -> Load {
        let warm_up = 1.0;
        Load {
            handler,
            workers,
            steps: vec![(0.0, share), (warm_up + seconds as f64, 0.0)],
            warm_up,
        }
    }

    pub(crate) fn spike() -> Load {
        Load {
            handler: Handler::Compute,
            workers: 0,
            steps: vec![(0.0, 0.5), (2.0, 4.0), (12.0, 0.5), (20.0, 0.0)],
            warm_up: 0.0,
        }
    }

    /// Requests a second that the runtime can answer.
    fn capacity(&self) -> f64 {
        self.workers.max(1) as f64 / self.handler.cost()
    }

    fn end(&self) -> f64 {
        self.steps.last().map_or(0.0, |step| step.0)
    }

    /// Returns when the request after one at `now` is meant to arrive.
    fn after(&self, now: f64, random: &mut u64) -> f64 {
        // Knuth's MMIX.
        *random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let uniform = (*random >> 11) as f64 / (1_u64 << 53) as f64;
        let share = self.steps.iter().rev().find(|step| step.0 <= now);
        let rate = share.map_or(1.0, |step| step.1) * self.capacity();
        now - (1.0 - uniform).ln() / rate
    }
}

pub(crate) struct Outcome {
    /// Answers a second within 100 ms.
    pub(crate) good: f64,
    /// How many there might be: as many as arrive, or as the runtime can do.
    pub(crate) possible: f64,
    /// Of what was served, in ms.
    pub(crate) latencies: Figures,
    /// The share of what was answered at all.
    pub(crate) refused: f64,
    pub(crate) good_by_half_second: Vec<usize>,
    arrived_by_half_second: Vec<usize>,
}

/// A request that was answered: when it was meant to arrive, how long that took, and whether it was served.
type Answer = (f64, f64, bool);

pub(crate) fn run(way: &Way, load: &Load) -> Outcome {
    let runtime = runtime(load.workers);
    let service = {
        let _inside = runtime.enter();
        (way.service)(load.handler)
    };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut client =
        TcpStream::connect(listener.local_addr().expect("its own")).expect("it listens");
    let (server, _) = listener.accept().expect("the client");
    server.set_nonblocking(true).expect("a socket");
    client.set_nodelay(true).expect("a socket");
    let answers = Arc::new(Mutex::new(Vec::<Answer>::new()));
    let stop = Arc::new(tokio::sync::Notify::new());
    let began = Instant::now() + Duration::from_millis(200);
    let serving = serve(server, service, began, Arc::clone(&answers));
    let driver = {
        let stop = Arc::clone(&stop);
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::spawn(serving);
                stop.notified().await;
            });
        })
    };
    let (mut due, mut random) = (0.0, 7);
    let mut arrived = Vec::new();
    while due < load.end() {
        let at = began + Duration::from_secs_f64(due);
        thread::sleep(at.saturating_duration_since(Instant::now()));
        client.write_all(&f64::to_be_bytes(due)).expect("it reads");
        arrived.push(due);
        due = load.after(due, &mut random);
    }
    thread::sleep(Duration::from_millis(300));
    let answers = std::mem::take(&mut *answers.lock().unwrap());
    stop.notify_one();
    driver.join().unwrap();
    outcome(load, &arrived, answers)
}

/// Reads when each request was meant to arrive, and answers it in a task of its own, as HTTP servers do.
async fn serve(
    server: TcpStream,
    service: Shedding,
    began: Instant,
    answers: Arc<Mutex<Vec<Answer>>>,
) {
    let server = tokio::net::TcpStream::from_std(server).expect("within the runtime");
    let mut server = BufReader::new(server);
    for number in 0.. {
        let Ok(due) = server.read_f64().await else {
            return;
        };
        let (service, answers) = (service.clone(), Arc::clone(&answers));
        tokio::spawn(async move {
            let served = service.oneshot(number).await.unwrap_or(false);
            let took = began.elapsed().as_secs_f64() - due;
            answers.lock().unwrap().push((due, took, served));
        });
    }
}

fn outcome(load: &Load, arrived: &[f64], mut answers: Vec<Answer>) -> Outcome {
    let by_half_second = |times: &mut dyn Iterator<Item = f64>| {
        let mut counts = vec![0; (load.end() * 2.0) as usize];
        for time in times {
            if let Some(count) = counts.get_mut((time * 2.0) as usize) {
                *count += 1;
            }
        }
        counts
    };
    let is_good = |answer: &&Answer| answer.2 && answer.1 <= 0.1;
    let good_by_half_second = by_half_second(&mut answers.iter().filter(is_good).map(|a| a.0));
    let arrived_by_half_second = by_half_second(&mut arrived.iter().copied());
    answers.retain(|answer| answer.0 >= load.warm_up);
    let seconds = load.end() - load.warm_up;
    let arrived = arrived.iter().filter(|due| **due >= load.warm_up).count();
    let served = answers.iter().filter(|answer| answer.2);
    Outcome {
        good: answers.iter().filter(is_good).count() as f64 / seconds,
        possible: load.capacity().min(arrived as f64 / seconds),
        latencies: served.clone().map(|answer| answer.1 * 1e3).collect(),
        refused: 1.0 - served.count() as f64 / answers.len() as f64,
        good_by_half_second,
        arrived_by_half_second,
    }
}

impl Outcome {
    /// Returns how long it took after `end` until 95 % of what arrived was answered in time.
    pub(crate) fn recovery(&self, end: Duration) -> String {
        let first = (end.as_secs_f64() * 2.0) as usize;
        let halves = self
            .good_by_half_second
            .iter()
            .zip(&self.arrived_by_half_second);
        let recovered = halves
            .skip(first)
            .position(|(good, arrived)| 100 * good >= 95 * arrived);
        recovered.map_or_else(
            || format!("over {}", (self.good_by_half_second.len() - first) / 2),
            |half| format!("{:.1}", half as f64 / 2.0),
        )
    }
}

fn runtime(workers: usize) -> Runtime {
    let mut builder = match workers {
        0 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    builder.worker_threads(workers.max(1)).enable_all();
    builder.build().expect("a runtime")
}
