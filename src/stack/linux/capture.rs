//! Captures the stack of a thread: the part that runs on the watchdog's inspector.
//!
//! It is quick, and waits for no lock that the thread could hold. A blocked thread is read through `/proc`
//! and not touched; a running one is asked by a signal. Finding out which calls the bytes show is left to
//! `resolve.rs`.

mod on_cpu;
mod restartable;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::image::{BacklogShare, Capture, Image, open_memory};
use crate::clock;
use crate::procfs::{Activity, Blocked, Thread};
use crate::stack::settings::StackCapture;
use crate::stack::sys::{Question, Registers, Signal, Unanswered};
use crate::stack::target::{Identity, Target};
use crate::stack::trace::{NoStack, ThreadState};
use on_cpu::LateStack;
pub(crate) use on_cpu::OnCpuTracker;
pub(super) use on_cpu::Status;
use restartable::{has_lent_its_stack, is_restartable};

/// Bounds the attempts on a thread that moves while it is captured, such as one that writes to a disk.
const ATTEMPTS: u32 = 40;
const BETWEEN_ATTEMPTS: Duration = Duration::from_micros(100);

/// Whether a blocked thread is rather asked, where that is not noticed. `/proc` does not show the register in
/// which AArch64 keeps the return address of a function that calls no other, such as many of the C library that
/// make a system call.
const ASKED_RATHER: bool = cfg!(target_arch = "aarch64");

/// Captures the stack of a thread. `tracker` has followed that thread so far. Waits for nothing after `until`.
/// Returns `None` if the settings switch stacks off.
pub(crate) fn capture(
    target: Target,
    tracker: &mut OnCpuTracker,
    settings: &StackCapture,
    until: Instant,
) -> Option<Capture> {
    if !settings.taken {
        return None;
    }
    let began = clock::now();
    let stack = take(target, tracker, settings, until);
    let thread_state = thread_state(Thread(target.proc_id));
    let capture_time = clock::now().saturating_duration_since(began);
    let stack = stack.map_err(|unanswered| {
        if let Some(question) = unanswered.left {
            tracker.asked = Some(LateStack {
                question,
                thread_state: thread_state.clone(),
                capture_time,
            });
        }
        unanswered.reason
    });
    Some(Capture {
        stack,
        thread_state,
        capture_time,
        own: settings.own.clone(),
    })
}

/// Returns the stack for which the thread was asked in vain, if it has answered since.
pub(crate) fn answered_late(
    tracker: &mut OnCpuTracker,
    settings: &StackCapture,
) -> Option<Capture> {
    let backlog = BacklogShare::reserve()?;
    let answer = tracker.left.as_ref()?.question.answer()?;
    let late = tracker.left.take()?;
    Some(Capture {
        stack: Ok(image(answer, backlog)),
        thread_state: late.thread_state,
        capture_time: late.capture_time,
        own: settings.own.clone(),
    })
}

pub(super) fn thread_state(thread: Thread) -> ThreadState {
    let times = thread.times();
    let wait_channel = thread.line("wchan").ok();
    let wait_channel = wait_channel.map(|line| line.text().to_owned());
    let activity = thread.activity();
    ThreadState {
        running: activity == Activity::Running,
        syscall: activity.syscall(),
        wait_channel: wait_channel.filter(|channel| channel != "0" && !channel.is_empty()),
        on_cpu: times.map(|times| times.on_cpu),
        waited_for_cpu: times.map(|times| times.waited),
    }
}

/// Updates the tracker, so that it knows the thread when that is to be asked.
pub(crate) fn follow(target: Target, tracker: &mut OnCpuTracker, settings: &StackCapture) {
    if settings.signal.is_some() {
        tracker.observe(Thread(target.proc_id));
    }
}

/// Returns how often the thread has gone to sleep in its life.
pub(crate) fn sleeps(target: Target) -> Option<u64> {
    Status::of(Thread(target.proc_id)).map(Status::sleeps)
}

/// Asks a thread which worker and task it runs, if a signal interrupts no call of it.
pub(crate) fn identify(
    target: Target,
    tracker: &mut OnCpuTracker,
    settings: &StackCapture,
    until: Instant,
) -> Option<Identity> {
    let signal = signal(settings, until)?;
    let thread = Thread(target.proc_id);
    let activity = thread.activity();
    check_signal(thread, &activity, tracker, signal.number).ok()?;
    let answer = signal.ask(target.id, Question::new(None, 0)).ok()?;
    if matches!(activity, Activity::Blocked(_)) {
        crate::stack::interruptions::add(target.id);
    }
    Some(answer.identity)
}

