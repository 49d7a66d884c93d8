//! Partitions one behind the other: the primary ones on the disk, the logical ones in the
//! extended one. All numbers are sectors.

use crate::desc::Size;

/// A partition that wants a place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item {
    /// Which of the desc.
    pub(super) index: usize,
    /// How large; units are sectors here.
    pub(super) size: Size,
    /// Where it must begin.
    pub(super) start: Option<u64>,
    /// What is left free behind it, to [`Level::whole`].
    pub(super) spare: Option<u64>,
}

/// The place of a partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) start: u64,
    pub(super) sectors: u64,
    pub(super) ebr: Option<u64>,
}

/// Where there is room.
#[derive(Debug, Clone, Copy)]
pub(super) struct Level {
    /// The first sector that one with `start=` may have.
    pub(super) begin: u64,
    /// The first sector that is given to others, with their head.
    pub(super) first: u64,
    /// The first sector behind the room.
    pub(super) end: u64,
    /// From where spare sectors are counted back.
    pub(super) whole: u64,
    /// Sectors in front of each, for its table.
    pub(super) head: u64,
    /// Sectors of a MiB.
    pub(super) mebibyte: u64,
}

/// Why one gets no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Misfit {
    /// It is larger than what is left.
    Small {
        index: usize,
        wanted: u64,
        left: u64,
    },
    /// Those behind it need everything.
    Nothing {
        index: usize,
        behind: u64,
        left: u64,
    },
    /// It would begin in the table, or behind the end.
    Outside { index: usize },
}

impl Level {
    /// Gives each its place.
    pub(super) fn place(&self, items: &[Item]) -> Result<Vec<Place>, Misfit> {
        let mut cursor = self.first;
        let mut places = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            let index = item.index;
            let start = match item.start {
                Some(start) if (self.begin..self.end).contains(&start) => start,
                Some(_) => return Err(Misfit::Outside { index }),
                None => self.behind(cursor),
            };
            let left = self.end.saturating_sub(start);
            let sectors = match self.fixed(item.size, items.len()) {
                Some(sectors) => sectors,
                None => self.fill(start, items, at)?,
            };
            if sectors > left {
                let wanted = sectors;
                return Err(Misfit::Small {
                    index,
                    wanted,
                    left,
                });
            }
            cursor = start + sectors;
            let ebr = None;
            places.push(Place {
                start,
                sectors,
                ebr,
            });
        }
        Ok(places)
    }

    /// The first sector of what comes behind `cursor`, with room for its head.
    fn behind(&self, cursor: u64) -> u64 {
        cursor.next_multiple_of(self.mebibyte) + self.head
    }

    /// How many sectors, for what is no `fill`. Shares are of the room without heads.
    fn fixed(&self, size: Size, count: usize) -> Option<u64> {
        match size {
            Size::Fill => None,
            Size::Units(sectors) => Some(sectors),
            Size::Percent(share) => {
                let heads = self.head * count as u64;
                let begin = self.first.next_multiple_of(self.mebibyte);
                let room = self.end.saturating_sub(begin).saturating_sub(heads);
                let sectors = u128::from(room) * u128::from(share) / 10_000;
                let sectors = u64::try_from(sectors).unwrap_or(u64::MAX);
                Some((sectors / self.mebibyte * self.mebibyte).max(self.mebibyte))
            }
        }
    }

    /// How many sectors a `fill` gets: all to the next one that has a place of its own, or
    /// to the end, without what those in between need.
    fn fill(&self, start: u64, items: &[Item], at: usize) -> Result<u64, Misfit> {
        let (item, followers) = (&items[at], &items[at + 1..]);
        let fixed = followers
            .iter()
            .position(|item| item.start.is_some_and(|other| other > start));
        let limit = match fixed.and_then(|at| followers[at].start) {
            // An old table of a logical one lies in front of it.
            Some(limit) => limit - self.head.min(1),
            None => self.end,
        };
        let between = &followers[..fixed.unwrap_or(followers.len())];
        let needs = between.iter().filter(|item| item.start.is_none());
        let needs = needs.filter_map(|item| self.fixed(item.size, items.len()));
        let behind: u64 = needs.fold(0, |sum, sectors| {
            let whole = sectors
                .checked_next_multiple_of(self.mebibyte)
                .unwrap_or(u64::MAX);
            sum.saturating_add(whole).saturating_add(self.head)
        });
        let end = match item.spare {
            Some(spare) => self.whole.saturating_sub(spare).min(limit),
            None => (limit / self.mebibyte * self.mebibyte).saturating_sub(behind),
        };
        let sectors = end.saturating_sub(start);
        if sectors == 0 || (item.spare.is_none() && sectors < self.mebibyte) {
            let left = limit.saturating_sub(start);
            let index = item.index;
            return Err(Misfit::Nothing {
                index,
                behind,
                left,
            });
        }
        Ok(sectors)
    }
}
