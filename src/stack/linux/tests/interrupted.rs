//! No blocked call is interrupted when its thread is captured or identified.
#![allow(
    unsafe_code,
    reason = "the raw calls report an interruption, which std hides"
)]

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::ptr;
use std::sync::atomic::AtomicU32;

use super::super::identify;
use super::*;

const MILLIS: i32 = 150;

const fn timeout() -> libc::timespec {
    libc::timespec {
        tv_sec: 0,
        tv_nsec: MILLIS as i64 * 1_000_000,
    }
}

/// Captures a thread that is in `call` again and again, until the call returns. `call` returns whether it
/// was interrupted.
#[track_caller]
fn assert_unnoticed(name: &str, call: impl FnOnce() -> io::Result<()> + Send + 'static) {
    let subject = Subject::start(move |_| call());
    subject.wait_until_blocked();
    let mut stacks = 0;
    let (mut resolver, mut tracker) = (Resolver::default(), OnCpuTracker::default());
    while !subject.thread.is_finished() {
        let seen = resolver.resolve(subject.capture(&mut tracker, &StackCapture::new()));
        stacks += u32::from(seen.no_stack().is_none() && !seen.is_truncated());
        identify(subject.target(), &mut tracker, &StackCapture::new(), soon());
        thread::sleep(Duration::from_millis(5));
    }
    if let Err(error) = subject.end() {
        assert_ne!(error.kind(), io::ErrorKind::Interrupted, "{name}");
    }
    assert!(stacks > 0, "{name}");
}

fn result(returned: impl Into<i64>) -> io::Result<()> {
    if returned.into() < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Returns both ends of a connection. The caller keeps the other end open during the call.
fn silent_pair() -> (UnixStream, UnixStream) {
    UnixStream::pair().unwrap()
}

fn wait_for(file: RawFd) -> libc::pollfd {
    libc::pollfd {
        fd: file,
        events: libc::POLLIN,
        revents: 0,
    }
}

/// A timeout wakes the thread, which then seems to run but is still in the call.
#[test]
fn at_the_end_of_a_timeout() {
    let subject = Subject::start(|until| {
        let mut interrupted = 0;
        while !until.load(Ordering::Relaxed) {
            // SAFETY: no files are given.
            let waited = result(unsafe { libc::poll(ptr::null_mut(), 0, 1) });
            interrupted += u32::from(waited.is_err());
        }
        interrupted
    });
    let mut tracker = OnCpuTracker::default();
    for _ in 0..1_000 {
        subject.capture(&mut tracker, &StackCapture::new());
        identify(subject.target(), &mut tracker, &StackCapture::new(), soon());
    }
    assert_eq!(subject.end(), 0);
}

#[test]
fn sleeping() {
    assert_unnoticed("nanosleep", || {
        // SAFETY: the call reads a time, and has no place to write to.
        result(unsafe { libc::nanosleep(&timeout(), ptr::null_mut()) })
    });
    assert_unnoticed("clock_nanosleep", || {
        // SAFETY: as above.
        let error =
            unsafe { libc::clock_nanosleep(libc::CLOCK_MONOTONIC, 0, &timeout(), ptr::null_mut()) };
        if error == 0 {
            Ok(())
        } else {
            Err(io::Error::from_raw_os_error(error))
        }
    });
    assert_unnoticed("usleep", || {
        // SAFETY: it takes a number.
        result(unsafe { libc::usleep(MILLIS as u32 * 1_000) })
    });
}

#[test]
fn waiting_for_files() {
    assert_unnoticed("poll", || {
        let (silent, _other) = silent_pair();
        let mut files = [wait_for(silent.as_raw_fd())];
        // SAFETY: there is one.
        result(unsafe { libc::poll(files.as_mut_ptr(), 1, MILLIS) })
    });
    assert_unnoticed("ppoll", || {
        let (silent, _other) = silent_pair();
        let mut files = [wait_for(silent.as_raw_fd())];
        // SAFETY: there is one; no mask is given.
        result(unsafe { libc::ppoll(files.as_mut_ptr(), 1, &timeout(), ptr::null()) })
    });
    assert_unnoticed("select", || {
        let mut timeout = libc::timeval {
            tv_sec: 0,
            tv_usec: i64::from(MILLIS) * 1_000,
        };
        let none = ptr::null_mut();
        // SAFETY: no files are given.
        result(unsafe { libc::select(0, none, none, none, &raw mut timeout) })
    });
    assert_unnoticed("epoll_wait", || {
        // SAFETY: it takes a number.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        let mut events = [libc::epoll_event { events: 0, u64: 0 }];
        // SAFETY: there is room for one.
        let waited = result(unsafe { libc::epoll_wait(epoll, events.as_mut_ptr(), 1, MILLIS) });
        // SAFETY: nobody else knows of it.
        unsafe { libc::close(epoll) };
        waited
    });
    assert_unnoticed("sigtimedwait", || {
        let signals = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: all zero is the empty set.
        let signals = unsafe { signals.assume_init() };
        // SAFETY: the call has no place to write to.
        result(unsafe { libc::sigtimedwait(&raw const signals, ptr::null_mut(), &timeout()) })
    });
}

#[test]
fn locks() {
    assert_unnoticed("futex with a timeout", || {
        let word = 0_u32;
        let wait = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        // SAFETY: the word outlives the call.
        result(unsafe { libc::syscall(libc::SYS_futex, &raw const word, wait, 0, &timeout()) })
    });
    assert_unnoticed("futex", || {
        let word = Arc::new(AtomicU32::new(0));
        let woken = Arc::clone(&word);
        let waker = thread::Builder::new().spawn(move || {
            thread::sleep(Duration::from_millis(MILLIS as u64));
            // A thread that does not wait yet will not begin to.
            woken.store(1, Ordering::Relaxed);
            let wake = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;
            // SAFETY: the word outlives the call.
            unsafe { libc::syscall(libc::SYS_futex, woken.as_ptr(), wake, 1) };
        });
        let wait = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
        let no_timeout = ptr::null::<libc::timespec>();
        // SAFETY: as above.
        let waited = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), wait, 0, no_timeout) };
        let waited = match result(waited) {
            // It was restarted when the lock was free already.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            waited => waited,
        };
        waker?.join().unwrap();
        waited
    });
    assert_unnoticed("flock", || {
        let path = std::env::temp_dir().join(format!("loopmon-flock-{}", std::process::id()));
        let [holder, waiter] = [(); 2].map(|()| std::fs::File::create(&path).unwrap());
        holder.lock()?;
        let unlocker = thread::Builder::new().spawn(move || {
            thread::sleep(Duration::from_millis(MILLIS as u64));
            drop(holder);
        });
        // SAFETY: it takes two numbers.
        let locked = result(unsafe { libc::flock(waiter.as_raw_fd(), libc::LOCK_EX) });
        unlocker?.join().unwrap();
        std::fs::remove_file(path)?;
        locked
    });
}

