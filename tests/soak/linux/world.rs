//! Runtimes of all flavours, built and shut down again and again, with their monitors.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use futures::future::join_all;
use loopmon::Stall;
use loopmon::dashboard::{Dashboard, Serving};
use loopmon::export::{Export, Metrics, OpenTelemetry, Tracing};
use tokio::runtime::{Builder, Handle, LocalOptions, Runtime};
use tokio::sync::oneshot;
use tokio::task::{JoinSet, LocalSet};
use tokio::time::sleep;

use crate::linux::diary::{self, Diary};
use crate::linux::faults::{below, between, fault};
use crate::linux::keeper::Kept;
use crate::linux::load;

/// How large a world is, and what is expected of it.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    pub(crate) runtimes: usize,
    pub(crate) monitors: usize,
    /// Whether runtimes are built anew, for which Tokio needs threads and descriptors.
    pub(crate) renews: bool,
    /// Whether every long block is reported soon.
    pub(crate) is_certain: bool,
}

pub(crate) struct World {
    scale: Scale,
    until: Instant,
    /// Where keepers and readers run.
    readers: Handle,
    pub(crate) metronome: Metronome,
    generations: AtomicUsize,
    delays: Mutex<Vec<Duration>>,
}

/// Runs a world for a while. `disturb` happens to it meanwhile, on this thread.
pub(crate) fn run(scale: Scale, time: Duration, disturb: impl FnOnce(Instant)) {
    let readers = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let until = Instant::now() + time;
    let world = Arc::new(World {
        scale,
        until,
        readers: readers.handle().clone(),
        metronome: Metronome::default(),
        generations: AtomicUsize::new(0),
        delays: Mutex::default(),
    });
    let ticking = start({
        let world = Arc::clone(&world);
        move || world.metronome.tick(until)
    });
    let slots: Vec<_> = (0..scale.runtimes)
        .map(|slot| {
            let world = Arc::clone(&world);
            start(move || {
                while Instant::now() < world.until {
                    Generation::new(slot, &world).live();
                }
            })
        })
        .collect();
    disturb(until);
    for thread in slots.into_iter().chain([ticking]) {
        if thread.join().is_err() {
            fault("a thread has panicked");
        }
    }
    drop(readers);
    if !loopmon::join_threads(Duration::from_secs(60)) {
        fault("threads of loopmon have not ended");
    }
    world.tell();
}

fn start(run: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    thread::Builder::new().spawn(run).unwrap()
}

impl World {
    /// A block was reported.
    pub(crate) fn heard(&self, who: &str, began: Instant, heard: Instant) {
        let delay = heard.saturating_duration_since(began);
        self.delays
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(delay);
        let bound = diary::bound(&self.metronome, began, heard);
        if self.scale.is_certain && delay > bound {
            fault(&format!(
                "{who}: reported after {delay:?}, more than {bound:?}"
            ));
        }
    }

    /// A block was not.
    pub(crate) fn not_heard(&self, who: &str, lasted: Duration) {
        if self.scale.is_certain {
            fault(&format!("{who}: a block of {lasted:?} was not reported"));
        }
    }

    /// A stall has not ended.
    pub(crate) fn unfinished(&self, who: &str, last: &Stall) {
        if self.scale.is_certain {
            fault(&format!("{who}: no end of {last}"));
        }
    }

    fn tell(&self) {
        let mut delays = self.delays.lock().unwrap_or_else(PoisonError::into_inner);
        delays.sort_unstable();
        println!(
            "{} runtimes lived; {} long blocks, reported after {:?} in the median, {:?} at most; the metronome was \
             late by {:?} at most; {:?}",
            self.generations.load(Ordering::Relaxed),
            delays.len(),
            delays.get(delays.len() / 2),
            delays.last(),
            self.metronome.late().worst,
            loopmon::pauses(),
        );
    }
}

/// Shows how late a thread of this process is that has little to do.
#[derive(Default)]
pub(crate) struct Metronome(Mutex<Late>);

#[derive(Default)]
struct Late {
    /// The last times that it was, and by how much.
    last: VecDeque<(Instant, Duration)>,
    worst: Duration,
    /// For how long any thread of the machine had waited for a CPU by then.
    pressure: VecDeque<(Instant, Duration)>,
}

impl Metronome {
    const KEPT: usize = 10_000;
    const PRESSED: Duration = Duration::from_millis(20);

    fn tick(&self, until: Instant) {
        const TICK: Duration = Duration::from_millis(5);
        let mut pressure = File::open("/proc/pressure/cpu").ok();
        while Instant::now() < until {
            let began = Instant::now();
            thread::sleep(TICK);
            let late = began.elapsed() - TICK;
            if let Some(file) = &mut pressure {
                self.press(file);
            }
            if late > TICK {
                let mut all = self.late();
                all.worst = all.worst.max(late);
                all.last.push_back((Instant::now(), late));
                if all.last.len() > Metronome::KEPT {
                    all.last.pop_front();
                }
            }
        }
    }

