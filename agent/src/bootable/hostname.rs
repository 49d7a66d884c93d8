//! The clone's name: the one that DHCP or the command line gave this computer.

use super::Clone;
use crate::tools::tree::Tree;

/// hostname(7).
const NAME_MAX: usize = 64;
/// Files that hold nothing but the name: almost everybody's, and SUSE's.
const FILES: [&str; 2] = ["/etc/hostname", "/etc/HOSTNAME"];
/// `HOSTNAME=name` of Red Hat and Mandriva.
const SYSCONFIG: &str = "/etc/sysconfig/network";

/// Gives it the name.
///
/// # Errors
/// A file that cannot be written.
pub(crate) fn set(clone: &mut Clone<'_>) -> anyhow::Result<()> {
    let Some(name) = clone.wish.hostname.clone() else {
        clone.say("this computer got no name by DHCP: the clone keeps that of the golden node");
        return Ok(());
    };
    if !is_name(&name) {
        clone.say(&format!(
            "{name:?} is no name for a computer: the clone keeps that of the golden node"
        ));
        return Ok(());
    }
    let tree = &clone.tree;
    let old = old_name(tree);
    let there: Vec<&str> = FILES.into_iter().filter(|path| tree.has(path)).collect();
    for path in &there {
        tree.edit(path, |_| format!("{name}\n"))?;
    }
    let in_sysconfig = tree.edit(SYSCONFIG, |text| with_hostname(text, &name))?;
    if there.is_empty() && !in_sysconfig && !tree.text(SYSCONFIG).contains("HOSTNAME=") {
        tree.write(FILES[0], &format!("{name}\n"))?;
    }
    if let Some(old) = old {
        tree.edit("/etc/hosts", |text| renamed(text, &old, &name))?;
    }
    clone.say(&format!("its name is {name}"));
    Ok(())
}

/// RFC 1123, section 2.1, with dots between the parts.
fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        let edge = |c: char| c == '-';
        !part.is_empty()
            && !part.starts_with(edge)
            && !part.ends_with(edge)
            && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    name.len() <= NAME_MAX && name.split('.').all(part)
}

fn old_name(tree: &Tree) -> Option<String> {
    let line = |path: &&str| {
        let text = tree.text(path);
        let line = text
            .lines()
            .map(str::trim)
            .find(|line| !line.starts_with('#'))?;
        Some(line.to_owned())
    };
    let in_sysconfig = || {
        let text = tree.text(SYSCONFIG);
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix("HOSTNAME="))?;
        Some(line.trim_matches(['"', '\'']).to_owned())
    };
    FILES
        .iter()
        .find_map(line)
        .or_else(in_sysconfig)
        .filter(|name| is_name(name) && name != "localhost")
}

fn with_hostname(text: &str, name: &str) -> String {
    let line = |line: &str| match line.trim_start().starts_with("HOSTNAME=") {
        true => format!("HOSTNAME={name}\n"),
        false => line.to_owned(),
    };
    text.split_inclusive('\n').map(line).collect()
}

/// The name of the golden node in hosts(5), with and without its domain.
fn renamed(text: &str, old: &str, new: &str) -> String {
    let short = |name: &str| name.split('.').next().unwrap_or_default().to_owned();
    let (old_short, new_short) = (short(old), short(new));
    let word = |word: &str| {
        let bare = word.trim_end();
        let replaced = match bare {
            bare if bare == old => new.to_owned(),
            bare if bare == old_short => new_short.clone(),
            bare => match bare.strip_prefix(&format!("{old_short}.")) {
                Some(domain) => format!("{new_short}.{domain}"),
                None => bare.to_owned(),
            },
        };
        format!("{replaced}{}", &word[bare.len()..])
    };
    text.split_inclusive([' ', '\t', '\n']).map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_rubbish() {
        for name in ["node1", "n.cluster", "10-0-0-1.lan", "A"] {
            assert!(is_name(name), "{name}");
        }
        let long = "x".repeat(65);
        for name in [
            "", ".", "a..b", "-a", "a-", "a b", "a\nb", "ä", "a/b", &long,
        ] {
            assert!(!is_name(name), "{name}");
        }
    }

    #[test]
    fn hosts_follow() {
        let text = "127.0.0.1 localhost\n127.0.1.1\tgolden.lan golden\n# golden\n10.0.0.9 golden2 golden.other\n";
        assert_eq!(
            renamed(text, "golden", "node7.lan"),
            "127.0.0.1 localhost\n127.0.1.1\tnode7.lan node7.lan\n# node7.lan\n10.0.0.9 golden2 node7.other\n"
        );
        assert_eq!(
            renamed("::1 golden.lan golden", "golden.lan", "node7"),
            "::1 node7 node7"
        );
        assert_eq!(with_hostname("A=1\nHOSTNAME=x\n", "y"), "A=1\nHOSTNAME=y\n");
    }
}
