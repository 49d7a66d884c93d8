//! The tools: what they need, and what runs on each host.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::options::Rate;
use crate::host::{Need, need};

/// The file that the golden node sends.
pub(in crate::bench) const INPUT: &str = "in";
/// The folder that it sends, which is elsewhere.
const INPUT_TREE: &str = "in/";
/// The file that a node writes.
pub(in crate::bench) const OUTPUT: &str = "out";
/// The golden node's configuration.
pub(in crate::bench) const CONFIG: &str = "ring.cfg";
/// mbuffer and nc listen here, as dolly and dolly+ do.
const PORT: u16 = 9998;
/// udp-receiver listens here.
const UDP_PORT: u16 = 9000;
/// udp-sender takes no hint from a full link: what is too much is lost. In hundredths of
/// the link's limit.
const UDP_SHARE: u32 = 90;

/// Blocks and memory with which mbuffer was the fastest here.
const MBUFFER: [&str; 6] = ["mbuffer", "-q", "-s", "1M", "-m", "64M"];
/// mbuffer as most people type it: it takes two hundredths of the memory then, and up to half
/// as long again.
const MBUFFER_DEFAULTS: [&str; 2] = ["mbuffer", "-q"];

/// ka-d-client listens here, and so does ka-d-server.
const KA_PORT: u16 = 30764;
/// What a tar that carries all that goldring does is told; its blocks as well, since larger
/// ones are faster.
const TAR: &str =
    "--xattrs --xattrs-include='*' --acls --selinux --numeric-owner --blocking-factor=128";

/// A way to bring a file, or a tree, to all hosts.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::bench) enum Tool {
    /// goldring dolly, as the old dolly speaks
    Goldring,
    /// goldring dollyS --plain and dollyC, as the old dolly+ speaks
    Plain,
    /// goldring dollyS and dollyC with everything on
    Plus,
    /// A chain of mbuffer -O with the blocks that suit it best; the others are compared with it
    Mbuffer,
    /// The same with its own defaults
    MbufferDefaults,
    /// udp-sender and udp-receiver
    Udpcast,
    /// A chain of nc and tee
    Nc,
    /// goldring's files over ka; `bench files` measures it
    #[value(skip)]
    KaFiles,
    /// tar, a chain of mbuffer -O, and tar; the other is compared with it
    #[value(skip)]
    Tar,
}

/// Where a node that is ready listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::bench) enum Listens {
    /// On a TCP port.
    Tcp(u16),
    /// On a UDP port.
    Udp(u16),
}

impl Tool {
    /// Those that bring a tree.
    pub(in crate::bench) const TREES: &[Self] = &[Self::KaFiles, Self::Tar];
    /// Those that bring a file.
    pub(in crate::bench) const RINGS: &[Self] = &[
        Self::Goldring,
        Self::Plain,
        Self::Plus,
        Self::Mbuffer,
        Self::MbufferDefaults,
        Self::Udpcast,
        Self::Nc,
    ];

