//! Where things lie, in the images and on a running node.

/// Where the boot server offers stage 2, below `directory:` (old stage 1).
pub const STAGE2_ON_SERVER: &str = "install/stage2/rescue.clp";
/// Its names in a tree that is mounted, the first that is there: it was a squashfs under
/// a name of its own from 2007 on (old stage 1).
pub const STAGE2_IN_TREE: [&str; 2] = [STAGE2_ON_SERVER, "install/stage2/rescue.sqfs"];

/// In the top of an unpacked stage 2 that `goldring prepare` made: what it is made of. It
/// does not travel to the nodes.
pub const PREPARED: &str = ".goldring-prepare";
/// Where the golden node keeps its unpacked stage 2 for the nodes (ka-deploy, `ka-d.sh`).
pub const STAGE2_FOR_NODES: &str = "/mnt/ka";

/// Folder of the tables that the builder puts into `all.rdz`.
pub const TABLES: &str = "/etc/goldring";
/// [`crate::image::Manifest`].
pub const MANIFEST: &str = "/etc/goldring/manifest";
/// [`crate::image::Modules`].
pub const MODULES: &str = "/etc/goldring/modules";
/// [`crate::image::Aliases`] of the modules inside.
pub const ALIASES: &str = "/etc/goldring/aliases";
/// [`crate::image::Aliases`] of network and storage modules that were left out.
pub const ABSENT: &str = "/etc/goldring/absent";
/// [`crate::image::Names`].
pub const NAMES: &str = "/etc/goldring/names";
/// Who may sign the certificates of https servers, PEM; only in an image that was made
/// with `--ca`.
pub const CA: &str = "/etc/goldring/ca.pem";
/// The same for the agent, which has no `/etc` of stage 1.
pub const CA_HANDED_OVER: &str = "/run/goldring/ca.pem";
/// The modules whose files `init` removed to free memory, one name on each line.
pub const FREED: &str = "/etc/goldring/freed";
/// Below it lies one folder for each kernel release, with uncompressed modules.
pub const MODULE_TREE: &str = "/lib/modules";

/// The kernel calls this program for `request_module`; in stage 1 it is `init`.
pub const MODPROBE: &str = "/sbin/modprobe";

/// The downloaded stage 2.
pub const STAGE2_FILE: &str = "/run/stage2/rescue.clp";
/// What a compressed loop image was expanded to.
pub const STAGE2_EXPANDED: &str = "/run/stage2/rescue.iso";
/// A stage 2 that came as a tree.
pub const STAGE2_TREE: &str = "/run/stage2/tree";
/// The read-only stage 2: where its image is mounted.
pub const STAGE2_LOWER: &str = "/run/stage2/lower";
/// Memory that takes what stage 2 writes.
pub const STAGE2_UPPER: &str = "/run/stage2/upper";
/// Stage 2 as its programs see it.
pub const STAGE2_ROOT: &str = "/stage2";

/// Below it the file systems are mounted that stage 2 comes from.
pub const SOURCES: &str = "/run/sources";
/// Where `keepmounted` shows that file system in stage 2 (old stage 1).
pub const KEPT: &str = "/tmp/image";

/// The agent, inside stage 2.
pub const AGENT: &str = "/usr/bin/goldring";
/// What `init` learnt of the network, for the agent ([`crate::handover::Network`]).
pub const HANDOVER: &str = "/run/goldring/network";
/// Why disks may be missing, one sentence on each line; absent when nothing is known.
pub const MISSING: &str = "/run/goldring/missing";
/// What the rescue shell reads when it starts.
pub const SHELL_START: &str = "/run/goldring/shell";
/// Made by the rescue shell when a person says `reboot`.
pub const SHELL_REBOOT: &str = "/run/goldring/reboot";
/// The agent's last word ([`crate::handover::Outcome`]).
pub const OUTCOME: &str = "/run/goldring/outcome";
