//! Shortens a stack for a log. `StackTrace` prints the whole stack.

use std::fmt;

use crate::stack::StackTrace;

/// How many lines of a stack a log has, not counting those that say how many calls are left out.
const LINES: usize = 20;

/// Prints a stack with the middle left out: the culprit, its caller, and as many of the innermost and
/// outermost calls as there is room for.
pub(super) struct Excerpt<'a>(pub(super) &'a StackTrace);

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let calls = calls(&text);
        let shown = choose(&calls, self.0.culprit_index());
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

/// Splits the text into the lines of each call. A text without calls, such as the reason why there is
/// no stack, counts as one call.
fn calls(text: &str) -> Vec<Vec<&str>> {
    let mut calls: Vec<Vec<&str>> = Vec::new();
    for line in text.lines() {
        let next = format!("{:>3}: ", calls.len());
        let unmarked = line.strip_prefix(['>', ' ']).unwrap_or(line);
        match calls.last_mut() {
            Some(call) if !unmarked.starts_with(&next) => call.push(line),
            _ => calls.push(vec![line]),
        }
    }
    calls
}

/// Returns which calls to show.
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

    /// A stack as it is printed, with or without files.
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
        let trace = StackTrace::of(&calls, Some(25));
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
        assert!(lines.contains(&"> 25: app::save"), "{excerpt}");
        // A short stack is printed whole.
        let short = StackTrace::of(&calls[20..30], Some(5));
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
        // A remark on the whole stack is at its end.
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
