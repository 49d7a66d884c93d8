//! What goes wrong in stage 1, and what the console then says: one sentence, a
//! countdown, a reboot; never a kernel panic, never a wait without end.

use std::time::Duration;

use anyhow::{Result, ensure};
use goldring_vm_tests::guest::{Card, Guest};
use goldring_vm_tests::web::{Manner, Web};
use libtest_mimic::Trial;

use crate::images::images;
use crate::turns::while_others_work;
use crate::{no_qemu, trial};

/// From power-on to the end of all tries.
pub(crate) const LIMIT: Duration = Duration::from_secs(300);

/// What is wrong, and what must be said.
struct Fault {
    name: &'static str,
    /// The kernel command line; `SERVER` stands for the web server.
    words: &'static str,
    card: Card,
    manner: Manner,
    /// Sentences that the console shows before it reboots.
    said: &'static [&'static str],
}

const HTTP: &str = "automatic=method:http,network:dhcp,server:SERVER,directory:/cs4 rescue";

const FAULTS: &[Fault] = &[
    Fault {
        name: "stage1::rescue_clp_is_missing",
        words: HTTP,
        card: Card::Connected,
        manner: Manner::NotFound,
        said: &["404", "try 2/", "install/stage2/rescue.clp", "ebooting in"],
    },
    Fault {
        name: "stage1::rescue_clp_is_cut",
        words: HTTP,
        card: Card::Connected,
        manner: Manner::Cut,
        said: &["try 2/", "ebooting in"],
    },
    Fault {
        name: "stage1::rescue_clp_is_not_the_one_of_this_image",
        words: HTTP,
        card: Card::Connected,
        manner: Manner::Changed,
        said: &["was not made with this all.rdz", "ebooting in"],
    },
    Fault {
        name: "stage1::no_dhcp_server_answers",
        words: HTTP,
        card: Card::Lonely,
        manner: Manner::Honest,
        said: &["DHCP", "ebooting in"],
    },
    Fault {
        name: "stage1::the_cable_is_out",
        words: HTTP,
        card: Card::Unplugged,
        manner: Manner::Honest,
        said: &["link", "ebooting in"],
    },
    Fault {
        name: "stage1::no_card",
        words: HTTP,
        card: Card::None,
        manner: Manner::Honest,
        said: &["no network interface", "ebooting in"],
    },
    Fault {
        name: "stage1::automatic_without_a_method",
        words: "automatic=network:dhcp rescue",
        card: Card::None,
        manner: Manner::Honest,
        said: &["automatic=: no method; add method:http", "ebooting in"],
    },
    Fault {
        name: "stage1::nothing_automatic",
        words: "rescue",
        card: Card::None,
        manner: Manner::Honest,
        said: &["automatic=", "ebooting in"],
    },
];

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials: Vec<_> = FAULTS
        .iter()
        .map(|fault| trial(fault.name, no_qemu(), || said_then_reboot(fault)))
        .collect();
    trials.push(trial(
        "stage1::a_cut_download_is_tried_again",
        no_qemu(),
        tried_again,
    ));
    trials.push(trial(
        "stage1::no_dolly_server_comes",
        no_qemu(),
        no_dolly_server,
    ));
    trials
}

pub(crate) fn serve(manner: Manner) -> Result<(Web, String)> {
    let web = Web::start(std::fs::read(images()?.join("rescue.clp"))?, manner)?;
    // QEMU's user network shows this machine's loopback at this address.
    let server = format!("10.0.2.2:{}", web.port);
    Ok((web, server))
}

/// A guest whose stage 2 runs, from `server`; `word` is the clone method, if any.
pub(crate) fn stage2(server: &str, word: &str) -> Result<Guest> {
    let words = format!("{} {word}", HTTP.replace("SERVER", server));
    let mut guest = Guest::boot(&images()?, &words, Card::Connected)?;
    guest.expect("goldring: stage 2 running", LIMIT)?;
    Ok(guest)
}

fn said_then_reboot(fault: &Fault) -> Result<()> {
    let (_web, server) = serve(fault.manner)?;
    let mut guest = Guest::boot(
        &images()?,
        &fault.words.replace("SERVER", &server),
        fault.card,
    )?;
    guest.expect("Run /init as init process", LIMIT)?;
    for sentence in fault.said {
        // A node waits long for a cable, and for an address.
        while_others_work(|| guest.expect(sentence, LIMIT))?;
    }
    guest.expect_reboot(Duration::from_secs(60))
}

/// This server cannot send the rest of a file, so the second try gets the whole, and the
/// rescue system comes up.
fn tried_again() -> Result<()> {
    let (web, server) = serve(Manner::CutOnce)?;
    let _guest = stage2(&server, "")?;
    let requests = web.requests.load(std::sync::atomic::Ordering::SeqCst);
    ensure!(requests == 3, "{requests} requests");
    Ok(())
}

/// `rescue dollymethod` waits for its server, says so, and reboots.
fn no_dolly_server() -> Result<()> {
    let (_web, server) = serve(Manner::Honest)?;
    let mut guest = stage2(&server, "dollymethod")?;
    let sentence = "Can't reach a valid Dolly server";
    while_others_work(|| guest.expect(sentence, Duration::from_secs(330)))?;
    guest.expect_reboot(Duration::from_secs(60))
}
