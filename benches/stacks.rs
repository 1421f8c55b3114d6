//! What the stack of a worker shows that blocks in one of fifteen ways, and what taking it costs.
//!
//! Prints a table for the profile that it is built with; `benches/README.md` says how to build it with others.
//! The argument is the number of rounds.
#![allow(
    clippy::disallowed_methods,
    reason = "it checks loopmon against the clocks"
)]

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Condvar, Mutex, RwLock, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use loopmon::{Frame, Monitor, Phase, StackTrace, Stall, Stalls};

const THRESHOLD: Duration = Monitor::DEFAULT_STALL_THRESHOLD;
/// Twice the threshold, as in the budget.
const LASTS: Duration = Duration::from_millis(200);

type Blocker = fn() -> io::Result<()>;

const BLOCKERS: [(&str, Blocker); 15] = [
    ("by_sleeping", by_sleeping),
    ("by_reading_a_file", by_reading_a_file),
    ("by_syncing_a_file", by_syncing_a_file),
    ("by_a_mutex", by_a_mutex),
    ("by_a_lock_for_reading", by_a_lock_for_reading),
    ("by_a_condition", by_a_condition),
    ("by_a_channel", by_a_channel),
    ("by_a_process", by_a_process),
    ("by_looking_up_a_name", by_looking_up_a_name),
    ("by_a_file_lock", by_a_file_lock),
    ("by_a_pipe", by_a_pipe),
    ("by_a_connection", by_a_connection),
    ("by_computing", by_computing),
    ("by_allocating", by_allocating),
    ("by_parsing", by_parsing),
];

#[inline(never)]
fn by_sleeping() -> io::Result<()> {
    thread::sleep(LASTS);
    Ok(())
}

#[inline(never)]
fn by_reading_a_file() -> io::Result<()> {
    let began = Instant::now();
    while began.elapsed() < LASTS {
        black_box(fs::read(std::env::current_exe()?)?);
    }
    Ok(())
}

#[inline(never)]
fn by_syncing_a_file() -> io::Result<()> {
    let mut file = File::create(own_path("synced"))?;
    let began = Instant::now();
    while began.elapsed() < LASTS {
        file.write_all(&[1; 4096])?;
        file.sync_all()?;
    }
    Ok(())
}

#[inline(never)]
fn by_a_mutex() -> io::Result<()> {
    static LOCK: Mutex<()> = Mutex::new(());
    hold_meanwhile(|| LOCK.lock().unwrap());
    drop(LOCK.lock().unwrap());
    Ok(())
}

#[inline(never)]
fn by_a_lock_for_reading() -> io::Result<()> {
    static LOCK: RwLock<()> = RwLock::new(());
    hold_meanwhile(|| LOCK.write().unwrap());
    drop(LOCK.read().unwrap());
    Ok(())
}

#[inline(never)]
fn by_a_condition() -> io::Result<()> {
    let (lock, condition) = (Mutex::new(()), Condvar::new());
    let began = Instant::now();
    while began.elapsed() < LASTS {
        let left = LASTS.saturating_sub(began.elapsed());
        drop(condition.wait_timeout(lock.lock().unwrap(), left).unwrap());
    }
    Ok(())
}

#[inline(never)]
fn by_a_channel() -> io::Result<()> {
    let (sender, receiver) = mpsc::channel();
    later(move || sender.send(()).unwrap_or(()));
    receiver.recv().map_err(io::Error::other)
}

#[inline(never)]
fn by_a_process() -> io::Result<()> {
    let status = Command::new("sleep").arg("0.2").status()?;
    assert!(status.success());
    Ok(())
}

#[inline(never)]
fn by_looking_up_a_name() -> io::Result<()> {
    let began = Instant::now();
    while began.elapsed() < LASTS {
        drop("name.invalid:80".to_socket_addrs());
    }
    Ok(())
}

#[inline(never)]
fn by_a_file_lock() -> io::Result<()> {
    let [holder, waiter] = [(); 2].map(|()| File::create(own_path("locked")));
    let (holder, waiter) = (holder?, waiter?);
    lock(&holder)?;
    later(move || drop(holder));
    lock(&waiter)
}

#[inline(never)]
fn by_a_pipe() -> io::Result<()> {
    let mut child = Command::new("sleep")
        .arg("0.2")
        .stdout(Stdio::piped())
        .spawn()?;
    let mut pipe = child.stdout.take().unwrap();
    assert_eq!(pipe.read(&mut [0])?, 0);
    child.wait().map(drop)
}

