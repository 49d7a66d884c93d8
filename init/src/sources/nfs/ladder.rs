//! The ways to mount, one after the other, and what each refusal means.
//!
//! Options: nfs(5) and Linux, fs/nfs/fs_context.c; what mount.nfs does in user space
//! (the address in `addr=`) is done here. Refusals as Linux 6.1 gives them.

use std::net::SocketAddr;

use super::place::{PORT, Place};
use crate::fate::Fate;
use crate::sources::mounted::Miss;

/// mountd's port at IANA, for servers without a port mapper.
const MOUNT_PORT: u16 = 20048;

/// How long the kernel waits for a server that has been mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// Half a minute, then reading fails: nothing may hang for ever.
    Short,
    /// Until it is back.
    Endless,
}

/// One way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rung {
    /// Major version and the rest: `4.2`.
    version: &'static str,
    transport: &'static str,
    /// Where mountd is; by the port mapper otherwise.
    mount_port: MountPort,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MountPort {
    /// The port mapper says it.
    Mapped,
    /// This one.
    Fixed(u16),
    /// The port of NFS itself: some servers have but one.
    Same,
}

/// Version 4 in all its forms, then 3.
const RUNGS: [Rung; 7] = [
    four("4.2"),
    four("4.1"),
    four("4.0"),
    three("tcp", MountPort::Mapped),
    three("tcp", MountPort::Fixed(MOUNT_PORT)),
    three("tcp", MountPort::Same),
    // The old way; most kernels of today do not have it.
    three("udp", MountPort::Mapped),
];

const fn four(version: &'static str) -> Rung {
    Rung {
        version,
        transport: "tcp",
        mount_port: MountPort::Mapped,
    }
}

const fn three(transport: &'static str, mount_port: MountPort) -> Rung {
    Rung {
        version: "3",
        transport,
        mount_port,
    }
}

impl Rung {
    fn is_three(&self) -> bool {
        self.version == "3"
    }

    /// The data of mount(2). `port`: the one that was written.
    pub(super) fn options(
        &self,
        server: SocketAddr,
        port: Option<u16>,
        patience: Patience,
    ) -> String {
        let six = if server.is_ipv6() { "6" } else { "" };
        let address = match server {
            SocketAddr::V6(six) if six.scope_id() != 0 => {
                format!("{}%{}", six.ip(), six.scope_id())
            }
            other => other.ip().to_string(),
        };
        let mut options = format!(
            "vers={},proto={}{six},sec=sys,addr={address}",
            self.version, self.transport
        );
        options.push_str(match patience {
            Patience::Short => ",soft,timeo=50,retrans=2",
            Patience::Endless => ",hard",
        });
        let nfs = port.unwrap_or(PORT);
        if self.is_three() {
            options.push_str(",nolock");
            let mount = match self.mount_port {
                MountPort::Mapped => None,
                MountPort::Fixed(mount) => Some(mount),
                MountPort::Same => Some(nfs),
            };
            if let Some(mount) = mount {
                options.push_str(&format!(",port={nfs},mountport={mount}"));
            } else if port.is_some() {
                options.push_str(&format!(",port={nfs}"));
            }
        } else {
            options.push_str(&format!(",port={nfs}"));
        }
        options
    }
}

/// Why one way did not lead to stage 2.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The kernel's errno.
    Mount(i32),
    /// It was mounted, and has no stage 2.
    Miss(Miss),
    /// It took too long.
    Late,
}

const EPERM: i32 = 1;
const ENOENT: i32 = 2;
const EACCES: i32 = 13;
const ENODEV: i32 = 19;
const ENOTDIR: i32 = 20;
const EINVAL: i32 = 22;
const EPROTONOSUPPORT: i32 = 93;
const EOPNOTSUPP: i32 = 95;
const EPFNOSUPPORT: i32 = 96;
const ENETUNREACH: i32 = 101;
const ETIMEDOUT: i32 = 110;
const ECONNREFUSED: i32 = 111;
const EHOSTUNREACH: i32 = 113;

/// What a failure says about the other ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Weight {
    /// This way is not there; the next may be.
    NotThere,
    /// Something odd.
    Odd,
    /// This folder is not for this node, at least in this version.
    Denied,
    /// The folder is there, without stage 2.
    Empty,
    /// Nobody is there: other ways will not help.
    Gone,
}

