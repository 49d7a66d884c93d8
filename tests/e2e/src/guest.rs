//! A virtual machine that boots `vmlinuz` and `all.rdz` directly, or from its own disks.

use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::room::Room;

/// The size of the guest's empty disk, `/dev/vda`.
const DISK: u64 = 128 << 20;
/// How long a login may take on a busy machine, once it is asked for.
const LOGIN: Duration = Duration::from_secs(60);

/// What is plugged into the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Card {
    /// A virtio card in QEMU's user network: DHCP answers, the host is 10.0.2.2.
    Connected,
    /// A virtio card on a hub with nobody else: the link is up, DHCP is silent.
    Lonely,
    /// A virtio card whose cable is pulled out.
    Unplugged,
    /// No card at all.
    None,
}

/// Firmware of the UEFI kind (Debian's `ovmf`): its code, and variables that nobody has set.
const UEFI: [&str; 2] = [
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "/usr/share/OVMF/OVMF_VARS_4M.fd",
];

/// What a disk is connected to, and what Linux calls the first one there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bus {
    /// IDE, `/dev/sda`.
    Ide,
    /// NVMe, `/dev/nvme0n1`.
    Nvme,
    /// virtio, `/dev/vda`; behind the empty disk of a [`Machine::new`] it is `/dev/vdb`.
    Virtio,
}

/// A guest before it is switched on: 1 GiB of memory, and the card that it is given.
#[derive(Debug)]
pub struct Machine<'a> {
    /// What it boots, with words on the kernel command line; none: its disks.
    kernel: Option<(&'a Path, String)>,
    empty_disk: bool,
    memory: u32,
    card: Card,
    room: Option<&'a Room>,
    unplugged: Vec<String>,
    arguments: Vec<String>,
}

impl<'a> Machine<'a> {
    /// Boots the images in `images` with `words` on the kernel command line. Its disk
    /// `/dev/vda` is empty.
    pub fn new(images: &'a Path, words: &str) -> Self {
        Self {
            kernel: Some((images, words.to_owned())),
            empty_disk: true,
            ..Self::of_disks().card(Card::Connected)
        }
    }

    /// Boots from its disks, as a computer with a BIOS does; see [`Machine::disk`]. It has no
    /// card.
    pub fn of_disks() -> Self {
        Self {
            kernel: None,
            empty_disk: false,
            memory: 1024,
            card: Card::None,
            room: None,
            unplugged: Vec::new(),
            arguments: Vec::new(),
        }
    }

    /// With firmware of the UEFI kind instead of a BIOS, and a board of that time: its `ide`
    /// disks are SATA. `variables` is the file where it keeps its variables, made when it is
    /// not there.
    ///
    /// # Errors
    /// The firmware is not installed.
    pub fn uefi(self, variables: &Path) -> Result<Self> {
        let [code, unset] = UEFI;
        if !variables.exists() {
            std::fs::copy(unset, variables).with_context(|| format!("copying {unset}"))?;
        }
        let variables = variables.display();
        Ok(self.arguments([
            "-machine".to_owned(),
            "q35".to_owned(),
            "-drive".to_owned(),
            format!("if=pflash,format=raw,unit=0,readonly=on,file={code}"),
            "-drive".to_owned(),
            format!("if=pflash,format=raw,unit=1,file={variables}"),
        ]))
    }

    /// Its card, when it does not stand in a room.
    pub fn card(mut self, card: Card) -> Self {
        self.card = card;
        if card == Card::Unplugged {
            return self.unplugged("n");
        }
        self
    }

    /// Pulls the cable out of a card; `netdev` is QEMU's name for it, `tap2` for that of
    /// the room's second tap.
    pub fn unplugged(mut self, netdev: &str) -> Self {
        self.unplugged.push(netdev.to_owned());
        self
    }

    /// Without the empty disk.
    pub fn without_disk(mut self) -> Self {
        self.empty_disk = false;
        self
    }

