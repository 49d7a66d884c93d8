//! The one table of the kernel command line: the keys of `automatic=` and the words
//! beside it. The guide and the sample PXE file are generated from it
//! (`cargo xtask docs`).

use super::{BootArgs, BootArgsError, CloneMethod, Syslog, non_empty, parse_mac, shown};

/// A key of `automatic=`.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// The old short form; exactly this word. The name itself where there is none.
    pub short: &'static str,
    /// What it may hold.
    pub values: &'static str,
    /// What it does.
    pub meaning: &'static str,
    /// Whether it does anything; keys of other times are noted and ignored.
    pub supported: bool,
}

const fn key(
    name: &'static str,
    short: &'static str,
    values: &'static str,
    meaning: &'static str,
) -> Key {
    Key {
        name,
        short,
        values,
        meaning,
        supported: true,
    }
}

/// A key that the old stage 1 knew and this one has no use for.
const fn old_key(name: &'static str, short: &'static str, meaning: &'static str) -> Key {
    Key {
        name,
        short,
        values: "any",
        meaning,
        supported: false,
    }
}

/// Every key of `automatic=`.
pub const KEYS: &[Key] = &[
    key(
        "method",
        "met",
        "nfs http ftp ka dolly cdrom disk",
        "how stage 2 is fetched",
    ),
    key(
        "interface",
        "int",
        "NAME, MAC, auto or wired",
        "the card; auto and wired: the one of BOOTIF=, or with a link",
    ),
    key(
        "network",
        "netw",
        "dhcp, ipv6 or static",
        "how the card gets its address; dhcp takes IPv6 where no IPv4 server answers",
    ),
    key(
        "ip",
        "ip",
        "ADDRESS or ADDRESS/BITS",
        "the address, IPv4 or IPv6, with network:static",
    ),
    key(
        "netmask",
        "netm",
        "ADDRESS or BITS",
        "the netmask; when empty by class, or 64 for IPv6",
    ),
    key("gateway", "gat", "ADDRESS", "the default router"),
    key("dns", "dns", "ADDRESS", "the name server"),
    key("hostname", "hos", "NAME", "the node's name"),
    key("domain", "dom", "NAME", "the node's domain"),
    key(
        "server",
        "ser",
        "HOST, HOST:PORT, [IPV6]:PORT or URL",
        "where stage 2 is; the boot server when empty",
    ),
    key(
        "directory",
        "dir",
        "FOLDER",
        "the folder above install/stage2/rescue.clp",
    ),
    key("user", "use", "NAME", "the user, for ftp"),
    key("pass", "pas", "WORD", "the password, for ftp"),
    key("proxy_host", "proxh", "HOST", "the proxy, for http and ftp"),
    key("proxy_port", "proxp", "PORT", "the proxy's port"),
    key("disk", "dis", "DISK such as sda", "the disk, for disk"),
    key(
        "partition",
        "par",
        "PARTITION such as sda1",
        "the partition, for disk; all are looked at when empty",
    ),
    key(
        "dolly_timeout",
        "dolly_timeout",
        "SECONDS",
        "how long to wait for a dolly server",
    ),
    old_key("adsluser", "adslu", "modem lines carry no clone"),
    old_key("adslpass", "adslp", "modem lines carry no clone"),
    old_key("adslacname", "adslacname", "modem lines carry no clone"),
    old_key("essid", "essid", "nodes are cloned over a cable"),
    old_key("wep_key", "wep_key", "nodes are cloned over a cable"),
    old_key("thirdparty", "thirdparty", "every driver is in all.rdz"),
];

