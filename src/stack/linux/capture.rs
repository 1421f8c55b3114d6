//! Takes the stack of a thread: looks first, and touches it only if it runs.
//!
//! This is the watchdog's part: it is quick, and waits for no lock that the thread could hold. What
//! the taken bytes mean is found out later, elsewhere.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use super::memory;
use super::patience::bears_signals;
use crate::clock;
use crate::procfs::{Activity, Blocked, Thread};
use crate::stack::Identity;
use crate::stack::settings::StackTraces;
use crate::stack::sys::{Ask, Asked, Question, Refusal, Registers};
use crate::stack::trace::{Facts, NoStack};

/// How often a thread is looked at that does not keep still, such as one that writes to a disk.
const LOOKS: u32 = 20;
const BETWEEN_LOOKS: Duration = Duration::from_micros(200);

/// For how long the watchdog waits for an answer. What it looks after meanwhile is late by as much.
const PATIENCE: Duration = Duration::from_millis(3);
const PATIENCE_FOR_STACK: Duration = Duration::from_millis(10);

/// Blocked threads show their stack pointer, but neither the frame pointer nor the return address
/// that AArch64 keeps in a register.
const SHOWN_WHEN_BLOCKED: bool = cfg!(target_arch = "x86_64");

/// How much may wait to be read, in bytes of stacks: 256 of them if no other size is set. The first
/// look at the debug information may take long, and meanwhile all workers may come to be stuck.
const MOST_WAITING: usize = 16 << 20;

/// A thread as it was caught.
#[derive(Debug)]
pub(crate) struct Capture {
    pub(super) stack: Result<Image, NoStack>,
    pub(super) facts: Facts,
    /// How long it took.
    pub(super) took: Duration,
    pub(super) identity: Option<Identity>,
}

impl Capture {
    /// Who it said it was, if it was asked.
    pub(crate) fn identity(&self) -> Option<Identity> {
        self.identity
    }

    pub(crate) fn shows_calls(&self) -> bool {
        self.stack.is_ok()
    }
}

/// The innermost piece of a stack, and where in it the thread was.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) registers: Registers,
    /// From the stack pointer on.
    pub(super) bytes: Vec<u8>,
    _waiting: Waiting,
}

impl Image {
    /// Where what was copied of the stack ends.
    pub(super) fn end(&self) -> u64 {
        self.registers.sp.saturating_add(self.bytes.len() as u64)
    }

    /// The word at an address of the stack.
    pub(super) fn word(&self, address: u64) -> Option<u64> {
        let start = usize::try_from(address.checked_sub(self.registers.sp)?).ok()?;
        let bytes = self.bytes.get(start..)?.first_chunk()?;
        Some(u64::from_le_bytes(*bytes))
    }
}

/// What a stack takes of what may wait to be read.
#[derive(Debug)]
pub(super) struct Waiting {
    bytes: usize,
    all: &'static AtomicUsize,
}

impl Waiting {
    pub(super) fn begin() -> Option<Waiting> {
        static ALL: AtomicUsize = AtomicUsize::new(0);
        Waiting::among(&ALL)
    }

    fn among(all: &'static AtomicUsize) -> Option<Waiting> {
        (all.load(Ordering::Relaxed) < MOST_WAITING).then_some(Waiting { bytes: 0, all })
    }

