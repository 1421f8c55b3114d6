//! Medians and their spread.

use std::fmt;

/// What one question gave, over the rounds.
pub(crate) struct Figures(Vec<f64>);

impl FromIterator<f64> for Figures {
    fn from_iter<I: IntoIterator<Item = f64>>(iter: I) -> Figures {
        let mut figures: Vec<f64> = iter.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        Figures(figures)
    }
}

impl Figures {
    /// The nearest rank; `share` is 0.5 for the median.
    pub(crate) fn at(&self, share: f64) -> f64 {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or(f64::NAN)
    }
}

/// `median [first quartile, third quartile]`, right-aligned.
impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = f.precision().unwrap_or(1);
        let [median, low, high] = [0.5, 0.25, 0.75].map(|share| self.at(share));
        let text = format!("{median:.digits$} [{low:.digits$}, {high:.digits$}]");
        write!(f, "{text:>width$}", width = f.width().unwrap_or(0))
    }
}
