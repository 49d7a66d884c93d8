//! ka: sessions that go well, with old programs at every place.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use goldring_host_tests::ka::Session;
use goldring_host_tests::ka::Who::{Old, Old64, Ours};
use goldring_host_tests::program::Program;
use goldring_host_tests::ring::LONG;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[
    ("ka_chain_of_ours", ours),
    ("ka_old_clients_at_every_place", old_clients),
    ("ka_old_server_and_our_clients", old_server),
    ("ka_both_layouts_in_one_chain", layouts),
    ("ka_trees", trees),
    ("ka_nodes_are_let_go_together_or_one_by_one", let_go),
    ("ka_go_now_starts_without_the_others", go_now),
    ("ka_options_that_bound_the_lead", lead),
    ("ka_stage_2_is_sent_as_a_tar", stage2),
    ("ka_sends_the_files_of_a_folder", folder),
];

fn ours(goldring: &Path) -> Result<()> {
    for (clients, size) in [(1, 0), (1, 1), (2, 100_000), (3, 30_000_000)] {
        let session = Session::new(goldring, clients, size)?;
        let who = vec![Ours; clients + 1];
        session
            .run(&who, &[], &[])
            .with_context(|| format!("{clients} clients, {size} bytes"))?;
        session.run(&who, &[], &["-w"])?;
    }
    Ok(())
}

fn old_clients(goldring: &Path) -> Result<()> {
    let session = Session::new(goldring, 3, 5_000_000)?;
    for who in [
        [Ours, Old, Ours, Ours],
        [Ours, Ours, Old, Ours],
        [Ours, Ours, Ours, Old],
        [Ours, Old, Old, Old],
    ] {
        for options in [&[][..], &["-w"]] {
            session
                .run(&who, &[], options)
                .with_context(|| format!("{who:?} {options:?}"))?;
        }
    }
    Ok(())
}

fn old_server(goldring: &Path) -> Result<()> {
    let session = Session::new(goldring, 3, 5_000_000)?;
    for who in [
        [Old, Ours, Ours, Ours],
        [Old, Ours, Old, Ours],
        [Old, Old, Ours, Old],
        [Old, Old, Old, Old],
    ] {
        for options in [&[][..], &["-w"]] {
            session
                .run(&who, &[], options)
                .with_context(|| format!("{who:?} {options:?}"))?;
        }
        session.run(&who, &["-l"], &["-w"])?;
    }
    Ok(())
}

fn layouts(goldring: &Path) -> Result<()> {
    let session = Session::new(goldring, 3, 1_000_000)?;
    for who in [
        [Ours, Old, Old64, Ours],
        [Ours, Old64, Ours, Old64],
        [Old64, Ours, Old64, Ours],
    ] {
        session
            .run(&who, &[], &["-w"])
            .with_context(|| format!("{who:?}"))?;
    }
    Ok(())
}

fn trees(goldring: &Path) -> Result<()> {
    let session = Session::new(goldring, 6, 3_000_000)?;
    for arity in ["2", "4"] {
        session.run(&[Ours; 7], &["-a", arity], &["-w"])?;
        let mixed = [Ours, Old, Ours, Old, Ours, Ours, Old];
        session.run(&mixed, &["-a", arity], &["-w"])?;
    }
    Ok(())
}

fn let_go(goldring: &Path) -> Result<()> {
    let session = Session::new(goldring, 3, 1000)?;
    for who in [[Ours; 4], [Ours, Old, Ours, Old]] {
        let mut programs = vec![session.serve(who[0], &["-d", "10"])?];
        for (computer, who) in who.iter().enumerate().skip(1) {
            programs.push(session.join(computer, *who, &["-w"])?);
        }
        let start = Instant::now();
        programs[0].ends_with(0, LONG)?;
        let took = start.elapsed();
        // The first one at once, the others a second apart.
        ensure!(took >= Duration::from_millis(1900), "{took:?}");
        for program in &mut programs {
            program.ends_with(0, LONG)?;
        }
    }
    Ok(())
}

