//! Pieces of files and of memory, of which only what is looked at is read and kept.
//!
//! What they say of their own sizes is not believed: whatever is read is taken from a budget, and so
//! is every step of those who read, as what they make of it takes memory and time.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::fmt;
use std::rc::Rc;

use addr2line::gimli::{Error, LittleEndian, Reader, ReaderOffsetId, Result, leb128};

const PAGE: usize = 1 << PAGE_BITS;
const PAGE_BITS: u32 = 14;

/// What is larger is not looked at: a list of its pages would be large in itself.
const LARGEST: u64 = 1 << 32;

/// What can be read at an address or an offset.
pub(super) trait Origin: fmt::Debug {
    /// All of `bytes`, or `None`.
    fn read(&self, at: u64, bytes: &mut [u8]) -> Option<()>;
}

/// What may be read, until it is made anew.
#[derive(Debug)]
pub(super) struct Budget {
    bytes: Cell<u64>,
    steps: Cell<u64>,
    fell_short: Cell<bool>,
}

impl Budget {
    pub(super) fn new(bytes: u64, steps: u64) -> Rc<Budget> {
        Rc::new(Budget {
            bytes: Cell::new(bytes),
            steps: Cell::new(steps),
            fell_short: Cell::new(false),
        })
    }

    /// `None` if there are not so many left.
    pub(super) fn take(&self, bytes: u64) -> Option<()> {
        let left = self.bytes.get().checked_sub(bytes);
        self.fell_short.set(self.fell_short.get() || left.is_none());
        self.bytes.set(left?);
        Some(())
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.bytes.set(self.bytes.get().saturating_add(bytes));
    }

    fn step(&self) -> Result<()> {
        let left = self.steps.get();
        if left == 0 {
            self.fell_short.set(true);
            return Err(Error::Io);
        }
        self.steps.set(left - 1);
        Ok(())
    }

    /// Whether more was asked for than there was.
    pub(super) fn fell_short(&self) -> bool {
        self.fell_short.get()
    }
}

/// A piece of a file or of memory.
pub(super) struct Paged {
    size: usize,
    page_bits: u32,
    pages: Box<[OnceCell<Box<[u8]>>]>,
    /// Where it is, for the pages that are not there yet.
    origin: Option<(Rc<dyn Origin>, u64)>,
    budget: Rc<Budget>,
}

impl Paged {
    /// `None` if it is too large.
    pub(super) fn of(
        origin: Rc<dyn Origin>,
        at: u64,
        size: u64,
        budget: &Rc<Budget>,
    ) -> Option<Paged> {
        at.checked_add(size).filter(|_| size < LARGEST)?;
        let size = usize::try_from(size).ok()?;
        Some(Paged {
            size,
            page_bits: PAGE_BITS,
            pages: (0..size.div_ceil(PAGE)).map(|_| OnceCell::new()).collect(),
            origin: Some((origin, at)),
            budget: Rc::clone(budget),
        })
    }

    /// What is in memory already, and paid for.
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

    fn read(&self, mut at: usize, mut bytes: &mut [u8]) -> Option<()> {
        while !bytes.is_empty() {
            let here = self.from(at)?;
            let (now, later) = bytes.split_at_mut(here.len().min(bytes.len()));
            now.copy_from_slice(&here[..now.len()]);
            at += now.len();
            bytes = later;
        }
        Some(())
    }

