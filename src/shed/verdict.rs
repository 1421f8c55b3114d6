//! What is decided for the requests to come, in one word that every thread reads.

use super::Reason;
use super::priority::Priority;

/// The share to refuse, and why. The share is at most [`ALL`], and calm is all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict(u32);

/// The share that refuses everything. A random number of 16 bits is below it.
const ALL: u32 = 1 << 16;

/// Set while the next sample is overdue.
const OVERDUE: u32 = 1 << 17;

impl Verdict {
    pub(super) const CALM: Verdict = Verdict(0);

    pub(super) fn new(share: f64, overdue: bool) -> Verdict {
        if overdue {
            return Verdict(ALL | OVERDUE);
        }
        // Rounded up: the smallest share is an overload, too.
        Verdict((share.clamp(0.0, 1.0) * f64::from(ALL)).ceil() as u32)
    }

    pub(super) fn from_bits(bits: u32) -> Verdict {
        Verdict(bits)
    }

    pub(super) fn into_bits(self) -> u32 {
        self.0
    }

    pub(super) fn is_calm(self) -> bool {
        self == Verdict::CALM
    }

    /// Returns whether it is refused because the next sample is overdue.
    pub(super) fn is_overdue(self) -> bool {
        self.0 & OVERDUE != 0
    }

    /// Returns the share of normal requests to refuse.
    pub(super) fn share(self) -> f64 {
        f64::from(self.0 & !OVERDUE) / f64::from(ALL)
    }

    /// Returns why to refuse a request, if it is to be refused.
    pub(super) fn refuse(self, priority: Priority, random: u16) -> Option<Reason> {
        let refuse = match priority {
            Priority::Optional => !self.is_calm(),
            Priority::Normal => u32::from(random) < self.0 & !OVERDUE,
            Priority::Critical => false,
        };
        let reason = if self.is_overdue() {
            Reason::Overdue
        } else {
            Reason::Lag
        };
        refuse.then_some(reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_optional_goes_first_and_the_critical_never() {
        for (share, normal) in [(0.0, 0), (1e-9, 1), (0.25, 16_384), (1.0, 65_536)] {
            let verdict = Verdict::new(share, false);
            let refused = |priority| {
                let refused = |random| verdict.refuse(priority, random) == Some(Reason::Lag);
                (0..=u16::MAX).filter(|random| refused(*random)).count()
            };
            assert_eq!(refused(Priority::Normal), normal, "{share}");
            let optional = if share > 0.0 { 65_536 } else { 0 };
            assert_eq!(refused(Priority::Optional), optional);
            assert_eq!(refused(Priority::Critical), 0);
            assert_eq!(verdict.is_calm(), optional == 0);
            assert!((verdict.share() - share).abs() < 1e-4);
        }
    }

    #[test]
    fn when_no_sample_comes_everything_is_refused_for_that() {
        let verdict = Verdict::new(0.0, true);
        assert_eq!(
            verdict.refuse(Priority::Normal, u16::MAX),
            Some(Reason::Overdue)
        );
        assert_eq!(verdict.refuse(Priority::Optional, 0), Some(Reason::Overdue));
        assert_eq!(verdict.refuse(Priority::Critical, 0), None);
        assert!((verdict.share() - 1.0).abs() < 1e-9);
    }
}
