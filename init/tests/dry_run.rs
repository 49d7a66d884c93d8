//! `init --dry-run` in a made-up world: what it would do, and each clear sentence.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use goldring_contract::image::{Aliases, Class, Manifest, Module, Modules};

const KERNEL: &str = "6.1.0-42-amd64";

fn write(root: &Path, path: &str, text: &str) {
    let file = root.join(path.trim_start_matches('/'));
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}

fn module(name: &str, class: Class) -> Module {
    Module {
        name: name.into(),
        path: format!("kernel/{name}.ko"),
        class,
        before: vec![],
        after: vec![],
        firmware: vec![],
    }
}

/// A machine with one e1000e and one disk controller whose module file is missing.
fn world() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    let manifest = Manifest {
        kernel: KERNEL.into(),
        stage2_sha256: "ab".repeat(32),
        stage2_size: 1000,
        version: "0.1.0".into(),
    };
    write(root, "/etc/goldring/manifest", &manifest.to_string());
    let modules = vec![
        module("e1000e", Class::Network),
        module("ahci", Class::Storage),
    ];
    write(
        root,
        "/etc/goldring/modules",
        &Modules::new(modules).to_string(),
    );
    let aliases = [
        ("pci:v00008086d000010D3sv*sd*bc*sc*i*", "e1000e"),
        ("pci:v*d*sv*sd*bc01sc06i01*", "ahci"),
    ];
    let aliases = aliases.map(|(p, m)| (p.to_owned(), m.to_owned())).to_vec();
    write(
        root,
        "/etc/goldring/aliases",
        &Aliases::new(aliases).to_string(),
    );
    write(root, "/etc/goldring/names", "8086  Intel\n\t10d3  82574L\n");
    write(root, &format!("/lib/modules/{KERNEL}/kernel/e1000e.ko"), "");
    let devices = [
        (
            "0000:00:03.0",
            "pci:v00008086d000010D3sv00008086sd0000A01Fbc02sc00i00\n",
        ),
        (
            "0000:00:1f.2",
            "pci:v00008086d00002922sv00001AF4sd00001100bc01sc06i01\n",
        ),
    ];
    for (place, modalias) in devices {
        write(
            root,
            &format!("/sys/bus/pci/devices/{place}/modalias"),
            modalias,
        );
    }
    let card = "/sys/class/net/eth0";
    write(root, &format!("{card}/type"), "1\n");
    write(root, &format!("{card}/ifindex"), "2\n");
    write(root, &format!("{card}/address"), "52:54:00:12:34:56\n");
    fs::create_dir(root.join("sys/class/net/eth0/device")).unwrap();
    folder
}

