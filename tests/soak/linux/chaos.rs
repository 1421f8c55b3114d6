//! What happens to a world.

use std::ffi::CString;
use std::process::{Child, Command, ExitCode};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::linux::faults::{self, between, fault};
use crate::linux::resources::Resources;
use crate::linux::world::{self, Scale};

/// A kind of chaos.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    scale: Scale,
    needs_root: bool,
    /// Happens before there is any other thread.
    first: fn(),
    /// Happens until then.
    disturb: fn(Instant),
}

const LARGE: Scale = Scale {
    runtimes: 64,
    monitors: 1_024,
    renews: true,
    is_certain: true,
};

const SMALL: Scale = Scale {
    runtimes: 10,
    monitors: 100,
    ..LARGE
};

/// Where Tokio may get no thread and no descriptor.
const FIXED: Scale = Scale {
    renews: false,
    ..SMALL
};

const UNCERTAIN: Scale = Scale {
    is_certain: false,
    ..SMALL
};

const fn kind(name: &'static str, scale: Scale, disturb: fn(Instant)) -> Kind {
    Kind {
        name,
        scale,
        needs_root: false,
        first: || (),
        disturb,
    }
}

const fn of_root(name: &'static str, scale: Scale, first: fn(), disturb: fn(Instant)) -> Kind {
    Kind {
        needs_root: true,
        first,
        ..kind(name, scale, disturb)
    }
}

/// The large world comes first.
pub(crate) static KINDS: [Kind; 11] = [
    kind("everything", LARGE, wait),
    // What is stopped is no stall, so it is not certain what is left of one.
    kind("stopped", UNCERTAIN, stop_and_continue),
    kind("nice", UNCERTAIN, be_nice),
    of_root("threads-refused", FIXED, become_nobody, refuse_threads),
    kind("descriptors-refused", FIXED, refuse_descriptors),
    kind("memory-refused", FIXED, refuse_memory),
    of_root("proc-hidden", SMALL, own_mounts, hide_proc),
    kind("calls-refused", SMALL, refuse_calls),
    kind("fork", SMALL, fork),
    kind("libraries", SMALL, load_and_close),
    kind("profiler", SMALL, interrupt),
];

/// Runs a world of the kind in this process.
pub(crate) fn run(kind: &'static Kind, time: Duration) -> ExitCode {
    // SAFETY: it takes nothing.
    if kind.needs_root && unsafe { libc::geteuid() } != 0 {
        println!("skipped: needs root");
        return ExitCode::SUCCESS;
    }
    faults::catch_panics();
    (kind.first)();
    record();
    // What is kept once for all, such as the thread-local variables of this thread, and what is known of Tokio.
    let warm = Scale {
        runtimes: 10,
        monitors: 50,
        ..kind.scale
    };
    world::run(warm, time / 5, wait);
    let before = Resources::now();
    world::run(kind.scale, time - time / 5, kind.disturb);
    before.must_be_there_again();
    ExitCode::from(u8::from(faults::count() > 0))
}

/// Has all that is exported recorded.
fn record() {
    tracing_subscriber::fmt().with_writer(std::io::sink).init();
    // It keeps what it has recorded. Buckets take less memory than quantiles.
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().set_buckets(&[0.1, 1.0]);
    let recorder = recorder.unwrap().install_recorder().unwrap();
    let upkeep = move || {
        loop {
            sleep(Duration::from_secs(1));
            recorder.run_upkeep();
            recorder.render();
        }
    };
    std::thread::Builder::new().spawn(upkeep).unwrap();
}

fn wait(until: Instant) {
    sleep(until.saturating_duration_since(Instant::now()));
}

/// Does one thing and then the other, until then.
fn alternate(until: Instant, on: impl Fn(), off: impl Fn()) {
    while Instant::now() < until {
        sleep(between(500, 1_500));
        on();
        sleep(between(100, 700));
        off();
    }
}

/// A shell that does this until it is killed.
fn shell(script: &str) -> Child {
    Command::new("sh").args(["-c", script]).spawn().unwrap()
}

fn end(mut child: Child) {
    child.kill().ok();
    child.wait().ok();
}

