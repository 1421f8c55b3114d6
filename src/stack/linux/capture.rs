//! Takes the stack of a thread: looks first, and touches it only if it runs.
//!
//! This is the watchdog's part: it is quick, and waits for no lock that the thread could hold. What
//! the taken bytes mean is found out later, elsewhere.

mod on_cpu;
mod restartable;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::image::{Capture, Image, Waiting, open_memory};
use crate::clock;
use crate::procfs::{Activity, Blocked, Thread};
use crate::stack::settings::StackCapture;
use crate::stack::sys::{Ask, Asked, Question, Refusal, Registers};
use crate::stack::target::{Identity, Target};
use crate::stack::trace::{NoStack, ThreadState};
use crate::syscall::Syscall;
pub(crate) use on_cpu::OnCpuTracker;
pub(super) use on_cpu::Status;
use restartable::{bears_signals, has_lent_its_stack};

/// How often a thread is looked at that does not keep still, such as one that writes to a disk.
const LOOKS: u32 = 40;
const BETWEEN_LOOKS: Duration = Duration::from_micros(100);

/// Blocked threads show their stack pointer, but neither the frame pointer nor the return address
/// that AArch64 keeps in a register.
const SHOWN_WHEN_BLOCKED: bool = cfg!(target_arch = "x86_64");

/// Takes the stack of a thread. `tracker` is what it has been seen to do so far. After `until` nothing is
/// waited for.
pub(crate) fn capture(
    target: Target,
    tracker: &mut OnCpuTracker,
    settings: StackCapture,
    until: Instant,
) -> Option<Capture> {
    if !settings.taken {
        return None;
    }
    let began = clock::now();
    let thread = Thread(target.shown);
    let mut identity = None;
    let ask = ask(settings, until);
    let stack = take(target, tracker, settings, until, ask, &mut identity);
    Some(Capture {
        stack,
        thread_state: thread_state(thread),
        took: clock::now().saturating_duration_since(began),
        identity,
    })
}

pub(super) fn thread_state(thread: Thread) -> ThreadState {
    let times = thread.times();
    let wait_channel = thread.read("wchan").ok();
    let activity = thread.activity();
    let call = match activity {
        Activity::Blocked(blocked) => blocked.call,
        Activity::Running | Activity::Gone | Activity::Hidden => None,
    };
    ThreadState {
        running: activity == Activity::Running,
        syscall: call.map(Syscall::new),
        wait_channel: wait_channel.filter(|channel| channel != "0" && !channel.is_empty()),
        on_cpu: times.map(|times| times.on_cpu),
        waited_for_cpu: times.map(|times| times.waited),
    }
}

/// Looks at what a thread does, to know it when it is to be asked.
pub(crate) fn follow(target: Target, tracker: &mut OnCpuTracker, settings: StackCapture) {
    if settings.signal.is_some() {
        tracker.goes_on(Thread(target.shown));
    }
}

/// Asks a thread who it is, if that can be done unnoticed.
pub(crate) fn identify(
    target: Target,
    tracker: &mut OnCpuTracker,
    settings: StackCapture,
    until: Instant,
) -> Option<Identity> {
    let ask = ask(settings, until)?;
    let thread = Thread(target.shown);
    bears(thread, &thread.activity(), tracker, ask.signal).ok()?;
    match ask.ask(target.own, Question::new(None, 0)) {
        Asked::Answered(answer) => Some(identity(&answer)),
        Asked::NoAnswer | Asked::Gone | Asked::Refused(_) => None,
    }
}

/// Whether a signal goes unnoticed by what the thread does, and comes through.
fn bears(
    thread: Thread,
    does: &Activity,
    tracker: &mut OnCpuTracker,
    signal: i32,
) -> Result<(), NoStack> {
    let status = match does {
        Activity::Running | Activity::Hidden => tracker.goes_on(thread),
        Activity::Blocked(blocked) if bears_signals(thread, blocked) => Status::of(thread),
        Activity::Blocked(_) => None,
        Activity::Gone => return Err(NoStack::Moved),
    };
    status.ok_or(NoStack::WouldInterrupt)?.takes(signal)
}

