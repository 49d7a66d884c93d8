//! The command line.

use std::ffi::OsString;
use std::path::Path;

use clap::{Parser, Subcommand};

use crate::tools::{drivers, guessmounts, install_bootloader, lsparts};
use crate::{bootable, deploy, dolly, dollyplus, files, ka, node, partition, prepare};

/// Clones one installed computer onto many over the network.
#[derive(Debug, Parser)]
#[command(
    name = "goldring",
    version,
    propagate_version = true,
    max_term_width = 80
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Clone a disk, partition or file along a ring (dolly).
    Dolly(Box<dolly::Args>),
    /// Send files or disks along a dolly+ ring: the golden node.
    #[command(name = "dollyS", alias = "dollys")]
    DollyS(dollyplus::ServerArgs),
    /// Wait for a dolly+ ring and store what comes: a node.
    #[command(name = "dollyC", alias = "dollyc")]
    DollyC(dollyplus::ClientArgs),
    /// Ask nodes that wait for a dolly+ ring, or are in one, how they are.
    Dping(dollyplus::PingArgs),
    /// Clone this system by its files onto nodes that it partitions (ka).
    #[command(name = "ka-d")]
    KaD(Box<deploy::Args>),
    /// Send the output of a command to many computers: the golden node of ka.
    #[command(name = "ka-d-server")]
    KaServer(ka::ServerArgs),
    /// Take part in a ka session and give what comes to a command: a node.
    #[command(name = "ka-d-client")]
    KaClient(ka::ClientArgs),
    /// Send stage 2 to nodes that boot with method:ka.
    #[command(name = "ka-d-session")]
    KaSession(ka::SessionArgs),
    /// Unpack stage 2 on the golden node, for ka and dolly, and see whether ka can work here.
    #[command(alias = "setup_ka_deploy")]
    Prepare(prepare::Args),
    /// List disks and partitions with their sizes and what they hold.
    Lsparts(lsparts::Args),
    /// Find the installed system and mount its tree.
    Guessmounts(guessmounts::Args),
    /// Install the boot loader of the installed system again.
    #[command(name = "install_bootloader", alias = "install-bootloader")]
    InstallBootloader(install_bootloader::Args),
    /// Load drivers for the devices that are here.
    Drvinst(drivers::Args),
    /// Partition disks as desc files say, and make their file systems.
    Partition(partition::Args),
    /// Print the desc of a disk: its partitions and what is in them.
    #[command(name = "fdisk_to_desc", alias = "fdisk-to-desc")]
    FdiskToDesc(partition::fdisk_to_desc::Args),
    /// The files of an installed system: list, send, receive, compare.
    Files(files::Args),
    /// Make a cloned system bootable on this computer.
    Bootable(bootable::Args),
    /// What a node runs in stage 2; started by init.
    #[command(hide = true)]
    Node(node::Args),
}