    /// From there to the end of the page, which is not empty.
    fn from(&self, at: usize) -> Option<&[u8]> {
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

    /// Whether the same is there. It costs nothing of the budget, as nothing is kept.
    pub(super) fn is_same_as(&self, there: &dyn Origin, at: u64) -> bool {
        const AT_ONCE: usize = 64 << 10;
        let mut starts = (0..self.size).step_by(AT_ONCE);
        starts.all(|start| {
            let size = AT_ONCE.min(self.size - start);
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
        let origin = &self.origin;
        let size = &self.size;
        f.debug_struct("Paged")
            .field("origin", origin)
            .field("size", size)
            .finish_non_exhaustive()
    }
}

/// A part of a piece.
#[derive(Debug, Clone)]
pub(super) struct Window {
    of: Rc<Paged>,
    at: usize,
    len: usize,
}

impl Window {
    pub(super) fn part(&self, offset: u64, size: u64) -> Option<Window> {
        let mut part = self.clone();
        part.skip(usize::try_from(offset).ok()?).ok()?;
        part.truncate(usize::try_from(size).ok()?).ok()?;
        Some(part)
    }
}

impl From<Rc<Paged>> for Window {
    fn from(of: Rc<Paged>) -> Window {
        let len = of.size;
        Window { of, at: 0, len }
    }
}

impl Reader for Window {
    type Endian = LittleEndian;
    type Offset = usize;

    fn endian(&self) -> LittleEndian {
        LittleEndian
    }

    fn len(&self) -> usize {
        self.len
    }

    fn empty(&mut self) {
        self.len = 0;
    }

    fn truncate(&mut self, len: usize) -> Result<()> {
        if len > self.len {
            return Err(Error::UnexpectedEof(self.offset_id()));
        }
        self.len = len;
        Ok(())
    }

    fn offset_from(&self, base: &Window) -> usize {
        self.at.wrapping_sub(base.at)
    }

    fn offset_id(&self) -> ReaderOffsetId {
        ReaderOffsetId(self.at as u64)
    }

    fn lookup_offset_id(&self, id: ReaderOffsetId) -> Option<usize> {
        let offset = usize::try_from(id.0).ok()?.checked_sub(self.at)?;
        (offset <= self.len).then_some(offset)
    }

    fn find(&self, byte: u8) -> Result<usize> {
        let mut passed = 0;
        while passed < self.len {
            self.of.budget.step()?;
            let here = self.of.from(self.at + passed).ok_or(Error::Io)?;
            let here = &here[..here.len().min(self.len - passed)];
            if let Some(found) = here.iter().position(|each| *each == byte) {
                return Ok(passed + found);
            }
            passed += here.len();
        }
        Err(Error::UnexpectedEof(self.offset_id()))
    }

    fn skip(&mut self, len: usize) -> Result<()> {
        if len > self.len {
            return Err(Error::UnexpectedEof(self.offset_id()));
        }
        self.at += len;
        self.len -= len;
        Ok(())
    }

    fn split(&mut self, len: usize) -> Result<Window> {
        let mut first = self.clone();
        first.truncate(len)?;
        self.skip(len)?;
        Ok(first)
    }

    fn to_slice(&self) -> Result<Cow<'_, [u8]>> {
        self.of.budget.step()?;
        let mut copied = Vec::new();
        while copied.len() < self.len {
            let at = self.at + copied.len();
            let here = self.of.from(at).ok_or(Error::Io)?;
            let here = &here[..here.len().min(self.len - copied.len())];
            if here.len() == self.len {
                return Ok(Cow::Borrowed(here));
            }
            copied.extend_from_slice(here);
        }
        Ok(Cow::Owned(copied))
    }

    fn to_string(&self) -> Result<Cow<'_, str>> {
        match self.to_slice()? {
            Cow::Borrowed(bytes) => std::str::from_utf8(bytes).map(Cow::Borrowed).ok(),
            Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).ok(),
        }
        .ok_or(Error::BadUtf8)
    }

