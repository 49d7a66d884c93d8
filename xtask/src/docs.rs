//! `cargo xtask docs`: the parts of the guide that are made from the code.
//!
//! The kernel command line has one table, in `contract::bootargs`. The tables of the
//! guide and the sample PXE file are written from it; a test fails when they are not
//! what would be written.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use goldring_contract::bootargs::{KEYS, WORDS};

use crate::workspace;

const EXAMPLES: &str = "\
Examples:
  cargo xtask docs
      after a change of a table in crates/contract/src/bootargs
  cargo xtask docs --check
      changes nothing; exit status 1 when something would be written";

/// What to do with the generated parts.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Options {
    /// Only say what is not up to date
    #[arg(long)]
    check: bool,
}

/// A file of the guide, and what it should be.
struct Page {
    path: PathBuf,
    now: String,
    wanted: String,
}

/// Writes what is not up to date, or says so.
pub(crate) fn run(options: &Options) -> Result<()> {
    let old: Vec<Page> = pages()?
        .into_iter()
        .filter(|page| page.now != page.wanted)
        .collect();
    for page in &old {
        if !options.check {
            std::fs::write(&page.path, &page.wanted)
                .with_context(|| format!("writing {}", page.path.display()))?;
        }
        println!("{}", page.path.display());
    }
    if options.check && !old.is_empty() {
        bail!("not up to date: {} files; run cargo xtask docs", old.len());
    }
    Ok(())
}

fn pages() -> Result<Vec<Page>> {
    let guide = workspace::root().join("docs/guide");
    let path = guide.join("stage1.md");
    let now =
        std::fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))?;
    let wanted = between_marks(&now, "words", &words_table())
        .and_then(|text| between_marks(&text, "keys", &keys_table()))
        .with_context(|| path.display().to_string())?;
    let stage1 = Page { path, now, wanted };
    let path = guide.join("pxelinux.cfg.sample");
    // It is made whole, so it may be missing.
    let now = std::fs::read_to_string(&path).unwrap_or_default();
    let wanted = sample();
    Ok(vec![stage1, Page { path, now, wanted }])
}

/// Replaces what stands between two marks. They are comments that no reader sees.
fn between_marks(text: &str, name: &str, table: &str) -> Result<String> {
    let begin = format!("<!-- {name}: written by cargo xtask docs -->\n");
    let end = format!("<!-- end of {name} -->");
    let (before, rest) = text
        .split_once(&begin)
        .with_context(|| format!("there is no line {:?}", begin.trim_end()))?;
    let (_, after) = rest
        .split_once(&end)
        .with_context(|| format!("there is no line {end:?} behind its beginning"))?;
    Ok(format!("{before}{begin}{table}{end}{after}"))
}

fn words_table() -> String {
    let mut table = String::from("| word | effect |\n|---|---|\n");
    for word in WORDS {
        let name = with_value(word.name, '=', word.values);
        table.push_str(&format!("| `{name}` | {} |\n", word.meaning));
    }
    table
}

fn keys_table() -> String {
    let mut table = String::from("| key | short | value | effect |\n|---|---|---|---|\n");
    for key in KEYS {
        let short = if key.short == key.name {
            String::new()
        } else {
            format!("`{}`", key.short)
        };
        let ignored = if key.supported { "" } else { "ignored: " };
        table.push_str(&format!(
            "| `{}` | {short} | {} | {ignored}{} |\n",
            key.name, key.values, key.meaning
        ));
    }
    table
}

/// `NAME=VALUE`, or `NAME` where there is no value.
fn with_value(name: &str, sign: char, values: &str) -> String {
    if values.is_empty() {
        name.to_owned()
    } else {
        format!("{name}{sign}{values}")
    }
}

/// An entry of the sample PXE file.
struct Entry {
    label: &'static str,
    why: &'static str,
    /// What stands behind `initrd=images/all.rdz`.
    append: &'static str,
}

const fn entry(label: &'static str, why: &'static str, append: &'static str) -> Entry {
    Entry { label, why, append }
}

