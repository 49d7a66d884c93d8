//! The boot server: DHCP, TFTP and names by dnsmasq, stage 2 by a web server, and the
//! PXE file of the manual.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use goldring_contract::paths::STAGE2_ON_SERVER;

use super::network::{self, Network};
use super::process::Process;

/// What a node boots when nobody types anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Label {
    /// Fetch stage 2 by http, then join the dolly ring.
    HttpDolly,
    /// Fetch stage 2 by http, then a shell.
    Rescue,
    /// The node's own disk.
    Local,
}

/// The folder of the manual's `directory:`.
const DIRECTORY: &str = "cs4";
/// Where the manual keeps pxelinux, below the TFTP root.
const PXE: &str = "X86PC/linux";

/// DHCP, TFTP, names and http, until it is dropped.
#[derive(Debug)]
pub(super) struct BootServer {
    pxe: PathBuf,
    _dnsmasq: Process,
    _httpd: Process,
}

impl BootServer {
    /// Lays out the folders from `images` and starts the servers. Nodes boot `label`.
    pub(super) fn start(
        network: &Network,
        images: &Path,
        run: &Path,
        label: Label,
    ) -> Result<Self> {
        let tftp = run.join("tftpboot");
        let pxe = tftp.join(PXE);
        let www = run.join("www");
        place(
            Path::new("/usr/lib/PXELINUX/pxelinux.0"),
            &pxe.join("linux.0"),
        )?;
        place(
            Path::new("/usr/lib/syslinux/modules/bios/ldlinux.c32"),
            &pxe.join("ldlinux.c32"),
        )?;
        for file in ["vmlinuz", "all.rdz"] {
            place(&images.join(file), &pxe.join("images").join(file))?;
        }
        place(
            &images.join("rescue.clp"),
            &www.join(DIRECTORY).join(STAGE2_ON_SERVER),
        )?;

        let config = run.join("dnsmasq.conf");
        std::fs::write(&config, dnsmasq_config(&tftp, run))
            .with_context(|| format!("writing {}", config.display()))?;
        let mut dnsmasq = network.command("dnsmasq");
        dnsmasq
            .arg("--keep-in-foreground")
            .arg(format!("--conf-file={}", config.display()));
        let mut httpd = network.command("busybox");
        httpd
            .args([
                "httpd",
                "-f",
                "-p",
                &format!("{}:80", network::SERVER),
                "-h",
            ])
            .arg(&www);
        let mut server = Self {
            pxe,
            _dnsmasq: Process::start("dnsmasq", dnsmasq, &run.join("dnsmasq.log"))?,
            _httpd: Process::start("the web server", httpd, &run.join("httpd.log"))?,
        };
        server.set_default(label)?;
        // Both servers refuse a bad configuration within this time.
        std::thread::sleep(Duration::from_millis(300));
        server._dnsmasq.check_running()?;
        server._httpd.check_running()?;
        Ok(server)
    }

    /// Writes the PXE file with another default, as the manual tells the
    /// administrator to do after a clone.
    pub(super) fn set_default(&self, label: Label) -> Result<()> {
        let folder = self.pxe.join("pxelinux.cfg");
        std::fs::create_dir_all(&folder)?;
        let path = folder.join("default");
        std::fs::write(&path, pxe_file(label))
            .with_context(|| format!("writing {}", path.display()))
    }
}

fn place(from: &Path, to: &Path) -> Result<()> {
    // A boot loader of no bytes is loaded, and then nothing happens for ever.
    if std::fs::metadata(from).is_ok_and(|file| file.len() == 0) {
        bail!("{} is empty; install its package again", from.display());
    }
    let folder = to.parent().unwrap_or(to);
    std::fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    std::fs::copy(from, to)
        .with_context(|| format!("copying {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// The manual's entry for http, with the word for dolly behind `rescue` and a serial
/// console.
fn pxe_file(label: Label) -> String {
    let default = match label {
        Label::HttpDolly => "http",
        Label::Rescue => "rescue",
        Label::Local => "local",
    };
    let http = command_line(Label::HttpDolly);
    let rescue = command_line(Label::Rescue);
    format!(
        "PROMPT 1\nDEFAULT {default}\nTIMEOUT 10\n\
         label local\n  LOCALBOOT 0\n\
         label http\n  KERNEL images/vmlinuz\n  APPEND initrd=images/all.rdz {http}\n\
         label rescue\n  KERNEL images/vmlinuz\n  APPEND initrd=images/all.rdz {rescue}\n"
    )
}

/// The kernel command line of a label, without the name of the initramfs.
pub(super) fn command_line(label: Label) -> String {
    let way = match label {
        Label::HttpDolly => " dollymethod",
        Label::Rescue | Label::Local => "",
    };
    // no_timer_check: on a busy host the kernel's check of the timer fails in a virtual
    // machine, and then it routes interrupts in a way that leaves cards without any.
    format!(
        "ramdisk_size=64000 vga=788 \
         automatic=method:http,interface:auto,network:dhcp,server:{server},directory:/{DIRECTORY} \
         root=/dev/ram3 rescue{way} rw console=tty0 console=ttyS0,115200 no_timer_check",
        server = network::SERVER,
    )
}

fn dnsmasq_config(tftp: &Path, run: &Path) -> String {
    let mut text = format!(
        "interface={bridge}\nbind-interfaces\nuser=root\n\
         no-hosts\nno-resolv\ndomain=lab\nexpand-hosts\nlog-dhcp\nlog-facility=-\n\
         dhcp-range=10.0.1.30,10.0.1.60,255.255.255.0,1h\ndhcp-authoritative\n\
         dhcp-leasefile={leases}\n\
         dhcp-boot={PXE}/linux.0\nenable-tftp\ntftp-root={tftp}\n\
         host-record=golden,{server}\n",
        bridge = network::BRIDGE,
        leases = run.join("leases").display(),
        tftp = tftp.display(),
        server = network::SERVER,
    );
    for number in 1..=20 {
        let (name, address) = (network::node_name(number), network::node_address(number));
        text += &format!("dhcp-host={},{address},{name}\n", network::node_mac(number));
        text += &format!("host-record={name},{address}\n");
    }
    text
}