    /// Reads the pressure from a file that is open, as `/proc` may be hidden.
    fn press(&self, file: &mut File) {
        let mut all = self.late();
        let is_due = |(last, _): &(Instant, _)| last.elapsed() >= Metronome::PRESSED;
        if !all.pressure.back().is_none_or(is_due) {
            return;
        }
        let mut text = String::new();
        let read = file.rewind().and_then(|()| file.read_to_string(&mut text));
        let total = text.lines().next().and_then(|some| some.rsplit_once('='));
        let micros = total.and_then(|(_, micros)| micros.parse().ok());
        if let (Ok(_), Some(micros)) = (read, micros) {
            let total = Duration::from_micros(micros);
            all.pressure.push_back((Instant::now(), total));
        }
        if all.pressure.len() > Metronome::KEPT {
            all.pressure.pop_front();
        }
    }

    /// For how long any thread of the machine waited for a CPU between the two, or close to them.
    pub(crate) fn pressure(&self, from: Instant, to: Instant) -> Duration {
        let all = self.late();
        let before = all.pressure.iter().take_while(|(at, _)| *at <= from).last();
        let after = all
            .pressure
            .iter()
            .find(|(at, _)| *at >= to)
            .or(all.pressure.back());
        match (before, after) {
            (Some((_, before)), Some((_, after))) => after.saturating_sub(*before),
            _ => Duration::ZERO,
        }
    }

    fn late(&self) -> MutexGuard<'_, Late> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By how much it was late at most, between the two and just after.
    pub(crate) fn latest(&self, from: Instant, to: Instant) -> Duration {
        let all = self.late();
        let there = all
            .last
            .iter()
            .filter(|(at, late)| *at >= from && *at - *late <= to);
        there.map(|(_, late)| *late).max().unwrap_or_default()
    }
}

/// One life of a runtime.
struct Generation {
    slot: usize,
    who: String,
    world: Arc<World>,
    is_healthy: bool,
    /// Whether its monitors are stopped before it is shut down.
    stops_first: bool,
    until: Instant,
    diary: Arc<Diary>,
    is_over: Arc<AtomicBool>,
}

impl Generation {
    fn new(slot: usize, world: &Arc<World>) -> Generation {
        let number = world.generations.fetch_add(1, Ordering::Relaxed);
        let life = if world.scale.renews {
            between(4_000, 20_000)
        } else {
            Duration::MAX
        };
        Generation {
            slot,
            who: format!("runtime {slot} ({number})"),
            world: Arc::clone(world),
            is_healthy: slot % 2 == 0,
            stops_first: below(3) > 0,
            until: Instant::now()
                .checked_add(life)
                .map_or(world.until, |until| until.min(world.until)),
            diary: Arc::default(),
            is_over: Arc::default(),
        }
    }

    fn live(self) {
        match self.slot / 2 % 5 {
            0 => {
                let runtime = Builder::new_current_thread()
                    .enable_all()
                    .max_blocking_threads(2)
                    .build();
                self.drive(runtime.unwrap(), |runtime, drive| runtime.block_on(drive));
            }
            1 => {
                let runtime = Builder::new_multi_thread()
                    .worker_threads(2)
                    .enable_all()
                    .build();
                // Nobody is in `block_on` but the thread that reads.
                self.drive(runtime.unwrap(), |runtime, drive| {
                    let driven = runtime.spawn(drive);
                    futures::executor::block_on(driven).unwrap();
                });
            }
            2 => {
                let runtime = Builder::new_multi_thread()
                    .worker_threads(1)
                    .enable_all()
                    .build();
                self.drive(runtime.unwrap(), |runtime, drive| runtime.block_on(drive));
            }
            3 => {
                let runtime = Builder::new_current_thread()
                    .enable_all()
                    .max_blocking_threads(2)
                    .build();
                self.drive(runtime.unwrap(), |runtime, drive| {
                    LocalSet::new().block_on(runtime, drive);
                });
            }
            _ => self.live_locally(),
        }
    }

