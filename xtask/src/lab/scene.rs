//! A network with a boot server for machines that are not nodes of a clone.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::boot_server::{self, BootServer, Label};
use super::guest::Guest;
use super::models::Nic;
use super::network::{self, Network};

/// Taps, DHCP and stage 2 by http; dropping it takes all of it down.
pub(crate) struct Scene {
    _boot_server: BootServer,
    network: Network,
    images: PathBuf,
    folder: PathBuf,
}

impl Scene {
    /// Serves `images` to machines on `taps` taps; logs and consoles go to `folder`.
    pub(crate) fn start(images: &Path, folder: &Path, taps: usize) -> Result<Self> {
        let network = Network::new(taps)?;
        Ok(Self {
            _boot_server: BootServer::start(&network, images, folder, Label::Rescue)?,
            network,
            images: images.to_owned(),
            folder: folder.to_owned(),
        })
    }

    /// The kernel command line of a node that gets a shell.
    pub(crate) fn words(&self) -> String {
        boot_server::command_line(Label::Rescue)
    }

    /// The folder of the images.
    pub(crate) fn images(&self) -> &Path {
        &self.images
    }

    /// Where consoles and disks are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// QEMU's arguments for a card on tap `number`, from 1.
    pub(crate) fn card(&self, model: &Nic, number: usize) -> Vec<String> {
        network::card(model, number, None)
    }

    /// Switches a machine on.
    pub(crate) fn boot(&self, name: &str, arguments: &[String]) -> Result<Guest> {
        Guest::start(&self.network, &self.folder, name, "boot", arguments)
    }
}
