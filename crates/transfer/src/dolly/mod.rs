//! dolly, both dialects, over real sockets: [`server::serve`] on the golden node,
//! [`client::clone`] on the others.
//!
//! One thread looks after the control connections and never blocks; one reads the data,
//! one writes it to the disk, one feeds each child. Whatever ends, the first thread
//! notices within milliseconds.

mod caller;
mod children;
pub mod client;
mod dial;
mod flowing;
mod intake;
mod links;
mod member;
mod names;
pub(crate) mod net;
pub mod report;
pub mod server;
pub(crate) mod waiting;
mod watch;
pub mod whole;

pub use dial::Manner;
pub use names::own;
pub use report::{Event, Reporter, Summary};

use std::time::{Duration, Instant};

/// How long the control thread waits for something to happen before it looks around.
const TICK: Duration = Duration::from_millis(20);
/// The same before the first byte and after the last one, when every node of a ring waits
/// for the one behind it: their ticks add up.
const SHORT_TICK: Duration = Duration::from_millis(3);
/// A data connection that breaks is blamed on its peer only after so long: the control
/// connection may still bring the true reason.
const GRACE: Duration = Duration::from_millis(400);

/// How long to wait now.
fn tick(flow: Option<&flowing::Flowing>) -> Duration {
    match flow {
        Some(flow) if flow.gate.total() != Some(flow.gate.received()) => TICK,
        _ => SHORT_TICK,
    }
}

/// Whether a deadline of a machine has passed.
fn is_due(deadline: Option<Instant>) -> bool {
    deadline.is_some_and(|at| Instant::now() >= at)
}

// The wire crate depends on nothing, so it has its own copy of these.
const _: () = {
    use goldring_contract::limits;
    use goldring_wire::dolly::config;
    assert!(config::TEXT_MAX == limits::DOLLY_CONFIG_MAX);
    assert!(config::TEXT_SAFE == limits::DOLLY_CONFIG_SAFE);
    assert!(config::CLIENTS_MAX == limits::DOLLY_CLIENTS_MAX);
};
