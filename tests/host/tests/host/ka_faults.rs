//! ka: what goes wrong, and what it costs the others.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use goldring_host_tests::ka::Session;
use goldring_host_tests::ka::Who::{self, Old, Ours};
use goldring_host_tests::net::ip;
use goldring_host_tests::program::{Program, Signal};
use goldring_host_tests::ring::LONG;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("ka_a_killed_node_is_replaced", killed),
    ("ka_a_killed_old_node_is_replaced", killed_old),
    ("ka_frozen_and_unplugged_nodes_are_replaced", frozen),
    ("ka_two_neighbours_die_at_once", neighbours),
    ("ka_a_tree_loses_nodes", tree),
    ("ka_a_node_freezes_after_the_last_byte", after_the_end),
    ("ka_an_old_server_and_a_killed_node_among_ours", old_server),
    ("ka_strangers_are_nothing", strangers),
    ("ka_no_default_route_and_a_name_on_loopback", no_route),
    ("ka_who_is_missing_is_named", missing),
    ("ka_a_failed_command_is_everybodys_failure", failed_source),
    ("ka_a_failed_command_of_a_node_is_named", failed_sink),
    ("ka_a_dead_server_is_an_error", dead_server),
];

/// A session in the middle of its data.
fn moving(goldring: &Path, who: &[Who], more: &[&str]) -> Result<(Session, Vec<Program>)> {
    let session = Session::new(goldring, who.len() - 1, 60_000_000)?;
    for computer in 0..who.len() {
        session.net.slow(computer, "100mbit")?;
    }
    let mut programs = vec![session.serve(who[0], more)?];
    for (computer, who) in who.iter().enumerate().skip(1) {
        programs.push(session.join(computer, *who, &["-w"])?);
    }
    if who[0] == Ours {
        programs[0].expect("everybody is connected", LONG)?;
    } else {
        programs[1].expect("data comes from", LONG)?;
    }
    thread::sleep(Duration::from_millis(1500));
    Ok((session, programs))
}

/// Those ones are lost and named, everybody else has everything.
fn others_survive(session: &Session, programs: &mut [Program], lost: &[usize]) -> Result<()> {
    let code = i32::from(!lost.is_empty());
    programs[0].ends_with(code, LONG)?;
    let said = programs[0].said();
    for (computer, program) in programs.iter_mut().enumerate().skip(1) {
        let address = session.net.address(computer);
        if lost.contains(&computer) {
            let is_it = |line: &&str| line.starts_with("ka: lost ") && line.contains(&address);
            let line = said.lines().find(is_it);
            ensure!(line.is_some(), "{address} is not named:\n{said}");
            continue;
        }
        program.ends_with(0, LONG).with_context(|| said.clone())?;
        session.same(computer)?;
    }
    Ok(())
}

fn killed(goldring: &Path) -> Result<()> {
    for place in 1..=3 {
        let (session, mut programs) = moving(goldring, &[Ours; 4], &[])?;
        programs[place].signal(Signal::KILL)?;
        others_survive(&session, &mut programs, &[place])
            .with_context(|| format!("killed: {place}"))?;
    }
    Ok(())
}

fn killed_old(goldring: &Path) -> Result<()> {
    for place in 1..=3 {
        let (session, mut programs) = moving(goldring, &[Ours, Old, Old, Old], &[])?;
        programs[place].signal(Signal::KILL)?;
        others_survive(&session, &mut programs, &[place])
            .with_context(|| format!("killed: {place}"))?;
    }
    Ok(())
}

fn frozen(goldring: &Path) -> Result<()> {
    for (who, place, unplug) in [
        ([Ours; 4], 2, false),
        ([Ours, Old, Old, Old], 2, false),
        ([Ours, Old, Ours, Old], 1, true),
        ([Ours; 4], 3, true),
    ] {
        let (session, mut programs) = moving(goldring, &who, &["--stall-timeout", "5"])?;
        if unplug {
            session.net.cut(place)?;
        } else {
            programs[place].signal(Signal::STOP)?;
        }
        others_survive(&session, &mut programs, &[place])
            .with_context(|| format!("{who:?}, {place}, unplugged: {unplug}"))?;
    }
    Ok(())
}

fn neighbours(goldring: &Path) -> Result<()> {
    for (who, freeze) in [
        ([Ours; 5], false),
        ([Ours; 5], true),
        ([Ours, Old, Old, Old, Old], false),
        ([Ours, Old, Old, Old, Old], true),
    ] {
        let (session, mut programs) = moving(goldring, &who, &["--stall-timeout", "5"])?;
        for place in [2, 3] {
            programs[place].signal(if freeze { Signal::STOP } else { Signal::KILL })?;
        }
        others_survive(&session, &mut programs, &[2, 3])
            .with_context(|| format!("{who:?}, frozen: {freeze}"))?;
    }
    Ok(())
}