fn stop_and_continue(until: Instant) {
    let own = std::process::id();
    let other = shell(&format!(
        "while kill -STOP {own}; do sleep 0.4; kill -CONT {own}; sleep 1.3; done"
    ));
    wait(until);
    end(other);
    let id = libc::pid_t::try_from(own).unwrap();
    // SAFETY: it sends this process a signal, if the shell has not.
    unsafe { libc::kill(id, libc::SIGCONT) };
}

fn be_nice(until: Instant) {
    // SAFETY: it takes numbers.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
    let others: Vec<_> = (0..2).map(|_| shell("while :; do :; done")).collect();
    wait(until);
    others.into_iter().for_each(end);
}

fn become_nobody() {
    // Root has no limit. SAFETY: it takes a number.
    assert_eq!(unsafe { libc::setuid(65_534) }, 0);
}

fn limit_of(what: libc::__rlimit_resource_t) -> libc::rlimit {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the limit is there to be written to.
    assert_eq!(unsafe { libc::getrlimit(what, &raw mut limit) }, 0);
    limit
}

fn set_limit(what: libc::__rlimit_resource_t, limit: libc::rlimit) {
    // SAFETY: the limit is there to be read.
    assert_eq!(unsafe { libc::setrlimit(what, &raw const limit) }, 0);
}

/// Sets a limit to what is in use, and back, again and again.
fn limit(until: Instant, what: libc::__rlimit_resource_t, in_use: impl Fn() -> u64) {
    let before = limit_of(what);
    let on = || {
        let rlim_cur = in_use().min(before.rlim_cur);
        set_limit(what, libc::rlimit { rlim_cur, ..before });
    };
    alternate(until, on, || set_limit(what, before));
}

fn refuse_threads(until: Instant) {
    limit(until, libc::RLIMIT_NPROC, || 1);
}

fn refuse_descriptors(until: Instant) {
    limit(until, libc::RLIMIT_NOFILE, || 3);
}

fn refuse_memory(until: Instant) {
    // A page of a stack for a new thread, and no more than the small pieces that are in use.
    const ROOM: u64 = 256 << 20;
    limit(until, libc::RLIMIT_AS, || {
        let sizes = std::fs::read_to_string("/proc/self/statm").unwrap();
        let pages: u64 = sizes.split(' ').next().unwrap().parse().unwrap();
        pages * 4096 + ROOM
    });
}

fn own_mounts() {
    // SAFETY: it takes a number.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
    mount(c"none", c"/", libc::MS_REC | libc::MS_PRIVATE);
}

fn mount(kind: &std::ffi::CStr, place: &std::ffi::CStr, flags: libc::c_ulong) {
    let (source, kind) = (kind.as_ptr(), kind.as_ptr());
    // SAFETY: these are strings that end.
    let mounted = unsafe { libc::mount(source, place.as_ptr(), kind, flags, ptr::null()) };
    assert_eq!(mounted, 0, "{}", std::io::Error::last_os_error());
}

fn hide_proc(until: Instant) {
    let show = || {
        // SAFETY: it is a string that ends.
        let shown = unsafe { libc::umount2(c"/proc".as_ptr(), libc::MNT_DETACH) };
        assert_eq!(shown, 0);
    };
    alternate(until, || mount(c"tmpfs", c"/proc", 0), show);
}

/// Forbids what a container may forbid, for all threads and for good.
fn refuse_calls(until: Instant) {
    sleep(Duration::from_secs(2));
    let calls = [libc::SYS_tgkill, libc::SYS_sigaltstack, libc::SYS_getcpu];
    let load = u16::try_from(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS).unwrap();
    let compare = u16::try_from(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K).unwrap();
    let answer = u16::try_from(libc::BPF_RET | libc::BPF_K).unwrap();
    let step = |code, jt, k| libc::sock_filter { code, jt, jf: 0, k };
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM.unsigned_abs();
    let mut filter = vec![step(load, 0, 0)];
    for (index, call) in calls.iter().enumerate() {
        let left = u8::try_from(calls.len() - index).unwrap();
        filter.push(step(compare, left, u32::try_from(*call).unwrap()));
    }
    filter.push(step(answer, 0, libc::SECCOMP_RET_ALLOW));
    filter.push(step(answer, 0, refuse));
    let program = libc::sock_fprog {
        len: u16::try_from(filter.len()).unwrap(),
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: it takes numbers.
    let set = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(set, 0);
    // SAFETY: the program is there to be read.
    let set = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_TSYNC,
            &raw const program,
        )
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
    wait(until);
}

