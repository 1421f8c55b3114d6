//! A monitor's instrumented futures under watch: which of their polls are stalls. What the threads record of
//! their polls is in `polls.rs`.
//!
//! A poll is a stall for as long as it lasts for the threshold, apart from the time that futures within it were
//! being polled whose polls were stalls themselves: that time is theirs. Threads measure the end of a poll, so
//! that its length is exact; the watchdog only notices polls that go on.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::awake_clock::{AwakeInstant, AwakeTime};
use super::case::{Case, Desk};
use super::lost_time::LostTime;
use super::mailboxes::Mailboxes;
use super::messages::{Command, Due, Event, Stamp, Suspect};
use super::poll_subject::PollSubject;
use crate::polls::{EndedPoll, PollId, Polls, Running};
use crate::stall::{Phase, Place};

/// How many long polls of one monitor are reported while they last. Further ones are reported at their end.
const MOST: usize = 256;

/// Has all its memory before the watchdog sees it.
#[derive(Debug)]
pub(super) struct PollWatch {
    subject: Arc<PollSubject>,
    long: Vec<LongPoll>,
    due: AwakeInstant,
    lost_reports: u64,
}

/// A poll that has lasted for half the threshold.
#[derive(Debug)]
struct LongPoll {
    poll: PollId,
    case: Case,
    lasted: Duration,
    /// After which time the next report is due.
    next: Duration,
    /// How often in a row the poll was not seen.
    unseen: u8,
}

/// One pass over the threads that poll.
pub(super) struct Pass<'a> {
    pub(super) time: AwakeTime,
    pub(super) now: Instant,
    pub(super) lost: &'a LostTime,
    pub(super) mailboxes: &'a Mailboxes,
    pub(super) polls: &'static Polls,
}

impl Pass<'_> {
    /// For how long the process has run in the last `passed` until `until`.
    fn awake(&self, passed: Duration, until: Instant) -> Duration {
        let began = until.checked_sub(passed);
        let lost = began.map_or(Duration::ZERO, |began| self.lost.between(began, until));
        passed.saturating_sub(lost)
    }
}

impl PollWatch {
    pub(super) fn new(subject: Arc<PollSubject>) -> PollWatch {
        PollWatch {
            subject,
            long: Vec::with_capacity(MOST),
            due: AwakeInstant::START,
            lost_reports: 0,
        }
    }

    pub(super) fn subject(&self) -> &PollSubject {
        &self.subject
    }

    /// One of the polls of a thread, the outermost first.
    pub(super) fn see(&mut self, thread: &[Running], index: usize, pass: &Pass<'_>) {
        let running = thread[index];
        let threshold = self.subject.threshold;
        let mut lasted = pass.awake(running.lasted, pass.now);
        let mut within = thread[index + 1..].iter();
        if let Some(inner) = within.find(|inner| inner.watch == running.watch) {
            let inner = pass.awake(inner.lasted, pass.now);
            if inner >= threshold / 2 {
                lasted = lasted.saturating_sub(inner);
            }
        }
        lasted = lasted.saturating_sub(running.reported_within);
        let known = self.long.iter().position(|long| long.poll == running.poll);
        let next = match known {
            Some(known) => self.follow(known, running, lasted, pass),
            None if lasted < threshold / 2 => threshold / 2,
            None => self.suspect(running.poll, lasted, pass),
        };
        self.due = self.due.min(pass.time.now + next.saturating_sub(lasted));
    }

    /// Returns after which time something is due.
    fn suspect(&mut self, poll: PollId, lasted: Duration, pass: &Pass<'_>) -> Duration {
        if self.long.len() == MOST {
            return Duration::MAX;
        }
        let mut case = Case::default();
        let suspect = Suspect::Poll {
            subject: Arc::clone(&self.subject),
            poll,
        };
        case.suspect(suspect, Stamp::new(pass.time.now), pass.mailboxes);
        let next = self.subject.threshold;
        self.long.push(LongPoll {
            poll,
            case,
            lasted,
            next,
            unseen: 0,
        });
        next
    }

