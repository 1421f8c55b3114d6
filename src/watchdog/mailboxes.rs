//! The queues from the watchdog to the inspector and the reporter, with room for all that must arrive.

use std::sync::PoisonError;

use super::messages::{Answer, Command, Event, Findings};
use super::queue::{Full, Queue};
use crate::stall::StallId;
use crate::sync::Mutex;

/// How many events may wait for the reporter.
const MOST_EVENTS: usize = 1_024;

/// How many commands may wait for the inspector.
const MOST_COMMANDS: usize = 4_096;

/// For how many more runtimes than are watched the watchdog has room: several may arrive at once.
pub(super) const SPARE_SLOTS: usize = 16;

#[derive(Debug)]
pub(super) struct Mailboxes {
    pub(super) inspector: Queue<Command>,
    pub(super) reporter: Queue<Event>,
    slots: Mutex<Slots>,
}

#[derive(Debug, Default)]
struct Slots {
    /// Counts the watched runtimes.
    taken: usize,
    /// For how many runtimes the watchdog has room.
    room: usize,
}

impl Mailboxes {
    pub(super) fn new() -> Mailboxes {
        let mailboxes = Mailboxes {
            inspector: Queue::new(MOST_COMMANDS, || Command::Stop),
            reporter: Queue::new(MOST_EVENTS, || Event::Stop),
            slots: Mutex::new(Slots::default()),
        };
        // For the last command and the last event.
        mailboxes.reserve();
        mailboxes
    }

    /// Reserves room for the messages of one watch that must not be lost.
    pub(super) fn reserve(&self) {
        // One for `Dispose`, one for `Free`.
        self.inspector.reserve();
        self.inspector.reserve();
        self.reporter.reserve();
    }

    /// Counts one more watched runtime. If the watchdog lacks room, returns for how many it needs some.
    pub(super) fn take_slot(&self) -> Option<usize> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.taken += 1;
        if slots.taken + SPARE_SLOTS <= slots.room {
            return None;
        }
        slots.room = 2 * (slots.taken + SPARE_SLOTS);
        Some(slots.room)
    }

    /// Counts one watched runtime less, once the inspector has received what was reserved for it.
    pub(super) fn give_slot_back(&self) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.taken -= 1;
        drop(slots);
        self.inspector.release();
        self.inspector.release();
    }

    /// Sends a command. Returns whether there was room: the inspector does without a lost command.
    pub(super) fn command(&self, command: Command) -> bool {
        self.inspector.push(command).is_ok()
    }

    /// Sends a command that room is reserved for.
    pub(super) fn command_reserved(&self, command: Command) {
        self.inspector.push_reserved(command);
    }

    /// Sends an event, which is refused if too many wait.
    pub(super) fn event(&self, event: Event) -> Result<(), Full> {
        self.reporter.push(event)
    }

    /// Answers a report. If that is refused, the report is published without an answer.
    pub(super) fn answer(&self, id: StallId, number: u32, findings: Findings) {
        let answer = Answer {
            id,
            number,
            findings,
        };
        self.event(Event::Answer(answer)).ok();
    }

    /// Sends an event that room is reserved for.
    pub(super) fn event_reserved(&self, event: Event) {
        self.reporter.push_reserved(event);
    }
}
