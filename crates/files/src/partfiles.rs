//! What an old golden node sends before its files, for old nodes: small files that their
//! scripts read ("partfiles": `pfstab`, `excluded`, `streams`, `command`…; ka-deploy 0.94).

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

use crate::made::{Kind, Made};
use crate::manifest::Manifest;
use crate::text::escaped;

/// What else an old node is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Orders {
    /// Partitions that are sent block by block (`-D`), as the golden node calls them.
    pub raw: Vec<String>,
    /// What runs in the clone at the end (`-r`).
    pub command: Option<String>,
    /// Nodes are let go one after the other (`-d`).
    pub delay: bool,
}

/// The files: names and contents. Those for the partition tables are made elsewhere.
pub fn partfiles(manifest: &Manifest, orders: &Orders) -> Vec<(&'static str, String)> {
    let mut files = vec![
        ("pfstab", pfstab(manifest)),
        ("excluded", excluded(&manifest.made)),
        ("streams", streams(&orders.raw)),
    ];
    if let Some(command) = &orders.command {
        // Those of 2010 read the loader and options for mkinitrd, those of 2005 a command
        // that they run in the clone: of loaders there was lilo only.
        files.push(("bootloader", format!("{command}\n")));
        if command.split(' ').next() == Some("lilo") {
            files.push(("command", "lilo\n".to_owned()));
        }
    }
    if let Some(boot) = boot_part(manifest) {
        files.push(("boot_part", boot));
    }
    if orders.delay {
        files.push(("delay", String::new()));
    }
    files
}

/// File systems that old nodes make.
const KINDS: [&str; 6] = ["ext2", "ext3", "ext4", "reiserfs", "xfs", "jfs"];

/// Why old nodes cannot become clones of this, if so.
pub fn complaint(manifest: &Manifest) -> Option<String> {
    for mount in &manifest.mounts {
        let place = &mount.place;
        let kind = manifest
            .of(mount)
            .map_or("unknown", |one| one.kind.as_str());
        if !KINDS.contains(&kind) {
            return Some(format!("{place} is {kind}, which they cannot make"));
        }
        if !is_plain(place.as_bytes()) {
            return Some(format!("their scripts cannot read the name {place:?}"));
        }
    }
    None
}

/// A name that a shell reads as one word and as nothing else.
fn is_plain(name: &[u8]) -> bool {
    let plain =
        |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-+,:=@%".contains(byte) || *byte >= 0x80;
    name.iter().all(plain)
}

/// Lines of an fstab with names of devices, `/` first, since old nodes mount in this order.
fn pfstab(manifest: &Manifest) -> String {
    let mut text = String::new();
    for mount in &manifest.mounts {
        let kind = manifest.of(mount).map_or("auto", |one| one.kind.as_str());
        let options = match mount.options.is_empty() {
            true => "defaults".to_owned(),
            false => mount.options.join(","),
        };
        let pass = if mount.place == "/" { 1 } else { 2 };
        let place = escaped(mount.place.as_bytes());
        let _ = writeln!(text, "{} {place} {kind} {options} 1 {pass}", mount.device);
    }
    for swap in manifest.swaps.iter().filter(|swap| !swap.is_file()) {
        let _ = writeln!(text, "{} swap swap defaults 0 0", swap.place);
    }
    text
}

/// `u=rwx g=rx o=rx UID GID DIR`, as chmod reads it.
fn excluded(made: &[Made]) -> String {
    let mut text = String::new();
    for made in made.iter().filter(|made| made.kind == Kind::Folder) {
        // The scripts take one word, and let the shell look for stars in it.
        if !is_plain(made.path.as_os_str().as_bytes()) {
            continue;
        }
        let who = |who: char, shift: u32, special: (u32, char)| {
            let bits = made.mode >> shift;
            let mut rights: String = [(4, 'r'), (2, 'w'), (1, 'x')]
                .iter()
                .filter(|(bit, _)| bits & bit != 0)
                .map(|(_, letter)| *letter)
                .collect();
            if made.mode & special.0 != 0 {
                rights.push(special.1);
            }
            format!("{who}={rights}")
        };
        let (user, group, others) = (
            who('u', 6, (0o4000, 's')),
            who('g', 3, (0o2000, 's')),
            who('o', 0, (0o1000, 't')),
        );
        let (uid, gid) = (made.uid, made.gid);
        let path = made.path.to_string_lossy();
        let _ = writeln!(text, "{user} {group} {others} {uid} {gid} {path}");
    }
    text
}

fn streams(raw: &[String]) -> String {
    let lines = raw.iter().map(|partition| format!("{partition}\n"));
    std::iter::once("linux\n".to_owned()).chain(lines).collect()
}

/// What blkid says of the partition with `/boot`. The scripts take for its UUID what stands
/// behind the first `=`, so there is no label in front.
fn boot_part(manifest: &Manifest) -> Option<String> {
    let at = |place| manifest.mounts.iter().find(|mount| mount.place == place);
    let one = manifest.of(at("/boot").or_else(|| at("/"))?)?;
    Some(format!(
        "{}: UUID=\"{}\" TYPE=\"{}\"\n",
        one.device, one.uuid, one.kind
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::tests::example;

    #[test]
    fn old_nodes_find_what_they_read() {
        let mut manifest = example();
        manifest.made.push(Made::plain_folder("/var/my tmp"));
        manifest.made.push(Made::plain_folder("/var/a*"));
        let mut tmp = Made::plain_folder("/var/tmp");
        tmp.mode = 0o3775;
        tmp.gid = 5;
        manifest.made.push(tmp);
        manifest.made.push(Made::plain_folder("/odd\nname"));
        let orders = Orders {
            raw: vec!["/dev/sda3".into()],
            command: Some("lilo --with=x".into()),
            delay: true,
        };
        let text: String = partfiles(&manifest, &orders)
            .into_iter()
            .map(|(name, text)| format!("[{name}]\n{text}"))
            .collect();
        assert_eq!(
            text,
            "[pfstab]\n\
             /dev/sda1 / btrfs noatime,subvol=@ 1 1\n\
             /dev/sda1 /srv/a\\040b btrfs defaults 1 2\n\
             /dev/sda2 swap swap defaults 0 0\n\
             [excluded]\n\
             u=rwx g=rx o=rx 0 0 /proc\n\
             u=rwx g=rwxs o=rxt 0 5 /var/tmp\n\
             [streams]\nlinux\n/dev/sda3\n\
             [bootloader]\nlilo --with=x\n[command]\nlilo\n\
             [boot_part]\n/dev/sda1: UUID=\"1-2\" TYPE=\"btrfs\"\n\
             [delay]\n"
        );
    }

    #[test]
    fn what_old_nodes_cannot_do_is_told() {
        let mut manifest = example();
        assert_eq!(
            complaint(&manifest).unwrap(),
            "/ is btrfs, which they cannot make"
        );
        for one in &mut manifest.file_systems {
            one.kind = "ext3".to_owned();
        }
        let name = complaint(&manifest).unwrap();
        assert!(name.contains("cannot read the name \"/srv/a b\""), "{name}");
        manifest.mounts.retain(|mount| mount.place == "/");
        assert_eq!(complaint(&manifest), None);
    }
}