    /// Returns after which time something is due.
    fn follow(
        &mut self,
        known: usize,
        running: Running,
        lasted: Duration,
        pass: &Pass<'_>,
    ) -> Duration {
        let long = &mut self.long[known];
        long.unseen = 0;
        long.lasted = lasted;
        if lasted < long.next {
            return long.next;
        }
        let mut name = None;
        if !long.case.is_open() {
            name = pass.polls.name(running.future);
            if name.is_none() || !pass.polls.is_running(running.poll) {
                // The poll is over, and the name may be another's.
                pass.polls.drop_elsewhere(name, None);
                return long.next;
            }
        }
        let phase = if long.next == self.subject.threshold {
            Phase::Started
        } else {
            Phase::Ongoing
        };
        long.next = long.next.saturating_mul(2);
        let due = long.due(pass);
        let mut desk = desk(&self.subject, &mut self.lost_reports, pass.mailboxes);
        long.case.report_live(phase, || place(name), due, &mut desk);
        long.next
    }

    /// A poll that was too long has ended.
    pub(super) fn ended(&mut self, ended: EndedPoll, pass: &Pass<'_>) {
        let EndedPoll {
            poll,
            name,
            thread,
            ended: over,
        } = ended;
        let known = self.long.iter().position(|long| long.poll == poll.poll);
        let mut long = match known {
            Some(known) => self.long.swap_remove(known),
            None => LongPoll {
                poll: poll.poll,
                case: Case::default(),
                lasted: Duration::ZERO,
                next: Duration::ZERO,
                unseen: 0,
            },
        };
        long.lasted = poll.at_most.saturating_sub(poll.reported_within);
        let awake = pass.awake(poll.lasted, over);
        let certain = awake.saturating_sub(poll.reported_within);
        if certain < self.subject.threshold && !long.case.is_open() {
            // The process was paused meanwhile.
            long.case.clear(pass.mailboxes);
            return pass.polls.drop_elsewhere(Some(name), Some(thread));
        }
        let mut name = Some(name);
        let mut due = long.due(pass);
        due.at = due.at.moved_to(over);
        due.at_least = certain;
        let began = due.at.awake_at(over) - poll.at_most;
        let mut desk = desk(&self.subject, &mut self.lost_reports, pass.mailboxes);
        let place = || place(name.take());
        long.case
            .report_end(began, place, Some(thread), due, &mut desk);
        pass.polls.drop_elsewhere(name, None);
    }

    /// After all threads have been seen. Returns when the next pass is due.
    pub(super) fn settle(&mut self, pass: &Pass<'_>) -> AwakeInstant {
        let mut index = 0;
        while let Some(long) = self.long.get_mut(index) {
            long.unseen += 1;
            // The thread hands a long poll over before that ends, so it would have arrived by the next pass.
            if long.unseen <= 2 {
                index += 1;
                continue;
            }
            let mut long = self.long.swap_remove(index);
            if long.case.is_open() {
                let due = long.due(pass);
                let began = pass.time.now - long.lasted;
                let mut desk = desk(&self.subject, &mut self.lost_reports, pass.mailboxes);
                long.case
                    .report_end(began, || place(None), None, due, &mut desk);
            } else {
                long.case.clear(pass.mailboxes);
            }
        }
        let next_tick = pass.time.now + self.subject.tick();
        std::mem::replace(&mut self.due, AwakeInstant::START + Duration::MAX).min(next_tick)
    }

    /// Has the channel closed, and the watch dropped on another thread.
    pub(super) fn end(self: Box<Self>, mailboxes: &Mailboxes) {
        let subject = Arc::clone(&self.subject);
        mailboxes.event_reserved(Event::End(Arc::clone(&subject.outlet)));
        mailboxes.command_reserved(Command::DisposePolls {
            subject,
            watch: self,
        });
    }
}

impl LongPoll {
    fn due(&self, pass: &Pass<'_>) -> Due {
        self.case.due(self.lasted, None, pass.time.now)
    }
}

/// The place of a poll whose name is known, unless its stall is open and has the name.
fn place(name: Option<Arc<str>>) -> Place {
    Place::Future(name.unwrap_or_default())
}

fn desk<'a>(
    subject: &'a PollSubject,
    lost_reports: &'a mut u64,
    mailboxes: &'a Mailboxes,
) -> Desk<'a> {
    Desk {
        mailboxes,
        outlet: &subject.outlet,
        monitor: subject.name.as_ref(),
        threshold: subject.threshold,
        lost_reports,
    }
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests;