#[inline(never)]
fn by_a_connection() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let mut silent = TcpStream::connect(listener.local_addr()?)?;
    silent.set_read_timeout(Some(LASTS))?;
    match silent.read(&mut [0]) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        other => other.map(drop),
    }
}

#[inline(never)]
fn by_computing() -> io::Result<()> {
    let began = Instant::now();
    while began.elapsed() < LASTS {
        black_box((1..100_000_u64).fold(1, |product: u64, factor| product.wrapping_mul(factor)));
    }
    Ok(())
}

#[inline(never)]
fn by_allocating() -> io::Result<()> {
    let began = Instant::now();
    while began.elapsed() < LASTS {
        black_box((1..1_000).map(|size| vec![1_u8; size]).collect::<Vec<_>>());
    }
    Ok(())
}

#[inline(never)]
fn by_parsing() -> io::Result<()> {
    let text = format!("[{}0]", "[1, 2.5, \"three\"], ".repeat(1_000));
    let began = Instant::now();
    while began.elapsed() < LASTS {
        black_box(serde_json::from_str::<serde_json::Value>(&text)?);
    }
    Ok(())
}

fn main() -> io::Result<()> {
    let rounds = std::env::args().find_map(|argument| argument.parse().ok());
    let rounds = rounds.unwrap_or(20);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let monitor = Monitor::builder()
        .stall_threshold(THRESHOLD)
        .install_on(runtime.handle())
        .map_err(io::Error::other)?;
    let stalls = listen(monitor.stalls());
    // Wait until the monitor has observed all workers.
    thread::sleep(Duration::from_millis(200));

    let before = Memory::now()?;
    let mut all = Vec::new();
    for round in 0..rounds {
        for (name, block) in BLOCKERS {
            let blocked = runtime.block_on(runtime.spawn(async move { block() }));
            if let Err(error) = blocked? {
                assert_ne!(error.kind(), io::ErrorKind::Interrupted, "{name}");
                eprintln!("{name}: {error}");
            }
            all.push(Outcome {
                name,
                first: round == 0,
                stall: ended(&stalls),
            });
        }
    }
    let after = Memory::now()?;
    report(rounds, &all);
    println!("\nmemory before the first stall: {before}");
    println!("after the last:                {after}");
    thread::sleep(Duration::from_secs(11));
    println!("ten seconds later:             {}", Memory::now()?);
    let missed = all.iter().filter(|outcome| !outcome.is_named()).take(3);
    for outcome in all.last().into_iter().chain(missed) {
        println!("\n{}:", outcome.name);
        if let Some(stall) = &outcome.stall {
            println!("{stall}");
            if let Some(trace) = &stall.trace {
                println!("{trace}");
            }
        }
    }
    Ok(())
}

/// The last report of one stall, if there was any.
struct Outcome {
    name: &'static str,
    first: bool,
    stall: Option<Stall>,
}

impl Outcome {
    fn trace(&self) -> Option<&StackTrace> {
        let trace = self.stall.as_ref()?.trace.as_deref()?;
        trace.no_stack().is_none().then_some(trace)
    }

    fn is_complete(&self) -> bool {
        self.trace().is_some_and(|trace| !trace.is_truncated())
    }

    fn is_named(&self) -> bool {
        self.blamed().is_some()
    }

    fn is_located(&self) -> bool {
        self.blamed().is_some_and(|frame| {
            let line = frame
                .line()
                .is_some_and(|line| lines(self.name).contains(&line));
            line && frame
                .file()
                .is_some_and(|file| file.ends_with("benches/stacks.rs"))
        })
    }

    fn blamed(&self) -> Option<&Frame> {
        let mut frames = self.trace()?.user_frames().iter();
        frames.find(|frame| {
            let function = frame.function().unwrap_or_default();
            function.split("::").any(|segment| segment == self.name)
        })
    }
}

fn report(rounds: usize, all: &[Outcome]) {
    println!("{rounds} rounds; a stall lasts {LASTS:?}, twice the threshold");
    println!(
        "{:22} reported complete named line  capture p50 / max us  resolve first / again p50 ms",
        "blocker"
    );
    for (name, _) in BLOCKERS {
        let of: Vec<_> = all.iter().filter(|outcome| outcome.name == name).collect();
        row(name, &of);
    }
    row("all", &all.iter().collect::<Vec<_>>());
}

