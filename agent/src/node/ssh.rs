//! A way into the rescue system over the network: `ssh_key=URL` names the public key that
//! may log in as root. Without it no server runs, and no password ever works.
//!
//! The server is dropbear: with what it needs it takes 0.6 MB of stage 2 where sshd takes
//! 1.5 MB, it needs neither a user of its own nor PAM, and has nothing to configure.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use goldring_contract::Root;
use goldring_contract::handover::Network;
use goldring_wire::ssh_key;

/// The server and its key maker, in stage 2.
const SERVER: &str = "/usr/sbin/dropbear";
const KEY_MAKER: &str = "/usr/bin/dropbearkey";
/// The key of this computer, made at each start: the rescue system remembers nothing.
const HOST_KEY: &str = "/run/goldring/ssh_host_key";
/// What the server says.
const LOG: &str = "/run/goldring/ssh.log";
/// Where it listens.
const PORT: u16 = 22;
/// How long it may take to listen, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Before a server that ended is started again.
const AGAIN: Duration = Duration::from_secs(10);
/// Pauses between two tries to get the key; the last one is kept.
const PAUSES: [u64; 6] = [1, 2, 4, 8, 16, 30];

/// Gets the key and runs the server, in the background for as long as the agent lives.
pub(crate) fn start(root: &Root, network: &Network, url: &str) {
    let (root, network, url) = (root.clone(), network.clone(), url.to_owned());
    let serve = move || {
        let keys = keys(&url, &mut fetch, &mut |pause| thread::sleep(pause));
        if let Err(error) = run(&root, &network, &keys) {
            say(&format!("{error:#}"));
        }
    };
    let thread = thread::Builder::new().name("ssh".to_owned());
    if let Err(error) = thread.spawn(serve) {
        say(&format!("no thread for it: {error}"));
    }
}

fn say(what: &str) {
    println!("ssh: {what}");
}

fn fetch(url: &str) -> Result<Vec<u8>, String> {
    goldring_transfer::fetch::small(url, ssh_key::FILE_MAX + 1).map_err(crate::fault::one_line)
}

/// Tries until there is a key: whoever serves it may need to put it there first. The
/// same trouble is told once.
fn keys(
    url: &str,
    fetch: &mut dyn FnMut(&str) -> Result<Vec<u8>, String>,
    pause: &mut dyn FnMut(Duration),
) -> Vec<String> {
    let mut told = String::new();
    let mut pauses = PAUSES.iter().copied();
    let mut seconds = PAUSES[0];
    loop {
        let keys = fetch(url).and_then(|file| {
            ssh_key::parse(&file).map_err(|error| format!("ssh_key={url}: {error}"))
        });
        match keys {
            Ok(keys) => return keys,
            Err(trouble) if trouble != told => {
                say(&format!("{trouble}; nobody can log in yet, trying again"));
                told = trouble;
            }
            Err(_) => {}
        }
        seconds = pauses.next().unwrap_or(seconds);
        pause(Duration::from_secs(seconds));
    }
}

/// Runs the server until the computer is restarted.
fn run(root: &Root, network: &Network, keys: &[String]) -> anyhow::Result<()> {
    if !root.join(SERVER).exists() {
        bail!("there is no server in this image ({SERVER}); see images/stage2.toml");
    }
    authorize(root, keys).context("writing the key to /root/.ssh")?;
    let fingerprint = host_key(root).context("making the key of this computer")?;
    loop {
        let mut server = server(root).with_context(|| format!("starting {SERVER}"))?;
        wait_until_it_listens(root, &mut server)?;
        say(&welcome(network, keys.len(), &fingerprint));
        let status = server.wait()?;
        say(&format!("{SERVER} ended ({status}); starting it again"));
        // One that never lives long must not fill the console.
        thread::sleep(AGAIN);
    }
}

/// Nobody shall be told to log in before that works.
fn wait_until_it_listens(root: &Root, server: &mut Child) -> anyhow::Result<()> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(status) = server.try_wait()? {
            let log = fs::read_to_string(root.join(LOG)).unwrap_or_default();
            let last = log.lines().last().unwrap_or_default();
            bail!("{SERVER} ends at once ({status}): {last}");
        }
        let listens = ["/proc/net/tcp", "/proc/net/tcp6"].iter().any(|table| {
            is_listened_on(
                &fs::read_to_string(root.join(table)).unwrap_or_default(),
                PORT,
            )
        });
        if listens {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(100));
    }
    bail!("{SERVER} does not listen on port {PORT} after {PATIENCE:?}; see {LOG}")
}

/// Whether somebody listens on `port`, from `/proc/net/tcp` (proc(5)): local address and
/// port in hexadecimal stand second, the state fourth, 0A is listening.
fn is_listened_on(table: &str, port: u16) -> bool {
    let port = format!(":{port:04X}");
    table.lines().any(|line| {
        let mut words = line.split_ascii_whitespace().skip(1);
        let local = words.next().unwrap_or_default();
        local.ends_with(&port) && words.nth(1) == Some("0A")
    })
}

/// How to log in, in one line.
fn welcome(network: &Network, keys: usize, fingerprint: &str) -> String {
    let host = network.address.map(|address| address.to_string());
    let host = host.or_else(|| network.hostname.clone());
    let host = host.unwrap_or_else(|| "THIS-COMPUTER".to_owned());
    let keys = match keys {
        1 => String::new(),
        keys => format!(", {keys} keys"),
    };
    format!("ssh root@{host}{keys} (host key {fingerprint})")
}

