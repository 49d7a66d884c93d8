//! Messages out of what a connection brings, in whatever pieces it comes.

use super::message::{Layout, NotKa, OwnHeader, ToClient, ToServer};
use super::own::{FromClient, FromServer};

/// What a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientSaid {
    /// As every ka says it.
    Plain(ToServer),
    /// As goldring says it.
    Own(FromClient),
}

/// What a server said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerSaid {
    /// As every ka says it.
    Plain(ToClient),
    /// As goldring says it.
    Own(FromServer),
}

/// Reads what a client says; its first bytes tell its layout. Holds at most one message.
#[derive(Debug, Default)]
pub struct OfClient {
    layout: Option<Layout>,
    parts: Parts,
}

/// Reads what a server says in a layout that the client chose. Holds at most one message.
#[derive(Debug)]
pub struct OfServer {
    layout: Layout,
    parts: Parts,
}

impl OfClient {
    /// The layout, once it is known.
    pub fn layout(&self) -> Option<Layout> {
        self.layout
    }

    /// The next message of `bytes`, which is shortened by what was read; `None` when more
    /// is needed.
    ///
    /// # Errors
    /// This is no client of ka.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<ClientSaid>, NotKa> {
        let layout = match self.layout {
            Some(layout) => layout,
            None => {
                // No message is shorter than what tells the layouts apart.
                self.parts.fill(bytes, Layout::A32.to_server());
                let Some(layout) = Layout::detect(&self.parts.held)? else {
                    return Ok(None);
                };
                *self.layout.insert(layout)
            }
        };
        loop {
            let Some((header, message)) = self.parts.take(bytes, layout.to_server()) else {
                return Ok(None);
            };
            let Some(header) = header else {
                match ToServer::parse(layout, &message)? {
                    ToServer::Own(header) => self.parts.tail = Some(header),
                    plain => return Ok(Some(ClientSaid::Plain(plain))),
                }
                continue;
            };
            if let Some(own) = FromClient::parse(header, &message) {
                return Ok(Some(ClientSaid::Own(own)));
            }
        }
    }
}

impl OfServer {
    /// For a client that speaks this layout.
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            parts: Parts::default(),
        }
    }

    /// The next message of `bytes`, which is shortened by what was read; `None` when more
    /// is needed.
    ///
    /// # Errors
    /// This is no server of ka.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<ServerSaid>, NotKa> {
        loop {
            let Some((header, message)) = self.parts.take(bytes, self.layout.to_client()) else {
                return Ok(None);
            };
            let Some(header) = header else {
                match ToClient::parse(self.layout, &message)? {
                    ToClient::Own(header) => self.parts.tail = Some(header),
                    plain => return Ok(Some(ServerSaid::Plain(plain))),
                }
                continue;
            };
            if let Some(own) = FromServer::parse(header, &message) {
                return Ok(Some(ServerSaid::Own(own)));
            }
        }
    }
}

#[derive(Debug, Default)]
struct Parts {
    held: Vec<u8>,
    /// A tail comes next.
    tail: Option<OwnHeader>,
}

impl Parts {
    /// Takes from `bytes` until so many are held.
    fn fill(&mut self, bytes: &mut &[u8], size: usize) {
        let (now, later) = bytes.split_at(size.saturating_sub(self.held.len()).min(bytes.len()));
        self.held.extend_from_slice(now);
        *bytes = later;
    }

    /// A whole message of this size, or the tail that was announced.
    fn take(&mut self, bytes: &mut &[u8], size: usize) -> Option<(Option<OwnHeader>, Vec<u8>)> {
        let size = self.tail.map_or(size, |header| header.length.into());
        self.fill(bytes, size);
        if self.held.len() < size {
            return None;
        }
        Some((self.tail.take(), std::mem::take(&mut self.held)))
    }
}
