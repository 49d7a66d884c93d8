//! How many callers are served at the same time: whoever connects and says nothing must not
//! keep the others away.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The most callers at the same time, of all and from one address.
const MOST: (usize, usize) = (64, 8);

/// The door.
#[derive(Debug, Clone, Default)]
pub(super) struct Admission(Arc<Mutex<Vec<IpAddr>>>);

/// Somebody who is being served; until dropped.
#[derive(Debug)]
pub(super) struct Guest {
    pub(super) from: IpAddr,
    all: Admission,
}

impl Admission {
    /// Lets a caller in, unless there are too many, all in all or from there.
    pub(super) fn admit(&self, from: IpAddr) -> Option<Guest> {
        let mut served = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = served.iter().filter(|other| **other == from).count();
        if served.len() >= MOST.0 || same >= MOST.1 {
            return None;
        }
        served.push(from);
        let all = self.clone();
        Some(Guest { from, all })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut served = self.all.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = served.iter().position(|other| *other == self.from) {
            served.swap_remove(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_has_few_places_and_gets_them_back() {
        let door = Admission::default();
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let mut guests: Vec<Guest> = (0..99).filter_map(|_| door.admit(one)).collect();
        assert_eq!(guests.len(), MOST.1);
        assert!(door.admit(other).is_some());
        guests.pop();
        assert!(door.admit(one).is_some());
        let from = |last| door.admit(IpAddr::from([10, 0, 1, last]));
        let many: Vec<Guest> = (0..=255).filter_map(from).collect();
        assert_eq!(many.len() + guests.len(), MOST.0);
    }
}
