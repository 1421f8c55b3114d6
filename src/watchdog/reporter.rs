//! The thread that publishes what the watchdog has found.
//!
//! Publishing takes the lock of a channel and wakes its readers. The watchdog does neither: it puts a
//! report into a queue, or counts it as lost if the queue is full. How long a report waits for the
//! inspector's answer and for its stack: `reporter/pending.rs`.

mod pending;

use std::sync::Arc;

use super::mailboxes::Mailboxes;
use super::messages::{Event, Findings};
use crate::clock;
use crate::foreign;
use crate::stack::{self, ResolverThread, StackSnapshot};
use pending::PendingReports;

/// Publishes until the last event.
pub(super) fn run(mailboxes: &Arc<Mailboxes>) {
    stack::block_signals();
    let events = Arc::clone(mailboxes);
    let start = || {
        ResolverThread::start(move || {
            events.event(Event::Resolved).ok();
        })
    };
    // Started before a stall needs it. If the system refuses the thread, each stack counts as resolved, to
    // nothing.
    let resolver = stack::ARE_TAKEN.then(start).and_then(Result::ok);
    let mut pending = PendingReports::new();
    let mut is_last = false;
    while !is_last || pending.is_ending() {
        let event = mailboxes.reporter.pop(pending.due_at());
        is_last |= matches!(event, Some(Event::Stop));
        // A bug of loopmon costs the one event, and the panic hook has reported it.
        foreign::call(|| handle(event, &mut pending, resolver.as_ref(), mailboxes)).ok();
    }
}

fn handle(
    event: Option<Event>,
    pending: &mut PendingReports,
    resolver: Option<&ResolverThread>,
    mailboxes: &Mailboxes,
) {
    let now = clock::now();
    match event {
        Some(Event::Report(report)) => pending.arrive(report, now),
        Some(Event::Answer(answer)) => {
            if let Findings::Found { snapshot, .. } = &answer.findings {
                resolve(resolver, snapshot.as_ref());
            }
            pending.answer(answer, now);
        }
        Some(Event::Stack(stack)) => {
            resolve(resolver, stack.snapshot.as_ref());
            pending.stack(stack);
        }
        Some(Event::End(outlet)) => {
            mailboxes.reporter.release();
            pending.end(outlet, now);
        }
        Some(Event::Resolved | Event::Stop) | None => {}
    }
    pending.publish(now);
}

fn resolve(resolver: Option<&ResolverThread>, snapshot: Option<&Arc<StackSnapshot>>) {
    if let Some(unresolved) = snapshot.and_then(StackSnapshot::unresolved) {
        // Without a resolver, dropping it marks the stack as resolved.
        if let Some(resolver) = resolver {
            resolver.resolve(unresolved);
        }
    }
}