fn fork(until: Instant) {
    let mut children = 0;
    while Instant::now() < until {
        sleep(between(100, 500));
        // SAFETY: the child uses nothing that another thread may have locked, but for the allocator, which glibc
        // makes fit for it.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: it ends this process if it hangs.
            unsafe { libc::alarm(20) };
            let code = if is_watched_anew() { 7 } else { 8 };
            // SAFETY: it ends this process.
            unsafe { libc::_exit(code) };
        }
        let mut status = 0;
        // SAFETY: the status is there to be written to.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        if !libc::WIFEXITED(status) || libc::WEXITSTATUS(status) != 7 {
            fault(&format!("a child ends with {status:#x}"));
        }
        children += 1;
    }
    println!("{children} children");
}

/// Whether a stall is reported in a process that was forked just now.
fn is_watched_anew() -> bool {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build();
    let Ok(runtime) = runtime else { return false };
    let monitor = loopmon::Monitor::builder().stall_threshold(crate::linux::diary::THRESHOLD);
    let Ok(monitor) = monitor.install_on(runtime.handle()) else {
        return false;
    };
    let mut stalls = monitor.stalls();
    sleep(Duration::from_millis(300));
    runtime.spawn(async { sleep(Duration::from_millis(700)) });
    futures::executor::block_on(stalls.next()).is_some()
}

/// Libraries that hardly anything has loaded.
const LIBRARIES: [&str; 4] = [
    "libanl.so.1",
    "libutil.so.1",
    "libBrokenLocale.so.1",
    "libthread_db.so.1",
];

fn load_and_close(until: Instant) {
    let paths = LIBRARIES.map(|library| CString::new(library).unwrap());
    let mut loaded = 0_u64;
    while Instant::now() < until {
        for path in &paths {
            // SAFETY: it is a string that ends, and these libraries do nothing when they are loaded.
            let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
            sleep(between(0, 20));
            if !library.is_null() {
                // SAFETY: it is loaded, and nothing of it is used.
                unsafe { libc::dlclose(library) };
                loaded += 1;
            }
        }
    }
    println!("{loaded} libraries loaded and closed");
    if loaded == 0 {
        fault("no library can be loaded");
    }
}

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count_signal(_: libc::c_int) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// As a profiler does: a signal for each millisecond of CPU time. And one to each thread, again and again.
fn interrupt(until: Instant) {
    let handler = count_signal as extern "C" fn(libc::c_int);
    // SAFETY: all zeroes are an empty action.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler does nothing but count.
    let handled = unsafe { libc::sigaction(libc::SIGPROF, &raw const action, ptr::null_mut()) };
    assert_eq!(handled, 0);
    let each = libc::timeval {
        tv_sec: 0,
        tv_usec: 1_000,
    };
    let timer = libc::itimerval {
        it_interval: each,
        it_value: each,
    };
    // SAFETY: the timer is there to be read.
    let started = unsafe { libc::setitimer(libc::ITIMER_PROF, &raw const timer, ptr::null_mut()) };
    assert_eq!(started, 0);
    let own = std::process::id();
    while Instant::now() < until {
        for thread in std::fs::read_dir("/proc/self/task")
            .into_iter()
            .flatten()
            .flatten()
        {
            let id: Option<i32> = thread.file_name().to_str().and_then(|id| id.parse().ok());
            // SAFETY: the signal is handled, and a thread that is gone gets none.
            unsafe { libc::syscall(libc::SYS_tgkill, own, id.unwrap_or(0), libc::SIGPROF) };
        }
        sleep(Duration::from_millis(5));
    }
    // SAFETY: all zeroes switch it off.
    let off: libc::itimerval = unsafe { std::mem::zeroed() };
    // SAFETY: the timer is there to be read.
    unsafe { libc::setitimer(libc::ITIMER_PROF, &raw const off, ptr::null_mut()) };
    println!("{} signals", SIGNALS.load(Ordering::Relaxed));
}
