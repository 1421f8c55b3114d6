//! What the runtimes do: healthy work, and stalls of every cause.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::sleep;

use crate::linux::diary::Diary;
use crate::linux::faults::{below, between};

/// One thread computes at a time, so that the others get a CPU.
static COMPUTES: Mutex<()> = Mutex::new(());

/// Works in short pieces. Tokio panics where the system refuses it threads: it asks for none unless it `may`.
pub(crate) async fn work(diary: Arc<Diary>, is_over: Arc<AtomicBool>, may_ask: bool) {
    while !is_over.load(Ordering::Relaxed) {
        diary.work(|| spin(Duration::from_micros(50)));
        match below(4) {
            0 => tokio::task::yield_now().await,
            1 if may_ask => drop(tokio::task::spawn_blocking(|| ()).await),
            _ => sleep(between(1, 20)).await,
        }
    }
}

/// Blocks now and then.
pub(crate) async fn block(diary: Arc<Diary>, is_over: Arc<AtomicBool>, may_ask: bool) {
    let is_multi = Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread;
    sleep(Duration::from_secs(2)).await;
    while !is_over.load(Ordering::Relaxed) {
        match below(6) {
            0 => diary.block(|| thread::sleep(between(100, 900))),
            1 => diary.block(lock),
            2 => diary.block(wait_for_a_child),
            3 => diary.block(compute),
            4 => many_polls(&diary).await,
            _ if is_multi && may_ask => {
                tokio::task::block_in_place(|| thread::sleep(between(100, 600)));
            }
            _ => diary.block(|| thread::sleep(between(500, 700))),
        }
        sleep(between(500, 3_000)).await;
    }
}

fn spin(time: Duration) {
    let began = Instant::now();
    while began.elapsed() < time {
        std::hint::spin_loop();
    }
}

fn compute() {
    match COMPUTES.try_lock() {
        Ok(_) | Err(TryLockError::Poisoned(_)) => spin(between(120, 700)),
        Err(TryLockError::WouldBlock) => thread::sleep(between(120, 700)),
    }
}

fn lock() {
    let held = Arc::new(Mutex::new(()));
    let other = Arc::clone(&held);
    let locked = held.lock();
    let thread = thread::Builder::new().spawn(move || drop(other.lock()));
    drop(locked);
    // The system may refuse the thread.
    if let Ok(thread) = thread {
        thread::sleep(between(50, 700));
        thread.join().ok();
    }
}

fn wait_for_a_child() {
    let child = Command::new("sleep")
        .arg("0.6")
        .stdin(Stdio::null())
        .status();
    // The system may refuse the process.
    child.ok();
}

async fn many_polls(diary: &Arc<Diary>) {
    let tasks = (0..40).map(|_| {
        let diary = Arc::clone(diary);
        tokio::spawn(async move { diary.work(|| spin(Duration::from_millis(4))) })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.ok();
    }
}