/// A link with an old name is as good as the word: `dolly -s` is `goldring dolly -s`.
pub(crate) fn by_name(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    const OLD_NAMES: [&str; 14] = [
        "dolly",
        "dollyS",
        "dollyC",
        "dping",
        "ka-d",
        "ka-d-server",
        "ka-d-client",
        "ka-d-session",
        "setup_ka_deploy",
        "lsparts",
        "guessmounts",
        "install_bootloader",
        "drvinst",
        "fdisk_to_desc",
    ];
    let mut args: Vec<OsString> = args.collect();
    let name = args
        .first()
        .and_then(|first| Path::new(first).file_name())
        .and_then(|name| name.to_str())
        // Some of them were scripts.
        .map(|name| {
            name.strip_suffix(".sh")
                .or(name.strip_suffix(".pl"))
                .unwrap_or(name)
        })
        .and_then(|name| OLD_NAMES.iter().find(|old| **old == name));
    if let Some(name) = name {
        args.splice(0..1, ["goldring".into(), (*name).into()]);
    }
    args
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn an_old_name_is_a_word() {
        let words = |line: &str| {
            by_name(line.split(' ').map(OsString::from))
                .into_iter()
                .map(|word| word.into_string().unwrap())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(words("/usr/bin/dolly -s"), "goldring dolly -s");
        assert_eq!(words("goldring dolly -s"), "goldring dolly -s");
        assert_eq!(
            words("./ka-d-session.sh -n 4"),
            "goldring ka-d-session -n 4"
        );
        assert_eq!(words("install_bootloader"), "goldring install_bootloader");
    }

    #[test]
    fn the_version_is_told_under_an_old_name_too() {
        let args = by_name(["dolly", "-V"].map(OsString::from).into_iter());
        let error = Cli::try_parse_from(args).unwrap_err();
        assert_eq!(error.kind(), clap::error::ErrorKind::DisplayVersion);
    }

    #[test]
    fn options_stand_in_any_order() {
        for line in [
            "dolly -s -v -f x.cfg",
            "dolly -f x.cfg -sv",
            "dolly -vfx.cfg -s -a 60 -o log -q -n --stall-timeout 5",
            "dolly -v",
            "dolly -v -P secret -d",
            "dolly -s -f x.cfg -d -t 30 -c 4G --dialect suse -P secret",
            "dolly -s --in /dev/sda --out /dev/sda node2 node3",
            "dolly -s --in /dev/sda --out /dev/sda --nodes 40 --dry-run",
            "dolly --wait 10 --bind 10.0.0.1",
            "dollyS -v -f x.cfg",
            "dollyS --in /dev/sda --out /dev/sda node2 node3 --leave-behind 8.5",
            "dollyS --in /dev/sda --out /dev/sda --nodes 40 -a 60 --leave-behind never",
            "dollyS -vdBL -f - --plain --late 0 --dry-run --json",
            "dollyC -v --wait 300",
            "dping -h node2",
            "dping node2 node3",
            "ka-d-server -s kainstall1 -n 3 -e true -l -d 10 -a 2 -p 1 -P 2",
            "ka-d-server -n 1 --timeout 5 --partial --bind 10.0.0.1",
            "ka-d-server -s x --only node2,node3 --only node4",
            "ka-d-client -w -s kainstall1 -e true",
            "ka-d-client -g -h node1",
            "ka-d-session -n 4 --name lab",
            "ka-d.sh -n 3 -p sda desc -p sdb desc2 -x /a -x /b -X sdc -D sda1 -d 20",
            "ka-d -m sda -M sdb file -r grub --name lab --no-stage2 --zstd --dry-run",
            "goldring prepare rescue.clp --into /srv/ka --img x.img --dry-run --force",
            "setup_ka_deploy.pl rescue.clp --no-img --tftp /srv/tftp --boot-files . --name lab",
            "goldring prepare --check",
            "lsparts -v",
            "guessmounts /mnt --root /dev/sda1",
            "guessmounts --umount",
            "install_bootloader --auto --dry-run",
            "drvinst STORAGE NETWORK",
            "fdisk_to_desc",
            "fdisk_to_desc --old /dev/sda",
            "fdisk_to_desc -o descs --gpt /dev/sda /dev/sdb",
            "goldring files list -x /srv -x /tmp -X sdb --partfiles /tmp",
            "goldring files send --zstd --list x",
            "goldring bootable /mnt/disk -r lilo --hostname n1 -n",
            "goldring bootable /mnt --rename /dev/sda=/dev/vda --without /data --keep-identity",
            "goldring files send --zstd=3 --tree / -x /srv",
            "goldring files receive /mnt/disk --plain",
            "goldring files mount /mnt/disk --list x --device /dev/sda1=/dev/vda1",
            "goldring files compare a b --ignore /x --one-file-system",
        ] {
            let args = by_name(line.split(' ').map(OsString::from));
            Cli::try_parse_from(args).unwrap();
        }
        for line in [
            "dolly -s -S -f x",
            "dolly -s -f x node2",
            "dolly -s -f x --in a --out b",
            "dolly -s --in a node2",
            "dolly -s --nodes 3",
            "dolly -s --in a --out b --nodes 3 node2",
            "dolly -s --in a --out b --nodes 0",
            "dolly -s --in a --out b --nodes 4001",
            "dolly -s -f x --dialect new",
            "dolly -s -f x -c 4X",
            "dolly -d -t -5",
            "dolly -a 0",
            "dolly -x",
            "dollyS -v",
            "dollyS -f x node2",
            "dollyS -f x --leave-behind 1",
            "dollyC -f x",
            "dping",
            "ka-d-server -n 0",
            "ka-d-server -a 5",
            "ka-d-server -n 2 --only node2",
            "ka-d-server -l --unbounded",
            "ka-d-server x",
            "ka-d-client",
            "ka-d-client -s x -h y",
            "ka-d -p sda",
            "ka-d -n 0",
            "ka-d x",
            "goldring prepare",
            "goldring prepare --check rescue.clp",
            "goldring prepare rescue.clp --packed --img x",
            "goldring prepare rescue.clp --boot-files .",
            "lsparts x",
            "guessmounts --umount --root /dev/sda1",
            "install_bootloader --root",
            "fdisk_to_desc --old --gpt /dev/sda",
            "goldring files",
            "goldring files send --zstd=20",
            "goldring files send --list x -x /srv",
            "goldring files receive",
            "goldring files compare a",
            "goldring bootable",
            "goldring bootable /mnt --rename sda",
        ] {
            let args = by_name(line.split(' ').map(OsString::from));
            assert!(Cli::try_parse_from(args).is_err(), "{line}");
        }
    }
}
