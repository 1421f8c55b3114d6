//! Prints culprits as a table for a terminal.

use std::fmt::{self, Write};
use std::time::Duration;

use super::blame::Blame;
use super::culprit::{Culprit, Tally};
use super::snapshot::Culprits;
use crate::stall::{Cause, Place};

const DEFAULT_WIDTH: usize = 80;

/// The columns of the numbers.
const NUMBERS: usize = 32;

/// The columns that the culprit has at the least.
const NARROWEST: usize = 12;

impl fmt::Display for Culprits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = f.width().unwrap_or(DEFAULT_WIDTH);
        let width = width.saturating_sub(NUMBERS).max(NARROWEST);
        write!(
            f,
            "{:>11}{:>8}{:>11}  culprit",
            "total", "stalls", "longest"
        )?;
        for culprit in self.iter() {
            row(f, culprit.tally(), Some(culprit.longest))?;
            let blame = plain(&culprit.blame.to_string());
            write!(f, "{}", last(&blame, width))?;
            let about = plain(&about(culprit));
            write!(f, "\n{:NUMBERS$}{}", "", first(&about, width))?;
        }
        if self.other().stalls > 0 {
            row(f, self.other(), None)?;
            f.write_str("other")?;
        }
        row(f, self.all(), None)?;
        f.write_str("all")
    }
}

fn row(f: &mut fmt::Formatter<'_>, tally: Tally, longest: Option<Duration>) -> fmt::Result {
    let seconds = |time: Duration| format!("{:.3} s", time.as_secs_f64());
    let longest = longest.map(seconds).unwrap_or_default();
    let total = seconds(tally.total);
    write!(f, "\n{total:>11}{:>8}{longest:>11}  ", tally.stalls)
}

/// The second line of a culprit: cause, place and time.
fn about(culprit: &Culprit) -> String {
    let last = culprit.last_seen.format("%H:%M:%S");
    let places = some(&culprit.places, Place::to_string);
    if let Blame::Cause(_) = culprit.blame {
        return format!("{places}, last at {last}");
    }
    let causes = some(&culprit.causes, Cause::to_string);
    format!("{causes}, {places}, last at {last}")
}

/// The part with the most time, and how many others there are.
fn some<T>(parts: &[(T, Tally)], print: impl Fn(&T) -> String) -> String {
    let first = parts.first().map(|(part, _)| print(part));
    let first = first.unwrap_or_default();
    match parts.len() {
        0 | 1 => first,
        more => format!("{first} and {} more", more - 1),
    }
}

/// Names come from the program, and a terminal obeys control characters.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            write!(plain, "{}", character.escape_default()).ok();
        } else {
            plain.push(character);
        }
    }
    plain
}

/// The beginning of a text that is too long.
fn first(text: &str, width: usize) -> String {
    match text.char_indices().nth(width) {
        Some(_) => text.chars().take(width - 1).chain(['…']).collect(),
        None => text.to_owned(),
    }
}

/// The end of a text that is too long: the file and the line.
fn last(text: &str, width: usize) -> String {
    let long = text.chars().count();
    if long <= width {
        return text.to_owned();
    }
    let rest = text.chars().skip(long - (width - 1));
    std::iter::once('…').chain(rest).collect()
}