fn go_now(goldring: &Path) -> Result<()> {
    // The node, the server, and who says the word.
    for (who, serves, go) in [
        (Ours, Ours, Ours),
        (Old, Ours, Ours),
        (Ours, Ours, Old),
        (Ours, Ours, Old64),
        (Ours, Old, Ours),
        (Ours, Old64, Ours),
        (Old64, Old64, Ours),
    ] {
        let session = Session::new(goldring, 3, 100_000)?;
        let mut server = session.serve(serves, &[])?;
        let mut one = session.join(1, who, &["-w"])?;
        let mut two = session.join(2, Ours, &["-w"])?;
        match serves {
            Ours => server.expect("2 of 3", LONG)?,
            _ => server.expect("2 wait of 3", LONG)?,
        }
        let mut word = session.start(3, go, &["-g", "-s", "session"])?;
        word.ends_with(0, LONG)?;
        for program in [&mut server, &mut one, &mut two] {
            program.ends_with(0, LONG)?;
        }
        session.same(1)?;
        session.same(2)?;
    }
    Ok(())
}

fn lead(goldring: &Path) -> Result<()> {
    let session = Session::new(goldring, 2, 90_000_000)?;
    for (who, option) in [
        ([Ours, Ours, Ours], "-l"),
        ([Ours, Old, Old], "-l"),
        ([Ours, Ours, Ours], "--unbounded"),
    ] {
        session.run(&who, &[option], &["-w"])?;
    }
    Ok(())
}

/// With the old client of stage 1, too, and as the old script was called.
fn stage2(goldring: &Path) -> Result<()> {
    let session = Session::new(goldring, 2, 1_000_000)?;
    let folder = session.home(0).join("stage2");
    fs::create_dir_all(folder.join("ka/deep"))?;
    fs::write(folder.join("ka/deep/file"), &session.input)?;
    let script = session.home(0).join("ka-d-session.sh");
    symlink(goldring, &script)?;
    let (script, path) = (script.to_string_lossy(), folder.to_string_lossy());
    for (more, name) in [(&[][..], "getstage2"), (&["--name", "lab"], "lab")] {
        let words = ["env", &format!("DATA_PATH={path}"), &script, "-n", "2"];
        let words = [&words[..], more].concat();
        let mut server = Program::start(&session.net, 0, &session.home(0), &words)?;
        let command = "rm -rf got; mkdir got; cd got; tar x";
        let mut one = session.start(1, Ours, &["-w", "-s", name, "-e", command])?;
        let mut two = session.start(2, Old, &["-w", "-s", name, "-e", command])?;
        for program in [&mut server, &mut one, &mut two] {
            program.ends_with(0, LONG)?;
        }
        for computer in [1, 2] {
            let file = session.home(computer).join("got/ka/deep/file");
            ensure!(fs::read(file)? == session.input);
        }
    }
    let empty = session.home(9);
    fs::create_dir_all(&empty)?;
    let goldring = goldring.to_string_lossy();
    for (folder, why) in [
        (empty.to_string_lossy(), "is empty"),
        ("/none".into(), "No such file"),
    ] {
        let words = [&*goldring, "ka-d-session", "--data-path", &folder];
        let mut server = Program::start(&session.net, 0, &session.home(0), &words)?;
        server.ends_with(1, LONG)?;
        server.expect(why, LONG)?;
    }
    Ok(())
}

/// Both ends without a command: files with everything they have. A node that has no room for
/// its folder is named.
fn folder(goldring: &Path) -> Result<()> {
    let session = Session::new(goldring, 3, 3_000_000)?;
    let tree = session.home(0).join("tree");
    fs::create_dir_all(tree.join("etc"))?;
    fs::write(tree.join("file"), &session.input)?;
    fs::hard_link(tree.join("file"), tree.join("etc/again"))?;
    symlink("../file", tree.join("etc/link"))?;
    for computer in [1, 2] {
        fs::create_dir_all(session.home(computer).join("out"))?;
    }
    let common = ["-s", "session", "--tree"];
    let mut server = session.start(0, Ours, &[&common[..], &["tree", "-n", "3"]].concat())?;
    let mut clients = Vec::new();
    for (computer, out) in [(1, "out"), (2, "out"), (3, "nowhere")] {
        clients.push(session.start(computer, Ours, &[&common[..], &[out, "-w"]].concat())?);
    }
    server.ends_with(1, LONG)?;
    server.expect("n3 (10.77.0.13): not complete: nowhere", LONG)?;
    clients[2].ends_with(1, LONG)?;
    for computer in [1, 2] {
        clients[computer - 1].ends_with(0, LONG)?;
        let compared = Command::new(goldring)
            .args(["files", "compare"])
            .args([&tree, &session.home(computer).join("out")])
            .output()?;
        let said = String::from_utf8_lossy(&compared.stdout);
        ensure!(compared.status.success(), "n{computer}: {said}");
    }
    Ok(())
}
