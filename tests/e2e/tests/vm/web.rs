//! Stage 2 from web and FTP servers that are not ours, and by https.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use goldring_host_tests::net::run;
use goldring_vm_tests::guest::{Guest, Machine};
use goldring_vm_tests::room::{Room, SERVER};
use goldring_vm_tests::workspace;
use libtest_mimic::Trial;

use crate::images::{images, images_with_ca};
use crate::stage1::LIMIT;
use crate::{no_lab, not_long, trial};

/// The manual's PXE entry, as it stands.
const MANUAL: &str = "initrd=images/all.rdz ramdisk_size=64000 vga=788 \
     automatic=method:http,interface:auto,network:dhcp,server:10.0.1.253,directory:/cs4 \
     root=/dev/ram3 rescue rw";
const RUNNING: &str = "goldring: stage 2 running";

/// A CA, and a certificate of the room's server that it signed; see `make.sh` there.
const CERTIFICATES: &str = "crates/transfer/tests/remote/certificates";
/// A public key; nobody has the other half.
const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIDNDmi7DT+PrmGWRmacMYjlHnShUSwSBL6XWJMjecX4P";

pub(crate) fn trials() -> Vec<Trial> {
    type Story = (&'static str, fn() -> Result<()>);
    let stories: [Story; 2] = [
        (
            "web::nginx_dies_in_the_middle_and_the_rest_is_fetched",
            nginx,
        ),
        ("web::vsftpd_knows_everybody_and_one_user", vsftpd),
    ];
    let mut trials: Vec<Trial> = stories
        .map(|(name, story)| trial(name, no_lab().or_else(no_servers), story))
        .into();
    // It makes a second pair of programs.
    let missing = no_lab().or_else(no_servers).or_else(not_long);
    let name = "web::an_image_with_a_ca_comes_up_by_https_alone";
    trials.push(trial(name, missing, https));
    trials
}

/// Why there are no real servers here, if so.
fn no_servers() -> Option<&'static str> {
    let there = |server| {
        let command = Command::new(server).arg("-v").stdin(Stdio::null()).output();
        command.is_ok()
    };
    (!["nginx", "vsftpd"].into_iter().all(there))
        .then_some("needs nginx and vsftpd; as root, cargo xtask test installs them")
}

/// A room for so many nodes, and a folder in it that has stage 2 of `images` as the manual
/// says.
fn room(nodes: usize, images: &Path) -> Result<(Room, PathBuf)> {
    let mut room = Room::new(nodes)?;
    room.dnsmasq("")?;
    let folder = room.folder().join("www");
    let place = folder.join("cs4/install/stage2");
    fs::create_dir_all(&place)?;
    // The servers' own users come in from outside.
    run("chmod", &["755", &room.folder().to_string_lossy()])?;
    fs::copy(images.join("rescue.clp"), place.join("rescue.clp"))?;
    Ok((room, folder))
}

fn node(room: &Room, number: usize, words: &str) -> Result<Guest> {
    Machine::new(&images()?, words)
        .in_room(room, number)
        .start()
}

/// nginx with one worker, serving `www`; `listen` says where and how.
fn start_nginx(room: &mut Room, www: &Path, listen: &str) -> Result<()> {
    let config = room.folder().join("nginx.conf");
    let text = "daemon off; user root; worker_processes 1; pid FOLDER/nginx.pid; \
        error_log stderr notice; events {} http { access_log FOLDER/access.log; \
        client_body_temp_path FOLDER/b; proxy_temp_path FOLDER/p; fastcgi_temp_path FOLDER/f; \
        uwsgi_temp_path FOLDER/u; scgi_temp_path FOLDER/s; \
        server { LISTEN; root WWW; limit_rate 6m; } }\n";
    let text = text
        .replace("FOLDER", &room.folder().to_string_lossy())
        .replace("LISTEN", listen)
        .replace("WWW", &www.to_string_lossy());
    fs::write(&config, text)?;
    let mut nginx = room.command("nginx");
    nginx.arg("-c").arg(&config).args(["-e", "stderr"]);
    room.serve("nginx", nginx, Some("start worker process "))
}

/// The manual's entry; nginx loses its worker while the file is on its way.
fn nginx() -> Result<()> {
    let (mut room, www) = room(1, &images()?)?;
    let folder = room.folder().to_owned();
    start_nginx(&mut room, &www, &format!("listen {SERVER}:80"))?;

    let mut guest = node(&room, 1, MANUAL)?;
    guest.expect(
        "fetching http://10.0.1.253/cs4/install/stage2/rescue.clp",
        LIMIT,
    )?;
    guest.expect("stage 2: ", LIMIT)?;
    kill_worker(&folder)?;
    guest.expect("asking for the rest in 1s", LIMIT)?;
    guest.expect(RUNNING, LIMIT)?;
    // nginx writes its log when a request has ended.
    let log = fs::read_to_string(folder.join("access.log"))?;
    ensure!(
        log.contains("HTTP/1.1\" 206 "),
        "nothing was resumed:\n{log}"
    );
    ensure!(
        !guest.console().contains("try 2/"),
        "it began again:\n{}",
        guest.console()
    );
    Ok(())
}

