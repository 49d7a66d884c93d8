//! What people see: on a screen and on a serial line at once, in the log, at a syslog
//! server, and on a node with little memory.

use std::fs;
use std::io::Write;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use goldring_vm_tests::guest::{Card, Guest, Machine};
use goldring_vm_tests::room::{Room, SERVER, mac};
use goldring_vm_tests::web::{Manner, Web};
use libtest_mimic::Trial;

use crate::images::images;
use crate::stage1::{LIMIT, serve};
use crate::{no_lab, no_qemu, trial};

/// In use is what the kernel would have to throw out before a program could have it:
/// MemTotal without MemAvailable, with all that lies in tmpfs.
const IDLE_MAX: u64 = 200_000_000;

/// Memory, in MiB, that all.rdz cannot be unpacked in, and that it can.
const NOT_UNPACKED: u32 = 224;
const UNPACKED: u32 = 288;
/// A stage 2, in MiB, that does not fit then.
const LARGE: usize = 300;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial(
            "people::512_mb_are_enough_and_two_consoles_show_all",
            no_qemu(),
            rescue,
        ),
        trial("people::too_little_memory_is_said", no_qemu(), too_little),
        trial(
            "people::a_syslog_server_hears_why",
            no_lab().or_else(no_rsyslog),
            syslog,
        ),
        trial(
            "people::a_broken_module_is_named_and_debug_holds_after_a_bug",
            no_qemu(),
            held,
        ),
    ]
}

fn no_rsyslog() -> Option<&'static str> {
    let there = std::process::Command::new("rsyslogd")
        .arg("-v")
        .output()
        .is_ok();
    (!there).then_some("needs rsyslog; as root, cargo xtask test installs it")
}

fn http(server: &str) -> String {
    format!("automatic=method:http,network:dhcp,server:{server}")
}

/// A person at the serial line looks at the screens, too.
fn rescue() -> Result<()> {
    let (_web, server) = serve(Manner::Honest)?;
    let syslog = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    syslog.set_read_timeout(Some(LIMIT))?;
    let port = syslog.local_addr()?.port();
    let words = format!(
        "console=tty0 console=ttyS0 {} rescue debug syslog=10.0.2.2:{port}",
        http(&server)
    );
    let mut guest = Machine::new(&images()?, &words).memory(512).start()?;
    guest.expect("goldring: stage 2 running", LIMIT)?;
    guest.expect("# ", LIMIT)?;

    let free = "awk '/^MemTotal/{t=$2} /^MemAvailable/{a=$2} END{print \"in-\" \"use:\" (t-a)*1024 \":\"}'";
    guest.type_line(&format!("sleep 5; {free} /proc/meminfo"))?;
    let used: u64 = between(&mut guest, "in-use:", ":")?.parse()?;
    ensure!(used <= IDLE_MAX, "{used} bytes in use");

    // Before a screen is shown on this line.
    let console = guest.console();
    let screen = screen(&mut guest, 1)?;
    for line in [
        "goldring: modules loaded, ",
        "boot server 10.0.2.2",
        "stage 2 [####################] ",
        " MB (100 %), ",
        "goldring: stage 2 running, ",
        "what stage 2 says is shown on ttyS0",
    ] {
        ensure!(screen.matches(line).count() == 1, "{line:?} in\n{screen}");
    }
    for line in ["goldring: modules loaded, ", "goldring: address bound, "] {
        ensure!(console.matches(line).count() == 1, "{line:?} in\n{console}");
    }
    ensure!(!console.contains("stage 2 ["), "a bar in\n{console}");
    ensure!(console.contains(" MB (100 %), "), "no line in\n{console}");

    let log = self::screen(&mut guest, 3)?;
    for line in ["] step agent: run the agent", "] goldring: stage 2 running"] {
        ensure!(log.contains(line), "{line:?} in\n{log}");
    }
    let shell = self::screen(&mut guest, 2)?;
    ensure!(
        shell.contains("there is no shell before stage 2 runs")
            && shell.lines().any(|line| line.starts_with('#')),
        "no shell on the second screen:\n{shell}"
    );

    // The end of the session's leader hangs its terminal up; init speaks on.
    guest.type_line("kill -9 $PPID")?;
    guest.expect("the agent was killed (signal 9; out of memory?)", LIMIT)?;
    guest.expect("(try 1/3)", LIMIT)?;
    let shells = "Rescue shell.";
    while guest.console().matches(shells).count() < 2 {
        std::thread::sleep(Duration::from_millis(200));
    }
    guest.type_line("echo on-$((6*7))")?;
    guest.expect("on-42", LIMIT)?;
    guest.type_line("reboot")?;
    guest.expect_reboot(LIMIT)?;
    heard(&syslog)
}

/// The lines of one boot: stage 2 ran twice, then a person said reboot.
fn heard(syslog: &UdpSocket) -> Result<()> {
    let mut buffer = [0; 2048];
    for start in [
        "<29>1 - 10.0.2.15 goldring - running - goldring: stage 2 running, ",
        "<29>1 - 10.0.2.15 goldring - running - goldring: stage 2 running, ",
        "<29>1 - 10.0.2.15 goldring - done - ",
    ] {
        let (length, _) = syslog.recv_from(&mut buffer).context("no syslog line")?;
        let line = String::from_utf8_lossy(&buffer[..length]);
        ensure!(line.starts_with(start), "{line:?}, not {start:?}");
    }
    Ok(())
}