/// What to do next with a thread whose stack is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Copy the stack through `/proc`.
    Copy(Blocked),
    /// Ask the thread by a signal, if that interrupts no call.
    Ask(Signal),
    TryAgain,
    GiveUp(NoStack),
}

/// `signal` is `None` if none may be sent. `was_running`: whether the attempt before found the thread
/// running.
fn classify(activity: Activity, signal: Option<Signal>, was_running: bool) -> Step {
    match (activity, signal) {
        (Activity::Gone, _) => Step::GiveUp(NoStack::Moved),
        (Activity::Blocked(blocked), _) if has_lent_its_stack(&blocked) => {
            Step::GiveUp(NoStack::Lent)
        }
        (Activity::Blocked(blocked), _) => Step::Copy(blocked),
        (_, Some(signal)) => Step::Ask(signal),
        (Activity::Hidden, None) => Step::GiveUp(NoStack::Hidden),
        // It may be about to block.
        (Activity::Running, None) if !was_running => Step::TryAgain,
        (Activity::Running, None) => Step::GiveUp(NoStack::SignalsOff),
    }
}

fn take(
    target: Target,
    tracker: &mut OnCpuTracker,
    settings: &StackCapture,
    until: Instant,
) -> Result<Image, Unanswered> {
    let signal = signal(settings, until);
    let backlog = BacklogShare::reserve().ok_or(NoStack::Busy)?;
    let memory = open_memory().map_err(|error| unreadable(&error))?;
    let thread = Thread(target.proc_id);
    let mut was_running = false;
    let mut reason = NoStack::Moved;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            if clock::now() >= until {
                break;
            }
            sleep(BETWEEN_ATTEMPTS);
        }
        let switches = context_switches(thread);
        let activity = thread.activity();
        match classify(activity, signal, was_running) {
            Step::Copy(blocked) => {
                if let Some(image) = ask_blocked(target, &activity, tracker, signal, settings.bytes)
                {
                    return Ok(image);
                }
                let copied = copy(thread, blocked, switches, &memory, settings.bytes);
                if let Some((registers, bytes, read)) = copied {
                    return Ok(Image::new(registers, bytes, read, backlog));
                }
            }
            Step::Ask(signal) => match check_signal(thread, &activity, tracker, signal.number) {
                Err(NoStack::WouldInterrupt) => reason = NoStack::WouldInterrupt,
                Err(NoStack::NoAnswer) if tracker.left.is_some() || !signal.is_ours_alone() => {
                    return Err(NoStack::NoAnswer.into());
                }
                // One of ours may be pending that was sent to ask for the task only.
                Ok(()) | Err(NoStack::NoAnswer) => {
                    return take_by_signal(target, signal, settings.bytes, memory, backlog);
                }
                Err(other) => return Err(other.into()),
            },
            Step::TryAgain => {}
            Step::GiveUp(reason) => return Err(reason.into()),
        }
        was_running = activity == Activity::Running;
    }
    Err(reason.into())
}

/// Copies up to `wanted` bytes of a blocked thread's stack, and returns how many of them could be read.
/// Returns `None` if the thread moved since `switches` was read.
fn copy(
    thread: Thread,
    blocked: Blocked,
    switches: Option<u64>,
    memory: &File,
    wanted: usize,
) -> Option<(Registers, Vec<u8>, usize)> {
    let registers = Registers {
        pc: blocked.pc,
        sp: blocked.sp,
        ..Registers::default()
    };
    let mut bytes = vec![0; wanted];
    let read = memory.read_at(&mut bytes, blocked.sp).unwrap_or(0);
    let has_stayed = thread.activity() == Activity::Blocked(blocked)
        && switches.is_some()
        && context_switches(thread) == switches;
    has_stayed.then_some((registers, bytes, read))
}

/// Counts how often the thread has been put on a CPU; or, which is slower to read, taken off one.
fn context_switches(thread: Thread) -> Option<u64> {
    let times = thread.times().map(|times| times.turns);
    times.or_else(|| Status::of(thread).map(Status::context_switches))
}

/// Returns why the memory of the process cannot be read.
fn unreadable(error: &io::Error) -> NoStack {
    match error.raw_os_error() {
        Some(libc::EMFILE | libc::ENFILE) => NoStack::NoFiles,
        _ => NoStack::Hidden,
    }
}

/// Checks that a signal would be delivered now, and would interrupt no call of the thread.
fn check_signal(
    thread: Thread,
    activity: &Activity,
    tracker: &mut OnCpuTracker,
    signal: i32,
) -> Result<(), NoStack> {
    let status = match activity {
        Activity::Running | Activity::Hidden => tracker.observe(thread),
        Activity::Blocked(blocked) if is_restartable(thread, blocked) => Status::of(thread),
        Activity::Blocked(_) => None,
        Activity::Gone => return Err(NoStack::Moved),
    };
    status
        .ok_or(NoStack::WouldInterrupt)?
        .check_delivery(signal)
}