    /// For a stack of this size.
    fn with(mut self, bytes: usize) -> Waiting {
        self.all.fetch_add(bytes, Ordering::Relaxed);
        self.bytes += bytes;
        self
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Takes the stack of a thread of this process, which is not the calling one.
pub(crate) fn capture(thread: u32, settings: StackTraces) -> Option<Capture> {
    if !settings.taken {
        return None;
    }
    let began = clock::now();
    let thread = Thread(thread);
    let mut identity = None;
    let stack = take(thread, settings, &mut identity);
    Some(Capture {
        stack,
        facts: facts(thread),
        took: clock::now().saturating_duration_since(began),
        identity,
    })
}

pub(super) fn facts(thread: Thread) -> Facts {
    let times = thread.times();
    let wait_channel = thread.read("wchan").ok();
    Facts {
        syscall: thread.syscall(),
        wait_channel: wait_channel.filter(|channel| channel != "0" && !channel.is_empty()),
        on_cpu: times.map(|times| times.on_cpu),
        waited_for_cpu: times.map(|times| times.waited),
    }
}

/// Asks a thread who it is, if that can be done unnoticed.
pub(crate) fn identify(thread: u32, settings: StackTraces) -> Option<Identity> {
    let id = thread;
    let thread = Thread(id);
    let may_be_asked = match thread.activity() {
        Activity::Running => true,
        Activity::Blocked(blocked) => bears_signals(thread, &blocked),
        Activity::Gone | Activity::Hidden => false,
    };
    let ask = ask(settings, PATIENCE).filter(|_| may_be_asked)?;
    match ask.ask(id, Question::new(None, 0)) {
        Asked::Answered(answer) => identity(&answer),
        Asked::NoAnswer | Asked::Gone | Asked::Refused(_) => None,
    }
}

fn take(
    thread: Thread,
    settings: StackTraces,
    identity: &mut Option<Identity>,
) -> Result<Image, NoStack> {
    let waiting = Waiting::begin().ok_or(NoStack::Busy)?;
    let memory = memory::open().map_err(|_| NoStack::Hidden)?;
    let mut seen_running = false;
    let mut reason = NoStack::Moved;
    for look in 0..LOOKS {
        if look > 0 {
            sleep(BETWEEN_LOOKS);
        }
        let before = turns(thread);
        match thread.activity() {
            Activity::Hidden => return Err(NoStack::Hidden),
            Activity::Gone => return Err(NoStack::Moved),
            // It may be about to block, and a signal would come right into that.
            Activity::Running if !seen_running => seen_running = true,
            Activity::Running => {
                return take_by_signal(thread, settings, memory, waiting, identity);
            }
            Activity::Blocked(blocked) => {
                seen_running = false;
                if SHOWN_WHEN_BLOCKED {
                    let bytes = read(&memory, blocked.sp, settings.bytes);
                    if has_kept_still(thread, blocked, before) {
                        return Ok(Image {
                            registers: Registers {
                                pc: blocked.pc,
                                sp: blocked.sp,
                                ..Registers::default()
                            },
                            _waiting: waiting.with(bytes.len()),
                            bytes,
                        });
                    }
                } else if bears_signals(thread, &blocked) {
                    return take_by_signal(thread, settings, memory, waiting, identity);
                } else {
                    reason = NoStack::WouldInterrupt;
                }
            }
        }
    }
    Err(reason)
}

/// Whether the thread has been where it was found blocked all the time since `before` was read,
/// which was just before that.
fn has_kept_still(thread: Thread, blocked: Blocked, before: Option<u64>) -> bool {
    thread.activity() == Activity::Blocked(blocked) && before.is_some() && turns(thread) == before
}

/// How often it has been put on a CPU, or taken off it, which is slower to read.
fn turns(thread: Thread) -> Option<u64> {
    let times = thread.times().map(|times| times.turns);
    times.or_else(|| switches(&thread.read("status").ok()?))
}

/// Two lines of many, `voluntary_ctxt_switches:` with a number, and the same with `non` before it.
fn switches(status: &str) -> Option<u64> {
    let count = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name))?;
        value.trim().parse::<u64>().ok()
    };
    Some(count("voluntary_ctxt_switches:")? + count("nonvoluntary_ctxt_switches:")?)
}

pub(super) fn take_by_signal(
    thread: Thread,
    settings: StackTraces,
    memory: File,
    waiting: Waiting,
    identified: &mut Option<Identity>,
) -> Result<Image, NoStack> {
    let ask = ask(settings, PATIENCE_FOR_STACK).ok_or(NoStack::SignalsOff)?;
    match ask.ask(thread.0, Question::new(Some(memory), settings.bytes)) {
        Asked::Answered(mut answer) => {
            *identified = identity(&answer);
            answer.stack.truncate(answer.filled);
            answer.stack.shrink_to_fit();
            Ok(Image {
                registers: answer.registers,
                _waiting: waiting.with(answer.stack.len()),
                bytes: answer.stack,
            })
        }
        Asked::NoAnswer => Err(NoStack::NoAnswer),
        Asked::Gone => Err(NoStack::Moved),
        Asked::Refused(Refusal::Taken) => Err(NoStack::SignalTaken),
        Asked::Refused(Refusal::Denied) => Err(NoStack::SignalsOff),
    }
}

fn ask(settings: StackTraces, patience: Duration) -> Option<Ask> {
    Some(Ask {
        signal: settings.signal?,
        shared: settings.shared,
        patience,
    })
}

fn identity(answer: &Question) -> Option<Identity> {
    answer.runs_tokio.then_some(Identity {
        worker: answer.worker,
        task: answer.task,
    })
}

/// As much as there is.
fn read(memory: &File, address: u64, wanted: usize) -> Vec<u8> {
    let mut bytes = vec![0; wanted];
    let read = memory.read_at(&mut bytes, address).unwrap_or(0);
    bytes.truncate(read);
    bytes.shrink_to_fit();
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_to_be_read_is_bounded_by_its_size() {
        static ALL: AtomicUsize = AtomicUsize::new(0);
        for (bytes, expected) in [
            (StackTraces::DEFAULT_STACK_BYTES, 256),
            (StackTraces::MAX_STACK_BYTES, 16),
        ] {
            let next = || Some(Waiting::among(&ALL)?.with(bytes));
            let waiting: Vec<_> = std::iter::from_fn(next).collect();
            assert_eq!(waiting.len(), expected);
        }
    }

    #[test]
    fn counts_how_often_a_thread_was_taken_off_a_cpu() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t3\nnonvoluntary_ctxt_switches:\t4\n";
        assert_eq!(switches(status), Some(7));
        assert_eq!(switches("Name:\tx\n"), None);
    }
}
