//! What one watch has found: every culprit once, and what the panic's message says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::allow::Allowed;
use super::session::IS_OVER;
use super::settings::Settings;
use super::verdict::{Excuse, Seen, Verdict, is_in};
use crate::stack::StackTrace;
use crate::stall::{Cause, Place, Stall};

/// From this threshold on, a stall lasts long enough for its stack.
const SHORTEST_WITH_STACK: Duration = Duration::from_millis(5);

/// What was found.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    settings: &'a Settings,
    culprits: Vec<Culprit>,
    excused: BTreeMap<Pardon, usize>,
    unused: Vec<&'a Allowed>,
    missed: u64,
}

/// Why a stall is not denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Pardon {
    Excused(Excuse),
    /// It is on the list.
    Listed,
    /// It may be on the list.
    MayBeListed,
    /// A panic prints its backtrace, which takes long.
    Panics,
    /// It is in `block_in_place`.
    InPlace,
    /// It is for a lock that Tokio itself takes, and holds for no longer than a thread that has a CPU needs.
    TokiosLock,
}

/// What blocks in one place in the code.
#[derive(Debug)]
pub(super) struct Culprit {
    /// The function, file and line, or else where the stall was.
    pub(super) name: String,
    places: BTreeSet<String>,
    causes: BTreeSet<String>,
    pub(super) times: usize,
    pub(super) total: Duration,
    pub(super) longest: Duration,
    pub(super) trace: Option<Arc<StackTrace>>,
}

/// A stall that is denied.
struct Denied<'a> {
    place: &'a Place,
    cause: Cause,
    lasted: Duration,
    trace: Option<&'a Arc<StackTrace>>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(
        settings: &'a Settings,
        seen: impl IntoIterator<Item = Seen>,
        missed: u64,
    ) -> Findings<'a> {
        let mut findings = Findings {
            culprits: Vec::new(),
            excused: BTreeMap::new(),
            unused: Vec::new(),
            missed,
            settings,
        };
        let mut used = BTreeSet::new();
        for stall in seen {
            if let Err(pardon) = findings.add(&stall, &mut used) {
                *findings.excused.entry(pardon).or_default() += 1;
            }
        }
        let entries = findings.settings.allowed.iter().enumerate();
        let unused = entries.filter(|(index, _)| !used.contains(index));
        findings.unused = unused.map(|(_, entry)| entry).collect();
        findings
    }

    fn add(&mut self, seen: &Seen, used: &mut BTreeSet<usize>) -> Result<(), Pardon> {
        let (cause, lasted) = match seen.verdict {
            Verdict::Blocks { cause, lasted } => (cause, lasted),
            Verdict::Excused(excuse) => return Err(Pardon::Excused(excuse)),
        };
        let denied = Denied {
            place: &seen.place,
            cause,
            lasted,
            trace: trace_of(&seen.reports),
        };
        if denied.trace.is_some_and(|trace| is_in(trace, PANICS)) {
            return Err(Pardon::Panics);
        }
        if each_stack(&seen.reports, StackTrace::has_handed_over) {
            return Err(Pardon::InPlace);
        }
        if each_stack(&seen.reports, waits_for_tokio) {
            return Err(Pardon::TokiosLock);
        }
        let allowed = &self.settings.allowed;
        let mut matching = (0..allowed.len())
            .filter(|index| allowed[*index].matches(cause, denied.place, denied.trace))
            .peekable();
        if matching.peek().is_some() {
            used.extend(matching);
            return Err(Pardon::Listed);
        }
        let has_stack = denied.trace.is_some_and(|trace| trace.no_stack().is_none());
        let may_be_listed = !has_stack && allowed.iter().any(Allowed::is_path);
        if may_be_listed && self.settings.threshold >= SHORTEST_WITH_STACK {
            return Err(Pardon::MayBeListed);
        }
        self.blame(&denied);
        Ok(())
    }

    fn blame(&mut self, denied: &Denied<'_>) {
        let name = denied.name();
        let known = self.culprits.iter().position(|known| known.name == name);
        let index = known.unwrap_or_else(|| {
            self.culprits.push(Culprit::new(name));
            self.culprits.len() - 1
        });
        self.culprits[index].add(denied);
    }

    pub(super) fn culprits(&self) -> &[Culprit] {
        &self.culprits
    }

    /// Whether the test fails.
    pub(super) fn fail(&self) -> bool {
        let denies_unused = self.settings.denies_unused && !self.unused.is_empty();
        !self.culprits.is_empty() || denies_unused
    }
}

/// The traces that were taken during the stall, the latest first.
fn traces(reports: &[Stall]) -> impl Iterator<Item = &Arc<StackTrace>> {
    let traces = reports.iter().rev();
    let traces = traces.filter_map(|stall| stall.trace.as_ref());
    traces.filter(|trace| !is_in(trace, IS_OVER))
}

/// The stacks among them.
fn stacks(reports: &[Stall]) -> impl Iterator<Item = &Arc<StackTrace>> {
    traces(reports).filter(|trace| trace.no_stack().is_none())
}