fn take(
    target: Target,
    tracker: &mut OnCpuTracker,
    settings: StackCapture,
    until: Instant,
    ask: Option<Ask>,
    identity: &mut Option<Identity>,
) -> Result<Image, NoStack> {
    let waiting = Waiting::begin().ok_or(NoStack::Busy)?;
    let memory = open_memory().map_err(|error| hidden(&error))?;
    let thread = Thread(target.shown);
    let mut seen_running = false;
    let mut reason = NoStack::Moved;
    for look in 0..LOOKS {
        if look > 0 {
            if clock::now() >= until {
                break;
            }
            sleep(BETWEEN_LOOKS);
        }
        let before = turns(thread);
        let activity = thread.activity();
        match (activity, ask) {
            (Activity::Gone, _) => return Err(NoStack::Moved),
            (Activity::Hidden, None) => return Err(NoStack::Hidden),
            // It may be about to block.
            (Activity::Running, None) if !seen_running => seen_running = true,
            (Activity::Running, None) => return Err(NoStack::SignalsOff),
            (Activity::Blocked(blocked), _) if has_lent_its_stack(&blocked) => {
                return Err(NoStack::Lent);
            }
            (Activity::Blocked(blocked), _) if SHOWN_WHEN_BLOCKED => {
                seen_running = false;
                let copied = copy(thread, blocked, before, &memory, settings);
                if let Some((registers, bytes, read)) = copied {
                    return Ok(Image::new(registers, bytes, read, waiting));
                }
            }
            (Activity::Blocked(_), None) => return Err(NoStack::WouldInterrupt),
            (_, Some(ask)) => match bears(thread, &activity, tracker, ask.signal) {
                Ok(()) => return take_by_signal(target, ask, settings, memory, waiting, identity),
                Err(NoStack::WouldInterrupt) => reason = NoStack::WouldInterrupt,
                Err(other) => return Err(other),
            },
        }
    }
    Err(reason)
}

/// The innermost piece of a blocked thread's stack, and how much of it could be read. `None` if the thread
/// has gone on meanwhile.
fn copy(
    thread: Thread,
    blocked: Blocked,
    before: Option<u64>,
    memory: &File,
    settings: StackCapture,
) -> Option<(Registers, Vec<u8>, usize)> {
    let registers = Registers {
        pc: blocked.pc,
        sp: blocked.sp,
        ..Registers::default()
    };
    let mut bytes = vec![0; settings.bytes];
    let read = memory.read_at(&mut bytes, blocked.sp).unwrap_or(0);
    has_kept_still(thread, blocked, before).then_some((registers, bytes, read))
}

/// Whether the thread has been where it was found blocked all the time since `before` was read,
/// which was just before that.
fn has_kept_still(thread: Thread, blocked: Blocked, before: Option<u64>) -> bool {
    thread.activity() == Activity::Blocked(blocked) && before.is_some() && turns(thread) == before
}

/// How often it has been put on a CPU, or taken off it, which is slower to read.
fn turns(thread: Thread) -> Option<u64> {
    let times = thread.times().map(|times| times.turns);
    times.or_else(|| Status::of(thread).map(Status::turns))
}

/// Why the memory of the process cannot be read.
fn hidden(error: &io::Error) -> NoStack {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => NoStack::NoFiles,
        _ => NoStack::Hidden,
    }
}

pub(super) fn take_by_signal(
    target: Target,
    ask: Ask,
    settings: StackCapture,
    memory: File,
    waiting: Waiting,
    identified: &mut Option<Identity>,
) -> Result<Image, NoStack> {
    match ask.ask(target.own, Question::new(Some(memory), settings.bytes)) {
        Asked::Answered(answer) => {
            *identified = Some(identity(&answer));
            let (registers, read) = (answer.registers, answer.filled);
            Ok(Image::new(registers, answer.stack, read, waiting))
        }
        Asked::NoAnswer => Err(NoStack::NoAnswer),
        Asked::Gone => Err(NoStack::Moved),
        Asked::Refused(Refusal::Taken) => Err(NoStack::SignalTaken),
        Asked::Refused(Refusal::InLibrary) => Err(NoStack::InLibrary),
        Asked::Refused(Refusal::NoRoom) => Err(NoStack::NoRoom),
        Asked::Refused(Refusal::Denied) => Err(NoStack::SignalsOff),
    }
}

/// `None` if no signal may be sent.
pub(super) fn ask(settings: StackCapture, until: Instant) -> Option<Ask> {
    let now = clock::now();
    Some(Ask {
        signal: settings.signal?,
        shared: settings.shared,
        // Others may have to be asked as well.
        until: now + until.saturating_duration_since(now) / 2,
    })
}

fn identity(answer: &Question) -> Identity {
    Identity {
        worker: answer.worker,
        task: answer.task,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn that_no_file_can_be_opened_is_not_taken_for_a_secret() {
        for (error, expected) in [
            (libc::EMFILE, NoStack::NoFiles),
            (libc::ENFILE, NoStack::NoFiles),
            (libc::EACCES, NoStack::Hidden),
            (libc::ENOENT, NoStack::Hidden),
        ] {
            assert_eq!(hidden(&io::Error::from_raw_os_error(error)), expected);
        }
    }
}
