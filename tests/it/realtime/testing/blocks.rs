//! Fifteen ways to block: each fails its test with the function and the line.
#![cfg(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
#![allow(clippy::incompatible_msrv, reason = "tests run on the newest compiler")]

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

use super::{BLOCK, deny, failure};
use crate::realtime::stalls::{current_thread, multi_thread};

/// Tests that a way to block fails a test, in the test's own future and in a task that it spawns.
macro_rules! ways {
    ($($name:ident $block:block)+) => {$(
        mod $name {
            use super::*;

            #[inline(never)]
            fn blocks() -> io::Result<()> $block

            #[test]
            fn in_the_test() {
                let message = failure(|| {
                    current_thread().block_on(deny().run(async { blocks().unwrap() }));
                });
                assert_named(&message, stringify!($name));
            }

            #[test]
            fn in_a_task() {
                let message = failure(|| {
                    multi_thread(2).block_on(deny().run(async {
                        tokio::spawn(async { blocks().unwrap() }).await.unwrap();
                    }));
                });
                assert_named(&message, stringify!($name));
            }
        }
    )+};
}

/// The culprit is named, with a line of the function, and marked on the stack.
#[track_caller]
fn assert_named(message: &str, way: &str) {
    let function = format!("{way}::blocks at tests/it/realtime/testing/blocks.rs:");
    let named = message.lines().find_map(|line| line.split_once(&function));
    let line = named.and_then(|(_, line)| line.parse().ok());
    let its = [
        lines_of(&format!("    {way} {{"), "    }"),
        // The compiler gives what a macro is made of the macro's lines.
        lines_of("macro_rules! times {", "}"),
    ];
    let is_in_it = line.is_some_and(|line| its.iter().any(|lines| lines.contains(&line)));
    let call = format!("{way}::blocks");
    let is_marked = |line: &str| line.starts_with('>') && line.contains(&call);
    assert!(is_in_it && message.lines().any(is_marked), "{message}");
}

/// The lines after the first that is `head`, up to the next that is `end`.
fn lines_of(head: &str, end: &str) -> RangeInclusive<usize> {
    let source: Vec<_> = include_str!("blocks.rs").lines().collect();
    let first = source.iter().position(|line| *line == head).unwrap();
    let length = source[first..].iter().position(|line| *line == end);
    first + 1..=first + 1 + length.unwrap()
}

/// How long the thread has run, and how long it has waited for a CPU. A macro, so that no other function is on the
/// stack.
macro_rules! times {
    () => {{
        let schedule = fs::read_to_string("/proc/thread-self/schedstat")?;
        let mut nanos = schedule.split(' ').map_while(|it| it.parse().ok());
        let mut next = || Duration::from_nanos(nanos.next().unwrap_or(u64::MAX / 4));
        [next(), next()]
    }};
}

/// Runs on another thread, after a while.
fn later(act: impl FnOnce() + Send + 'static) {
    let run = || {
        thread::sleep(BLOCK);
        act();
    };
    drop(thread::Builder::new().spawn(run).unwrap());
}

/// A file of this process and this function.
fn own_file(name: &str) -> io::Result<(File, PathBuf)> {
    let name = format!("loopmon-testing-{}-{name}", std::process::id());
    let path = std::env::temp_dir().join(name);
    Ok((File::create(&path)?, path))
}

fn sleeper() -> Command {
    let mut command = Command::new("sleep");
    command.arg(format!("{}", BLOCK.as_secs_f64()));
    command
}

ways! {
    by_sleeping {
        thread::sleep(BLOCK);
        Ok(())
    }
    by_reading_a_file {
        let until = times!()[0] + BLOCK;
        let (mut file, path) = own_file(&format!("{:?}-read", thread::current().id()))?;
        file.write_all(&[1; 100_000])?;
        while times!()[0] < until {
            for _ in 0..200 {
                black_box(fs::read(&path)?);
            }
        }
        fs::remove_file(path)
    }
    by_syncing_a_file {
        let name = format!("{:?}", thread::current().id());
        let (mut file, path) = own_file(&name)?;
        let (began, waited) = (Instant::now(), times!()[1]);
        while began.elapsed() < BLOCK + times!()[1] - waited {
            file.write_all(&[1; 4096])?;
            file.sync_all()?;
        }
        fs::remove_file(path)
    }
    by_a_mutex {
        let lock: &'static Mutex<()> = Box::leak(Box::default());
        let (locked, is_locked) = mpsc::channel();
        drop(thread::Builder::new().spawn(move || {
            let held = lock.lock();
            locked.send(()).unwrap();
            thread::sleep(BLOCK);
            drop(held);
        })?);
        is_locked.recv().unwrap();
        drop(lock.lock());
        Ok(())
    }
    by_a_lock_for_reading {
        let lock: &'static RwLock<()> = Box::leak(Box::default());
        let (locked, is_locked) = mpsc::channel();
        drop(thread::Builder::new().spawn(move || {
            let held = lock.write();
            locked.send(()).unwrap();
            thread::sleep(BLOCK);
            drop(held);
        })?);
        is_locked.recv().unwrap();
        drop(lock.read());
        Ok(())
    }
    by_a_condition {
        let (lock, condition) = (Mutex::new(()), Condvar::new());
        let began = Instant::now();
        while began.elapsed() < BLOCK {
            let left = BLOCK.saturating_sub(began.elapsed());
            drop(condition.wait_timeout(lock.lock().unwrap(), left).unwrap());
        }
        Ok(())
    }
    by_a_channel {
        let (sender, receiver) = mpsc::channel();
        later(move || sender.send(()).unwrap());
        receiver.recv().map_err(io::Error::other)
    }
    by_a_process {
        assert!(sleeper().status()?.success());
        Ok(())
    }
    by_looking_up_a_name {
        let (began, waited) = (Instant::now(), times!()[1]);
        while began.elapsed() < BLOCK + times!()[1] - waited {
            drop("name.invalid:80".to_socket_addrs());
        }
        Ok(())
    }
    by_a_file_lock {
        let name = format!("{:?}-lock", thread::current().id());
        let (holder, path) = own_file(&name)?;
        let waiter = File::open(&path)?;
        holder.lock()?;
        later(move || drop(holder));
        waiter.lock()?;
        fs::remove_file(path)
    }
    by_a_pipe {
        let mut child = sleeper().stdout(Stdio::piped()).spawn()?;
        let mut pipe = child.stdout.take().unwrap();
        assert_eq!(pipe.read(&mut [0])?, 0);
        child.wait().map(drop)
    }
    by_a_connection {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut silent = TcpStream::connect(listener.local_addr()?)?;
        silent.set_read_timeout(Some(BLOCK))?;
        assert!(silent.read(&mut [0]).is_err());
        Ok(())
    }
    by_computing {
        let until = times!()[0] + BLOCK;
        while times!()[0] < until {
            black_box((1..500_000_u64).fold(1, |product: u64, factor| product.wrapping_mul(factor)));
        }
        Ok(())
    }
    by_allocating {
        let until = times!()[0] + BLOCK;
        while times!()[0] < until {
            black_box((1..10_000).map(|size| vec![1_u8; size]).collect::<Vec<_>>());
        }
        Ok(())
    }
    by_parsing {
        let text = format!("[{}0]", "[1, 2.5, \"three\"], ".repeat(1_000));
        let until = times!()[0] + BLOCK;
        while times!()[0] < until {
            black_box(serde_json::from_str::<serde_json::Value>(&text)?);
        }
        Ok(())
    }
}