fn row(name: &str, of: &[&Outcome]) {
    let count = |which: fn(&Outcome) -> bool| of.iter().filter(|outcome| which(outcome)).count();
    let times = |which: fn(&StackTrace) -> Duration, first: bool| {
        let of = of.iter().filter(|outcome| outcome.first || !first);
        let mut times: Vec<_> = of
            .filter_map(|outcome| outcome.trace().map(which))
            .collect();
        times.sort_unstable();
        times
    };
    let median = |times: &[Duration]| times.get(times.len() / 2).copied().unwrap_or_default();
    let captures = times(StackTrace::capture_time, false);
    println!(
        "{name:22} {:8} {:8} {:5} {:4}  {:10.0} / {:7.0}  {:13.2} / {:.2}",
        count(|outcome| outcome.stall.is_some()),
        count(Outcome::is_complete),
        count(Outcome::is_named),
        count(Outcome::is_located),
        median(&captures).as_secs_f64() * 1e6,
        captures.last().copied().unwrap_or_default().as_secs_f64() * 1e6,
        times(StackTrace::resolve_time, true)
            .last()
            .copied()
            .unwrap_or_default()
            .as_secs_f64()
            * 1e3,
        median(&times(StackTrace::resolve_time, false)).as_secs_f64() * 1e3,
    );
}

/// Forwards the stream to a channel, which can be received from with a timeout.
fn listen(mut stalls: Stalls) -> mpsc::Receiver<Stall> {
    let (sender, receiver) = mpsc::channel();
    let listening = thread::Builder::new().spawn(move || {
        futures::executor::block_on(async {
            while let Some(stall) = stalls.next().await {
                sender.send(stall).ok();
            }
        });
    });
    listening.expect("a thread to listen");
    receiver
}

/// Returns the report of the end of a stall, or else the last one.
fn ended(stalls: &mpsc::Receiver<Stall>) -> Option<Stall> {
    let mut last = None;
    while let Ok(stall) = stalls.recv_timeout(Duration::from_secs(2)) {
        let over = stall.phase == Phase::Ended;
        last = Some(stall);
        if over {
            break;
        }
    }
    last
}

/// Returns the lines of a function in this file.
fn lines(function: &str) -> RangeInclusive<u32> {
    let source = include_str!("stacks.rs");
    let head = format!("fn {function}(");
    let first = source
        .lines()
        .position(|line| line.starts_with(&head))
        .unwrap_or(0);
    let length = source
        .lines()
        .skip(first)
        .position(|line| line == "}")
        .unwrap_or(0);
    first as u32 + 1..=(first + length) as u32 + 1
}

/// The memory of the process in KiB: all of it, and the part that no file backs.
struct Memory {
    total: u64,
    anonymous: u64,
}

impl Memory {
    fn now() -> io::Result<Memory> {
        let status = fs::read_to_string("/proc/self/status")?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.trim().split(' ').next()?.parse().ok())
                .unwrap_or(0)
        };
        Ok(Memory {
            total: kib("VmRSS:"),
            anonymous: kib("RssAnon:"),
        })
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mib = |kib: u64| kib as f64 / 1024.0;
        write!(
            f,
            "{:.1} MiB, {:.1} of it anonymous",
            mib(self.total),
            mib(self.anonymous)
        )
    }
}

fn own_path(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("loopmon-{name}-{}", std::process::id()))
}

#[allow(
    clippy::incompatible_msrv,
    reason = "benches run on the newest compiler"
)]
fn lock(file: &File) -> io::Result<()> {
    file.lock()
}

fn later(work: impl FnOnce() + Send + 'static) {
    elsewhere(|| {
        thread::sleep(LASTS);
        work();
    });
}

fn elsewhere(work: impl FnOnce() + Send + 'static) {
    thread::Builder::new().spawn(work).expect("a thread");
}

/// Makes another thread hold a lock, which it has when this returns.
fn hold_meanwhile<G: 'static>(lock: fn() -> G) {
    let (held, is_held) = mpsc::channel();
    elsewhere(move || {
        let guard = lock();
        held.send(()).ok();
        thread::sleep(LASTS);
        drop(guard);
    });
    is_held.recv().expect("the lock to be held");
}
