//! Finds where Tokio notes what, by comparing what a thread has noted in different states. Pure.

use std::ops::Range;

use crate::stack::target::Look;

const WORD: usize = 8;

/// What else belongs to the current runtime is no further from the pointer to it, in bytes.
const BESIDE: usize = 16;

/// The random numbers are no further from the budget, in bytes.
const NEAR: usize = 64;

/// All thread-local variables of the main program on one thread, at one time.
pub(super) type Shot = Vec<u8>;

/// The states that a thread went through, in one round of the experiment.
#[derive(Debug)]
pub(super) struct Round {
    /// Outside of any runtime.
    pub(super) idle: Shot,
    /// One runtime is the current one.
    pub(super) entered: Shot,
    /// It has been entered a second time.
    pub(super) entered_twice: Shot,
    /// Another runtime is the current one.
    pub(super) entered_other: Shot,
    /// In a poll in `block_on`.
    pub(super) polling: Shot,
    /// In the same poll, with one unit of the budget spent.
    pub(super) spent: Shot,
    /// In a poll without a budget.
    pub(super) exempt: Shot,
    /// In a poll in a `block_on` that runs the scheduler.
    pub(super) driving: Shot,
    /// In a poll of a task.
    pub(super) in_task: Shot,
    /// The id of that task.
    pub(super) task: u64,
    /// Outside of any runtime again.
    pub(super) left: Shot,
}

impl Round {
    fn shots(&self) -> [&Shot; 10] {
        [
            &self.idle,
            &self.entered,
            &self.entered_twice,
            &self.entered_other,
            &self.polling,
            &self.spent,
            &self.exempt,
            &self.driving,
            &self.in_task,
            &self.left,
        ]
    }

    fn outside(&self) -> [&Shot; 5] {
        [
            &self.idle,
            &self.left,
            &self.entered,
            &self.entered_twice,
            &self.entered_other,
        ]
    }

    /// All states in which `entered`'s runtime is the current one.
    fn in_one(&self) -> [&Shot; 6] {
        [
            &self.entered,
            &self.entered_twice,
            &self.polling,
            &self.spent,
            &self.exempt,
            &self.driving,
        ]
    }
}

/// Whether all have the same bytes here.
fn agree(shots: &[&Shot], at: &Range<usize>) -> bool {
    shots
        .iter()
        .all(|shot| shot[at.clone()] == shots[0][at.clone()])
}

/// Where a thread notes what. The offsets are from the start of its thread-local variables.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Tells which runtime is the current one.
    current: Vec<usize>,
    /// Has another value than this one inside `block_on`.
    outside: (usize, u8),
    /// Has this value while there is a budget.
    polling: (usize, u8),
    /// A word that is zero unless the thread runs a scheduler.
    scheduler: usize,
    /// What is left of the budget.
    budget: usize,
    /// A word that is the id of the task that is polled.
    task: usize,
    /// The state of the thread's random numbers.
    seed: Vec<usize>,
}

impl Layout {
    /// Returns `None` if the rounds do not show it all.
    pub(super) fn of(rounds: &[Round]) -> Option<Layout> {
        let shots = rounds.iter().flat_map(Round::shots);
        let length = shots.map(Vec::len).min()?;
        let find = |size: usize, is_it: &dyn Fn(&Round, &Range<usize>) -> bool| -> Vec<usize> {
            (0..length.saturating_sub(size - 1))
                .step_by(size)
                .filter(|at| rounds.iter().all(|round| is_it(round, &(*at..at + size))))
                .collect()
        };
        let value = |of: fn(&Round) -> &Shot, at: usize| rounds.first().map(|round| of(round)[at]);
        let polling = only(&find(1, &is_budget))?;
        let outside = only(&find(1, &is_inside))?;
        let pointer = only(&find(WORD, &is_runtime))?;
        let beside = pointer.saturating_sub(BESIDE)..pointer + WORD + BESIDE;
        let kind = find(1, &is_kind).into_iter();
        let kind = kind.filter(|at| beside.contains(at));
        let rest = only(&find(1, &is_rest))?;
        let near = polling.saturating_sub(NEAR)..polling + NEAR;
        let seed = find(1, &is_seed).into_iter();
        let seed = seed.filter(|at| near.contains(at) && have_changed(rounds, *at));
        Some(Layout {
            current: (pointer..pointer + WORD).chain(kind).collect(),
            outside: (outside, value(|round| &round.idle, outside)?),
            polling: (polling, value(|round| &round.polling, polling)?),
            scheduler: only(&find(WORD, &is_scheduler))?,
            budget: rest,
            task: only(&find(WORD, &is_task))?,
            seed: seed.collect(),
        })
    }

