//! The steps of a boot, in order.

mod agent;
mod beginning;
mod drivers;
mod fetch;
mod network;
pub(crate) mod stage2;

use goldring_contract::bootargs::Method;
use goldring_contract::limits::{AGENT_TRIES, DHCP_TRIES, DOLLY_STAGE2_TRIES, FETCH_TRIES};

use crate::engine::{Step, Tries};

/// All of them.
pub(crate) const ALL: &[Step] = &[
    Step {
        id: "mounts",
        what: "mount /proc, /sys, /dev and /run",
        tries: Tries::Fixed(1),
        run: beginning::mounts,
    },
    Step {
        id: "log",
        what: "open the console and the kernel log",
        tries: Tries::Fixed(1),
        run: beginning::log,
    },
    Step {
        id: "cmdline",
        what: "read automatic= and the rescue words",
        tries: Tries::Fixed(1),
        run: beginning::command_line,
    },
    Step {
        id: "kernel",
        what: "compare the kernel with the one that the image is for",
        tries: Tries::Fixed(1),
        run: beginning::kernel,
    },
    Step {
        id: "drivers",
        what: "load the drivers of all devices",
        tries: Tries::Fixed(1),
        run: drivers::run,
    },
    Step {
        id: "network",
        what: "bring a card up and get an address",
        tries: Tries::Fixed(DHCP_TRIES),
        run: network::run,
    },
    Step {
        id: "fetch",
        what: "fetch stage 2 and check its length and digest",
        tries: Tries::ByMethod(FETCH_TRIES, Method::Dolly, DOLLY_STAGE2_TRIES),
        run: fetch::run,
    },
    Step {
        id: "stage2",
        what: "mount stage 2",
        tries: Tries::Fixed(1),
        run: stage2::run,
    },
    Step {
        id: "agent",
        what: "run the agent in stage 2 and watch over it",
        tries: Tries::Fixed(AGENT_TRIES),
        run: agent::run,
    },
];