#[test]
fn sockets_pipes_and_children() {
    let timeout = Some(Duration::from_millis(MILLIS as u64));
    assert_unnoticed("a socket with a timeout", move || {
        let (mut silent, _other) = silent_pair();
        silent.set_read_timeout(timeout)?;
        silent.read(&mut [0]).map(drop)
    });
    assert_unnoticed("a TCP connection with a timeout", move || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let mut silent = TcpStream::connect(listener.local_addr()?)?;
        silent.set_read_timeout(timeout)?;
        silent.read(&mut [0]).map(drop)
    });
    assert_unnoticed("a UDP socket with a timeout", move || {
        let silent = UdpSocket::bind("127.0.0.1:0")?;
        silent.set_read_timeout(timeout)?;
        silent.recv(&mut [0]).map(drop)
    });
    assert_unnoticed("accept with a timeout", || {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let timeout = libc::timeval {
            tv_sec: 0,
            tv_usec: i64::from(MILLIS) * 1_000,
        };
        // SAFETY: the value is of the type that the option has.
        result(unsafe {
            libc::setsockopt(
                listener.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVTIMEO,
                (&raw const timeout).cast(),
                size_of_val(&timeout) as u32,
            )
        })?;
        // SAFETY: the call has no place to write the address to.
        result(unsafe { libc::accept(listener.as_raw_fd(), ptr::null_mut(), ptr::null_mut()) })
    });
    let sleep = || {
        Command::new("sleep")
            .arg("0.2")
            .stdout(Stdio::piped())
            .spawn()
    };
    assert_unnoticed("a pipe", move || {
        let mut child = sleep()?;
        let pipe = child.stdout.take().unwrap();
        let mut byte = 0_u8;
        // SAFETY: there is room for one byte.
        let read = unsafe { libc::read(pipe.as_raw_fd(), (&raw mut byte).cast(), 1) };
        let read = result(read as i64);
        child.wait()?;
        read
    });
    assert_unnoticed("a child", move || {
        let child = sleep()?;
        // SAFETY: the call has no place to write the status to.
        result(unsafe { libc::waitpid(child.id() as i32, ptr::null_mut(), 0) })
    });
}