fn tree(goldring: &Path) -> Result<()> {
    for who in [[Ours; 7], [Ours, Old, Old, Old, Old, Old, Old]] {
        let (session, mut programs) = moving(goldring, &who, &["-a", "2"])?;
        programs[1].signal(Signal::KILL)?;
        programs[4].signal(Signal::KILL)?;
        others_survive(&session, &mut programs, &[1, 4]).with_context(|| format!("{who:?}"))?;
    }
    Ok(())
}

/// Its command takes long, so it has not finished when it freezes.
fn after_the_end(goldring: &Path) -> Result<()> {
    for slow in [Ours, Old] {
        let session = Session::new(goldring, 3, 1_000_000)?;
        let mut programs = vec![session.serve(Ours, &["--stall-timeout", "5"])?];
        programs.push(session.join(1, Ours, &["-w"])?);
        let sleeps = ["-w", "-s", "session", "-e", "sleep 30; cat > out"];
        programs.push(session.start(2, slow, &sleeps)?);
        programs.push(session.join(3, Ours, &["-w"])?);
        programs[0].expect("all 1000000 bytes are read", LONG)?;
        thread::sleep(Duration::from_millis(500));
        programs[2].signal(Signal::STOP)?;
        others_survive(&session, &mut programs, &[2]).with_context(|| format!("{slow:?}"))?;
    }
    Ok(())
}

fn old_server(goldring: &Path) -> Result<()> {
    let (session, mut programs) = moving(goldring, &[Old, Ours, Ours, Ours], &["-l"])?;
    programs[2].signal(Signal::KILL)?;
    programs[0].ends_with(0, LONG)?;
    for place in [1, 3] {
        programs[place].ends_with(0, LONG)?;
        session.same(place)?;
    }
    Ok(())
}

/// A port scan of everybody, rubbish, a HELLO and nothing more, a late client.
fn strangers(goldring: &Path) -> Result<()> {
    let session = Session::new(goldring, 3, 30_000_000)?;
    for computer in 0..=3 {
        session.net.slow(computer, "100mbit")?;
    }
    let scan = |session: &Session| -> Result<()> {
        let hosts: Vec<String> = (0..3).map(|i| session.net.address(i)).collect();
        let script = format!(
            "import socket\nfor host in {hosts:?}:\n for port in (30764, 30765):\n  for word in \
             (b'', b'GET / HTTP/1.0\\r\\n\\r\\n', bytes(40), b'\\0\\0\\0\\0Ka-deploy-0.6\\0' + bytes(14), \
             b'\\0\\0\\0\\0Ka-deploy-0.6\\0' + bytes(14) + b'\\3' + bytes(31)):\n   \
             try:\n    s = socket.create_connection((host, port), 1)\n    s.sendall(word)\n    s.close()\n   \
             except OSError: pass\n"
        );
        let mut scan = Program::start(
            &session.net,
            3,
            &session.home(9),
            &["python3", "-c", &script],
        )?;
        scan.ends_with(0, LONG)
    };
    let mut programs = vec![session.serve(Ours, &[])?];
    programs.push(session.join(1, Ours, &["-w"])?);
    programs.push(session.join(2, Ours, &["-w"])?);
    programs[0].expect("2 of 3", LONG)?;
    scan(&session)?;
    programs.push(session.join(3, Ours, &["-w"])?);
    programs[0].expect("everybody is connected", LONG)?;
    scan(&session)?;
    // Two programs cannot share the ports of a computer, so the late one is the server's.
    let path = goldring.to_string_lossy().into_owned();
    let late = [
        &path,
        "ka-d-client",
        "-h",
        "127.0.0.1",
        "-P",
        "30799",
        "-e",
        "cat > late",
    ];
    let mut late = Program::start(&session.net, 0, &session.home(9), &late)?;
    late.ends_with(1, LONG)?;
    late.expect("the transfer has begun without it", LONG)?;
    others_survive(&session, &mut programs, &[])
}

