//! What a deployment is told, whether its files come from a running system (`ka-d`) or from
//! a kept one (`store send`). The letters are those of ka-deploy.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use goldring_contract::limits::{KA_SILENCE, KA_WAIT};

/// Who takes part, and how the sessions go.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Course {
    /// So many nodes are waited for
    #[arg(short = 'n', long = "nodes", value_name = "NUMBER", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=4000))]
    pub(super) nodes: u32,
    /// Let the nodes go one by one at the end, so many tenths of a second apart
    #[arg(short = 'd', long, value_name = "TENTHS")]
    pub(super) delay: Option<u32>,
    /// What kaopt= of these nodes says
    #[arg(short = 's', long, value_name = "NAME")]
    pub(super) name: Option<String>,
    /// Send this folder as stage 2 first, if it is there
    #[arg(long, value_name = "FOLDER", default_value = goldring_contract::paths::STAGE2_FOR_NODES)]
    pub(super) data_path: PathBuf,
    /// Nodes have their stage 2 already
    #[arg(long)]
    pub(super) no_stage2: bool,
    /// Wait for the nodes so long
    #[arg(long, value_name = "SECONDS", default_value_t = KA_WAIT.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) timeout: u64,
    /// When the time is over, go on with those who are there
    #[arg(long)]
    pub(super) partial: bool,
    /// Listen on this address only
    #[arg(long, value_name = "ADDRESS", default_value_t = Ipv4Addr::UNSPECIFIED)]
    pub(super) bind: Ipv4Addr,
    /// A node that has answered nothing for so long is dead
    #[arg(long, value_name = "SECONDS", default_value_t = KA_SILENCE.as_secs(),
          value_parser = clap::value_parser!(u64).range(5..))]
    pub(super) stall_timeout: u64,
    /// Say everything that happens
    #[arg(long)]
    pub(super) verbose: bool,
}

/// What the nodes' disks and clones shall be.
#[derive(Debug, Clone, Default, clap::Args)]
pub(crate) struct Shape {
    /// Partition DRIVE as the desc FILE says, not as the golden node's; repeat it for
    /// several
    #[arg(short = 'p', long = "desc", num_args = 2, value_names = ["DRIVE", "FILE"])]
    desc: Vec<String>,
    /// Also write the boot code of the golden node's DRIVE; repeat it for several
    #[arg(short = 'm', long = "boot", value_name = "DRIVE")]
    boot: Vec<String>,
    /// Also write the boot code of FILE to DRIVE; repeat it for several
    #[arg(short = 'M', long = "boot-file", num_args = 2, value_names = ["DRIVE", "FILE"])]
    boot_file: Vec<String>,
    /// The boot loader (lilo, grub, systemd-boot, extlinux), and options for mkinitrd; else
    /// the one that the golden node has
    #[arg(short = 'r', long = "loader", value_name = "LOADER")]
    pub(super) loader: Option<String>,
    /// Clones keep machine-id, ssh host keys, leases and names of cards
    #[arg(long)]
    pub(super) keep_identity: bool,
}

impl Shape {
    /// The disks of `-p` with their files.
    pub(super) fn descs(&self) -> impl Iterator<Item = (String, &str)> {
        pairs(&self.desc)
    }

    /// The disks of `-M` with their files.
    pub(super) fn boot_files(&self) -> impl Iterator<Item = (String, &str)> {
        pairs(&self.boot_file)
    }

    /// The disks of `-m`.
    pub(super) fn boots(&self) -> impl Iterator<Item = String> {
        self.boot.iter().map(|drive| device(drive))
    }
}

/// Options with two values each, as clap gives them: one after the other. The first is a
/// disk.
fn pairs(values: &[String]) -> impl Iterator<Item = (String, &str)> {
    values
        .chunks_exact(2)
        .map(|pair| (device(&pair[0]), pair[1].as_str()))
}

/// `sda` is `/dev/sda`.
pub(super) fn device(name: &str) -> String {
    match name.starts_with('/') {
        true => name.to_owned(),
        false => format!("/dev/{name}"),
    }
}
