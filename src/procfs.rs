//! What Linux reports of a thread of this process in `/proc`. Reading it needs no privilege and does not touch
//! the thread. On other systems, everything here is unknown. What the numbers mean for a stall is decided
//! elsewhere.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::str;
use std::time::Duration;

use crate::syscall::Syscall;

#[cfg(loopmon_fuzzing)]
pub(crate) mod fuzzing;

/// What a thread is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// On a CPU, or waiting for one.
    Running,
    Blocked(Blocked),
    /// The thread has ended.
    Gone,
    /// The system does not report it.
    Hidden,
}

/// Where a thread is blocked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Blocked {
    /// The number of the system call. `None` if the thread waits elsewhere, such as for a page of memory.
    pub(crate) call: Option<u32>,
    pub(crate) arguments: [u64; 6],
    pub(crate) sp: u64,
    pub(crate) pc: u64,
}

impl Activity {
    /// Returns the call that the thread is blocked in.
    pub(crate) fn syscall(self) -> Option<Syscall> {
        match self {
            Activity::Blocked(blocked) => blocked.call.map(Syscall::new),
            Activity::Running | Activity::Gone | Activity::Hidden => None,
        }
    }
}

/// How a thread has spent its life so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) on_cpu: Duration,
    /// How long the thread was able to run, but not on a CPU. A wait counts only once it is over.
    pub(crate) waited: Duration,
    /// Counts how often the thread has been put on a CPU.
    pub(crate) turns: u64,
}

/// A thread of this process, by its id.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Thread(pub(crate) u32);

impl Thread {
    /// Returns the state as the letter that `ps` shows; `X` once the thread has ended. `None` if the system
    /// does not report it.
    pub(crate) fn state(self) -> Option<char> {
        match self.line("stat") {
            Ok(line) => state(line.text()),
            Err(error) => self.is_gone(&error).then_some('X'),
        }
    }

    pub(crate) fn activity(self) -> Activity {
        match self.line("syscall") {
            Ok(line) => activity(line.text()).unwrap_or(Activity::Hidden),
            Err(error) if self.is_gone(&error) => Activity::Gone,
            Err(_) => Activity::Hidden,
        }
    }

    /// Returns the thread's name in the system, which is cut after 15 bytes.
    pub(crate) fn name(self) -> Option<Line> {
        self.line("comm").ok()
    }

    /// Whether the thread is blocked like one that has nothing to do: in a futex, or waiting for events.
    pub(crate) fn is_idle(self) -> bool {
        match self.activity() {
            // The call is hidden if the process may not be dumped; where in the kernel the thread sleeps is not.
            Activity::Hidden => self.line("wchan").is_ok_and(|line| is_idle_in(line.text())),
            activity => {
                let call = activity.syscall().and_then(Syscall::name);
                matches!(call, Some("futex" | "epoll_wait" | "epoll_pwait"))
            }
        }
    }

    /// Returns the call that the thread is blocked in.
    pub(crate) fn syscall(self) -> Option<Syscall> {
        self.activity().syscall()
    }

    /// Returns `None` where the kernel does not count it.
    pub(crate) fn times(self) -> Option<Times> {
        times(self.line("schedstat").ok()?.text())
    }

    /// Reads the beginning of a file, without allocating.
    pub(crate) fn line(self, file: &str) -> io::Result<Line> {
        let mut path = [0; 64];
        let mut rest = &mut path[..];
        write!(rest, "/proc/self/task/{}/{file}", self.0)?;
        let left = rest.len();
        let path = str::from_utf8(&path[..path.len() - left]).map_err(io::Error::other)?;
        Line::read(Path::new(path))
    }

    /// Whether the error means that the thread has ended.
    ///
    /// When a thread ends, its directory disappears first; reading a file that is open by then fails with "no
    /// such process". But a file may also be missing because the kernel is built without it, and all files
    /// because there is no `/proc`, as after a `chroot`: then nothing is known.
    fn is_gone(self, error: &io::Error) -> bool {
        const NO_SUCH_PROCESS: i32 = 3;
        let is_missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
        error.raw_os_error() == Some(NO_SUCH_PROCESS)
            || (is_missing(error)
                && self.line("stat").is_err_and(|error| is_missing(&error))
                && Line::read(Path::new("/proc/thread-self/stat")).is_ok())
    }
}

/// A file that stays open, as later there may be no `/proc`, no free descriptor, or no memory. It is for one reader.
#[derive(Debug)]
struct KeptOpen(Option<File>);

impl KeptOpen {
    fn at(path: impl AsRef<Path>) -> KeptOpen {
        KeptOpen(File::open(path).ok())
    }