fn init(root: &Path, cmdline: &str, kernel: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_init"))
        .args([
            "--dry-run",
            "--kernel",
            kernel,
            "--cmdline",
            cmdline,
            "--root",
        ])
        .arg(root)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_boot_is_told_step_by_step() {
    let world = world();
    let line = "initrd=all.rdz automatic=method:http,network:dhcp,server:10.0.1.1:8080,\
                directory:/cs4,colour:blue rescue dollymethod";
    let output = init(world.path(), line, KERNEL);
    let said = said(&output);
    let wanted = [
        "automatic=: unknown key \"colour\", ignored",
        "goldring 0.1.0 stage 1, kernel 6.1.0-42-amd64",
        "Installing driver e1000e (for \"Intel|82574L\")",
        "Installing driver ahci (for \"Intel|2922\")",
        "Can't find ahci.ko in archive",
        "goldring: modules loaded, ",
        "would ask for an address by DHCP on eth0 (52:54:00:12:34:56)",
        "would tell BOOT-SERVER by syslog what becomes of it",
        "would fetch http://10.0.1.1:8080/cs4/install/stage2/rescue.clp",
        "would mount it on /stage2",
        "would run /usr/bin/goldring node there",
        "would reboot",
    ];
    let mut rest = said.as_str();
    for line in wanted {
        let at = rest
            .find(line)
            .unwrap_or_else(|| panic!("no {line:?} in\n{said}"));
        rest = &rest[at + line.len()..];
    }
    assert!(output.status.success());
}

/// The line of the manual, as it stands; and with a private session.
#[test]
fn stage_2_by_ka_is_told() {
    let world = world();
    let line = "initrd=images/all.rdz ramdisk_size=64000 vga=788 \
                automatic=method:ka,interface:eth0,network:dhcp root=/dev/ram3 rw rescue kamethod";
    for (more, session) in [("", "getstage2"), (" kaopt=lab", "lab")] {
        let output = init(world.path(), &format!("{line}{more}"), KERNEL);
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        let wanted = format!(
            "would look 5 times 10 s for the ka server of session {session} and unpack what it sends"
        );
        assert!(said.contains(&wanted), "{said}");
        assert!(output.status.success());
    }
}

/// The line of the manual, as it stands.
#[test]
fn stage_2_by_dolly_is_told() {
    let world = world();
    let line = "initrd=images/all.rdz ramdisk_size=64000 vga=788 \
                automatic=method:dolly,dolly_timeout:100,interface:eth0,network:dhcp rescue dollymethod";
    let output = init(world.path(), line, KERNEL);
    let wanted = "would wait 3 times 100 s for a dolly server whose configuration says \
                  outfile /dev/ram3, a ramdisk of ramdisk_size=64000\n";
    assert!(said(&output).contains(wanted), "{}", said(&output));
    assert!(output.status.success());
    let word = "automatic=method:dolly dolly_timeout=7";
    let output = said(&init(world.path(), word, KERNEL));
    let wanted = "3 times 7 s for";
    assert!(output.contains(wanted) && output.contains("as large as the memory allows"));
}

#[test]
fn servers_are_written_in_many_ways() {
    let world = world();
    let file = "install/stage2/rescue.clp";
    for (words, place) in [
        (
            "method:http,server:[2001:db8::1]:8080",
            "http://[2001:db8::1]:8080/",
        ),
        (
            "method:http,server:http://boot.lan:81/pub,directory:cs4",
            "http://boot.lan:81/pub/cs4/",
        ),
        (
            "method:ftp,server:10.0.1.253,directory:/cs4,user:me,pass:secret",
            "ftp://10.0.1.253/cs4/",
        ),
        (
            "method:ftp,server:ftp://me:secret@boot:2121/",
            "ftp://boot:2121/",
        ),
    ] {
        let said = said(&init(world.path(), &format!("automatic={words}"), KERNEL));
        assert!(
            said.contains(&format!("would fetch {place}{file}\n")),
            "{said}"
        );
        assert!(!said.contains("secret"), "{said}");
    }
    let words = "automatic=method:ftp,server:boot,proxy_host:cache.lan,proxy_port:8080";
    let said = said(&init(world.path(), words, KERNEL));
    let wanted = format!("would fetch ftp://boot/{file} by the proxy cache.lan at port 8080\n");
    assert!(said.contains(&wanted), "{said}");
}

#[test]
fn each_misfortune_is_one_sentence_that_says_what_to_do() {
    let world = world();
    let good = "automatic=method:http,network:dhcp,server:10.0.1.1";
    let table = [
        (
            "quiet",
            KERNEL,
            "no automatic= on the kernel command line; add automatic=method:http",
        ),
        ("automatic=", KERNEL, "no method; add method:http"),
        ("automatic=method", KERNEL, "has no colon"),
        (
            "automatic=method:http,interface:",
            KERNEL,
            "interface: has no value",
        ),
        (
            good,
            "6.1.0-43-amd64",
            "this all.rdz is for kernel 6.1.0-42-amd64, but 6.1.0-43-amd64 is running; \
             put vmlinuz and all.rdz of the same build on the boot server",
        ),
        (
            "automatic=method:http,interface:eth7",
            KERNEL,
            "interface:eth7: there is no such card, but eth0 (52:54:00:12:34:56)",
        ),
        (
            "automatic=method:http,network:static,ip:10.0.0.9",
            KERNEL,
            "no server: DHCP named none; add server:ADDRESS",
        ),
        (
            "automatic=method:http,server:https://boot.lan:8443",
            KERNEL,
            "this image trusts nobody, and so has no https; make one with `cargo xtask image --ca",
        ),
        (
            "automatic=method:http,server:ftp://boot",
            KERNEL,
            "server:ftp://boot is not for this method; write method:ftp",
        ),
        (
            "automatic=method:http,server:boot,proxy_host:a/b",
            KERNEL,
            "proxy_host:a/b makes no sense; write its name or address",
        ),
        (
            "automatic=method:http,server:boot:http",
            KERNEL,
            "server:boot:http makes no sense",
        ),
    ];
    for (cmdline, kernel, sentence) in table {
        let output = init(world.path(), cmdline, kernel);
        let said = said(&output);
        let line = said.lines().find(|line| line.contains(sentence));
        assert!(line.is_some(), "{cmdline}: no {sentence:?} in\n{said}");
        assert!(
            said.ends_with("would reboot in 30 s\n"),
            "{cmdline}:\n{said}"
        );
        assert_eq!(output.status.code(), Some(1), "{cmdline}");
        assert!(output.stderr.is_empty());
    }
    let long = format!("automatic=method:http,{}", "x:y,".repeat(2560));
    assert!(said(&init(world.path(), &long, KERNEL)).contains("10252 bytes long"));
    let held = said(&init(world.path(), "debug automatic=", KERNEL));
    assert!(held.ends_with("would hold\n"), "{held}");
}

/// As on a node where the kernel could not unpack all of all.rdz.
#[test]
fn an_image_that_was_not_unpacked_whole_is_noticed() {
    let world = world();
    let line = "automatic=method:http,network:dhcp,server:10.0.1.1";
    write(world.path(), "/proc/meminfo", "MemTotal: 204800 kB\n");
    let log = |error: &str| format!("0,9,99,-;Initramfs unpacking failed: {error}\n");
    write(world.path(), "/dev/kmsg", &log("write error"));
    let refused = said(&init(world.path(), line, KERNEL));
    assert!(
        refused.starts_with(
            "not enough memory: all.rdz does not fit into the half of 200 MB of memory that the \
             kernel lets it take; give the node 512 MB\nwould reboot in 30 s\n"
        ),
        "{refused}"
    );
    write(
        world.path(),
        "/dev/kmsg",
        &log("junk within compressed archive"),
    );
    let remarked = init(world.path(), line, KERNEL);
    assert!(remarked.status.success());
    assert!(said(&remarked).contains("a fault in all.rdz (junk within compressed archive)"));
}

/// A disk of this size in sectors, with so many partitions.
fn disk(root: &Path, name: &str, sectors: u32, partitions: u32) {
    let place = format!("/sys/devices/{name}");
    write(root, &format!("{place}/size"), &format!("{sectors}\n"));
    let class = root.join("sys/class/block");
    fs::create_dir_all(&class).unwrap();
    let link = |place: String, name: &str| {
        std::os::unix::fs::symlink(format!("../../devices/{place}"), class.join(name)).unwrap();
    };
    link(name.to_owned(), name);
    for number in 1..=partitions {
        let digit = name.ends_with(|c: char| c.is_ascii_digit());
        let part = format!("{name}{}{number}", if digit { "p" } else { "" });
        write(root, &format!("{place}/{part}/size"), "8\n");
        write(
            root,
            &format!("{place}/{part}/partition"),
            &format!("{number}\n"),
        );
        link(format!("{name}/{part}"), &part);
    }
}

/// What the manual's nfs entry does, as it stands.
#[test]
fn stage_2_by_nfs_is_told() {
    let world = world();
    let line = "initrd=images/all.rdz ramdisk_size=64000 vga=788 \
                automatic=method:nfs,interface:eth0,network:dhcp,server:10.0.1.253,directory:/cs4 \
                root=/dev/ram3 rescue rw";
    let output = init(world.path(), line, KERNEL);
    let wanted = "would mount 10.0.1.253:/cs4 by NFS, in the newest of the versions 4.2 to 3";
    assert!(said(&output).contains(wanted), "{}", said(&output));
    assert!(output.status.success());
    let wrong = "automatic=method:nfs,server:10.0.1.253:nfs,directory:/cs4";
    let wrong = said(&init(world.path(), wrong, KERNEL));
    assert!(
        wrong.contains("server:10.0.1.253:nfs makes no sense"),
        "{wrong}"
    );
}

#[test]
fn stage_2_on_a_disk_or_a_cd_is_told() {
    let world = world();
    let root = world.path();
    let run = |automatic: &str| {
        said(&init(
            root,
            &format!("automatic={automatic} rescue"),
            KERNEL,
        ))
    };
    let none = run("method:disk");
    assert!(
        none.contains("method:disk: this computer shows no disk"),
        "{none}"
    );
    let none = run("method:cdrom");
    assert!(
        none.contains("method:cdrom: this computer shows no CD drive, and no disk"),
        "{none}"
    );
    disk(root, "sdb", 100, 2);
    disk(root, "sda", 100, 11);
    disk(root, "sdaa", 100, 1);
    disk(root, "nvme0n1", 100, 1);
    // An empty card reader, and what is no disk.
    for (name, sectors) in [
        ("sdc", 0),
        ("ram0", 9),
        ("loop0", 9),
        ("dm-0", 9),
        ("fd0", 9),
    ] {
        disk(root, name, sectors, 0);
    }
    let table = [
        (
            "method:disk,directory:/cs4",
            "would look for stage 2 in /cs4 of sda1, sda2, sda3, sda4, sda5, sda6, sda7, sda8, sda9, \
             sda10, sda11, sda, sdb1, sdb2, sdb, sdaa1, sdaa, nvme0n1p1, nvme0n1\n",
        ),
        ("method:disk,disk:sdb", "in / of sdb1, sdb2, sdb\n"),
        ("method:disk,disk:sdb,partition:sdb2", "in / of sdb2\n"),
        (
            "method:disk,partition:/dev/nvme0n1p1",
            "in / of nvme0n1p1\n",
        ),
        (
            "method:disk,disk:hda",
            "disk:hda: there is no such disk, but sda, sdb, sdaa, nvme0n1; ahci for 8086:2922 is not",
        ),
        (
            "method:disk,disk:sdaa,partition:sdb3",
            "partition:sdb3: there is no such partition, but sda1, sda2,",
        ),
        (
            "method:cdrom",
            "would look for a CD with stage 2 in sda, sdb, sdaa, nvme0n1\n",
        ),
    ];
    for (automatic, sentence) in table {
        let said = run(automatic);
        assert!(
            said.contains(sentence),
            "{automatic}: no {sentence:?} in\n{said}"
        );
    }
    // A drive is there without a disc in it.
    disk(root, "sr0", 0, 0);
    assert!(run("method:cdrom").contains("in sr0, sda, sdb,"));
    assert!(!run("method:disk").contains("sr0"));
}

/// A USB stick and no network make a rescue shell, but no clone.
#[test]
fn a_disk_needs_no_network_unless_something_is_cloned() {
    let world = world();
    let root = world.path();
    disk(root, "sda", 100, 1);
    fs::remove_dir_all(root.join("sys/class/net")).unwrap();
    let line = |words: &str| format!("automatic=method:disk {words}");
    let alone = init(root, &line("rescue"), KERNEL);
    let wanted = "; going on without a network, since stage 2 is here\n";
    assert!(said(&alone).contains(wanted), "{}", said(&alone));
    assert!(alone.status.success());
    let clone = init(root, &line("rescue dollymethod"), KERNEL);
    assert!(said(&clone).contains("no network interface"));
    assert!(!clone.status.success());
}

#[test]
fn a_card_without_driver_is_named() {
    let world = world();
    fs::remove_dir_all(world.path().join("sys/class/net")).unwrap();
    let line = "automatic=method:http,network:dhcp";
    let without_table = said(&init(world.path(), line, KERNEL));
    assert!(
        without_table.contains("no driver of this image takes 8086:10d3 (Intel|82574L)"),
        "{without_table}"
    );
    write(
        world.path(),
        "/etc/goldring/absent",
        "pci:v00008086d000010D3sv*sd*bc*sc*i* e1000e\n",
    );
    let named = said(&init(world.path(), line, KERNEL));
    assert!(
        named.contains(
            "no network interface: wanted e1000e for 8086:10d3, not in this image; \
             add it in images/stage1.toml"
        ),
        "{named}"
    );
    fs::remove_dir_all(world.path().join("sys/bus")).unwrap();
    assert!(said(&init(world.path(), line, KERNEL)).contains("shows no network card"));
}

#[test]
fn broken_images_are_named() {
    let world = world();
    let line = "automatic=method:http,network:dhcp";
    write(world.path(), "/etc/goldring/modules", "zebra\n");
    let broken = said(&init(world.path(), line, KERNEL));
    assert!(
        broken.contains("table modules, line 1: not six fields"),
        "{broken}"
    );
    fs::remove_file(world.path().join("etc/goldring/manifest")).unwrap();
    let missing = said(&init(world.path(), line, KERNEL));
    assert!(missing.contains("this all.rdz is broken"), "{missing}");
}

#[test]
fn the_flags_explain_themselves() {
    let run = |args: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_init"))
            .args(args)
            .output()
            .unwrap()
    };
    assert_eq!(said(&run(&["--list"])).lines().count(), 9);
    let help = said(&run(&["--help"]));
    assert!(help.lines().all(|line| line.len() <= 80), "{help}");
    for wrong in [&[][..], &["--root"], &["--zebra"]] {
        let output = run(wrong);
        assert_eq!(output.status.code(), Some(2));
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
}

/// Each way to an address, and what is wrong with one.
#[test]
fn addresses_are_told() {
    let world = world();
    let card = "eth0 (52:54:00:12:34:56)";
    for (words, wanted) in [
        (
            "network:ipv6,server:[2001:db8::1]:8080",
            format!("would ask for an IPv6 address on {card}"),
        ),
        (
            "network:ipv6,server:[2001:db8::1]:8080",
            "would fetch http://[2001:db8::1]:8080/install/stage2/rescue.clp".to_owned(),
        ),
        (
            "network:static,ip:2001:db8::5/48,server:2001:db8::1",
            format!("would take 2001:db8::5/48 on {card}"),
        ),
        (
            "network:static,ip:10.0.1.7,netmask:22,server:10.0.1.1",
            format!("would take 10.0.1.7/22 on {card}"),
        ),
        (
            "network:static,ip:2001:db8::5,gateway:10.0.0.1",
            "automatic=: gateway:10.0.0.1 makes no sense; write gateway: and one of: ADDRESS"
                .to_owned(),
        ),
        (
            "network:ipx",
            "automatic=: network:ipx makes no sense; write network: and one of: dhcp, ipv6 or static"
                .to_owned(),
        ),
    ] {
        let line = format!("automatic=method:http,{words} rescue");
        let said = said(&init(world.path(), &line, KERNEL));
        assert!(said.contains(&wanted), "no {wanted:?} in\n{said}");
    }
}