    /// Another disk, on this bus. What is in `file` stays there.
    pub fn disk(mut self, file: &Path, bus: Bus) -> Self {
        let drive = format!("file={},format=raw,cache=unsafe", file.display());
        let number = self.arguments.len();
        let arguments = match bus {
            Bus::Ide => vec![format!("{drive},if=ide")],
            Bus::Virtio => vec![format!("{drive},if=virtio")],
            Bus::Nvme => vec![
                format!("{drive},if=none,id=disk{number}"),
                "-device".to_owned(),
                format!("nvme,drive=disk{number},serial=disk{number}"),
            ],
        };
        self.arguments.push("-drive".to_owned());
        self.arguments(arguments)
    }

    /// Its memory, in MiB.
    pub fn memory(mut self, memory: u32) -> Self {
        self.memory = memory;
        self
    }

    /// Puts it into a room, with a virtio card on the room's tap of this number, from
    /// 1. More cards: [`Machine::arguments`] with [`Room::tap_card`].
    pub fn in_room(mut self, room: &'a Room, tap: usize) -> Self {
        self.room = Some(room);
        self.card = Card::None;
        let card = room.tap_card(tap, "virtio-net-pci");
        self.arguments.extend(card);
        self
    }

    /// More arguments of QEMU, such as another disk.
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Switches it on. A reboot of the guest ends it.
    ///
    /// # Errors
    /// QEMU does not start.
    pub fn start(self) -> Result<Guest> {
        let folder = tempfile::tempdir()?;
        let console = folder.path().join("console");
        File::create(&console)?;
        let network: &[&str] = match self.card {
            Card::Connected => &["-nic", "user,model=virtio-net-pci"],
            Card::Lonely => &["-nic", "hubport,hubid=0,model=virtio-net-pci"],
            Card::Unplugged => &["-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n"],
            // "-nic none" would take the cards of a room as well.
            Card::None if self.room.is_some() => &[],
            Card::None => &["-nic", "none"],
        };
        let mut command = match self.room {
            Some(room) => room.command("qemu-system-x86_64"),
            None => Command::new("qemu-system-x86_64"),
        };
        command
            .args(["-accel", "tcg,thread=multi", "-no-reboot"])
            .args(["-m", &self.memory.to_string()])
            .args(["-display", "none", "-monitor", "stdio"])
            .arg("-chardev")
            .arg(format!(
                "socket,id=console,path={},server=on,wait=off,logfile={}",
                folder.path().join("keyboard").display(),
                console.display()
            ))
            .args(["-serial", "chardev:console"]);
        if let Some((images, words)) = &self.kernel {
            command
                .arg("-kernel")
                .arg(images.join("vmlinuz"))
                .arg("-initrd")
                .arg(images.join("all.rdz"))
                // On a busy machine the kernel's check of the timer fails, and then it routes
                // interrupts in a way that leaves cards without any.
                .args(["-append", &format!("console=ttyS0 no_timer_check {words}")]);
        }
        if self.empty_disk {
            command.arg("-drive").arg(empty_disk(folder.path(), DISK)?);
        }
        command
            .args(network)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(folder.path().join("qemu"))?);
        let child = command.spawn().context("starting qemu-system-x86_64")?;
        let mut guest = Guest {
            child,
            console,
            folder,
            lines: 0,
        };
        for netdev in &self.unplugged {
            // Before the kernel's first instruction has run, as far as it can tell.
            guest.unplug(netdev)?;
        }
        Ok(guest)
    }
}

/// A guest that starts from `disk` as a computer with a BIOS does, with nothing else.
///
/// # Errors
/// QEMU does not start.
pub fn boot_from(disk: &Path) -> Result<Guest> {
    let machine = Machine::of_disks();
    machine.disk(disk, Bus::Virtio).start()
}

/// An empty disk for QEMU's `-drive`.
fn empty_disk(folder: &Path, size: u64) -> Result<String> {
    let path = folder.join("disk");
    File::create(&path)?.set_len(size)?;
    Ok(format!(
        "file={},if=virtio,format=raw,cache=unsafe",
        path.display()
    ))
}

/// A running guest; dropping it ends it.
#[derive(Debug)]
pub struct Guest {
    child: Child,
    console: PathBuf,
    folder: tempfile::TempDir,
    /// How many lines [`Guest::run`] has typed.
    lines: u32,
}