    /// Reads the beginning of the file. Returns how many bytes, or `None` if it cannot be read.
    ///
    /// A program may close a descriptor that is not its own, and get its number for a file of its own. So this
    /// neither writes nor moves the file's position.
    fn read(&self, bytes: &mut [u8]) -> Option<usize> {
        let file = self.0.as_ref()?;
        #[cfg(unix)]
        let length = std::os::unix::fs::FileExt::read_at(file, bytes, 0).ok();
        #[cfg(not(unix))]
        let length = { file }.read(bytes).ok();
        length
    }

    fn line(&self) -> Option<Line> {
        let mut line = Line::EMPTY;
        line.length = self.read(&mut line.bytes)?;
        Some(line)
    }
}

/// The times of one thread, for one reader.
#[derive(Debug)]
pub(crate) struct Schedule(KeptOpen);

impl Schedule {
    /// Opens that of the calling thread.
    pub(crate) fn own() -> Schedule {
        Schedule(KeptOpen::at("/proc/thread-self/schedstat"))
    }

    /// Opens that of another thread.
    pub(crate) fn of(thread: Thread) -> Schedule {
        let path = format!("/proc/self/task/{}/schedstat", thread.0);
        Schedule(KeptOpen::at(path))
    }

    /// Returns `None` where the system does not report them, and once the thread has ended. Does not allocate.
    pub(crate) fn times(&self) -> Option<Times> {
        times(self.0.line()?.text())
    }
}

/// How often a thread has needed a page of memory from the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Faults {
    /// Counts the pages that were there, or were filled with zeros or a copy.
    pub(crate) minor: u64,
    /// Counts the pages that had to be read from a disk.
    pub(crate) major: u64,
}

/// The page faults of the calling thread, for one reader.
#[derive(Debug)]
pub(crate) struct OwnFaults(KeptOpen);

impl OwnFaults {
    pub(crate) fn open() -> OwnFaults {
        OwnFaults(KeptOpen::at("/proc/thread-self/stat"))
    }

    /// Returns the counts since the thread began. `None` where the system does not report them. Does not allocate.
    pub(crate) fn counts(&self) -> Option<Faults> {
        faults(self.0.line()?.text())
    }
}

/// For how long all threads of the process together were on a CPU, for one reader.
#[derive(Debug)]
pub(crate) struct ProcessTime(KeptOpen);

impl ProcessTime {
    /// The system reports the two parts of the time in units of 10 ms, rounded down.
    pub(crate) const PRECISION: Duration = Duration::from_millis(20);

    pub(crate) fn open() -> ProcessTime {
        ProcessTime(KeptOpen::at("/proc/self/stat"))
    }

    /// Returns `None` where the system does not report it. Does not allocate.
    pub(crate) fn on_cpu(&self) -> Option<Duration> {
        process_time(self.0.line()?.text())
    }
}

/// For how long threads of the machine have waited for a CPU, for one reader.
#[cfg(feature = "testing")]
#[derive(Debug)]
pub(crate) struct Pressure(KeptOpen);

#[cfg(feature = "testing")]
impl Pressure {
    pub(crate) fn open() -> Pressure {
        Pressure(KeptOpen::at("/proc/pressure/cpu"))
    }

    /// Returns the time in which any thread of the machine waited for a CPU, since it was started. `None` where
    /// the system does not count it.
    pub(crate) fn total(&self) -> Option<Duration> {
        pressure(self.0.line()?.text())
    }
}

/// How often a thread has gone to sleep, for one reader.
#[cfg(feature = "testing")]
#[derive(Debug)]
pub(crate) struct Sleeps(KeptOpen);

#[cfg(feature = "testing")]
impl Sleeps {
    /// Opens that of the calling thread.
    pub(crate) fn own() -> Sleeps {
        Sleeps(KeptOpen::at("/proc/thread-self/status"))
    }

    /// Returns the count since the thread began. `None` where the system does not report it. Takes longer than what
    /// else is read here, some ten microseconds.
    pub(crate) fn count(&self) -> Option<u64> {
        let mut text = [0; 4_096];
        let length = self.0.read(&mut text)?;
        sleeps(&text[..length])
    }
}

/// Parses lines, of which one is `voluntary_ctxt_switches:`, a tab, and a count.
#[cfg(feature = "testing")]
fn sleeps(text: &[u8]) -> Option<u64> {
    let mut lines = text.split(|byte| *byte == b'\n');
    let count = lines.find_map(|line| line.strip_prefix(b"voluntary_ctxt_switches:\t"))?;
    str::from_utf8(count).ok()?.parse().ok()
}

/// Parses `some avg10=0.00 avg60=0.00 avg300=0.00 total=<microseconds>`, and further lines.
#[cfg(feature = "testing")]
fn pressure(text: &str) -> Option<Duration> {
    let some = text.lines().find(|line| line.starts_with("some "))?;
    let (_, total) = some.split_once("total=")?;
    total.parse().ok().map(Duration::from_micros)
}