fn no_route(goldring: &Path) -> Result<()> {
    let session = Session::new(goldring, 2, 100_000)?;
    let name = fs::read_to_string("/proc/sys/kernel/hostname")?;
    for computer in 0..=2 {
        let hosts = format!("127.0.0.1 localhost\n127.0.1.1 {name}\n");
        let folder = Path::new("/etc/netns").join(session.net.namespace(computer));
        fs::write(folder.join("hosts"), hosts)?;
        let routes = [
            "-n",
            &session.net.namespace(computer),
            "route",
            "show",
            "default",
        ];
        ip(&routes)?;
    }
    session.run(&[Ours; 3], &[], &["-w"])?;
    // A card without a broadcast address is asked, too.
    for computer in 0..=2 {
        let namespace = session.net.namespace(computer);
        ip(&["-n", &namespace, "addr", "flush", "dev", "eth0"])?;
        let address = format!("{}/24", session.net.address(computer));
        ip(&["-n", &namespace, "addr", "add", &address, "dev", "eth0"])?;
    }
    session.run(&[Ours; 3], &[], &["-w"])
}

fn missing(goldring: &Path) -> Result<()> {
    let session = Session::new(goldring, 3, 1000)?;
    let mut server = session.serve(Ours, &["--timeout", "4"])?;
    let mut one = session.join(1, Ours, &[])?;
    let mut old = session.join(2, Old, &[])?;
    server.ends_with(1, LONG)?;
    let said = server.said();
    let sentence = "2 of 3 nodes are here after 4 s";
    ensure!(said.contains(sentence), "{said}");
    ensure!(
        said.contains("missing: 1 that was never heard of"),
        "{said}"
    );
    one.ends_with(1, LONG)?;
    ensure!(one.said().contains(sentence), "{}", one.said());
    old.ends_with(134, LONG)?;

    let mut server = session.start(
        0,
        Ours,
        &[
            "-s",
            "session",
            "--only",
            "n1,n2,n3",
            "--timeout",
            "3",
            "--partial",
            "-e",
            "cat in",
        ],
    )?;
    let mut one = session.join(1, Ours, &[])?;
    let mut three = session.join(3, Ours, &[])?;
    server.ends_with(1, LONG)?;
    let said = server.said();
    ensure!(said.contains("n2 (10.77.0.12): never came"), "{said}");
    ensure!(said.contains("2 of 3 nodes have everything"), "{said}");
    one.ends_with(0, LONG)?;
    three.ends_with(0, LONG)?;
    session.same(1)?;
    session.same(3)?;

    let mut nobody = session.join(1, Ours, &["--find", "2"])?;
    nobody.ends_with(1, LONG)?;
    nobody.expect(
        "no ka server of session session has answered within 2 s",
        LONG,
    )
}

fn failed_source(goldring: &Path) -> Result<()> {
    let session = Session::new(goldring, 2, 1_000_000)?;
    let fails = ["-s", "session", "-n", "2", "-e", "cat in; exit 7"];
    let mut server = session.start(0, Ours, &fails)?;
    let mut one = session.join(1, Ours, &["-w"])?;
    let mut old = session.join(2, Old, &["-w"])?;
    server.ends_with(1, LONG)?;
    let sentence = "the command `cat in; exit 7` failed: exit status: 7";
    ensure!(server.said().contains(sentence), "{}", server.said());
    one.ends_with(1, LONG)?;
    ensure!(one.said().contains(sentence), "{}", one.said());
    old.ends_with(134, LONG)
}

fn failed_sink(goldring: &Path) -> Result<()> {
    for command in ["cat > out; exit 3", "head -c 1000 > out; exit 3"] {
        for place in 1..=3 {
            let session = Session::new(goldring, 3, 5_000_000)?;
            let mut programs = vec![session.serve(Ours, &[])?];
            for computer in 1..=3 {
                programs.push(if computer == place {
                    session.start(computer, Ours, &["-w", "-s", "session", "-e", command])?
                } else {
                    session.join(computer, Ours, &["-w"])?
                });
            }
            programs[place].ends_with(1, LONG)?;
            others_survive(&session, &mut programs, &[place])
                .with_context(|| format!("{command}, {place}"))?;
            let sentence = format!("the command `{command}` failed: exit status: 3");
            ensure!(
                programs[0].said().contains(&sentence),
                "{}",
                programs[0].said()
            );
        }
    }
    Ok(())
}

fn dead_server(goldring: &Path) -> Result<()> {
    let (_session, mut programs) = moving(goldring, &[Ours, Ours, Ours], &[])?;
    programs[0].signal(Signal::KILL)?;
    let start = Instant::now();
    for program in &mut programs[1..] {
        program.ends_with(1, LONG)?;
        program.expect("the server is gone", LONG)?;
    }
    ensure!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    Ok(())
}