    fn drive(self, runtime: Runtime, drive: impl FnOnce(&Runtime, Driven)) {
        let handle = runtime.handle().clone();
        // Stopped by the keepers, or ended while they still read.
        let rest = Duration::from_millis(if self.stops_first { 0 } else { 1_500 });
        let until = self.until + rest;
        let (kept, exports) = self.monitors();
        let page = self.page(&kept);
        let keepers = kept.into_iter().map(|kept| {
            let diary = Arc::clone(&self.diary);
            self.world
                .readers
                .spawn(kept.keep(Some(handle.clone()), until, diary))
        });
        let keepers: Vec<_> = keepers.collect();
        let (done, is_done) = oneshot::channel();
        let wait = self.world.readers.spawn(async move {
            for keeper in keepers {
                if keeper.await.is_err() {
                    fault("a keeper has panicked");
                }
            }
            done.send(()).ok();
        });
        let ends = (!self.stops_first).then_some(self.until);
        drive(&runtime, Box::pin(self.load(is_done, ends)));
        if self.stops_first {
            self.must_be_without_tasks(&handle);
            drop(runtime);
        } else {
            runtime.shutdown_timeout(Duration::from_secs(5));
        }
        futures::executor::block_on(wait).unwrap();
        self.end(exports, page);
    }

    /// A runtime that takes tasks only from its own thread, and so keeps its monitors itself.
    fn live_locally(self) {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(2)
            .build_local(LocalOptions::default());
        let runtime = runtime.unwrap();
        let (kept, exports) = self.monitors();
        let page = self.page(&kept);
        runtime.block_on(async {
            let keepers = kept.into_iter().map(|kept| {
                let diary = Arc::clone(&self.diary);
                kept.keep(None, self.until, diary)
            });
            let keepers = join_all(keepers);
            let (done, is_done) = oneshot::channel();
            let keep = async {
                keepers.await;
                done.send(()).ok();
            };
            tokio::join!(keep, self.load(is_done, None));
        });
        self.must_be_without_tasks(runtime.handle());
        drop(runtime);
        self.end(exports, page);
    }

    fn monitors(&self) -> (Vec<Kept>, Vec<Export>) {
        let each = self.world.scale.monitors / self.world.scale.runtimes;
        let kept: Vec<_> = (0..each.max(1))
            .map(|index| Kept::new(self.slot, index))
            .collect();
        let exports = kept.iter().enumerate().filter_map(|(index, kept)| {
            let monitor = kept.monitor();
            let started = match index % 16 {
                1 => Metrics::new().start(monitor),
                2 => Tracing::new().start(monitor),
                3 => OpenTelemetry::new().start(monitor),
                _ => return None,
            };
            started.ok()
        });
        let exports = exports.collect();
        (kept, exports)
    }

    /// Some have a page, which is read.
    fn page(&self, kept: &[Kept]) -> Option<Serving> {
        if self.slot % 8 != 5 {
            return None;
        }
        let mut page = Dashboard::new();
        for kept in kept {
            page = page.monitor(kept.monitor());
        }
        let page = page.bind(([127, 0, 0, 1], 0)).and_then(Dashboard::start);
        page.ok()
    }

    /// The load, until the keepers are done or the time is over.
    fn load(
        &self,
        is_done: oneshot::Receiver<()>,
        ends: Option<Instant>,
    ) -> impl Future<Output = ()> + Send + 'static {
        let share = || (Arc::clone(&self.diary), Arc::clone(&self.is_over));
        let (is_healthy, renews) = (self.is_healthy, self.world.scale.renews);
        let works: Vec<_> = (0..3).map(|_| share()).collect();
        let (diary, is_over) = share();
        async move {
            let mut tasks = JoinSet::new();
            for (diary, is_over) in works {
                tasks.spawn(load::work(diary, is_over, renews));
            }
            if !is_healthy {
                tasks.spawn(load::block(diary, Arc::clone(&is_over), renews));
            }
            match ends {
                Some(ends) => sleep(ends.saturating_duration_since(Instant::now())).await,
                None => {
                    is_done.await.ok();
                    is_over.store(true, Ordering::Relaxed);
                    while tasks.join_next().await.is_some() {}
                }
            }
        }
    }

    fn must_be_without_tasks(&self, runtime: &Handle) {
        // Callbacks may take a moment, and so may a worker's count.
        let until = Instant::now() + Duration::from_secs(10);
        while runtime.metrics().num_alive_tasks() > 0 && Instant::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        match runtime.metrics().num_alive_tasks() {
            0 => {}
            tasks => fault(&format!("{}: {tasks} tasks are left", self.who)),
        }
    }

    fn end(&self, exports: Vec<Export>, page: Option<Serving>) {
        if let Some(page) = page {
            if let Err(refused) = ask(&page) {
                // Where descriptors are short.
                println!("{}: the page does not answer: {refused}", self.who);
            }
        }
        drop(exports);
        self.diary
            .judge(&self.who, self.is_healthy, self.until, &self.world);
    }
}

type Driven = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn ask(page: &Serving) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(page.local_addr())?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.write_all(b"GET /api/stalls HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer)?;
    if !answer.starts_with(b"HTTP/1.0 200") {
        fault("the page refuses to answer");
    }
    Ok(())
}