/// Ends nginx's only worker; the master starts another.
fn kill_worker(folder: &Path) -> Result<()> {
    let master = fs::read_to_string(folder.join("nginx.pid"))?;
    let master = master.trim();
    let children = fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?;
    let worker = children.split_whitespace().next();
    run("kill", &["-9", worker.context("nginx has no worker")?])
}

/// One node comes as nobody in particular, the other as a user with a password.
fn vsftpd() -> Result<()> {
    let (mut room, www) = room(2, &images()?)?;
    let folder = room.folder().to_owned();
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    fs::create_dir_all(folder.join("empty"))?;
    fs::create_dir_all(folder.join("pam.d"))?;
    let pam = "auth required pam_unix.so\naccount required pam_unix.so\n";
    fs::write(folder.join("pam.d/goldring"), pam)?;
    let passwd = "root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n\
         ftp:x:997:997::WWW:/bin/false\nnode:x:996:996::WWW:/bin/sh\n";
    let www = www.to_string_lossy();
    fs::write(folder.join("passwd"), passwd.replace("WWW", &www))?;
    let hash = Command::new("openssl")
        .args(["passwd", "-6", "word"])
        .output()?;
    let hash = String::from_utf8(hash.stdout)?;
    let shadow = format!("ftp:*:19000::::::\nnode:{}:19000::::::\n", hash.trim());
    fs::write(folder.join("shadow"), shadow)?;
    let config = format!(
        "listen=YES\nlisten_address={SERVER}\nbackground=NO\nanonymous_enable=YES\n\
         local_enable=YES\nchroot_local_user=YES\nanon_root={www}\nlocal_root={www}\n\
         pam_service_name=goldring\nsecure_chroot_dir={}\nxferlog_enable=YES\n\
         vsftpd_log_file={}\nlog_ftp_protocol=YES\nseccomp_sandbox=NO\n",
        path("empty"),
        path("vsftpd.log")
    );
    fs::write(folder.join("vsftpd.conf"), config)?;
    // `ip netns exec` gives the server mounts of its own, so these users exist only there.
    let script = "for file in pam.d passwd shadow; do mount --bind \"$1/$file\" /etc/$file || exit; done; \
         exec vsftpd \"$1/vsftpd.conf\"";
    let mut server = room.command("sh");
    server.args(["-c", script, "sh"]).arg(&folder);
    room.serve("vsftpd", server, None)?;

    let words = "automatic=method:ftp,interface:auto,network:dhcp,server:10.0.1.253,directory:/cs4";
    let mut nobody = node(&room, 1, &format!("{words} rescue"))?;
    let mut user = node(&room, 2, &format!("{words},user:node,pass:word rescue"))?;
    for guest in [&mut nobody, &mut user] {
        guest.expect(
            "fetching ftp://10.0.1.253/cs4/install/stage2/rescue.clp",
            LIMIT,
        )?;
        guest.expect(RUNNING, LIMIT)?;
        ensure!(!guest.console().contains("try 2/"), "{}", guest.console());
    }
    let log = fs::read_to_string(folder.join("vsftpd.log"))?;
    for who in ["[ftp] OK LOGIN", "[node] OK LOGIN", "EPSV"] {
        ensure!(log.contains(who), "no {who:?} in:\n{log}");
    }
    Ok(())
}

/// The server has https and nothing else, and a certificate that the images' CA signed.
/// Stage 2 comes that way, and so does the key that the agent fetches. A node whose clock
/// ran out of battery says what is wrong.
fn https() -> Result<()> {
    let certificates = workspace().join(CERTIFICATES);
    let images = images_with_ca(&certificates.join("ca.pem"))?;
    let (mut room, www) = room(2, &images)?;
    let folder = room.folder().to_owned();
    fs::write(www.join("key.pub"), format!("ssh-ed25519 {KEY} somebody\n"))?;
    let file = |name: &str| certificates.join(name).display().to_string();
    let listen = format!(
        "listen {SERVER}:443 ssl; ssl_certificate {}; ssl_certificate_key {}",
        file("good.pem"),
        file("server.key")
    );
    start_nginx(&mut room, &www, &listen)?;

    let words = format!(
        "automatic=method:http,interface:auto,network:dhcp,server:https://{SERVER},directory:/cs4 \
         rescue ssh_key=https://{SERVER}/key.pub"
    );
    let node = |number| Machine::new(&images, &words).in_room(&room, number);
    let mut guest = node(1).start()?;
    let mut old = node(2).arguments(["-rtc", "base=2000-02-29"]).start()?;
    guest.expect(
        "fetching https://10.0.1.253/cs4/install/stage2/rescue.clp",
        LIMIT,
    )?;
    guest.expect(RUNNING, LIMIT)?;
    guest.expect("ssh: ssh root@10.0.1.", LIMIT)?;
    ensure!(!guest.console().contains("try 2/"), "{}", guest.console());
    let log = fs::read_to_string(folder.join("access.log"))?;
    for path in ["/cs4/install/stage2/rescue.clp", "/key.pub"] {
        let request = format!("\"GET {path} HTTP/1.1\" 200 ");
        ensure!(log.contains(&request), "no {request:?} in:\n{log}");
    }
    old.expect(
        "the server's certificate is valid from 2020-01-01 on, but this node's clock says \
         2000-02-29; set the node's clock",
        LIMIT,
    )?;
    ensure!(!old.console().contains(RUNNING), "{}", old.console());
    Ok(())
}