/// What reads the value of a word.
type Read = fn(&mut BootArgs, &'static Word, &str) -> Result<(), BootArgsError>;

/// A word of the kernel command line.
#[derive(Debug, Clone, Copy)]
pub struct Word {
    /// The word, without `=`.
    pub name: &'static str,
    /// What it may hold behind `=`; nothing for a word that stands alone.
    pub values: &'static str,
    /// What it does.
    pub meaning: &'static str,
    pub(super) read: Read,
}

const fn word(name: &'static str, values: &'static str, meaning: &'static str, read: Read) -> Word {
    Word {
        name,
        values,
        meaning,
        read,
    }
}

/// A word that only switches something on.
const fn switch(name: &'static str, meaning: &'static str, read: Read) -> Word {
    word(name, "", meaning, read)
}

/// A word that old PXE entries have and that nothing depends on any more. A person who
/// wrote it is told once what there is instead.
const fn old_word(name: &'static str, meaning: &'static str) -> Word {
    word(name, "", meaning, |args, word, _| {
        args.note(format!("{} is {}", word.name, word.meaning));
        Ok(())
    })
}

/// A word of the kernel's own, named because old PXE entries have it.
const fn kernels(name: &'static str, values: &'static str, meaning: &'static str) -> Word {
    word(name, values, meaning, |_, _, _| Ok(()))
}

/// Every word beside `automatic=`, and itself.
pub const WORDS: &[Word] = &[
    word(
        "automatic",
        "KEY:VALUE,…",
        "how to get stage 2, see below; needed",
        |args, _, text| {
            args.automatic = Some(args.read_automatic(text)?);
            Ok(())
        },
    ),
    switch(
        "rescue",
        "stage 2 is the rescue system; alone, a shell",
        |args, _, _| {
            args.rescue = true;
            Ok(())
        },
    ),
    switch("kamethod", "clone by ka; implies rescue", |args, _, _| {
        args.clone = Some(CloneMethod::Ka);
        Ok(())
    }),
    switch(
        "dollymethod",
        "clone by dolly; implies rescue",
        |args, _, _| {
            args.clone = Some(CloneMethod::Dolly);
            Ok(())
        },
    ),
    switch(
        "dollyCmethod",
        "clone by dolly+; implies rescue",
        |args, _, _| {
            args.clone = Some(CloneMethod::DollyPlus);
            Ok(())
        },
    ),
    word(
        "kaopt",
        "NAME",
        "the ka session of this computer",
        |args, _, text| {
            args.kaopt = non_empty(text);
            Ok(())
        },
    ),
    word(
        "dolly_timeout",
        "SECONDS",
        "how long to wait for a dolly server; the key in automatic= wins",
        |args, word, text| {
            args.dolly_timeout = word.parsed(text)?.filter(|&seconds| seconds != 0);
            Ok(())
        },
    ),
    word(
        "BOOTIF",
        "01-aa-bb-cc-dd-ee-ff",
        "the card that PXE booted from (pxelinux: IPAPPEND 2); used when interface: names none",
        |args, _, text| {
            match parse_mac(text.strip_prefix("01-").unwrap_or(text)) {
                Some(mac) => args.boot_interface = Some(mac),
                None => args.note(format!("BOOTIF={} is no address, ignored", shown(text))),
            }
            Ok(())
        },
    ),
    word(
        "vlan",
        "ID (1 to 4094)",
        "the VLAN that the node is in, tagged",
        |args, word, text| {
            let id = word.parsed::<u16>(text)?;
            if id.is_some_and(|id| !(1..=4094).contains(&id)) {
                return Err(word.wrong(text));
            }
            args.vlan = id;
            Ok(())
        },
    ),
    word(
        "ssh_key",
        "URL",
        "a public key that may log in to the rescue system: http:, https: or ftp:",
        |args, word, text| {
            let url = ["http://", "https://", "ftp://"].iter().any(|scheme| {
                text.strip_prefix(scheme)
                    .is_some_and(|rest| !rest.is_empty())
            });
            if !url && !text.is_empty() {
                return Err(word.wrong(text));
            }
            args.ssh_key = non_empty(text);
            Ok(())
        },
    ),
    word(
        "ramdisk_size",
        "KIB",
        "the size of the memory disks that dolly and ka write to; by the memory at hand without it",
        |args, _, text| {
            // The kernel reads it as well, so a mistake in it is no reason to stop.
            args.ramdisk_size = text.parse().ok().filter(|&kib| kib != 0);
            if args.ramdisk_size.is_none() {
                args.note(format!(
                    "ramdisk_size={} is no number of KiB, ignored",
                    shown(text)
                ));
            }
            Ok(())
        },
    ),
    switch(
        "keepmounted",
        "what stage 2 came from (NFS, CD, disk) stays mounted",
        |args, _, _| {
            args.keepmounted = true;
            Ok(())
        },
    ),
    switch(
        "noauto",
        "no drivers for what is found behind USB",
        |args, _, _| {
            args.noauto = true;
            Ok(())
        },
    ),
    switch(
        "keepmodules",
        "drivers that no device wants stay in memory",
        |args, _, _| {
            args.keepmodules = true;
            Ok(())
        },
    ),
    switch(
        "debug",
        "hold instead of rebooting, so that a person can look",
        |args, _, _| {
            args.debug = true;
            Ok(())
        },
    ),
    word(
        "syslog",
        "HOST, HOST:PORT or off",
        "who hears by syslog what becomes of the node; without it the log servers of DHCP, else the boot server",
        |args, word, text| {
            args.syslog = match text {
                "" => None,
                text => Some(Syslog::parse(text).ok_or_else(|| word.wrong(text))?),
            };
            Ok(())
        },
    ),
    word(
        "stage2_digest",
        "off",
        "take any rescue.clp, not only the one made with this all.rdz",
        |args, word, text| match text {
            "off" => {
                args.any_stage2 = true;
                Ok(())
            }
            "" => Ok(()),
            _ => Err(word.wrong(text)),
        },
    ),
    kernels("goldring.panic", "STEP", "for tests: a bug in that step"),
    kernels("root", "DEVICE", "ignored: stage 2 runs from memory"),
    kernels("vga", "MODE", "the kernel's own: the mode of the screen"),
    old_word(
        "netauto",
        "ignored: no installer runs here that wants a file",
    ),
    old_word("changedisk", "ignored: nobody is asked for another disk"),
    old_word("thirdparty", "ignored: every driver is in all.rdz"),
    old_word("updatemodules", "ignored: every driver is in all.rdz"),
    old_word("debugstage1", "ignored: write debug instead"),
];

impl Word {
    /// A value that may be empty but, when there is one, must parse.
    fn parsed<T: std::str::FromStr>(&self, text: &str) -> Result<Option<T>, BootArgsError> {
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| self.wrong(text))
    }

    fn wrong(&self, text: &str) -> BootArgsError {
        BootArgsError::Word {
            word: self.name,
            value: shown(text),
            values: self.values,
        }
    }
}