    /// Returns the bytes that cover all of it.
    pub(super) fn span(&self) -> Range<usize> {
        let words = [self.scheduler, self.task].map(|word| [word, word + WORD - 1]);
        let bytes = [self.outside.0, self.polling.0, self.budget];
        let all = || {
            let lists = self.current.iter().chain(&self.seed).copied();
            lists.chain(words.into_iter().flatten()).chain(bytes)
        };
        all().min().unwrap_or(0)..all().max().map_or(0, |last| last + 1)
    }

    /// Returns which runtime is the current one, of what was noted in the span.
    pub(super) fn current_in(&self, noted: &[u8]) -> Vec<u8> {
        self.bytes(noted, &self.current)
    }

    pub(super) fn look(&self, noted: &[u8], current: &[u8]) -> Look {
        let byte = |at: usize| noted.get(at - self.span().start).copied();
        let mut scheduler = (self.scheduler..self.scheduler + WORD).map(byte);
        Look {
            polls: self.current_in(noted) == current
                && byte(self.outside.0).is_some_and(|value| value != self.outside.1)
                && byte(self.polling.0) == Some(self.polling.1),
            drives: scheduler.any(|byte| byte != Some(0)),
            budget: byte(self.budget),
            task: (self.task..self.task + WORD).filter_map(byte).collect(),
            seed: self.bytes(noted, &self.seed),
        }
    }

    fn bytes(&self, noted: &[u8], which: &[usize]) -> Vec<u8> {
        let start = self.span().start;
        let bytes = which.iter().filter_map(|at| noted.get(at - start));
        bytes.copied().collect()
    }
}

fn only(found: &[usize]) -> Option<usize> {
    match found {
        [only] => Some(*only),
        _ => None,
    }
}

fn is_budget(round: &Round, at: &Range<usize>) -> bool {
    let [idle, left, entered, twice, other] = round.outside();
    agree(&[idle, left, entered, twice, other, &round.exempt], at)
        && agree(&[&round.polling, &round.spent, &round.driving], at)
        && !agree(&[idle, &round.polling], at)
}

fn is_inside(round: &Round, at: &Range<usize>) -> bool {
    agree(&round.outside(), at)
        && agree(&[&round.polling, &round.spent, &round.exempt], at)
        && !agree(&[&round.idle, &round.polling], at)
        && !agree(&[&round.idle, &round.driving], at)
}

fn is_runtime(round: &Round, at: &Range<usize>) -> bool {
    agree(&round.in_one(), at) && !agree(&[&round.entered, &round.entered_other], at)
}

/// Whether there is a current runtime, and of which kind.
fn is_kind(round: &Round, at: &Range<usize>) -> bool {
    agree(&round.in_one(), at)
        && agree(&[&round.entered, &round.entered_other], at)
        && agree(&[&round.idle, &round.left], at)
        && !agree(&[&round.idle, &round.entered], at)
}

fn is_scheduler(round: &Round, at: &Range<usize>) -> bool {
    let [idle, left, entered, twice, other] = round.outside();
    let without = [
        idle,
        left,
        entered,
        twice,
        other,
        &round.polling,
        &round.exempt,
    ];
    agree(&without, at)
        && idle[at.clone()].iter().all(|byte| *byte == 0)
        && !agree(&[idle, &round.driving], at)
}

fn is_task(round: &Round, at: &Range<usize>) -> bool {
    let [idle, left, entered, twice, other] = round.outside();
    let without = [
        idle,
        left,
        entered,
        twice,
        other,
        &round.polling,
        &round.driving,
    ];
    agree(&without, at)
        && idle[at.clone()].iter().all(|byte| *byte == 0)
        && round.in_task[at.clone()] == round.task.to_ne_bytes()
}

/// What is left of the budget.
fn is_rest(round: &Round, at: &Range<usize>) -> bool {
    round.spent[at.start].checked_add(1) == Some(round.polling[at.start])
        && agree(&[&round.polling, &round.driving], at)
}

/// A `block_on` has a seed of its own for random numbers, and puts the former one back.
fn is_seed(round: &Round, at: &Range<usize>) -> bool {
    agree(&round.outside(), at) && agree(&[&round.polling, &round.spent], at)
}