    /// As reports call it.
    pub(in crate::bench) fn name(self) -> &'static str {
        match self {
            Self::Goldring => "goldring dolly --plain",
            Self::Plain => "goldring dolly+ --plain",
            Self::Plus => "goldring dolly+",
            Self::Mbuffer => "mbuffer -O",
            Self::MbufferDefaults => "mbuffer -O, defaults",
            Self::Udpcast => "udpcast",
            Self::Nc => "nc and tee",
            Self::KaFiles => "goldring files over ka",
            Self::Tar => "tar | mbuffer | tar",
        }
    }

    /// What must be installed for it.
    pub(in crate::bench) fn need(self) -> Option<Need> {
        match self {
            Self::Goldring | Self::Plain | Self::Plus | Self::KaFiles => None,
            Self::Mbuffer | Self::MbufferDefaults | Self::Tar => Some(need("mbuffer", "mbuffer")),
            Self::Udpcast => Some(need("udp-sender", "udpcast")),
            Self::Nc => Some(need("/bin/nc.openbsd", "netcat-openbsd")),
        }
    }

    /// Why it cannot run here, if so.
    pub(in crate::bench) fn unavailable(self, goldring: &Path) -> Option<String> {
        if let Some(need) = self.need().filter(|need| !need.is_met()) {
            let package = need.package;
            return Some(format!(
                "{package} is not installed; --install installs the package"
            ));
        }
        if !matches!(self, Self::Plain | Self::Plus) {
            return None;
        }
        let known = |verb: &str| {
            let status = Command::new(goldring)
                .args([verb, "--help"])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            status.is_ok_and(|status| status.success())
        };
        let absent: Vec<_> = ["dollyS", "dollyC"]
            .into_iter()
            .filter(|verb| !known(verb))
            .collect();
        (!absent.is_empty())
            .then(|| format!("this goldring has no {} yet", absent.join(" and no ")))
    }

    /// The one with which the others are compared.
    pub(in crate::bench) fn is_reference(self) -> bool {
        matches!(self, Self::Mbuffer | Self::Tar)
    }

    /// Whether nodes look for the golden node, which is there before them. The others
    /// connect to nodes that are there.
    pub(in crate::bench) fn golden_comes_first(self) -> bool {
        self == Self::KaFiles
    }

    /// Where its nodes listen once they are ready.
    pub(in crate::bench) fn listens(self) -> Listens {
        match self {
            Self::Udpcast => Listens::Udp(UDP_PORT),
            Self::KaFiles => Listens::Tcp(KA_PORT),
            _ => Listens::Tcp(PORT),
        }
    }

    /// The golden node's configuration, for those that have one.
    pub(in crate::bench) fn config(self, nodes: usize) -> Option<String> {
        let mut text = match self {
            Self::Goldring => format!("infile {INPUT}\noutfile {OUTPUT}\n"),
            Self::Plain | Self::Plus => format!("iofiles 1\n{INPUT} > {OUTPUT}\n"),
            _ => return None,
        };
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "server n0\nfirstclient n1\nlastclient n{nodes}\nclients {nodes}\n"
        );
        for node in 1..=nodes {
            let _ = writeln!(text, "n{node}");
        }
        text.push_str("endconfig\n");
        Some(text)
    }

    /// What runs on a host; 0 is the golden node.
    pub(in crate::bench) fn words(
        self,
        goldring: &str,
        (host, nodes): (usize, usize),
        rate: Rate,
    ) -> Vec<String> {
        let next = (host < nodes).then(|| format!("n{}", host + 1));
        match self {
            Self::Goldring if host == 0 => {
                words(&[goldring, "dolly", "-v", "-s", "--plain", "-f", CONFIG])
            }
            Self::Goldring => words(&[goldring, "dolly", "-v"]),
            Self::Plain if host == 0 => words(&[goldring, "dollyS", "--plain", "-v", "-f", CONFIG]),
            Self::Plus if host == 0 => words(&[goldring, "dollyS", "-v", "-f", CONFIG]),
            Self::Plain | Self::Plus => words(&[goldring, "dollyC", "-v"]),
            Self::Mbuffer => mbuffer(&MBUFFER, host, next),
            Self::MbufferDefaults => mbuffer(&MBUFFER_DEFAULTS, host, next),
            Self::Udpcast => udpcast(host, nodes, rate),
            Self::Nc => words(&["sh", "-c", &nc(host, next)]),
            Self::KaFiles => ka(goldring, host, nodes),
            Self::Tar => words(&["bash", "-c", &tar(host, next)]),
        }
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// As `ka-d` does it.
fn ka(goldring: &str, host: usize, nodes: usize) -> Vec<String> {
    let nodes = nodes.to_string();
    let (role, options) = match host {
        0 => ("ka-d-server", ["-n", &nodes, "--tree", INPUT_TREE].to_vec()),
        _ => ("ka-d-client", ["-w", "--tree", OUTPUT].to_vec()),
    };
    words(&[&[goldring, role, "-s", "bench"], &options[..]].concat())
}

fn tar(host: usize, next: Option<String>) -> String {
    let mbuffer = MBUFFER.join(" ");
    let onward = next.map_or_else(String::new, |next| format!(" -O {next}:{PORT}"));
    match host {
        0 => format!(
            "set -o pipefail; tar --create --format=pax --sparse --one-file-system {TAR} \
             --directory {INPUT_TREE} . | {mbuffer}{onward}"
        ),
        _ => format!(
            "set -o pipefail; {mbuffer} -I {PORT} -o -{onward} | tar --extract {TAR} \
             --directory {OUTPUT}"
        ),
    }
}

fn mbuffer(program: &[&str], host: usize, next: Option<String>) -> Vec<String> {
    let mut line = words(program);
    line.extend(match host {
        0 => words(&["-i", INPUT]),
        _ => words(&["-I", &PORT.to_string(), "-f", "-o", OUTPUT]),
    });
    if let Some(next) = next {
        line.extend(["-O".to_owned(), format!("{next}:{PORT}")]);
    }
    line
}

fn udpcast(host: usize, nodes: usize, rate: Rate) -> Vec<String> {
    let program = if host == 0 {
        "udp-sender"
    } else {
        "udp-receiver"
    };
    let file = if host == 0 { INPUT } else { OUTPUT };
    let mut line = words(&[
        program,
        "--file",
        file,
        "--interface",
        "eth0",
        "--nokbd",
        "--no-progress",
    ]);
    if host == 0 {
        line.extend(words(&[
            "--full-duplex",
            "--min-receivers",
            &nodes.to_string(),
        ]));
        if let Some(rate) = rate.0 {
            let kilobits = rate * 1000 / 100 * UDP_SHARE;
            line.extend(words(&["--max-bitrate", &format!("{kilobits}k")]));
        }
    }
    line
}

fn nc(host: usize, next: Option<String>) -> String {
    const NC: &str = "nc.openbsd";
    match (host, next) {
        (0, next) => format!("exec {NC} -N {} {PORT} < {INPUT}", next.unwrap_or_default()),
        (_, None) => format!("exec {NC} -d -l {PORT} > {OUTPUT}"),
        (_, Some(next)) => format!("{NC} -d -l {PORT} | tee {OUTPUT} | {NC} -N {next} {PORT}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(tool: Tool, host: usize, rate: Option<u32>) -> String {
        tool.words("goldring", (host, 2), Rate(rate)).join(" ")
    }

    #[test]
    fn each_host_has_its_line() {
        for (tool, host, expected) in [
            (
                Tool::Goldring,
                0,
                "goldring dolly -v -s --plain -f ring.cfg",
            ),
            (Tool::Goldring, 1, "goldring dolly -v"),
            (Tool::Plain, 0, "goldring dollyS --plain -v -f ring.cfg"),
            (Tool::Plus, 0, "goldring dollyS -v -f ring.cfg"),
            (Tool::Plus, 2, "goldring dollyC -v"),
            (Tool::Mbuffer, 0, "mbuffer -q -s 1M -m 64M -i in -O n1:9998"),
            (
                Tool::Mbuffer,
                1,
                "mbuffer -q -s 1M -m 64M -I 9998 -f -o out -O n2:9998",
            ),
            (
                Tool::Mbuffer,
                2,
                "mbuffer -q -s 1M -m 64M -I 9998 -f -o out",
            ),
            (
                Tool::MbufferDefaults,
                1,
                "mbuffer -q -I 9998 -f -o out -O n2:9998",
            ),
            (Tool::Nc, 0, "sh -c exec nc.openbsd -N n1 9998 < in"),
            (
                Tool::Nc,
                1,
                "sh -c nc.openbsd -d -l 9998 | tee out | nc.openbsd -N n2 9998",
            ),
            (Tool::Nc, 2, "sh -c exec nc.openbsd -d -l 9998 > out"),
            (
                Tool::KaFiles,
                0,
                "goldring ka-d-server -s bench -n 2 --tree in/",
            ),
            (
                Tool::KaFiles,
                2,
                "goldring ka-d-client -s bench -w --tree out",
            ),
            (
                Tool::Udpcast,
                2,
                "udp-receiver --file out --interface eth0 --nokbd --no-progress",
            ),
        ] {
            assert_eq!(line(tool, host, None), expected);
        }
        let relay = line(Tool::Tar, 1, None);
        assert!(
            relay.contains("mbuffer -q -s 1M -m 64M -I 9998 -o - -O n2:9998 | tar --extract "),
            "{relay}"
        );
        let limited = line(Tool::Udpcast, 0, Some(400));
        assert!(
            limited.ends_with("--min-receivers 2 --max-bitrate 360000k"),
            "{limited}"
        );
        assert!(!line(Tool::Udpcast, 0, None).contains("bitrate"));
    }

    #[test]
    fn configurations_name_every_node() {
        assert_eq!(
            Tool::Goldring.config(2).unwrap(),
            "infile in\noutfile out\nserver n0\nfirstclient n1\nlastclient n2\nclients 2\nn1\nn2\nendconfig\n"
        );
        assert!(
            Tool::Plus
                .config(1)
                .unwrap()
                .starts_with("iofiles 1\nin > out\nserver n0\n")
        );
        assert_eq!(Tool::Nc.config(1), None);
    }

    #[test]
    fn a_goldring_without_dolly_plus_is_told() {
        let absent = Tool::Plus.unavailable(Path::new("/bin/false")).unwrap();
        assert_eq!(absent, "this goldring has no dollyS and no dollyC yet");
        assert_eq!(Tool::Plus.unavailable(Path::new("/bin/true")), None);
        assert_eq!(Tool::Goldring.unavailable(Path::new("/bin/false")), None);
    }
}