    fn to_string_lossy(&self) -> Result<Cow<'_, str>> {
        Ok(match self.to_slice()? {
            Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        })
    }

    /// What is read most.
    fn read_u8(&mut self) -> Result<u8> {
        self.of.budget.step()?;
        if self.len == 0 {
            return Err(Error::UnexpectedEof(self.offset_id()));
        }
        let here = self.of.from(self.at).ok_or(Error::Io)?;
        self.at += 1;
        self.len -= 1;
        Ok(here[0])
    }

    /// At once, as dev builds make no function of the many small ones. What is over the edge of a page,
    /// or too long, is for the slow way.
    fn read_uleb128(&mut self) -> Result<u64> {
        let here = self.of.from(self.at).unwrap_or_default();
        let (mut value, mut size) = (0, 0);
        while size < 9 && size < here.len() && size < self.len {
            let byte = here[size];
            value |= u64::from(byte & 0x7f) << (7 * size);
            size += 1;
            if byte & 0x80 == 0 {
                self.at += size;
                self.len -= size;
                self.of.budget.step()?;
                return Ok(value);
            }
        }
        leb128::read::unsigned(self)
    }

    fn read_slice(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.of.budget.step()?;
        let size = bytes.len();
        if size > self.len {
            return Err(Error::UnexpectedEof(self.offset_id()));
        }
        let here = self.of.from(self.at).unwrap_or_default();
        if size <= here.len() {
            bytes.copy_from_slice(&here[..size]);
        } else {
            self.of.read(self.at, bytes).ok_or(Error::Io)?;
        }
        self.at += size;
        self.len -= size;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Origin for Paged {
        fn read(&self, at: u64, bytes: &mut [u8]) -> Option<()> {
            Paged::read(self, at as usize, bytes)
        }
    }

    #[derive(Debug)]
    struct Counting(Cell<usize>);

    impl Origin for Counting {
        fn read(&self, at: u64, bytes: &mut [u8]) -> Option<()> {
            self.0.set(self.0.get() + bytes.len());
            for (place, byte) in (at..).zip(bytes) {
                *byte = (place / 1_000) as u8;
            }
            Some(())
        }
    }

    fn window(size: usize, budget: &Rc<Budget>) -> (Rc<Counting>, Window) {
        let origin = Rc::new(Counting(Cell::new(0)));
        let read: Rc<dyn Origin> = Rc::<Counting>::clone(&origin);
        let paged = Paged::of(read, 0, size as u64, budget).unwrap();
        (origin, Window::from(Rc::new(paged)))
    }

    #[test]
    fn only_what_is_looked_at_is_read() {
        let (origin, all) = window(100_000, &Budget::new(u64::MAX, u64::MAX));
        let mut end = all.part(99_998, 2).unwrap();
        assert_eq!(end.read_u16().unwrap(), u16::from_le_bytes([99, 99]));
        assert!(end.read_u8().is_err());
        assert_eq!(origin.0.get(), 100_000 % PAGE);
        // Over the edge of a page, and again without another look.
        let edge = all.part(PAGE as u64 - 2, 4).unwrap();
        assert_eq!(edge.to_slice().unwrap().as_ref(), [16; 4]);
        assert_eq!(edge.to_slice().unwrap().as_ref(), [16; 4]);
        assert_eq!(origin.0.get(), 100_000 % PAGE + 2 * PAGE);
        assert_eq!(all.find(17).unwrap(), 17_000);
        assert!(all.find(200).is_err());
        assert!(all.part(99_999, 2).is_none());
        assert!(all.part(u64::MAX, 2).is_none());
    }

    #[test]
    fn numbers_of_any_length_are_read_over_the_edge_of_a_page() {
        let number = |before: usize, bytes: &[u8]| {
            let all = [&vec![0; before], bytes].concat();
            let budget = Budget::new(u64::MAX, u64::MAX);
            let origin = Paged::whole(all, &budget);
            let paged = Paged::of(Rc::new(origin), 0, (before + bytes.len()) as u64, &budget);
            let all = Window::from(Rc::new(paged.unwrap()));
            let mut rest = all.part(before as u64, bytes.len() as u64).unwrap();
            rest.read_uleb128().map(|number| (number, rest.len()))
        };
        for before in [0, PAGE - 2, PAGE - 1] {
            assert_eq!(number(before, &[5, 1]), Ok((5, 1)));
            assert_eq!(number(before, &[0xe5, 0x8e, 0x26, 7]), Ok((624_485, 1)));
            let longest = [[0xff; 9].as_slice(), &[1]].concat();
            assert_eq!(number(before, &longest), Ok((u64::MAX, 0)));
            let too_long = [[0xff; 9].as_slice(), &[2]].concat();
            assert!(number(before, &too_long).is_err());
            assert!(number(before, &[0xff, 0xff]).is_err());
        }
    }

    #[test]
    fn what_is_beyond_the_budget_is_not_read() {
        let budget = Budget::new(2 * PAGE as u64, u64::MAX);
        let (origin, all) = window(3 * PAGE, &budget);
        assert!(all.part(0, PAGE as u64).unwrap().to_slice().is_ok());
        assert!(!budget.fell_short());
        assert!(all.to_slice().is_err());
        assert!(budget.fell_short());
        assert_eq!(origin.0.get(), 2 * PAGE);

        let budget = Budget::new(u64::MAX, 1);
        let (_, mut all) = window(3, &budget);
        assert!(all.read_u8().is_ok() && !budget.fell_short());
        assert!(all.read_u8().is_err() && budget.fell_short());
    }
}