/// Returns the ids of all threads of this process.
pub(crate) fn threads() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc/self/task").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// The beginning of a file. It is long enough for all files that are read here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Line {
    bytes: [u8; 512],
    length: usize,
}

impl Line {
    const EMPTY: Line = Line {
        bytes: [0; 512],
        length: 0,
    };

    fn read(path: &Path) -> io::Result<Line> {
        let mut line = Line::EMPTY;
        line.length = File::open(path)?.read(&mut line.bytes)?;
        Ok(line)
    }

    /// Returns the text after the last bytes that are not UTF-8, as a thread's name may have.
    pub(crate) fn text(&self) -> &str {
        let last = self.bytes[..self.length].utf8_chunks().last();
        last.map_or("", |chunk| chunk.valid().trim_end())
    }
}

/// Parses `4711 (name, which may contain anything) R …`.
fn state(text: &str) -> Option<char> {
    after_name(text)?.chars().next()
}

/// Whether a function of the kernel, which has other names in other versions, waits for a futex or for events.
fn is_idle_in(function: &str) -> bool {
    function.contains("futex_") || function.contains("epoll_wait") || function == "ep_poll"
}

fn after_name(text: &str) -> Option<&str> {
    text.rsplit_once(") ").map(|(_, after)| after)
}

/// Parses the 10th and the 12th field of `stat`, as proc(5) numbers them.
fn faults(text: &str) -> Option<Faults> {
    Some(Faults {
        minor: field(text, 10)?,
        major: field(text, 12)?,
    })
}

/// Parses the time as user and as system: the 14th and the 15th field of `stat`, in hundredths of a second.
fn process_time(text: &str) -> Option<Duration> {
    let hundredths = field(text, 14)?.saturating_add(field(text, 15)?);
    Some(Duration::from_millis(hundredths.saturating_mul(10)))
}

/// Parses a field of `4711 (name, which may contain anything) R …`, of which the state is the third.
fn field(text: &str, number: usize) -> Option<u64> {
    let mut fields = after_name(text)?.split_ascii_whitespace();
    fields.nth(number - 3)?.parse().ok()
}

/// Parses `running`; `-1 <sp> <pc>` for a thread blocked outside a call; or the call's number, six arguments,
/// sp and pc.
fn activity(text: &str) -> Option<Activity> {
    let mut fields = text.split_ascii_whitespace();
    let first = fields.next()?;
    if first == "running" {
        return Some(Activity::Running);
    }
    let mut next = || u64::from_str_radix(fields.next()?.strip_prefix("0x")?, 16).ok();
    let (call, arguments) = if first == "-1" {
        (None, [0; 6])
    } else {
        let arguments = [next()?, next()?, next()?, next()?, next()?, next()?];
        (Some(first.parse().ok()?), arguments)
    };
    Some(Activity::Blocked(Blocked {
        call,
        arguments,
        sp: next()?,
        pc: next()?,
    }))
}