impl Failure {
    fn weight(&self) -> Weight {
        match self {
            Self::Miss(_) => Weight::Empty,
            Self::Late => Weight::Gone,
            Self::Mount(code) => match *code {
                ETIMEDOUT | ENETUNREACH | EHOSTUNREACH => Weight::Gone,
                EPERM | ENOENT | EACCES | ENOTDIR => Weight::Denied,
                ENODEV | EINVAL | EPROTONOSUPPORT | EOPNOTSUPP | EPFNOSUPPORT | ECONNREFUSED => {
                    Weight::NotThere
                }
                _ => Weight::Odd,
            },
        }
    }
}

/// Goes on until a way leads to stage 2. A version that is refused leads to the next;
/// a folder that version 4 does not have may be there in version 3, since the two name
/// folders in their own ways. What is told in the end is what comes nearest to success.
pub(super) fn climb<T>(mut attempt: impl FnMut(&Rung) -> Result<T, Failure>) -> Result<T, Failure> {
    let mut best: Option<Failure> = None;
    let mut only_three = false;
    for rung in &RUNGS {
        if only_three && !rung.is_three() {
            continue;
        }
        let failure = match attempt(rung) {
            Ok(value) => return Ok(value),
            Err(failure) => failure,
        };
        let weight = failure.weight();
        let is_mapped = rung.is_three() && rung.mount_port == MountPort::Mapped;
        if weight == Weight::Gone && is_mapped {
            // It may be the port mapper alone that a packet filter hides.
            continue;
        }
        let nearer = best.as_ref().is_none_or(|best| match best.weight() {
            // The first of several refusals is of the newest version.
            Weight::NotThere | Weight::Odd => weight > best.weight(),
            other => weight >= other,
        });
        if nearer {
            best = Some(failure);
        }
        match weight {
            Weight::NotThere | Weight::Odd => {}
            Weight::Gone => break,
            // Version 3 has the last word on a folder.
            Weight::Denied | Weight::Empty if rung.is_three() => break,
            Weight::Denied | Weight::Empty => only_three = true,
        }
    }
    Err(best.unwrap_or(Failure::Late))
}

