//! What the DWARF reader reads from: a view of a paged range, in which each read is counted.

use std::borrow::Cow;
use std::rc::Rc;

use addr2line::gimli::{Error, LittleEndian, Reader, ReaderOffsetId, Result, leb128};

use super::paged::Paged;

/// A part of a paged range.
#[derive(Debug, Clone)]
pub(super) struct Window {
    paged: Rc<Paged>,
    at: usize,
    len: usize,
}

/// How much of a text counts as a read, in bytes, as it is copied.
const TEXT_PER_READ: usize = 16;

impl Window {
    fn count_read(&self) -> Result<()> {
        self.count_reads(1)
    }

    fn count_reads(&self, reads: usize) -> Result<()> {
        let budget = self.paged.budget();
        budget.take_reads(reads as u64).ok_or(Error::Io)
    }

    pub(super) fn part(&self, offset: u64, size: u64) -> Option<Window> {
        let mut part = self.clone();
        part.skip(usize::try_from(offset).ok()?).ok()?;
        part.truncate(usize::try_from(size).ok()?).ok()?;
        Some(part)
    }
}

impl From<Rc<Paged>> for Window {
    fn from(paged: Rc<Paged>) -> Window {
        let len = paged.size();
        Window { paged, at: 0, len }
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
            self.count_read()?;
            let here = self.paged.from(self.at + passed).ok_or(Error::Io)?;
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
        self.count_reads(1 + self.len / TEXT_PER_READ)?;
        let mut copied = Vec::new();
        while copied.len() < self.len {
            let at = self.at + copied.len();
            let here = self.paged.from(at).ok_or(Error::Io)?;
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

    /// Most of what is read is read by this.
    fn read_u8(&mut self) -> Result<u8> {
        self.count_read()?;
        if self.len == 0 {
            return Err(Error::UnexpectedEof(self.offset_id()));
        }
        let here = self.paged.from(self.at).ok_or(Error::Io)?;
        self.at += 1;
        self.len -= 1;
        Ok(here[0])
    }

    /// Reads the number in one loop, as dev builds do not inline the calls that the default makes. That
    /// default handles numbers that cross the edge of a page or are too long.
    fn read_uleb128(&mut self) -> Result<u64> {
        let here = self.paged.from(self.at).unwrap_or_default();
        let (mut value, mut size) = (0, 0);
        while size < 9 && size < here.len() && size < self.len {
            let byte = here[size];
            value |= u64::from(byte & 0x7f) << (7 * size);
            size += 1;
            if byte & 0x80 == 0 {
                self.at += size;
                self.len -= size;
                self.count_read()?;
                return Ok(value);
            }
        }
        leb128::read::unsigned(self)
    }

    fn read_slice(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.count_read()?;
        let size = bytes.len();
        if size > self.len {
            return Err(Error::UnexpectedEof(self.offset_id()));
        }
        let here = self.paged.from(self.at).unwrap_or_default();
        if size <= here.len() {
            bytes.copy_from_slice(&here[..size]);
        } else {
            self.paged.read(self.at, bytes).ok_or(Error::Io)?;
        }
        self.at += size;
        self.len -= size;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::super::budget::Budget;
    use super::super::paged::{Origin, PAGE};
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
    fn only_the_pages_that_are_used_are_read() {
        let (origin, all) = window(100_000, &Budget::new(u64::MAX, u64::MAX));
        let mut end = all.part(99_998, 2).unwrap();
        assert_eq!(end.read_u16().unwrap(), u16::from_le_bytes([99, 99]));
        assert!(end.read_u8().is_err());
        assert_eq!(origin.0.get(), 100_000 % PAGE);
        // The second time, the two pages on both sides of the edge are there.
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
        assert!(!budget.is_exceeded());
        assert!(all.to_slice().is_err());
        assert!(budget.is_exceeded());
        assert_eq!(origin.0.get(), 2 * PAGE);

        let budget = Budget::new(u64::MAX, 1);
        let (_, mut all) = window(3, &budget);
        assert!(all.read_u8().is_ok() && !budget.is_exceeded());
        assert!(all.read_u8().is_err() && budget.is_exceeded());
    }
}
