//! Several data connections between two neighbours (`add`, `add2`): the blocks are dealt
//! out over the links, block `b` to link `b` modulo their number (section 7 of the
//! protocol description).
//!
//! Both ends take the blocks strictly in order. To fill one link beyond its turn would be
//! quicker and could make both wait for ever: an old program reads a whole block from one
//! link before it looks at the next.

use std::io::{self, Read, Write};

use goldring_wire::dolly::BLOCK;

/// Which link is next, and how much of its block is left.
#[derive(Debug, Clone, Copy)]
struct Turn {
    links: u64,
    position: u64,
}

impl Turn {
    fn new(links: usize) -> Self {
        Self {
            links: links.max(1) as u64,
            position: 0,
        }
    }

    fn link(self) -> usize {
        // A remainder of a usize fits into one.
        (self.position / BLOCK % self.links) as usize
    }

    fn left(self) -> usize {
        (BLOCK - self.position % BLOCK) as usize
    }
}

/// Deals blocks out.
#[derive(Debug)]
pub(super) struct Deal<W> {
    links: Vec<W>,
    turn: Turn,
}

impl<W> Deal<W> {
    /// Over these links, in the order of their numbers.
    pub(super) fn new(links: Vec<W>) -> Self {
        let turn = Turn::new(links.len());
        Self { links, turn }
    }

    /// The link, when there is only one: it needs no turns.
    pub(super) fn only_one(&mut self) -> Option<&mut W> {
        match self.links.as_mut_slice() {
            [link] => Some(link),
            _ => None,
        }
    }

    /// The links.
    pub(super) fn links(&self) -> &[W] {
        &self.links
    }
}

impl<W: Write> Write for Deal<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A single link needs no turns.
        let most = match self.links.len() {
            1 => bytes.len(),
            _ => bytes.len().min(self.turn.left()),
        };
        let n = self.links[self.turn.link()].write(&bytes[..most])?;
        self.turn.position += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Puts what was dealt out together again.
#[derive(Debug)]
pub(super) struct Gather<R> {
    links: Vec<R>,
    turn: Turn,
}

impl<R> Gather<R> {
    /// From these links, in the order of their numbers.
    pub(super) fn new(links: Vec<R>) -> Self {
        let turn = Turn::new(links.len());
        Self { links, turn }
    }
}

impl<R: Read> Read for Gather<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let most = match self.links.len() {
            1 => buf.len(),
            _ => buf.len().min(self.turn.left()),
        };
        let n = self.links[self.turn.link()].read(&mut buf[..most])?;
        self.turn.position += n as u64;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_dealt_out_by_their_number_and_gathered_again() {
        let data: Vec<u8> = (0..50_000_u32).map(|i| (i / 256) as u8).collect();
        for links in [1, 2, 3, 8] {
            for piece in [1, 1000, 4096, 5000, 50_000] {
                let mut deal = Deal::new(vec![Vec::new(); links]);
                for piece in data.chunks(piece) {
                    deal.write_all(piece).unwrap();
                }
                for (number, block) in data.chunks(4096).enumerate() {
                    let start = number / links * 4096;
                    let link = &deal.links()[number % links];
                    assert_eq!(&link[start..start + block.len()], block);
                }
                let readers = deal.links().iter().map(Vec::as_slice).collect();
                let mut back = Vec::new();
                Gather::new(readers).read_to_end(&mut back).unwrap();
                assert_eq!(back, data);
            }
        }
    }
}
