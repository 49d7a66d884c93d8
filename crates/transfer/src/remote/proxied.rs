//! Whole URLs in requests (RFC 9112, section 3.2.2), as a proxy for http wants them. The
//! library knows proxies as tunnels only (CONNECT), which most of them refuse for any port
//! but that of https.

use std::fmt;

use ureq::config::Config;
use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, NextTimeout, TcpConnector, Transport,
};
use ureq::{Agent, Error};

/// An agent that writes `prefix`, such as `http://HOST`, before the path of its request.
pub(super) fn agent(config: Config, prefix: String) -> Agent {
    let connector = ().chain(TcpConnector::default()).chain(Whole { prefix });
    Agent::with_parts(config, connector, DefaultResolver::default())
}

struct Whole {
    prefix: String,
}

impl fmt::Debug for Whole {
    /// The prefix may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Whole")
    }
}

impl<In: Transport> Connector<In> for Whole {
    type Out = Either<In, Prefixed<In>>;

    fn connect(
        &self,
        _: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|inner| {
            let prefix = self.prefix.clone().into_bytes();
            Either::B(Prefixed { inner, prefix })
        }))
    }
}

/// A connection whose first request still lacks the prefix.
struct Prefixed<In> {
    inner: In,
    prefix: Vec<u8>,
}

impl<In: Transport> fmt::Debug for Prefixed<In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<In: Transport> Transport for Prefixed<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        let prefix = std::mem::take(&mut self.prefix);
        let output = self.inner.buffers().output();
        let longer = match insert(output, amount, &prefix) {
            Some(longer) => longer,
            None => return Err(Error::BadUri("too long for a proxy".to_owned())),
        };
        self.inner.transmit_output(longer, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }
}

/// Puts `prefix` behind the first blank of the `amount` bytes in `output`; returns how many
/// there are then. `None` when they do not fit.
fn insert(output: &mut [u8], amount: usize, prefix: &[u8]) -> Option<usize> {
    if prefix.is_empty() {
        return Some(amount);
    }
    let longer = amount + prefix.len();
    let at = output.get(..amount)?.iter().position(|b| *b == b' ')? + 1;
    if longer > output.len() {
        return None;
    }
    output.copy_within(at..amount, at + prefix.len());
    output[at..at + prefix.len()].copy_from_slice(prefix);
    Some(longer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_stands_before_the_path() {
        let mut output = *b"GET /a HTTP/1.1\r\n..........";
        assert_eq!(insert(&mut output, 17, b"http://h"), Some(25));
        assert_eq!(&output[..25], b"GET http://h/a HTTP/1.1\r\n");
        assert_eq!(insert(&mut output, 25, b""), Some(25));
        assert_eq!(insert(&mut output, 25, b"long"), None);
        assert_eq!(insert(&mut [b'x'; 9], 4, b"y"), None);
        assert_eq!(insert(&mut [b' '; 2], 4, b"y"), None);
    }
}
