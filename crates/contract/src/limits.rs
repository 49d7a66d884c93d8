//! Tries, time-outs and ports, in one place and with names.
//!
//! Those that the old manual promises say so; the others are goldring's own.

use std::time::Duration;

/// dolly's data port (dolly 0.57, `dolly.c`; no option changes it).
pub const DOLLY_DATA_PORT: u16 = 9998;
/// dolly's control port (dolly 0.57, `dolly.c`).
pub const DOLLY_CONTROL_PORT: u16 = 9997;
/// Where waiting nodes are asked whether they wait (UDP). dolly uses the number for TCP.
pub const DISCOVER_PORT: u16 = 9996;
/// How long `rescue dollymethod` waits for its server, then reboots (manual).
pub const DOLLY_CLONE_WAIT: Duration = Duration::from_secs(300);
/// How long `method:dolly` waits for its server in each try, without `dolly_timeout`
/// (manual).
pub const DOLLY_STAGE2_WAIT: Duration = Duration::from_secs(120);
/// Tries of `method:dolly` before the node reboots (manual).
pub const DOLLY_STAGE2_TRIES: u32 = 3;
/// A ring may wait for somebody who walks around and switches computers on, but not
/// for ever.
pub const DOLLY_RING_WAIT: Duration = Duration::from_secs(12 * 3600);
/// How long a running transfer may stand still before the silent peer is given up.
pub const DOLLY_STALL: Duration = Duration::from_secs(90);
/// How long the peers below may take to sync after the last byte: an old peer
/// calls `sync(2)`, which on a slow disk takes minutes.
pub const DOLLY_ACK_WAIT: Duration = Duration::from_secs(900);
/// How much of a disk's beginning is kept in memory until the rest is stored; until
/// more than this has come, nothing is overwritten.
pub const DISK_HELD: usize = 1 << 20;
/// The longest text of a dolly configuration that may travel (old readers stop at
/// 4095 bytes).
pub const DOLLY_CONFIG_MAX: usize = 4095;
/// Above this many bytes an old client may stop reading early (one TCP segment).
pub const DOLLY_CONFIG_SAFE: usize = 1400;
/// The most clients that dolly 0.57 accepts.
pub const DOLLY_CLIENTS_MAX: usize = 10_000;

/// How long a ka client looks for its server (old client: 11 requests in 10 s).
pub const KA_FIND: Duration = Duration::from_secs(10);
/// How long a ka session waits for its nodes, and a node for the start, when nobody says
/// another time: as a ring does.
pub const KA_WAIT: Duration = DOLLY_RING_WAIT;
/// A ka node that has answered nothing for so long is dead (old server: 10 s).
pub const KA_SILENCE: Duration = Duration::from_secs(10);
/// How long a node of a deployment looks for the next session: the golden node opens it as
/// soon as the last node has done its part of the one before, so that it is there at once
/// or never (old client: 10 s, in which a quick node gave up while others still worked).
pub const KA_NEXT: Duration = Duration::from_secs(600);
/// How long the golden node of a deployment waits in a later session for nodes that
/// finished the one before; whoever has not come then is dropped.
pub const KA_GATHER: Duration = Duration::from_secs(60);

/// Tries to get an address before the node reboots.
pub const DHCP_TRIES: u32 = 6;
/// Tries to fetch stage 2 over http, nfs or ftp before the node reboots.
pub const FETCH_TRIES: u32 = 5;
/// A fetch that delivers nothing for this long has failed.
pub const FETCH_SILENCE: Duration = Duration::from_secs(30);
/// How long a file system may take to be mounted and looked into. The kernel asks a
/// server that says nothing, or reads a disc that has a scratch, for longer.
pub const MOUNT_WAIT: Duration = Duration::from_secs(40);
/// Before the rest of a file is asked for after a broken connection; doubles each time.
pub const FETCH_PAUSE: Duration = Duration::from_secs(1);
/// Starts of the agent when it crashes, before the node reboots.
pub const AGENT_TRIES: u32 = 3;
/// How long a link may take to come up (a switch with spanning tree needs 30 s).
pub const CARRIER_WAIT: Duration = Duration::from_secs(45);
/// The visible countdown before a reboot (old stage 1: 5 s).
pub const REBOOT_COUNTDOWN: Duration = Duration::from_secs(5);
/// The countdown when nothing can change by itself, so that a person can read why.
pub const REBOOT_COUNTDOWN_LONG: Duration = Duration::from_secs(30);
/// The last sync before a reboot never takes longer than this.
pub const LAST_SYNC: Duration = Duration::from_secs(30);

/// The port of syslog over UDP (RFC 5426, section 3.3).
pub const SYSLOG_PORT: u16 = 514;

/// A node with this much memory, in MB as it is sold, is promised to work.
pub const MEMORY_PROMISED: u64 = 512;

/// The longest `automatic=` that is read. Linux on x86 keeps 2048 bytes of the
/// command line; a longer one can only be a mistake.
pub const AUTOMATIC_MAX: usize = 4096;
