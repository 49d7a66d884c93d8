//! Who is whose child (protocol description, section 2): a chain, or a tree in
//! which each computer feeds `fanout` others.

use std::ops::Range;

/// The children of the server, as places in the list of clients.
///
/// ```
/// use goldring_wire::dolly::topology::{of_client, of_server};
/// assert_eq!(of_server(6, 2), 0..2);
/// assert_eq!(of_client(0, 6, 2), 2..4);
/// assert_eq!(of_client(4, 6, 2), 6..6);
/// ```
pub fn of_server(clients: usize, fanout: usize) -> Range<usize> {
    0..fanout.min(clients)
}

/// The children of the client at `place` (0 is the first).
pub fn of_client(place: usize, clients: usize, fanout: usize) -> Range<usize> {
    let first = place.saturating_add(1).saturating_mul(fanout).min(clients);
    first..first.saturating_add(fanout).min(clients)
}

/// The parent of the client at `place`; `None` is the server.
pub fn parent(place: usize, fanout: usize) -> Option<usize> {
    (place / fanout.max(1)).checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_exactly_one_parent() {
        for clients in 1..40 {
            for fanout in 1..9 {
                let mut seen = of_server(clients, fanout).collect::<Vec<_>>();
                for child in of_server(clients, fanout) {
                    assert_eq!(parent(child, fanout), None);
                }
                for place in 0..clients {
                    for child in of_client(place, clients, fanout) {
                        assert_eq!(parent(child, fanout), Some(place));
                        seen.push(child);
                    }
                }
                seen.sort_unstable();
                assert_eq!(seen, (0..clients).collect::<Vec<_>>());
            }
        }
    }
}