/// One entry for each way to use goldring.
const ENTRIES: &[Entry] = &[
    entry(
        "http",
        "The usual clone: stage 2 from a web server, then the ring of the golden node.",
        "automatic=method:http,interface:auto,network:dhcp,server:10.0.1.253,directory:/goldring dollymethod",
    ),
    entry(
        "rescue",
        "A rescue system with a shell, for the golden node and for repairs.",
        "automatic=method:http,interface:auto,network:dhcp,server:10.0.1.253,directory:/goldring rescue",
    ),
    entry(
        "ftp",
        "Stage 2 from an ftp server; without user: and pass: as anonymous.",
        "automatic=method:ftp,network:dhcp,server:10.0.1.253,directory:/pub/goldring,user:lab,pass:secret rescue",
    ),
    entry(
        "nfs",
        "Stage 2 from an NFS export.",
        "automatic=method:nfs,network:dhcp,server:10.0.1.253,directory:/srv/goldring rescue",
    ),
    entry(
        "dolly",
        "Stage 2 through a dolly ring, for hundreds of nodes at once.",
        "ramdisk_size=250000 automatic=method:dolly,dolly_timeout:100,network:dhcp dollymethod",
    ),
    entry(
        "ka",
        "Stage 2 from a ka server, then a clone by ka.",
        "ramdisk_size=250000 automatic=method:ka,network:dhcp kamethod kaopt=room12",
    ),
    entry(
        "cd",
        "Stage 2 from a CD in the drive.",
        "automatic=method:cdrom,network:dhcp rescue",
    ),
    entry(
        "disk",
        "Stage 2 from a disk of this computer, or from a USB stick.",
        "automatic=method:disk,network:dhcp,disk:sdb,partition:sdb1,directory:/goldring rescue",
    ),
    entry(
        "static",
        "Without DHCP: the address is written here, so one entry serves one node.",
        "automatic=method:http,interface:eth0,network:static,ip:10.0.1.21,netmask:255.255.255.0,gateway:10.0.1.1,dns:10.0.1.253,server:10.0.1.253,directory:/goldring rescue",
    ),
    entry(
        "ipv6",
        "IPv6 only: the address as the routers say, stage 2 from a server in brackets.",
        "automatic=method:http,network:ipv6,server:[2001:db8:1::253],directory:/goldring rescue",
    ),
    entry(
        "static6",
        "A fixed IPv6 address with the length of its network.",
        "automatic=method:http,interface:eth0,network:static,ip:2001:db8:1::21/64,gateway:2001:db8:1::1,dns:2001:db8:1::253,server:[2001:db8:1::253],directory:/goldring rescue",
    ),
];

fn sample() -> String {
    let mut text = String::from(
        "# A sample for pxelinux (pxelinux.cfg/default), written by `cargo xtask docs`.\n\
         # Change the addresses; leave out the entries that you do not need.\n#\n\
         # Words behind APPEND:\n",
    );
    let mut line = |left: &str, right: &str| {
        // A long left side gets a line of its own.
        if left.len() > 28 {
            text.push_str(&format!("#   {left}\n#   {:28}  {right}\n", ""));
        } else {
            text.push_str(&format!("#   {left:28}  {right}\n"));
        }
    };
    for word in WORDS {
        line(&with_value(word.name, '=', word.values), word.meaning);
    }
    line("", "");
    for key in KEYS.iter().filter(|key| key.supported) {
        line(&with_value(key.name, ':', key.values), key.meaning);
    }
    // Trailing blanks of the empty line between the two lists.
    text = text
        .lines()
        .map(|line| line.trim_end().to_owned() + "\n")
        .collect();
    text.push_str("\nDEFAULT local\nPROMPT 1\nTIMEOUT 50\n\nLABEL local\n  LOCALBOOT 0\n");
    for entry in ENTRIES {
        text.push_str(&format!(
            "\n# {}\nLABEL {}\n  KERNEL images/vmlinuz\n  APPEND initrd=images/all.rdz {}\n  IPAPPEND 2\n",
            entry.why, entry.label, entry.append
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use goldring_contract::bootargs::BootArgs;

    use super::*;

    #[test]
    fn the_guide_is_what_the_code_says() {
        for page in pages().unwrap() {
            assert!(
                page.now == page.wanted,
                "{} is not up to date; run cargo xtask docs",
                page.path.display()
            );
        }
    }

    #[test]
    fn every_entry_of_the_sample_boots() {
        let mut methods = BTreeSet::new();
        for entry in ENTRIES {
            let args = BootArgs::parse(entry.append).unwrap();
            assert!(args.rescue && args.notes.is_empty(), "{}", entry.label);
            methods.insert(args.automatic.unwrap().method.to_string());
        }
        let all = KEYS.iter().find(|key| key.name == "method").unwrap().values;
        assert_eq!(methods, all.split(' ').map(str::to_owned).collect());
        // The limit of the kernel's command line on x86 (COMMAND_LINE_SIZE).
        assert!(ENTRIES.iter().all(|entry| entry.append.len() < 1000));
    }

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let text = "a\n<!-- x: written by cargo xtask docs -->\nold\n<!-- end of x -->\nb\n";
        let new = between_marks(text, "x", "new\n").unwrap();
        assert_eq!(new, text.replace("old", "new"));
        for broken in [
            "",
            "<!-- x: written by cargo xtask docs -->\n",
            "<!-- end of x -->",
        ] {
            assert!(between_marks(broken, "x", "").is_err(), "{broken:?}");
        }
    }
}
