//! Ranges of files and of memory, of which only the pages that are used are read and kept.
//!
//! Each page is taken from a budget: sizes that a file states are not trusted.

use std::cell::OnceCell;
use std::fmt;
use std::rc::Rc;

use super::budget::Budget;

pub(super) const PAGE: usize = 1 << PAGE_BITS;
const PAGE_BITS: u32 = 14;

/// Bounds the size of a range, in bytes: the list of the pages of a larger one would itself be large.
const MAX_SIZE: u64 = 1 << 32;

/// What can be read at an address or an offset.
pub(super) trait Origin: fmt::Debug {
    /// Fills all of `bytes`, or returns `None`.
    fn read(&self, at: u64, bytes: &mut [u8]) -> Option<()>;
}

/// A range of a file or of memory.
pub(super) struct Paged {
    size: usize,
    page_bits: u32,
    pages: Box<[OnceCell<Box<[u8]>>]>,
    /// Where pages are read from, and at which address or offset the range begins. `None` if all pages are
    /// in memory.
    origin: Option<(Rc<dyn Origin>, u64)>,
    budget: Rc<Budget>,
}

impl Paged {
    /// Returns `None` if the range is too large.
    pub(super) fn of(
        origin: Rc<dyn Origin>,
        at: u64,
        size: u64,
        budget: &Rc<Budget>,
    ) -> Option<Paged> {
        at.checked_add(size).filter(|_| size < MAX_SIZE)?;
        let size = usize::try_from(size).ok()?;
        Some(Paged {
            size,
            page_bits: PAGE_BITS,
            pages: (0..size.div_ceil(PAGE)).map(|_| OnceCell::new()).collect(),
            origin: Some((origin, at)),
            budget: Rc::clone(budget),
        })
    }

    /// Wraps bytes that are in memory already, and were taken from the budget.
    pub(super) fn whole(bytes: Vec<u8>, budget: &Rc<Budget>) -> Paged {
        Paged {
            size: bytes.len(),
            page_bits: usize::BITS - 1,
            pages: Box::new([OnceCell::from(bytes.into_boxed_slice())]),
            origin: None,
            budget: Rc::clone(budget),
        }
    }

    pub(super) fn size(&self) -> usize {
        self.size
    }

    pub(super) fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        let mut bytes = [0; N];
        self.read(at, &mut bytes)?;
        Some(bytes)
    }

    pub(super) fn read(&self, mut at: usize, mut bytes: &mut [u8]) -> Option<()> {
        while !bytes.is_empty() {
            let here = self.from(at)?;
            let (now, later) = bytes.split_at_mut(here.len().min(bytes.len()));
            now.copy_from_slice(&here[..now.len()]);
            at += now.len();
            bytes = later;
        }
        Some(())
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Returns the bytes from there to the end of the page. `None` if there are none, or they cannot be read.
    pub(super) fn from(&self, at: usize) -> Option<&[u8]> {
        let index = at >> self.page_bits;
        let page = self.pages.get(index)?;
        let page = match page.get() {
            Some(page) => page,
            None => {
                let loaded = self.load(index)?;
                page.get_or_init(|| loaded)
            }
        };
        let rest = page.get(at - (index << self.page_bits)..)?;
        (!rest.is_empty()).then_some(rest)
    }

    /// Whether another origin has the same bytes. It takes nothing from the budget, as nothing is kept.
    pub(super) fn is_same_as(&self, there: &dyn Origin, at: u64) -> bool {
        const CHUNK: usize = 64 << 10;
        let mut starts = (0..self.size).step_by(CHUNK);
        starts.all(|start| {
            let size = CHUNK.min(self.size - start);
            let [mut own, mut other] = [vec![0; size], vec![0; size]];
            let read = match &self.origin {
                Some((origin, from)) => origin.read(from + start as u64, &mut own),
                None => self.read(start, &mut own),
            };
            let at = at.saturating_add(start as u64);
            read.and_then(|()| there.read(at, &mut other)).is_some() && own == other
        })
    }

    #[cfg(test)]
    pub(super) fn to_vec(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.size];
        self.read(0, &mut bytes).unwrap();
        bytes
    }

    fn load(&self, index: usize) -> Option<Box<[u8]>> {
        let (origin, at) = self.origin.as_ref()?;
        let start = index << self.page_bits;
        let size = PAGE.min(self.size - start);
        self.budget.take(size as u64)?;
        let mut bytes = vec![0; size].into_boxed_slice();
        origin.read(at + start as u64, &mut bytes)?;
        Some(bytes)
    }
}

impl fmt::Debug for Paged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Paged")
            .field("origin", &self.origin)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}