/// The kernel unpacks all.rdz into half of the memory. Where that works the stage 2 of the
/// same build fits; a larger one may not.
fn too_little() -> Result<()> {
    let web = Web::start(vec![0; LARGE << 20], Manner::Honest)?;
    let words = format!(
        "{} rescue stage2_digest=off",
        http(&format!("10.0.2.2:{}", web.port))
    );
    let large = format!(
        "not enough memory: rescue.clp has {LARGE} MB and the system needs 48 MB more, but only "
    );
    for (memory, sentence) in [
        (
            NOT_UNPACKED,
            "not enough memory: all.rdz does not fit into the half of ",
        ),
        (UNPACKED, &large),
    ] {
        let mut guest = Machine::new(&images()?, &words).memory(memory).start()?;
        guest.expect(sentence, LIMIT)?;
        guest.expect("rebooting in 30 s", LIMIT)?;
        guest.expect_reboot(LIMIT)?;
    }
    Ok(())
}

/// A real syslog server reads what a node says: dnsmasq names it as option 7.
fn syslog() -> Result<()> {
    let mut room = Room::new(1)?;
    room.dnsmasq(&format!(
        "dhcp-host={},10.0.1.31,node31\ndhcp-option=option:log-server,{SERVER}",
        mac(1)
    ))?;
    let log = room.folder().join("nodes.log");
    let config = room.folder().join("rsyslog.conf");
    fs::write(
        &config,
        format!(
            "module(load=\"imudp\")\ninput(type=\"imudp\" port=\"514\")\n\
             template(name=\"t\" type=\"string\" string=\"%hostname%|%app-name%|%msgid%|\
             %syslogfacility-text%|%syslogseverity-text%|%msg%\\n\")\n\
             action(type=\"omfile\" file=\"{}\" template=\"t\")\n",
            log.display()
        ),
    )?;
    let mut rsyslog = room.command("rsyslogd");
    rsyslog.args(["-n", "-i", "NONE", "-f"]).arg(&config);
    room.serve("rsyslogd", rsyslog, None)?;
    let words = format!("{} rescue", http(SERVER));
    let mut guest = Machine::new(&images()?, &words).in_room(&room, 1).start()?;
    guest.expect("(try 5/5, the last)", LIMIT)?;
    guest.expect_reboot(LIMIT)?;
    let heard = fs::read_to_string(&log).context("rsyslogd wrote nothing")?;
    let line = "node31|goldring|reboot|daemon|err|rebooting: http://10.0.1.253/install/stage2/rescue.clp: ";
    ensure!(
        heard.lines().count() == 1 && heard.starts_with(line),
        "{heard}"
    );
    Ok(())
}

/// A module that the kernel does not take is named, and the boot goes on. A bug reboots
/// after a while; with debug it does not.
fn held() -> Result<()> {
    let images = images()?;
    let json = fs::read_to_string(images.join("image.json"))?;
    let release = json
        .split_once("\"release\": \"")
        .and_then(|(_, rest)| rest.split('"').next())
        .context("image.json names no kernel")?;
    let folder = tempfile::tempdir()?;
    fs::copy(images.join("vmlinuz"), folder.path().join("vmlinuz"))?;
    let mut archive = fs::read(images.join("all.rdz"))?;
    // The kernel takes one archive after the other, and skips zeros between them.
    archive.resize(archive.len().next_multiple_of(4), 0);
    let module = format!("lib/modules/{release}/kernel/drivers/ata/ata_piix.ko");
    let mut broken = cpio::newc::Builder::new(&module)
        .mode(0o100_644)
        .write(&mut archive, 9);
    broken.write_all(b"no module")?;
    cpio::newc::trailer(broken.finish()?)?;
    fs::write(folder.path().join("all.rdz"), archive)?;
    let words = "automatic=method:http,network:dhcp goldring.panic=network debug";
    let mut guest = Guest::boot(folder.path(), words, Card::None)?;
    guest.expect(
        "loading ata_piix: its file is broken, or for another kernel",
        LIMIT,
    )?;
    guest.expect("init: a bug: ", LIMIT)?;
    guest.expect("asked for by goldring.panic=network", LIMIT)?;
    guest.expect("holding; press Ctrl-Alt-Del", LIMIT)?;
    std::thread::sleep(Duration::from_secs(2));
    let console = guest.console();
    ensure!(!console.contains("ebooting in"), "{console}");
    Ok(())
}

/// What a screen of the guest shows, its lines as they are (vcs(4)).
fn screen(guest: &mut Guest, number: u32) -> Result<String> {
    // What is typed while a program still writes may get lost, so the lines are short and
    // each waits for the one before. The words are computed, so that the echo of a line is
    // not taken for them.
    guest.type_line("f() { fold -w 80 /dev/vcs$1 | sed 's/ *$//;/^$/d'; echo; }")?;
    guest.type_line(&format!("echo f{number}-$((6*7))"))?;
    guest.expect(&format!("f{number}-42"), LIMIT)?;
    std::thread::sleep(Duration::from_secs(1));
    guest.type_line(&format!(
        "echo begin{number}-$((6*7)); f {number}; echo end{number}-$((6*7))"
    ))?;
    between(
        guest,
        &format!("begin{number}-42"),
        &format!("end{number}-42"),
    )
}

/// What the console shows between two words, once it shows both.
fn between(guest: &mut Guest, begin: &str, end: &str) -> Result<String> {
    guest.expect(begin, LIMIT)?;
    let start = Instant::now();
    loop {
        let console = guest.console();
        let found = console
            .rsplit_once(begin)
            .and_then(|(_, rest)| rest.split_once(end));
        if let Some((text, _)) = found {
            return Ok(text.to_owned());
        }
        ensure!(start.elapsed() < LIMIT, "no {end:?} in\n{console}");
        std::thread::sleep(Duration::from_millis(200));
    }
}
