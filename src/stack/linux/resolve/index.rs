//! Reads `.eh_frame_hdr`: where each function begins, and where its unwind rules are. The rules themselves
//! are read in `rules.rs`.

use std::rc::Rc;

use super::paged::Paged;

#[derive(Debug)]
pub(super) struct Index {
    /// The address of the index, relative to the module.
    pub(super) at: u64,
    pub(super) bytes: Rc<Paged>,
}

/// One function. Both addresses are relative to the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) function: u64,
    pub(super) rules_at: u64,
}

impl Index {
    // Of the encodings that the format allows, linkers use one.
    const VERSION: u8 = 1;
    const RELATIVE_32: u8 = 0x1b;
    const COUNT_32: u8 = 0x03;
    const RELATIVE_TO_INDEX_32: u8 = 0x3b;
    const ENTRIES_AT: usize = 12;
    const ENTRY_SIZE: usize = 8;

    /// Returns where the unwind table begins.
    pub(super) fn frames_at(&self) -> Option<u64> {
        const AT: usize = 4;
        let [Index::VERSION, Index::RELATIVE_32, ..] = self.bytes.array::<4>(0)? else {
            return None;
        };
        let distance = i32::from_le_bytes(self.bytes.array(AT)?);
        self.at
            .checked_add(AT as u64)?
            .checked_add_signed(distance.into())
    }

    /// Returns the last function that begins at the address or before.
    pub(super) fn entry(&self, address: u64) -> Option<Entry> {
        let [
            Index::VERSION,
            _,
            Index::COUNT_32,
            Index::RELATIVE_TO_INDEX_32,
        ] = self.bytes.array(0)?
        else {
            return None;
        };
        let count = u32::from_le_bytes(self.bytes.array(8)?) as usize;
        let (mut before, mut after) = (0, count.min(self.bytes.size() / Index::ENTRY_SIZE));
        while before < after {
            let middle = before.midpoint(after);
            if self.nth(middle)?.function <= address {
                before = middle + 1;
            } else {
                after = middle;
            }
        }
        self.nth(before.checked_sub(1)?)
    }

    fn nth(&self, entry: usize) -> Option<Entry> {
        let at = |place| {
            let place = Index::ENTRIES_AT + entry * Index::ENTRY_SIZE + place;
            let distance = i32::from_le_bytes(self.bytes.array(place)?);
            self.at.checked_add_signed(distance.into())
        };
        Some(Entry {
            function: at(0)?,
            rules_at: at(4)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::budget::Budget;
    use super::*;

    fn index(at: u64, bytes: &[u8]) -> Index {
        let budget = Budget::new(u64::MAX, u64::MAX);
        let bytes = Rc::new(Paged::whole(bytes.to_vec(), &budget));
        Index { at, bytes }
    }

    #[test]
    fn finds_the_table_and_the_function() {
        let at = 0x1000;
        let mut bytes = vec![1, 0x1b, 0x03, 0x3b];
        bytes.extend((-0x204_i32).to_le_bytes());
        bytes.extend(3_u32.to_le_bytes());
        for (function, rules) in [(-0x100_i32, 0x10_i32), (0x40, 0x20), (0x80, 0x30)] {
            bytes.extend(function.to_le_bytes());
            bytes.extend(rules.to_le_bytes());
        }
        let whole = index(at, &bytes);
        assert_eq!(whole.frames_at(), Some(0xe00));
        for (address, function) in [
            (0xeff, None),
            (0xf00, Some((0xf00, 0x1010))),
            (0x103f, Some((0xf00, 0x1010))),
            (0x1040, Some((0x1040, 0x1020))),
            (u64::MAX, Some((0x1080, 0x1030))),
        ] {
            let expected = function.map(|(function, rules_at)| Entry { function, rules_at });
            assert_eq!(whole.entry(address), expected, "{address:#x}");
        }
        assert_eq!(index(at, &bytes[..14]).entry(0x1040), None);
        assert_eq!(index(u64::MAX, &bytes).frames_at(), None);
        assert_eq!(index(at, &[1, 0x1c, 0, 0]).frames_at(), None);
        assert_eq!(index(at, &[]).frames_at(), None);
    }
}