/// Whether the polls of different rounds differ here.
fn have_changed(rounds: &[Round], at: usize) -> bool {
    let polls: Vec<_> = rounds.iter().map(|round| round.polling[at]).collect();
    polls.iter().any(|value| *value != polls[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What this thread notes, in an order that Tokio might choose.
    #[derive(Clone, Copy)]
    struct Noted {
        seed: u8,
        runtime: u8,
        kind: u8,
        depth: u8,
        scheduler: u8,
        inside: u8,
        budget: Option<u8>,
        task: u8,
    }

    const IDLE: Noted = Noted {
        seed: 7,
        runtime: 0,
        kind: 2,
        depth: 0,
        scheduler: 0,
        inside: 2,
        budget: None,
        task: 0,
    };

    fn shot(noted: Noted, noise: u8) -> Shot {
        let mut shot = vec![0; 64];
        shot[0] = noise;
        shot[9] = noted.seed;
        shot[16] = noted.kind;
        shot[24..27].copy_from_slice(&[noted.runtime, 0x55, 0x7f]);
        shot[32] = noted.depth;
        shot[40] = noted.scheduler;
        shot[50] = noted.inside;
        shot[52] = noted.budget.is_some().into();
        shot[53] = noted.budget.unwrap_or(99);
        shot[56] = noted.task;
        shot
    }

    fn round(number: u8) -> Round {
        let entered = |runtime, depth| Noted {
            runtime,
            kind: 0,
            depth,
            ..IDLE
        };
        let inside = |seed, budget| Noted {
            seed,
            inside: 1,
            budget,
            ..entered(0xa0, 1)
        };
        let noise = number * 20;
        let driving = Noted {
            scheduler: 0xcc,
            inside: 0,
            ..inside(number + 90, Some(128))
        };
        let in_task = Noted {
            task: number,
            ..driving
        };
        Round {
            idle: shot(IDLE, noise),
            entered: shot(entered(0xa0, 1), noise + 1),
            entered_twice: shot(entered(0xa0, 2), noise + 2),
            entered_other: shot(entered(0xb0, 1), noise + 3),
            polling: shot(inside(number + 30, Some(128)), noise + 4),
            spent: shot(inside(number + 30, Some(127)), noise + 5),
            exempt: shot(inside(number + 60, None), noise + 6),
            driving: shot(driving, noise + 7),
            in_task: shot(in_task, noise + 8),
            task: number.into(),
            left: shot(IDLE, noise + 9),
        }
    }

    #[test]
    fn finds_what_changes_with_each_state() {
        let layout = Layout::of(&[round(1), round(2), round(3)]).unwrap();
        assert_eq!(layout.current, (24..32).chain([16]).collect::<Vec<_>>());
        assert_eq!((layout.outside, layout.polling), ((50, 2), (52, 1)));
        assert_eq!((layout.scheduler, layout.budget), (40, 53));
        assert_eq!((layout.task, &layout.seed[..]), (56, &[9][..]));
        assert_eq!(layout.span(), 9..64);
    }

    #[test]
    fn finds_nothing_where_two_bytes_change_alike() {
        let mut rounds = [round(1), round(2)];
        for round in &mut rounds {
            for shot in [&mut round.polling, &mut round.spent, &mut round.driving] {
                shot[60] = 1;
            }
        }
        assert_eq!(Layout::of(&rounds), None);
        assert_eq!(Layout::of(&[]), None);
    }

    #[test]
    fn a_poll_has_a_runtime_a_block_on_and_a_budget() {
        let layout = Layout::of(&[round(1), round(2), round(3)]).unwrap();
        let state = round(5);
        let noted = |shot: &Shot| shot[layout.span()].to_vec();
        let current = layout.current_in(&noted(&state.entered));
        let look = |shot: &Shot| {
            let look = layout.look(&noted(shot), &current);
            (look.polls, look.drives)
        };
        for shot in state.outside().into_iter().chain([&state.exempt]) {
            assert_eq!(look(shot), (false, false));
        }
        assert_eq!(look(&state.polling), (true, false));
        assert_eq!(look(&state.driving), (true, true));
        let other = layout.current_in(&noted(&state.entered_other));
        assert!(!layout.look(&noted(&state.polling), &other).polls);
        let budget = |shot: &Shot| layout.look(&noted(shot), &current).budget;
        assert_eq!(
            [&state.polling, &state.spent].map(budget),
            [Some(128), Some(127)]
        );
        let task = |shot: &Shot| layout.look(&noted(shot), &current).task;
        assert_eq!(task(&state.in_task), 5_u64.to_ne_bytes());
        assert_eq!(task(&state.driving), [0; 8]);
    }
}
