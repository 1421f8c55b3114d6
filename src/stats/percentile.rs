//! A percentile and its nearest rank. It knows no values.

use std::fmt;

use crate::error::{Error, Kind};

/// A percentile, from 0 to 100: the median is the 50th.
///
/// Of `n` sorted values it is the one at the nearest rank, `⌈percentile / 100 × n⌉`, counted from one. So
/// it is always one of the values, and never lies between two of them. The 0th percentile is the smallest
/// value, the 100th the largest.
///
/// ```
/// use loopmon::Percentile;
///
/// assert_eq!(Percentile::new(99.9)?, Percentile::P999);
/// assert!(Percentile::new(f64::NAN).unwrap_err().is_invalid_percentile());
/// # Ok::<(), loopmon::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Percentile {
    /// Holds a whole number: 99.9 % of 1,000 values is the 999th, and floats would make it the 1,000th.
    billionths: u32,
}

const WHOLE: u32 = 1_000_000_000;

impl Percentile {
    /// The median.
    pub const P50: Percentile = Percentile::thousandths(500);
    /// The 90th percentile.
    pub const P90: Percentile = Percentile::thousandths(900);
    /// The 95th percentile.
    pub const P95: Percentile = Percentile::thousandths(950);
    /// The 99th percentile.
    pub const P99: Percentile = Percentile::thousandths(990);
    /// The 99.9th percentile.
    pub const P999: Percentile = Percentile::thousandths(999);

    const fn thousandths(thousandths: u32) -> Percentile {
        Percentile {
            billionths: WHOLE / 1_000 * thousandths,
        }
    }

    /// The percentile `percent`, rounded to seven decimals.
    ///
    /// # Errors
    ///
    /// If it is not within `0.0..=100.0`, `NaN` included.
    pub fn new(percent: f64) -> Result<Percentile, Error> {
        if !(0.0..=100.0).contains(&percent) {
            return Err(Kind::InvalidPercentile.into());
        }
        Ok(Percentile {
            billionths: (percent / 100.0 * f64::from(WHOLE)).round() as u32,
        })
    }

    /// Returns the nearest rank among `count` values, counted from one.
    pub(crate) fn rank(self, count: usize) -> usize {
        let rank = (count as u128 * u128::from(self.billionths)).div_ceil(u128::from(WHOLE));
        (rank as usize).max(1)
    }
}

impl fmt::Debug for Percentile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = f64::from(self.billionths) / f64::from(WHOLE / 100);
        f.debug_tuple("Percentile").field(&percent).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_nearest_rank() {
        let table = [
            (Percentile::P50, 1, 1),
            (Percentile::P50, 2, 1),
            (Percentile::P50, 3, 2),
            (Percentile::P90, 10, 9),
            (Percentile::P90, 11, 10),
            (Percentile::P95, 20, 19),
            (Percentile::P99, 100, 99),
            (Percentile::P99, 101, 100),
            (Percentile::P999, 1_000, 999),
            (Percentile::P999, 1_001, 1_000),
        ];
        for (percentile, count, rank) in table {
            assert_eq!(percentile.rank(count), rank, "{percentile:?} of {count}");
        }
    }

    #[test]
    fn the_ends_are_the_least_and_the_largest() {
        for count in [1, 2, 7, usize::MAX] {
            assert_eq!(Percentile::new(0.0).unwrap().rank(count), 1);
            assert_eq!(Percentile::new(100.0).unwrap().rank(count), count);
        }
    }

    #[test]
    fn refuses_what_is_no_percentile() {
        for percent in [f64::NAN, f64::INFINITY, -0.1, 100.1] {
            let error = Percentile::new(percent).unwrap_err();
            assert!(error.is_invalid_percentile(), "{percent}");
        }
    }

    #[test]
    fn prints_as_a_number_of_percent() {
        assert_eq!(format!("{:?}", Percentile::P999), "Percentile(99.9)");
    }
}