/// Parses `<nanoseconds on a CPU> <nanoseconds waiting for one> <times on a CPU>`.
fn times(text: &str) -> Option<Times> {
    let mut fields = text.split_ascii_whitespace().map(str::parse::<u64>);
    let mut next = || fields.next()?.ok();
    let [on_cpu, waited, turns] = [next()?, next()?, next()?];
    // All are zero where the kernel does not count them.
    (turns > 0).then_some(Times {
        on_cpu: Duration::from_nanos(on_cpu),
        waited: Duration::from_nanos(waited),
        turns,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(feature = "testing")]
    #[test]
    fn counts_the_sleeps_of_a_thread_of_any_name() {
        let text = b"Name:\t\xff\nvoluntary_ctxt_switches:\t17\nnonvoluntary_ctxt_switches:\t4\n";
        assert_eq!(sleeps(text), Some(17));
        assert_eq!(sleeps(b"Name:\tx\n"), None);
        let own = Sleeps::own();
        let before = own.count().unwrap();
        // A thread may be back before it was off its CPU.
        let has_slept = |_| {
            std::thread::park_timeout(Duration::from_millis(1));
            own.count() > Some(before)
        };
        assert!((0..1_000).any(has_slept));
    }

    #[test]
    fn reads_the_state_behind_any_name() {
        assert_eq!(state("17 (a name) R (of one)) S 1 17 17"), Some('S'));
        assert_eq!(state("17"), None);
    }

    #[test]
    fn knows_where_in_the_kernel_an_idle_thread_sleeps() {
        for idle in [
            "futex_do_wait",
            "futex_wait_queue_me",
            "do_epoll_wait",
            "ep_poll",
        ] {
            assert!(is_idle_in(idle), "{idle}");
        }
        for busy in ["0", "", "hrtimer_nanosleep", "do_wait", "pipe_read"] {
            assert!(!is_idle_in(busy), "{busy}");
        }
    }

    #[test]
    fn reads_fields_behind_any_name() {
        let text = "17 (a 1 2 3) 4 5 6 7 8 9) S 1 17 17 0 -1 4194560 21 0 2 0 130 70 0";
        assert_eq!(
            faults(text),
            Some(Faults {
                minor: 21,
                major: 2
            })
        );
        assert_eq!(process_time(text), Some(Duration::from_secs(2)));
        assert_eq!(process_time("17 (x) S 1"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn counts_what_this_thread_and_this_process_use() {
        let (faults, time) = (OwnFaults::open(), ProcessTime::open());
        let before = (faults.counts().unwrap().minor, time.on_cpu().unwrap());
        let pages = std::hint::black_box(vec![1_u8; 1 << 20]);
        assert!(pages.len() == 1 << 20 && faults.counts().unwrap().minor > before.0);
        let is_counted = |_| {
            std::hint::black_box((0..1_000_000).fold(0_u64, |sum, next| sum ^ next));
            time.on_cpu() > Some(before.1 + ProcessTime::PRECISION)
        };
        assert!((0..10_000).any(is_counted));
    }

    #[test]
    fn distinguishes_running_from_blocked() {
        assert_eq!(activity("running\n"), Some(Activity::Running));
        let blocked = |call, arguments| {
            Some(Activity::Blocked(Blocked {
                call,
                arguments,
                sp: 0x7ffd_0010,
                pc: 0x7f1a_0020,
            }))
        };
        assert_eq!(
            activity("230 0x1 0x0 0x7ffd 0x7ffe 0x0 0xffffffffffffffff 0x7ffd0010 0x7f1a0020\n"),
            blocked(Some(230), [1, 0, 0x7ffd, 0x7ffe, 0, u64::MAX]),
        );
        assert_eq!(activity("-1 0x7ffd0010 0x7f1a0020"), blocked(None, [0; 6]));
        for broken in ["", "230", "230 0x1 0x0", "x 0x1", "-1 0x7ffd0010", "-1 1 2"] {
            assert_eq!(activity(broken), None, "{broken}");
        }
    }

    #[test]
    fn reads_times() {
        let read = times("5000000 1000 9\n").unwrap();
        assert_eq!(read.on_cpu, Duration::from_millis(5));
        assert_eq!(read.waited, Duration::from_micros(1));
        assert_eq!(read.turns, 9);
        assert_eq!(times("0 0 0"), None);
        assert_eq!(times("1 2"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_watchdog_reads_does_not_allocate() {
        let thread = Thread(std::process::id());
        let (own, faults, process) = (Schedule::own(), OwnFaults::open(), ProcessTime::open());
        let read = || {
            (
                thread.state(),
                thread.times(),
                thread.syscall(),
                own.times(),
                faults.counts(),
                process.on_cpu(),
            )
        };
        let allocated = allocation_counter::measure(|| {
            std::hint::black_box(read());
        });
        assert_eq!(allocated.count_total, 0);
        let (state, .., own, faults, process) = read();
        assert!(state.is_some() && own.is_some() && faults.is_some() && process.is_some());
        assert!(threads().any(|id| id == std::process::id()));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_kept_open_is_read_again_and_not_moved() {
        use std::io::Seek;

        let mut file = File::open("/proc/self/auxv").unwrap();
        file.seek(io::SeekFrom::Start(16)).unwrap();
        let kept = KeptOpen(Some(file));
        let read = || {
            let mut bytes = [0; 8];
            kept.read(&mut bytes).map(|length| (length, bytes))
        };
        assert!(read().is_some_and(|(length, bytes)| length == 8 && bytes != [0; 8]));
        assert_eq!(read(), read());
        assert_eq!(kept.0.unwrap().stream_position().unwrap(), 16);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn knows_a_thread_that_is_gone() {
        assert_eq!(Thread(u32::MAX).state(), Some('X'));
        assert_eq!(Thread(u32::MAX).activity(), Activity::Gone);
        assert_eq!(Thread(u32::MAX).times(), None);
        // A thread lives even if its kernel does not have a file.
        let read = |id: u32| Thread(id).line("no such file").unwrap_err();
        assert!(!Thread(std::process::id()).is_gone(&read(std::process::id())));
        assert!(Thread(u32::MAX).is_gone(&read(u32::MAX)));
    }

    #[cfg(feature = "testing")]
    #[test]
    fn reads_how_crowded_the_machine_is() {
        let text =
            "some avg10=73.22 avg60=72.48 avg300=71.32 total=16617871840\nfull avg10=0.00 total=7";
        assert_eq!(pressure(text), Some(Duration::from_micros(16_617_871_840)));
        assert_eq!(pressure("full avg10=0.00 total=7"), None);
        assert_eq!(pressure("some total=x"), None);
    }
}
