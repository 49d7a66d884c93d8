//! What must not be the same on two computers: made fresh, so that a clone is a computer of
//! its own. The name is in [`super::hostname`].

use anyhow::Context;

use super::Clone;

/// Files that hold what one computer has learnt or drawn by lot; their systems make them
/// again. A star at the end stands for the rest of a name.
const LEARNT: [&str; 27] = [
    // Names of cards and discs by their numbers (udev before 197).
    "/etc/udev/rules.d/70-persistent-net.rules",
    "/etc/udev/rules.d/70-persistent-cd.rules",
    "/etc/udev/rules.d/z25_persistent-net.rules",
    "/etc/udev/rules.d/z25_persistent-cd.rules",
    "/etc/udev/rules.d/60-net.rules",
    "/etc/udev/rules.d/61-net_config.rules",
    "/etc/iftab",
    // Addresses that a server lent to the golden node.
    "/var/lib/dhcp/*",
    "/var/lib/dhcp3/*",
    "/var/lib/dhclient/*",
    "/var/lib/dhcpcd/*",
    "/var/lib/dhcpv6/*",
    "/var/db/dhcpcd/*",
    "/var/cache/dhcpcd/*",
    "/etc/dhcpc/*",
    "/etc/dhcpcd.duid",
    "/etc/dhcpcd.secret",
    "/var/lib/NetworkManager/*",
    // Chance that was kept for the next start.
    "/var/lib/systemd/random-seed",
    "/var/lib/random-seed",
    "/var/lib/urandom/random-seed",
    "/var/lib/misc/random-seed",
    "/var/lib/seedrng/*",
    "/etc/random-seed",
    "/boot/loader/random-seed",
    "/boot/efi/loader/random-seed",
    "/efi/loader/random-seed",
];
/// Beside them stand settings, and what a DHCP server must find when it starts.
const KEPT: [&str; 3] = ["NetworkManager.state", "dhcpd.leases", "dhcpd6.leases"];

const MACHINE_ID: &str = "/etc/machine-id";
const DBUS_ID: &str = "/var/lib/dbus/machine-id";
const ENTRY_TOKEN: &str = "/etc/kernel/entry-token";
const SSH: &str = "/etc/ssh";

/// Makes it fresh.
///
/// # Errors
/// A file that cannot be removed or written. Keys that cannot be made are told.
pub(crate) fn refresh(clone: &mut Clone<'_>) -> anyhow::Result<()> {
    if clone.wish.keep_identity {
        clone.say("the identity of the golden node stays (--keep-identity)");
        return Ok(());
    }
    forget(clone)?;
    machine_id(clone)?;
    cards(clone)?;
    ssh_keys(clone)
}

fn forget(clone: &mut Clone<'_>) -> anyhow::Result<()> {
    let mut gone = Vec::new();
    for path in LEARNT {
        let paths = match path.strip_suffix("/*") {
            None => vec![path.to_owned()],
            Some(folder) => {
                let names = clone.tree.names(folder).into_iter();
                let names = names.filter(|name| !KEPT.contains(&name.as_str()));
                names.map(|name| format!("{folder}/{name}")).collect()
            }
        };
        for path in paths {
            if clone.tree.remove(&path)? {
                gone.push(path);
            }
        }
    }
    if !gone.is_empty() {
        clone.say(&format!("forgotten: {}", gone.join(", ")));
    }
    Ok(())
}

/// An empty file gets a new number at the next start (machine-id(5)). The old one may be the
/// name of folders with kernels; then it stays the name that new kernels are filed under
/// (kernel-install(8), entry-token).
fn machine_id(clone: &mut Clone<'_>) -> anyhow::Result<()> {
    let old = clone.tree.text(MACHINE_ID).trim().to_owned();
    if clone.tree.is_plain_file(MACHINE_ID) {
        if !old.is_empty() && names_kernels(clone, &old) && !clone.tree.has(ENTRY_TOKEN) {
            clone.tree.write(ENTRY_TOKEN, &format!("{old}\n"))?;
        }
        clone.tree.edit(MACHINE_ID, |_| String::new())?;
    }
    // A link leads to the same number; without systemd dbus makes its own again.
    if clone.tree.is_plain_file(DBUS_ID) {
        clone.tree.remove(DBUS_ID)?;
    }
    Ok(())
}

fn names_kernels(clone: &Clone<'_>, id: &str) -> bool {
    let tree = &clone.tree;
    tree.has("/etc/kernel")
        && ["/boot", "/boot/efi", "/efi"].iter().any(|boot| {
            let entries = tree.names(&format!("{boot}/loader/entries"));
            tree.has(&format!("{boot}/{id}")) || entries.iter().any(|name| name.starts_with(id))
        })
}

/// Network settings that hold for one card only, by its address: folders, how the names of
/// the files begin, and the key (Red Hat and Mandriva, SUSE, NetworkManager).
const ONE_CARD: [(&str, &str, &str); 3] = [
    ("/etc/sysconfig/network-scripts", "ifcfg-", "HWADDR="),
    ("/etc/sysconfig/network", "ifcfg-", "HWADDR="),
    ("/etc/NetworkManager/system-connections", "", "mac-address="),
];

fn cards(clone: &mut Clone<'_>) -> anyhow::Result<()> {
    for (folder, begin, key) in ONE_CARD {
        let names = clone.tree.names(folder);
        for name in names.iter().filter(|name| name.starts_with(begin)) {
            let any_card = |text: &str| -> String {
                let lines = text.split_inclusive('\n');
                lines
                    .filter(|line| !line.trim_start().starts_with(key))
                    .collect()
            };
            if clone.tree.edit(&format!("{folder}/{name}"), any_card)? {
                clone.say(&format!("{name} holds for any card now"));
            }
        }
    }
    Ok(())
}

/// Files with which a system makes missing keys itself when its server starts; those get
/// the right labels of SELinux, too.
const MAKES_KEYS: [&str; 6] = [
    "/usr/lib/systemd/system/sshd-keygen@.service",
    "/usr/lib/systemd/system/sshd-keygen.service",
    "/usr/lib/systemd/system/sshdgenkeys.service",
    "/usr/lib/systemd/system/ssh-keygen.service",
    "/etc/rc.d/init.d/sshd",
    "/usr/sbin/sshd-gen-keys-start",
];

fn ssh_keys(clone: &mut Clone<'_>) -> anyhow::Result<()> {
    let keys: Vec<String> = clone.tree.names(SSH);
    let is_key = |name: &&String| {
        let key = name.strip_prefix("ssh_host_");
        key.is_some_and(|key| {
            key.ends_with("key") || key.ends_with("key.pub") || key.ends_with("key-cert.pub")
        })
    };
    let mut had_keys = false;
    for name in keys.iter().filter(is_key) {
        had_keys |= clone.tree.remove(&format!("{SSH}/{name}"))?;
    }
    if !had_keys {
        return Ok(());
    }
    if MAKES_KEYS.iter().any(|path| clone.tree.has(path)) {
        clone.say("the keys of its ssh server are made at the first start");
        return Ok(());
    }
    let made = clone
        .chroot(&["ssh-keygen", "-A"])
        .context("making keys for its ssh server");
    match made {
        Ok(_) => clone.say("the keys of its ssh server are new"),
        Err(error) => clone.say(&format!("{error:#}; make them there: ssh-keygen -A")),
    }
    Ok(())
}