/// Asks a blocked thread, if that is better than to read it from outside. `None` if it does not answer.
fn ask_blocked(
    target: Target,
    activity: &Activity,
    tracker: &mut OnCpuTracker,
    signal: Option<Signal>,
    wanted: usize,
) -> Option<Image> {
    let signal = signal.filter(|_| ASKED_RATHER)?;
    check_signal(Thread(target.proc_id), activity, tracker, signal.number).ok()?;
    let (memory, backlog) = (open_memory().ok()?, BacklogShare::reserve()?);
    take_by_signal(target, signal, wanted, memory, backlog).ok()
}

/// Asks a thread for up to `wanted` bytes of its stack.
pub(super) fn take_by_signal(
    target: Target,
    signal: Signal,
    wanted: usize,
    memory: File,
    backlog: BacklogShare,
) -> Result<Image, Unanswered> {
    let asked = signal.ask(target.id, Question::new(Some(memory), wanted));
    let answer = asked.map_err(|unanswered| Unanswered {
        left: unanswered
            .left
            .filter(|_| is_pending(Thread(target.proc_id), signal.number)),
        ..unanswered
    })?;
    Ok(image(answer, backlog))
}

/// Whether the signal has not reached the thread, and will: it is not masked.
fn is_pending(thread: Thread, signal: i32) -> bool {
    let status = Status::of(thread);
    status.is_some_and(|status| status.check_delivery(signal) == Err(NoStack::NoAnswer))
}

fn image(answer: Question, backlog: BacklogShare) -> Image {
    let mut image = Image::new(answer.registers, answer.stack, answer.filled, backlog);
    image.identity = Some(answer.identity);
    image
}

/// Returns the signal to ask with, or `None` if the settings allow none.
pub(super) fn signal(settings: &StackCapture, until: Instant) -> Option<Signal> {
    let now = clock::now();
    Some(Signal {
        number: settings.signal?,
        shared: settings.shared,
        // Leaves time to ask other threads as well.
        until: now + until.saturating_duration_since(now) / 2,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(call: libc::c_long) -> Blocked {
        Blocked {
            call: u32::try_from(call).ok(),
            arguments: [libc::CLONE_VFORK as u64, 0, 0, 0, 0, 0],
            sp: 0x7ffd_0010,
            pc: 0x7f1a_0020,
        }
    }

    #[test]
    fn a_thread_is_read_from_outside_or_asked_or_left_alone() {
        let asks = signal(&StackCapture::new(), clock::now());
        let (sleeps, lends) = (blocked(libc::SYS_nanosleep), blocked(libc::SYS_clone));
        let give_up = Step::GiveUp;
        let ask = Step::Ask(asks.unwrap());
        let [running, hidden, gone] = [Activity::Running, Activity::Hidden, Activity::Gone];
        for (activity, signal, was_running, expected) in [
            (running, asks, false, ask),
            (running, asks, true, ask),
            (running, None, false, Step::TryAgain),
            (running, None, true, give_up(NoStack::SignalsOff)),
            (hidden, asks, false, ask),
            (hidden, None, false, give_up(NoStack::Hidden)),
            (gone, asks, false, give_up(NoStack::Moved)),
            (gone, None, true, give_up(NoStack::Moved)),
            (Activity::Blocked(sleeps), asks, false, Step::Copy(sleeps)),
            (Activity::Blocked(sleeps), asks, true, Step::Copy(sleeps)),
            (Activity::Blocked(sleeps), None, true, Step::Copy(sleeps)),
            (
                Activity::Blocked(lends),
                asks,
                false,
                give_up(NoStack::Lent),
            ),
            (
                Activity::Blocked(lends),
                None,
                false,
                give_up(NoStack::Lent),
            ),
        ] {
            let step = classify(activity, signal, was_running);
            assert_eq!(step, expected, "{activity:?} {signal:?} {was_running}");
        }
    }

    #[test]
    fn that_no_file_can_be_opened_is_not_taken_for_a_secret() {
        for (error, expected) in [
            (libc::EMFILE, NoStack::NoFiles),
            (libc::ENFILE, NoStack::NoFiles),
            (libc::EACCES, NoStack::Hidden),
            (libc::ENOENT, NoStack::Hidden),
        ] {
            assert_eq!(unreadable(&io::Error::from_raw_os_error(error)), expected);
        }
    }
}
