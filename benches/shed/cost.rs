//! What a decision costs, in nanoseconds.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Waker};
use std::thread;
use std::time::{Duration, Instant};

use loopmon::shed::{Law, Policy, Priority, ShedLayer};
use loopmon::{Hysteresis, Monitor};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service, ServiceBuilder, service_fn};

use crate::figures::Figures;

const ROUNDS: usize = 31;
const CALLS: u32 = 200_000;

/// Calls a service and polls its future once, as it is ready at once.
fn calls<S: Service<u32, Response = u32>>(service: &mut S) -> f64 {
    let mut cx = Context::from_waker(Waker::noop());
    let began = Instant::now();
    for number in 0..CALLS {
        black_box(service.poll_ready(&mut cx).is_ready());
        let future = pin!(service.call(black_box(number)));
        black_box(future.poll(&mut cx).is_ready());
    }
    began.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
}

fn asks(policy: &Policy) -> f64 {
    let began = Instant::now();
    for _ in 0..CALLS {
        black_box(policy.admit(Priority::Normal).is_ok());
    }
    began.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
}

/// Measures on so many threads at once. Returns the mean of their times.
fn on_threads(threads: usize, measure: impl Fn() -> f64 + Sync) -> f64 {
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(&measure)).collect();
        let times = running.into_iter().map(|thread| thread.join().unwrap());
        times.sum::<f64>() / threads as f64
    })
}

/// A runtime on a thread of its own, with a policy that admits everything, or refuses all but probes.
fn policy(refuses: bool) -> (Runtime, Policy) {
    let runtime = Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let monitor = Monitor::builder().interval(Duration::from_millis(10));
    let monitor = monitor.install_on(runtime.handle()).expect("it is there");
    let law = if refuses {
        Law::threshold(Hysteresis::new(Duration::ZERO, Duration::ZERO).expect("in order"))
    } else {
        Law::balanced(Duration::from_secs(60))
    };
    let policy = Policy::with_law(&monitor, law);
    thread::sleep(Duration::from_millis(100));
    (runtime, policy)
}

pub(crate) fn run() {
    let bare = service_fn(|number: u32| ready(Ok::<_, Infallible>(number)));
    let (_calm, admits) = policy(false);
    let (_late, refuses) = policy(true);
    type Measure<'a> = Box<dyn Fn() -> f64 + Sync + 'a>;
    let layer = |policy: &Policy| ShedLayer::with(policy, |_| Ok(0)).layer(bare);
    let (admitting, refusing) = (layer(&admits), layer(&refuses));
    let limited = ServiceBuilder::new()
        .load_shed()
        .concurrency_limit(1 << 20)
        .service(bare);
    let ways: [(&str, Measure<'_>); 7] = [
        ("the bare service", Box::new(|| calls(&mut bare.clone()))),
        (
            "`Shed`, admitted",
            Box::new(|| calls(&mut admitting.clone())),
        ),
        ("`Shed`, refused", Box::new(|| calls(&mut refusing.clone()))),
        (
            "`load_shed` and `concurrency_limit`, admitted",
            Box::new(|| calls(&mut limited.clone())),
        ),
        ("`Policy::admit`, admitted", Box::new(|| asks(&admits))),
        ("`Policy::admit`, refused", Box::new(|| asks(&refuses))),
        (
            "a clock read",
            Box::new(|| {
                let began = Instant::now();
                (0..CALLS).for_each(|_| {
                    black_box(Instant::now());
                });
                began.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
            }),
        ),
    ];
    println!("\n## Nanoseconds per request, median [quartiles]\n");
    println!("| | one thread | two threads |");
    println!("|---|---:|---:|");
    let mut times = vec![[const { Vec::new() }; 2]; ways.len()];
    for round in 0..ROUNDS {
        for turn in 0..ways.len() {
            // In an order that changes.
            let way = (turn + round) % ways.len();
            for threads in [1, 2] {
                times[way][threads - 1].push(on_threads(threads, &ways[way].1));
            }
        }
    }
    for ((name, _), times) in ways.iter().zip(times) {
        let [one, two] = times.map(|times| times.into_iter().collect::<Figures>());
        println!("| {name} | {one} | {two} |");
    }
}
