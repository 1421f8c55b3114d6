//! What a peer reports, and whether it is true.

use std::fmt::Display;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use crate::THRESHOLD;
use crate::blocks::{Block, FILE, FUNCTION, LINES};

/// A poll begins a little before what blocks in it.
const EARLIER: Duration = Duration::from_millis(20);

/// Which worker a report names, if any.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    Unknown,
    Worker(usize),
    /// By its thread's number.
    Thread(u32),
}

#[derive(Debug)]
pub(crate) struct Report {
    at: Instant,
    /// When the stall was by the report itself, for a peer that tells all at the end.
    of: Option<Instant>,
    place: Place,
    text: String,
    excused: bool,
}

/// Where a peer reports stalls. Any thread may, at any time.
#[derive(Clone, Debug)]
pub struct Reports(Sender<Report>);

pub(crate) fn channel() -> (Reports, Receiver<Report>) {
    let (told, heard) = mpsc::channel();
    (Reports(told), heard)
}

impl Reports {
    /// Reports a stall. Functions and places in the text as `file.rs:1` are found there.
    pub fn tell(&self, place: Place, text: impl Display) {
        self.send(Instant::now(), None, place, text, false);
    }

    /// Reports a stall that the program is not to blame for, as the report itself says.
    pub fn excuse(&self, place: Place, text: impl Display) {
        self.send(Instant::now(), None, place, text, true);
    }

    /// Reports a stall that was at another time.
    pub fn tell_of(&self, of: Instant, place: Place, text: impl Display) {
        self.send(Instant::now(), Some(of), place, text, false);
    }

    fn send(
        &self,
        at: Instant,
        of: Option<Instant>,
        place: Place,
        text: impl Display,
        excused: bool,
    ) {
        let text = text.to_string();
        // Nobody listens where only the cost is asked for.
        self.0
            .send(Report {
                at,
                of,
                place,
                text,
                excused,
            })
            .ok();
    }
}

impl Report {
    fn is_live(&self, block: &Block) -> bool {
        self.of.is_none() && self.at <= block.ended
    }

    fn names_worker(&self, block: &Block) -> bool {
        match self.place {
            Place::Unknown => false,
            Place::Worker(worker) => Some(worker) == block.worker,
            Place::Thread(thread) => Some(thread) == block.thread,
        }
    }

    fn names_function(&self) -> bool {
        self.text.contains(FUNCTION)
    }

    fn names_line(&self) -> bool {
        self.lines().any(|line| LINES.contains(&line))
    }

    /// A place in the right file, but not where it blocks: where the task was spawned.
    fn names_task(&self) -> bool {
        self.lines().next().is_some() && !self.names_line()
    }

    /// Lines of the file that blocks.
    fn lines(&self) -> impl Iterator<Item = u32> {
        let after = self.text.split(FILE).skip(1);
        after.filter_map(|rest| {
            let digits = rest.strip_prefix(':')?;
            let end = digits
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(digits.len());
            digits[..end].parse().ok()
        })
    }
}

/// Prints, for each block, what was told of it; then what was told of nothing.
pub(crate) fn judge(blocks: &[Block], reports: &[Report]) {
    let when = |report: &Report| report.of.map_or(report.at, |of| of + EARLIER);
    for (number, block) in blocks.iter().enumerate() {
        let next = blocks.get(number + 1);
        let of_block = |report: &&Report| {
            when(report) >= block.began && next.is_none_or(|next| when(report) < next.began)
        };
        let told: Vec<&Report> = reports.iter().filter(of_block).collect();
        let is = |what: &dyn Fn(&Report) -> bool| u8::from(told.iter().any(|report| what(report)));
        let late = told.first().map_or(f64::NAN, |report| {
            let due = block.began + THRESHOLD;
            report.at.saturating_duration_since(due).as_secs_f64() * 1e3
        });
        println!(
            "block {} {} {late:.1} {} {} {} {}",
            is(&|_| true),
            is(&|report| report.is_live(block)),
            is(&|report| report.names_worker(block)),
            is(&Report::names_function),
            is(&Report::names_line),
            is(&Report::names_task),
        );
    }
    let begins = blocks.first().map(|block| block.began);
    let of_nothing = |report: &&Report| begins.is_none_or(|begins| when(report) < begins);
    let (excused, alarms): (Vec<_>, Vec<_>) = reports
        .iter()
        .filter(of_nothing)
        .partition(|report| report.excused);
    println!("alarms {} {}", alarms.len(), excused.len());
    for report in alarms {
        eprintln!("false: {}", report.text.lines().next().unwrap_or_default());
    }
}
