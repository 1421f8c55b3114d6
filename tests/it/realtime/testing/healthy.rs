//! Fifteen healthy programs: none of them fails its test, however busy the machine.

use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Notify, broadcast, mpsc, oneshot};
use tokio::task::{JoinSet, LocalSet, spawn, spawn_blocking, spawn_local, yield_now};
use tokio::time::{interval, sleep, timeout};

use super::{deny, in_a_task, in_the_root};
use crate::realtime::stalls::spin;
use crate::support::millis;

/// Runs a healthy program as the future of a test and in a task, on both flavours.
macro_rules! healthy {
    ($($name:ident $program:block)+) => {$(
        mod $name {
            use super::*;

            async fn program() $program

            #[test]
            fn in_the_test() {
                in_the_root(|| deny().run(program()));
            }

            #[test]
            fn in_a_task_of_it() {
                in_a_task(program);
            }
        }
    )+};
}

healthy! {
    it_waits {
        sleep(millis(120)).await;
    }
    it_does_nothing {}
    it_computes_and_yields {
        for _ in 0..600 {
            spin(Duration::from_micros(500));
            yield_now().await;
        }
    }
    it_spawns_many_tasks {
        let mut tasks: JoinSet<_> = (0..5_000).map(|_| async { yield_now().await }).collect();
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
    }
    it_leaves_blocking_to_the_pool {
        let blocks = || std::thread::sleep(millis(120));
        let slept = [spawn_blocking(blocks), spawn_blocking(blocks)];
        for done in slept {
            done.await.unwrap();
        }
    }
    it_talks_to_itself_by_tcp {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 1024];
            loop {
                let length = stream.read(&mut buffer).await.unwrap();
                if length == 0 {
                    return;
                }
                stream.write_all(&buffer[..length]).await.unwrap();
            }
        });
        let mut stream = TcpStream::connect(address).await.unwrap();
        for _ in 0..200 {
            stream.write_all(&[7; 512]).await.unwrap();
            let mut answer = [0; 512];
            stream.read_exact(&mut answer).await.unwrap();
        }
        drop(stream);
        server.await.unwrap();
    }
    it_sends_through_a_channel {
        let (sender, mut receiver) = mpsc::channel(8);
        let sends = spawn(async move {
            for number in 0..5_000 {
                sender.send(number).await.unwrap();
            }
        });
        let mut sum = 0_u64;
        while let Some(number) = receiver.recv().await {
            sum += number;
        }
        sends.await.unwrap();
        assert_eq!(sum, 4_999 * 5_000 / 2);
    }
    it_waits_for_an_asynchronous_lock {
        let lock = std::sync::Arc::new(Mutex::new(0));
        let adds = (0..8).map(|_| {
            let lock = std::sync::Arc::clone(&lock);
            async move {
                let mut held = lock.lock().await;
                sleep(millis(15)).await;
                *held += 1;
            }
        });
        adds.collect::<JoinSet<_>>().join_all().await;
        assert_eq!(*lock.lock().await, 8);
    }
    it_ticks {
        let mut ticks = interval(millis(5));
        for _ in 0..30 {
            ticks.tick().await;
            spin(millis(1));
        }
    }
    it_times_out {
        assert!(timeout(millis(80), Notify::new().notified()).await.is_err());
    }
    it_broadcasts {
        let (sender, _) = broadcast::channel(256);
        let readers: Vec<_> = (0..20).map(|_| {
            let mut receiver = sender.subscribe();
            spawn(async move { while receiver.recv().await.is_ok() {} })
        }).collect();
        for number in 0..200 {
            sender.send(number).unwrap();
            yield_now().await;
        }
        drop(sender);
        for reader in readers {
            reader.await.ok();
        }
    }
    it_polls_many_futures_in_one {
        let waits = (0..300).map(|number| sleep(millis(number % 60)));
        let mut waits: FuturesUnordered<_> = waits.collect();
        while waits.next().await.is_some() {}
    }
    it_waits_for_another_thread {
        let (done, waits) = oneshot::channel();
        let thread = std::thread::Builder::new().spawn(|| {
            std::thread::sleep(millis(120));
            done.send(7).unwrap();
        });
        assert_eq!(waits.await, Ok(7));
        thread.unwrap().join().unwrap();
    }
    it_reads_files_by_the_pool {
        for _ in 0..20 {
            let text = tokio::fs::read("Cargo.toml").await.unwrap();
            assert!(!text.is_empty());
        }
    }
    it_drives_a_local_set {
        // A `LocalSet` is not `Send`, so it has a thread.
        let local = spawn_blocking(|| {
            let runtime = crate::realtime::stalls::current_thread();
            let local = LocalSet::new();
            local.block_on(&runtime, deny().run(async {
                let tasks = (0..50).map(|_| spawn_local(sleep(millis(20))));
                for task in tasks.collect::<Vec<_>>() {
                    task.await.unwrap();
                }
            }));
        });
        local.await.unwrap();
    }
}
