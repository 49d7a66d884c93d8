//! What the steps share.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;

use goldring_contract::Root;
use goldring_contract::bootargs::{Automatic, BootArgs};
use goldring_contract::image::Manifest;
use goldring_hw::tables::Tables;
use goldring_sys::mount::Mounted;

use crate::fate::Fate;
use crate::flags::Facts;
use crate::hardware::Hardware;
use crate::sources::mounted::Source;
use crate::steps::stage2::Stage2;

/// The state of a boot. What a step leaves for later ones is empty until then.
#[derive(Debug)]
pub(crate) struct Ctx {
    /// What stands for `/`.
    pub(crate) root: Root,
    /// Whether things are only told, not done.
    pub(crate) dry_run: bool,
    /// The kernel command line as text.
    pub(crate) cmdline: String,
    /// The kernel's release, when it was given.
    pub(crate) kernel: Option<String>,
    /// The number of the current try of the current step, from 1.
    pub(crate) attempt: u32,
    /// The kernel command line, read.
    pub(crate) args: BootArgs,
    /// What the image is.
    pub(crate) manifest: Option<Manifest>,
    /// The image's modules.
    pub(crate) tables: Arc<Tables>,
    /// The devices of the machine.
    pub(crate) hardware: Hardware,
    /// The numbers of the cards that tries to get an address have used.
    pub(crate) cards_tried: Vec<u32>,
    /// The boot server that DHCP named.
    pub(crate) boot_server: Option<String>,
    /// The hosts that take syslog, as DHCP named them.
    pub(crate) log_servers: Vec<Ipv4Addr>,
    /// The interface and address in use.
    pub(crate) handover: goldring_contract::handover::Network,
    /// The file or block device that holds stage 2.
    pub(crate) image: Option<PathBuf>,
    /// The memory that holds stage 2.
    pub(crate) store: Option<Mounted>,
    /// Stage 2, mounted.
    pub(crate) stage2: Option<Stage2>,
    /// What stage 2 came from, when it stays mounted: it is used there, or `keepmounted`.
    pub(crate) held: Option<Source>,
}

impl Ctx {
    /// The real thing.
    pub(crate) fn pid1() -> Self {
        Self::new(Root::system(), false)
    }

    /// A dry run.
    pub(crate) fn laptop(facts: Facts) -> Self {
        Self {
            cmdline: facts.cmdline.unwrap_or_default(),
            kernel: facts.kernel,
            ..Self::new(facts.root, true)
        }
    }

    fn new(root: Root, dry_run: bool) -> Self {
        Self {
            root,
            dry_run,
            cmdline: String::new(),
            kernel: None,
            attempt: 1,
            args: BootArgs::default(),
            manifest: None,
            tables: Arc::default(),
            hardware: Hardware::default(),
            cards_tried: Vec::new(),
            boot_server: None,
            log_servers: Vec::new(),
            handover: goldring_contract::handover::Network::default(),
            image: None,
            store: None,
            stage2: None,
            held: None,
        }
    }

    /// What `automatic=` says.
    ///
    /// # Errors
    /// There is none: nobody is there to be asked.
    pub(crate) fn automatic(&self) -> Result<&Automatic, Fate> {
        self.args.automatic.as_ref().ok_or_else(|| {
            Fate::reboot(
                "no automatic= on the kernel command line; \
                 add automatic=method:http,network:dhcp to the PXE entry",
            )
        })
    }

    /// The kernel's release, as said or as it is.
    pub(crate) fn release(&self) -> String {
        if let Some(release) = &self.kernel {
            return release.clone();
        }
        let file = self.root.join("/proc/sys/kernel/osrelease");
        match std::fs::read_to_string(file) {
            Ok(text) => text.trim().to_owned(),
            Err(_) => goldring_sys::module::kernel_release(),
        }
    }
}
