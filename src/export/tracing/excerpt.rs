//! What of a stack is to be read at a glance.

use std::fmt;

use crate::stack::{StackTrace, culprit};

/// How many lines of a stack a log has, without those that say what is left out.
const LINES: usize = 20;

/// A stack cut in the middle: the culprit, its caller, and as many of the innermost and outermost
/// calls as there is room for.
pub(super) struct Excerpt<'a>(pub(super) &'a StackTrace);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let calls = calls(&text);
        let shown = choose(&calls, culprit(self.0));
        let mut left_out = 0;
        for (call, shown) in calls.iter().zip(shown) {
            if !shown {
                left_out += 1;
                continue;
            }
            if left_out > 0 {
                write!(f, "\n      (calls left out: {left_out})")?;
                left_out = 0;
            }
            for line in call {
                write!(f, "\n{line}")?;
            }
        }
        Ok(())
    }
}

/// The lines of each call. What is no call, such as a text that says why there is none, is one, too.
fn calls(text: &str) -> Vec<Vec<&str>> {
    let mut calls: Vec<Vec<&str>> = Vec::new();
    for line in text.lines() {
        let next = format!("{:>4}: ", calls.len());
        match calls.last_mut() {
            Some(call) if !line.starts_with(&next) => call.push(line),
            _ => calls.push(vec![line]),
        }
    }
    calls
}

/// Which of them to show.
fn choose(calls: &[Vec<&str>], culprit: Option<usize>) -> Vec<bool> {
    let most_wanted = culprit.into_iter().flat_map(|index| [index, index + 1]);
    let from_both_ends = (0..calls.len()).flat_map(|index| [index, calls.len() - 1 - index]);
    let mut shown = vec![false; calls.len()];
    let mut room = LINES;
    for index in most_wanted.chain(from_both_ends) {
        let Some(is_shown) = shown.get_mut(index).filter(|shown| !**shown) else {
            continue;
        };
        let Some(left) = room.checked_sub(calls[index].len()) else {
            break;
        };
        *is_shown = true;
        room = left;
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stack as it is printed, of calls with a file and without.
    fn stack(calls: usize, with_file: bool) -> String {
        let file = if with_file {
            "\n             at ./src/main.rs:1"
        } else {
            ""
        };
        let calls: Vec<_> = (0..calls)
            .map(|call| format!("{call:>4}: app::f{call}{file}"))
            .collect();
        calls.join("\n")
    }

    fn shown(calls_of: &str, culprit: Option<usize>) -> Vec<usize> {
        let shown = choose(&calls(calls_of), culprit);
        (0..shown.len()).filter(|index| shown[*index]).collect()
    }

    #[test]
    fn is_printed_as_the_stack_is_but_for_the_middle() {
        let library = "/cargo/registry/src/index.crates.io-1949cf8c6b5b557f/store-1.0.0/src/lib.rs";
        let mut calls = vec![("store::wait", Some(library)); 40];
        calls[25] = ("app::save", Some("/home/u/app/src/main.rs"));
        let trace = StackTrace::of(&calls);
        let excerpt = Excerpt(&trace).to_string();
        let whole = trace.to_string();
        let left_out = |line: &&str| line.starts_with("      (calls left out: ");
        let (gaps, lines): (Vec<_>, Vec<_>) = excerpt.lines().skip(1).partition(left_out);
        let expected = ["      (calls left out: 21)", "      (calls left out: 9)"];
        assert_eq!(gaps, expected, "{excerpt}");
        assert_eq!(lines.len(), LINES);
        assert!(
            lines
                .iter()
                .all(|line| whole.lines().any(|each| each == *line))
        );
        assert!(lines.contains(&"  25: app::save"), "{excerpt}");
        // One that is short is left as it is.
        let short = StackTrace::of(&calls[20..30]);
        assert_eq!(Excerpt(&short).to_string(), format!("\n{short}"));
    }

    #[test]
    fn a_short_stack_is_shown_whole() {
        assert_eq!(shown(&stack(10, true), Some(4)).len(), 10);
        assert_eq!(shown(&stack(20, false), None).len(), 20);
        assert_eq!(
            shown("no stack: the thread went on (in no system call)", None),
            [0]
        );
        assert_eq!(shown("", None), [0; 0]);
    }

    #[test]
    fn a_long_one_is_cut_in_the_middle() {
        let expected = [0, 1, 2, 3, 4, 45, 46, 47, 48, 49];
        assert_eq!(shown(&stack(50, true), None), expected);
        // What is said of the whole stack is said at its end.
        let doubtful = format!("{}\n      (outer calls are missing)", stack(50, true));
        assert!(shown(&doubtful, None).contains(&49));
    }

    #[test]
    fn the_culprit_and_its_caller_are_always_shown() {
        for calls in [11, 50, 1_000] {
            for culprit in 0..calls {
                let shown = shown(&stack(calls, true), Some(culprit));
                assert!(shown.contains(&culprit), "{culprit} of {calls}: {shown:?}");
                assert!(culprit + 1 == calls || shown.contains(&(culprit + 1)));
                assert_eq!(shown.len(), LINES / 2);
            }
        }
        let expected = [0, 1, 2, 3, 20, 21, 46, 47, 48, 49];
        assert_eq!(shown(&stack(50, true), Some(20)), expected);
    }
}