/// Only these keys, and only for root. The server refuses files that others may write.
fn authorize(root: &Root, keys: &[String]) -> io::Result<()> {
    let home = root.join("/root");
    let folder = home.join(".ssh");
    fs::create_dir_all(&folder)?;
    let file = folder.join("authorized_keys");
    fs::write(&file, keys.join("\n") + "\n")?;
    for (path, mode) in [(&home, 0o700), (&folder, 0o700), (&file, 0o600)] {
        fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Makes the computer's key if it has none and tells its fingerprint.
fn host_key(root: &Root) -> anyhow::Result<String> {
    let file = root.join(HOST_KEY);
    let maker = root.join(KEY_MAKER);
    let run = |arguments: &[&str]| -> anyhow::Result<String> {
        let output = Command::new(&maker)
            .args(arguments)
            .arg("-f")
            .arg(&file)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("starting {KEY_MAKER}"))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("{KEY_MAKER}: {}: {}", output.status, said.trim());
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    if !file.exists() {
        run(&["-t", "ed25519"])?;
    }
    let said = run(&["-y"])?;
    let line = said.lines().find_map(|l| l.strip_prefix("Fingerprint: "));
    Ok(line.context("it tells no fingerprint")?.trim().to_owned())
}

/// `-F`: in the foreground; `-E`: log to stderr; `-s`, `-g`: no passwords, for nobody.
fn server(root: &Root) -> io::Result<Child> {
    let log = File::create(root.join(LOG))?;
    let mut command = Command::new(root.join(SERVER));
    command
        .args(["-F", "-E", "-s", "-g", "-r"])
        .arg(root.join(HOST_KEY))
        .args(["-p", &PORT.to_string(), "-P"])
        .arg(root.join("/run/goldring/ssh.pid"))
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C on the console is not meant for it.
        .process_group(0);
    goldring_sys::process::hears_signals(&mut command);
    command.spawn()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::path::Path;

    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIh4GIx8jUuaFJF3wh9Zx39+6YWAaaZ49pmEIFqoEFrz";

    #[test]
    fn a_key_is_waited_for() {
        let mut answers = vec![
            Ok(KEY.as_bytes().to_vec()),
            Ok(b"<html>".to_vec()),
            Err("no connection".to_owned()),
            Err("no connection".to_owned()),
        ];
        answers.extend((0..5).map(|_| Err("no connection".to_owned())));
        let mut pauses = Vec::new();
        let mut fetch = |_: &str| answers.pop().unwrap();
        let keys = keys("http://h/k", &mut fetch, &mut |p| pauses.push(p.as_secs()));
        assert_eq!(keys, [KEY]);
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    /// A stage 2 with a server and a key maker of shell.
    fn stage2(server: &str) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let maker = "#!/bin/sh\necho \"$@\" >> \"$(dirname \"$0\")/calls\"\n\
            [ \"$1\" = -y ] && echo 'Fingerprint: SHA256:abc' || : > \"$4\"\n";
        for (path, text) in [(SERVER, server), (KEY_MAKER, maker)] {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        }
        (folder, root)
    }

    #[test]
    fn only_the_key_lets_in_and_nobody_else_may_change_it() {
        let (_folder, root) = stage2("#!/bin/sh\necho \"$@\" >&2\nexit 1\n");
        let error = run(&root, &Network::default(), &[KEY.to_owned()]).unwrap_err();
        let error = format!("{error:#}");
        assert!(
            error.contains("ends at once (exit status: 1): -F -E -s -g -r"),
            "{error}"
        );
        let file = root.join("/root/.ssh/authorized_keys");
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{KEY}\n"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(file.parent().unwrap()), 0o700);
        // The key of the computer is made once.
        assert_eq!(host_key(&root).unwrap(), "SHA256:abc");
        let calls = fs::read_to_string(root.join("/usr/bin/calls")).unwrap();
        assert_eq!(calls.matches("-t ed25519").count(), 1, "{calls}");
    }

    #[test]
    fn a_listening_port_is_seen() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue\n   \
            0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000\n   \
            1: 0100007F:0017 0100007F:0016 01 00000000:00000000 00:00000000\n";
        assert!(is_listened_on(table, 22));
        assert!(!is_listened_on(table, 23));
        assert!(!is_listened_on("", 22) && !is_listened_on("\n0:\n0: :0016\n", 22));
    }

    #[test]
    fn an_image_without_a_server_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root::at(folder.path());
        let error = run(&root, &Network::default(), &[]).unwrap_err();
        assert!(
            error.to_string().contains("no server in this image"),
            "{error}"
        );
    }

    #[test]
    fn the_console_says_how_to_log_in() {
        let network = Network {
            address: Some(Ipv4Addr::new(10, 0, 1, 31).into()),
            ..Network::default()
        };
        assert_eq!(
            welcome(&network, 1, "SHA256:abc"),
            "ssh root@10.0.1.31 (host key SHA256:abc)"
        );
        assert!(welcome(&Network::default(), 2, "x").starts_with("ssh root@THIS-COMPUTER, 2 keys"));
    }
}