/// What an errno means for a person. `own`: the node's address, behind a comma.
pub(super) fn sentence(place: &Place, own: &str, code: i32) -> Fate {
    let error = std::io::Error::from_raw_os_error(code);
    let (host, folder) = (&place.host, &place.folder);
    match (Failure::Mount(code).weight(), code) {
        (Weight::Denied, _) => Fate::retry(format!(
            "{host} denies {folder} to this node{own} ({error}); is that folder exported there, \
             and to this address?"
        )),
        (_, ENODEV) => Fate::reboot(
            "neither this kernel nor this all.rdz has an NFS client; make the images again with \
             `cargo xtask image`",
        ),
        (Weight::NotThere, _) => Fate::retry(format!(
            "{host}: no NFS server answers there, neither version 4 nor 3 ({error}); is it \
             running, and is its port open?"
        )),
        (Weight::Gone, _) => Fate::retry(format!(
            "{host} does not answer any more ({error}); is it switched on?"
        )),
        _ => Fate::retry(format!("mounting {place} by NFS: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn options_are_what_the_kernel_takes() {
        let four = server("10.0.1.253:2049");
        let of = |rung: usize, port| RUNGS[rung].options(four, port, Patience::Short);
        assert_eq!(
            of(0, None),
            "vers=4.2,proto=tcp,sec=sys,addr=10.0.1.253,soft,timeo=50,retrans=2,port=2049"
        );
        assert_eq!(
            of(3, None),
            "vers=3,proto=tcp,sec=sys,addr=10.0.1.253,soft,timeo=50,retrans=2,nolock"
        );
        assert!(of(3, Some(99)).ends_with(",nolock,port=99"));
        assert!(of(4, None).ends_with(",nolock,port=2049,mountport=20048"));
        assert!(of(5, Some(99)).ends_with(",nolock,port=99,mountport=99"));
        let six = server("[2001:db8::1]:2049");
        let endless = RUNGS[0].options(six, None, Patience::Endless);
        assert_eq!(
            endless,
            "vers=4.2,proto=tcp6,sec=sys,addr=2001:db8::1,hard,port=2049"
        );
    }

    /// What each version answers, which versions are asked, and what is told.
    #[test]
    fn versions_are_tried_down_to_three() {
        let missing = || Failure::Miss(Miss::Absent("none".into()));
        type Answer = fn(&Rung) -> Result<(), i32>;
        let table: [(&str, Answer, &str, i32); 9] = [
            ("all well", |_| Ok(()), "4.2", 0),
            (
                "a server of version 3 only",
                |rung| {
                    if rung.is_three() {
                        Ok(())
                    } else {
                        Err(EPROTONOSUPPORT)
                    }
                },
                "4.2 4.1 4.0 3",
                0,
            ),
            (
                "4.0 at most",
                |rung| {
                    if rung.version == "4.0" {
                        Ok(())
                    } else {
                        Err(EPROTONOSUPPORT)
                    }
                },
                "4.2 4.1 4.0",
                0,
            ),
            (
                "the folder is only there in version 3",
                |rung| if rung.is_three() { Ok(()) } else { Err(ENOENT) },
                "4.2 3",
                0,
            ),
            (
                "denied",
                |rung| {
                    if rung.is_three() {
                        Err(EACCES)
                    } else {
                        Err(ENOENT)
                    }
                },
                "4.2 3",
                EACCES,
            ),
            (
                "denied in version 4, no version 3",
                |rung| {
                    if rung.is_three() {
                        Err(ECONNREFUSED)
                    } else {
                        Err(ENOENT)
                    }
                },
                "4.2 3 3 3 3",
                ENOENT,
            ),
            (
                "nobody listens",
                |_| Err(ECONNREFUSED),
                "4.2 4.1 4.0 3 3 3 3",
                ECONNREFUSED,
            ),
            (
                "no client in the kernel",
                |_| Err(ENODEV),
                "4.2 4.1 4.0 3 3 3 3",
                ENODEV,
            ),
            ("silence", |_| Err(ETIMEDOUT), "4.2", ETIMEDOUT),
        ];
        for (what, answer, asked, told) in table {
            let mut versions = Vec::new();
            let result = climb(|rung| {
                versions.push(rung.version);
                answer(rung).map_err(Failure::Mount)
            });
            assert_eq!(versions.join(" "), asked, "{what}");
            let expected = if told == 0 {
                Ok(())
            } else {
                Err(Failure::Mount(told))
            };
            assert_eq!(result, expected, "{what}");
        }
        // Version 4 shows an empty folder where version 3 has none.
        let result: Result<(), _> = climb(|rung| {
            Err(if rung.is_three() {
                Failure::Mount(EACCES)
            } else {
                missing()
            })
        });
        assert_eq!(result, Err(missing()));
        // Only the port mapper hangs.
        let mut asked = Vec::new();
        let result = climb(|rung| {
            asked.push(rung.mount_port);
            match (rung.is_three(), rung.mount_port) {
                (false, _) => Err(Failure::Mount(EPROTONOSUPPORT)),
                (true, MountPort::Mapped) => Err(Failure::Late),
                (true, _) => Ok(()),
            }
        });
        assert_eq!((result, asked.len()), (Ok(()), 5));
        let mut asked = 0;
        let hangs: Result<(), _> = climb(|_| {
            asked += 1;
            Err(Failure::Late)
        });
        assert_eq!((hangs, asked), (Err(Failure::Late), 1));
    }

    #[test]
    fn each_refusal_is_a_sentence() {
        let place = Place::new("10.0.1.253", "/cs4").unwrap();
        let table = [
            (
                EACCES,
                "10.0.1.253 denies /cs4 to this node, 10.0.1.31 (Permission denied",
            ),
            (ENOENT, "denies /cs4 to this node"),
            (ECONNREFUSED, "no NFS server answers there"),
            (EOPNOTSUPP, "no NFS server answers there"),
            (ENODEV, "has an NFS client"),
            (ETIMEDOUT, "does not answer any more"),
            (5, "mounting 10.0.1.253:/cs4 by NFS: Input/output error"),
        ];
        for (code, words) in table {
            let (Fate::Retry(cause) | Fate::Reboot(cause) | Fate::Hold(cause)) =
                sentence(&place, ", 10.0.1.31", code);
            assert!(cause.why.contains(words), "{code}: {}", cause.why);
        }
    }
}