impl Guest {
    /// A [`Machine`] of 1 GiB with this card, switched on.
    ///
    /// # Errors
    /// QEMU does not start.
    pub fn boot(images: &Path, words: &str, card: Card) -> Result<Self> {
        Machine::new(images, words).card(card).start()
    }

    /// Pulls the cable out of a card that runs; `netdev` as in [`Machine::unplugged`].
    ///
    /// # Errors
    /// The guest has ended.
    pub fn unplug(&mut self, netdev: &str) -> Result<()> {
        let monitor = self.child.stdin.as_mut().context("no monitor")?;
        writeln!(monitor, "set_link {netdev} off").context("reaching the monitor")
    }

    /// Types a line on the console, as a person at the serial line would.
    ///
    /// # Errors
    /// The guest has ended.
    pub fn type_line(&mut self, line: &str) -> Result<()> {
        let keyboard = self.folder.path().join("keyboard");
        let mut stream = UnixStream::connect(&keyboard).context("reaching the console")?;
        writeln!(stream, "{line}")?;
        // QEMU takes what was sent before it sees that the line was hung up.
        std::thread::sleep(Duration::from_millis(300));
        Ok(())
    }

    /// Logs in where the console asks for it.
    ///
    /// # Errors
    /// The guest ended, or `limit` passed before it asked.
    pub fn log_in(&mut self, name: &str, password: &str, limit: Duration) -> Result<()> {
        self.expect("login: ", limit)?;
        self.type_line(name)?;
        self.expect("Password: ", LOGIN)?;
        self.type_line(password)?;
        self.expect("# ", LOGIN)
    }

    /// Has the shell on the console run `line`, and gives what it printed.
    ///
    /// # Errors
    /// It fails, or does not end within `limit`; with the end of the console.
    pub fn run(&mut self, line: &str, limit: Duration) -> Result<String> {
        self.lines += 1;
        let number = self.lines;
        let before = self.console().len();
        // What is typed is shown, too; the shell alone takes the quotes away.
        self.type_line(&format!("{line}; echo status-$?-en''ded-{number}"))?;
        let end = format!("-ended-{number}\n");
        self.expect(&end, limit)?;
        let console = self.console();
        let here = console.get(before..).unwrap_or(&console);
        let (said, status) = here
            .split_once(&end)
            .and_then(|(all, _)| all.rsplit_once("status-"))
            .context("the console forgets")?;
        ensure!(
            status == "0",
            "{line}: status {status}; the console ends with:\n{}",
            self.tail()
        );
        Ok(said.to_owned())
    }

    /// What the console has shown so far.
    pub fn console(&self) -> String {
        let bytes = std::fs::read(&self.console).unwrap_or_default();
        String::from_utf8_lossy(&bytes).replace('\r', "\n")
    }

    /// Waits until the console shows `words`.
    ///
    /// # Errors
    /// The guest ended or `limit` passed before, with the end of the console.
    pub fn expect(&mut self, words: &str, limit: Duration) -> Result<()> {
        let start = Instant::now();
        loop {
            let ended = self.child.try_wait()?.is_some();
            if self.console().contains(words) {
                return Ok(());
            }
            if ended || start.elapsed() > limit {
                let how = if ended { "the guest ended" } else { "too late" };
                bail!(
                    "{how}, no {words:?}; the console ends with:\n{}",
                    self.tail()
                );
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Waits until the guest reboots.
    ///
    /// # Errors
    /// `limit` passed before, with the end of the console.
    pub fn expect_reboot(&mut self, limit: Duration) -> Result<()> {
        let start = Instant::now();
        while self.child.try_wait()?.is_none() {
            if start.elapsed() > limit {
                bail!("no reboot; the console ends with:\n{}", self.tail());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        if self.console().contains("Kernel panic") {
            bail!("the kernel panicked:\n{}", self.tail());
        }
        Ok(())
    }

    /// What the guest's disk holds, `/dev/vda`.
    pub fn disk(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    fn tail(&self) -> String {
        let console = self.console();
        let lines: Vec<_> = console.lines().filter(|line| !line.is_empty()).collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