/// Whether there is a stack, and each shows this.
fn each_stack(reports: &[Stall], shows: fn(&StackTrace) -> bool) -> bool {
    let mut stacks = stacks(reports).peekable();
    stacks.peek().is_some() && stacks.all(|stack| shows(stack))
}

/// Whether the thread is about to get a lock by which Tokio guards its own state.
fn waits_for_tokio(trace: &StackTrace) -> bool {
    let mut functions = trace.frames().iter().filter_map(|frame| frame.function());
    functions.any(|function| {
        let function = function.trim_start_matches('<');
        function.starts_with("tokio::loom::std::")
            && LOCKS.iter().any(|lock| function.ends_with(lock))
    })
}

/// How the functions end that wait for a lock.
const LOCKS: [&str; 3] = ["::lock", "::read", "::write"];

/// The latest stack that was taken during the stall, best outside of `block_in_place`. If there is none, the latest
/// trace that says why.
fn trace_of(reports: &[Stall]) -> Option<&Arc<StackTrace>> {
    let outside = stacks(reports).find(|stack| !stack.has_handed_over());
    outside
        .or_else(|| stacks(reports).next())
        .or_else(|| traces(reports).next())
}

/// What the standard library calls when code panics.
const PANICS: &str = "std::panicking::panic_with_hook";

impl Denied<'_> {
    fn name(&self) -> String {
        match self.trace.and_then(|trace| trace.culprit()) {
            Some(culprit) => culprit.brief().to_string(),
            None => self.place.to_string(),
        }
    }
}

impl Culprit {
    pub(super) fn new(name: String) -> Culprit {
        Culprit {
            name,
            places: BTreeSet::new(),
            causes: BTreeSet::new(),
            times: 0,
            total: Duration::ZERO,
            longest: Duration::ZERO,
            trace: None,
        }
    }

    fn add(&mut self, denied: &Denied<'_>) {
        self.add_words(&denied.cause.to_string(), &denied.place.to_string());
        self.times += 1;
        self.total += denied.lasted;
        let is_longest = denied.lasted >= self.longest;
        self.longest = self.longest.max(denied.lasted);
        if is_longest && denied.trace.is_some() || self.trace.is_none() {
            self.trace = denied.trace.cloned();
        }
    }
}

impl Culprit {
    pub(super) fn add_words(&mut self, cause: &str, place: &str) {
        self.causes.insert(cause.to_owned());
        self.places.insert(place.to_owned());
    }

    pub(super) fn causes(&self) -> String {
        list(&self.causes)
    }

    pub(super) fn places(&self) -> String {
        list(&self.places)
    }
}

/// The message of the panic.
impl fmt::Display for Findings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threshold = self.settings.threshold;
        match self.culprits.len() {
            0 => f.write_str("the code under test did not block")?,
            1 => write!(f, "the code under test blocked for {threshold:?} or more")?,
            places => write!(
                f,
                "the code under test blocked for {threshold:?} or more, in {places} places"
            )?,
        }
        for culprit in &self.culprits {
            write!(f, "\n\n{culprit}")?;
        }
        f.write_str("\n")?;
        for (pardon, count) in &self.excused {
            if *pardon != Pardon::Excused(Excuse::SamePoll) {
                write!(f, "\nnot counted: {count} {pardon}")?;
            }
        }
        for entry in &self.unused {
            write!(f, "\nallowed, and not seen: {entry}")?;
        }
        if self.missed > 0 {
            write!(f, "\nand {} reports more than were kept", self.missed)?;
        }
        Ok(())
    }
}

impl fmt::Display for Culprit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        let seconds = |duration: Duration| duration.as_secs_f64();
        match self.times {
            1 => write!(f, "\n    once, for {:.3} s", seconds(self.longest))?,
            times => write!(
                f,
                "\n    {times} times, for {:.3} s in all and {:.3} s at most",
                seconds(self.total),
                seconds(self.longest)
            )?,
        }
        write!(f, ": {}; {}", self.causes(), self.places())?;
        match &self.trace {
            Some(trace) => write!(f, "\n{trace}"),
            None => f.write_str("\nno stack: it was over before one could be taken"),
        }
    }
}

fn list(words: &BTreeSet<String>) -> String {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    words.join(", ")
}

impl fmt::Display for Pardon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Pardon::Excused(Excuse::Starved) => "that waited for a CPU",
            Pardon::Excused(Excuse::Crowded) => "that may have waited for a thread without a CPU",
            Pardon::Excused(Excuse::Unattended) => "of a runtime that nobody drove",
            Pardon::Excused(Excuse::Unknown) => "of unknown cause",
            Pardon::Excused(Excuse::Region) => "in `allow_blocking`",
            Pardon::Excused(Excuse::SamePoll) => "seen twice",
            Pardon::Panics => "in a panic, which printed its backtrace",
            Pardon::InPlace => "in `block_in_place`",
            Pardon::TokiosLock => "for a lock of Tokio's own, whose holder had no CPU",
            Pardon::Listed => "on the list of what is allowed",
            Pardon::MayBeListed => "without a stack, which may be on the list of what is allowed",
        })
    }
}

#[cfg(all(test, not(loopmon_loom)))]
mod tests;
