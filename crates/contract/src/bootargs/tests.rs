//! Command lines, good and ugly.

use super::*;

fn automatic(text: &str) -> Automatic {
    BootArgs::parse(&format!("automatic={text}"))
        .unwrap()
        .automatic
        .unwrap()
}

#[test]
fn the_manuals_lines_are_understood() {
    let line = "initrd=images/all.rdz ramdisk_size=64000 vga=788 automatic=method:http,\
                interface:auto,network:dhcp,server:10.0.1.253,directory:/cs4 root=/dev/ram3 rescue rw";
    let args = BootArgs::parse(line).unwrap();
    let auto = args.automatic.unwrap();
    assert_eq!(auto.method, Method::Http);
    assert_eq!(auto.interface, Interface::Auto);
    assert_eq!(auto.addressing, Addressing::Dhcp);
    assert_eq!(auto.server.as_deref(), Some("10.0.1.253"));
    assert_eq!(auto.directory, "/cs4");
    assert!(args.rescue && args.clone.is_none());

    let line =
        "automatic=method:dolly,dolly_timeout:100,interface:eth0,network:dhcp rescue dollymethod";
    let args = BootArgs::parse(line).unwrap();
    assert_eq!(args.clone, Some(CloneMethod::Dolly));
    let auto = args.automatic.unwrap();
    assert_eq!(auto.dolly_timeout, Some(100));
    assert_eq!(auto.interface, Interface::Name("eth0".into()));
}

#[test]
fn short_forms_and_addresses() {
    let auto = automatic(
        "met:http,int:52-54-00-12-34-56,netw:static,ip:192.168.4.9,gat:192.168.4.1,netm:255.255.252.0,ser:h:8080",
    );
    assert_eq!(
        auto.interface,
        Interface::Mac([0x52, 0x54, 0, 0x12, 0x34, 0x56])
    );
    assert_eq!(auto.server.as_deref(), Some("h:8080"));
    let Addressing::Static {
        ip,
        prefix,
        gateway,
        dns,
    } = auto.addressing
    else {
        panic!("static expected")
    };
    assert_eq!((ip.to_string().as_str(), prefix), ("192.168.4.9", 22));
    assert_eq!((gateway.is_some(), dns), (true, None));
    for (ip, expected) in [("10.1.1.1", 8), ("172.16.0.1", 16), ("192.168.0.1", 24)] {
        let auto = automatic(&format!("method:http,network:static,ip:{ip}"));
        assert!(matches!(auto.addressing, Addressing::Static { prefix, .. } if prefix == expected));
    }
}

#[test]
fn static_addresses_of_both_families() {
    let fixed = |text: &str| {
        let auto = automatic(&format!("method:http,network:static,{text}"));
        let Addressing::Static {
            ip,
            prefix,
            gateway,
            ..
        } = auto.addressing
        else {
            panic!("static expected")
        };
        (format!("{ip}/{prefix}"), gateway.map(|g| g.to_string()))
    };
    for (text, expected) in [
        ("ip:2001:db8::5/48", "2001:db8::5/48"),
        ("ip:2001:db8::5", "2001:db8::5/64"),
        ("ip:2001:db8::5,netmask:56", "2001:db8::5/56"),
        ("ip:2001:db8::5/64,netmask:64", "2001:db8::5/64"),
        ("ip:10.0.1.21/24", "10.0.1.21/24"),
        ("ip:10.0.1.21,netmask:22", "10.0.1.21/22"),
        ("ip:10.0.1.21/24,netmask:255.255.255.0", "10.0.1.21/24"),
        ("ip:10.0.1.21,netmask:", "10.0.1.21/8"),
    ] {
        assert_eq!(fixed(text).0, expected, "{text}");
    }
    let (_, gateway) = fixed("ip:2001:db8::5,gateway:fe80::1,dns:2001:db8::1");
    assert_eq!(gateway.as_deref(), Some("fe80::1"));
    for (text, bad) in [
        ("ip:2001:db8::5/129", "ip:2001:db8::5/129"),
        ("ip:2001:db8::5/0", "ip:2001:db8::5/0"),
        ("ip:2001:db8::5/", "ip:2001:db8::5/"),
        ("ip:2001:db8::g", "ip:2001:db8::g"),
        ("ip:fe80::1", "ip:fe80::1"),
        ("ip:ff02::1", "ip:ff02::1"),
        ("ip:::", "ip:::"),
        ("ip:0.0.0.0", "ip:0.0.0.0"),
        ("ip:224.0.0.1", "ip:224.0.0.1"),
        ("ip:10.0.1.21/33", "ip:10.0.1.21/33"),
        ("ip:10.0.1.21/24,netmask:255.0.0.0", "netmask:255.0.0.0"),
        ("ip:10.0.1.21,netmask:0.0.0.0", "netmask:0.0.0.0"),
        ("ip:2001:db8::5,netmask:255.255.255.0", "netmask:255.255"),
        ("ip:2001:db8::5,gateway:10.0.0.1", "gateway:10.0.0.1"),
        ("ip:10.0.1.21,gateway:fe80::1", "gateway:fe80::1"),
        ("ip:10.0.1.21,dns:lan", "dns:lan"),
    ] {
        let line = format!("automatic=method:http,network:static,{text}");
        let error = BootArgs::parse(&line).unwrap_err().to_string();
        assert!(error.contains(bad) && error.contains("makes no"), "{error}");
    }
    let auto = automatic("method:http,network:ipv6,server:[2001:db8::1]:8080");
    assert_eq!(auto.addressing, Addressing::Ipv6);
    assert_eq!(auto.server.as_deref(), Some("[2001:db8::1]:8080"));
}

#[test]
fn words_beside_it() {
    let args = BootArgs::parse(
        "BOOTIF=01-52-54-00-12-34-56 kamethod kaopt=lab debug stage2_digest=off quiet",
    )
    .unwrap();
    assert_eq!(args.boot_interface, Some([0x52, 0x54, 0, 0x12, 0x34, 0x56]));
    assert!(args.rescue, "kamethod alone implies rescue");
    assert_eq!(args.kaopt.as_deref(), Some("lab"));
    assert!(args.debug && args.any_stage2);
}

#[test]
fn unknown_keys_are_noted_and_ignored() {
    let args = BootArgs::parse("automatic=method:http,colour:blue,network:dhcp").unwrap();
    assert_eq!(args.notes, ["automatic=: unknown key \"colour\", ignored"]);
    assert_eq!(args.automatic.unwrap().method, Method::Http);
    let args = BootArgs::parse("BOOTIF=zebra").unwrap();
    assert_eq!(args.notes, ["BOOTIF=zebra is no address, ignored"]);
}

#[test]
fn nonsense_is_one_clear_sentence() {
    let table = [
        ("automatic", "no method"),
        ("automatic=", "no method"),
        ("automatic=,,,", "no method"),
        ("automatic=method", "\"method\" has no colon"),
        ("automatic=network:dhcp", "no method; add method:http"),
        ("automatic=method:", "method: has no value"),
        (
            "automatic=method:carrier-pigeon",
            "method:carrier-pigeon makes no sense",
        ),
        ("automatic=method:http,network:", "network: has no value"),
        (
            "automatic=method:http,network:adsl",
            "network:adsl is not supported",
        ),
        (
            "automatic=method:http,interface:",
            "interface: has no value",
        ),
        (
            "automatic=method:http,interface:../../etc",
            "makes no sense",
        ),
        ("automatic=method:http,network:static", "ip: has no value"),
        (
            "automatic=method:http,network:static,ip:10.0.0.256",
            "ip:10.0.0.256 makes no sense",
        ),
        (
            "automatic=method:http,network:static,ip:10.0.0.1,netmask:255.0.255.0",
            "netmask:255.0.255.0",
        ),
        (
            "automatic=method:http,hostname:node/7",
            "hostname:node/7 makes no sense",
        ),
        (
            "automatic=method:http,domain:-lan",
            "domain:-lan makes no sense",
        ),
        (
            "automatic=method:dolly,dolly_timeout:soon",
            "dolly_timeout:soon makes no sense",
        ),
    ];
    for (line, sentence) in table {
        let error = BootArgs::parse(line).unwrap_err().to_string();
        assert!(error.contains(sentence), "{line}: {error}");
        assert!(!error.contains('\n') && error.len() < 200, "{error}");
    }
    let ten_kilobytes = format!("automatic=method:http,{}", "x:y,".repeat(2560));
    let error = BootArgs::parse(&ten_kilobytes).unwrap_err().to_string();
    assert!(error.contains("10252 bytes long"), "{error}");
}

#[test]
fn every_entry_of_the_manual_is_understood() {
    let file = include_str!("../../../../fixtures/pxe/manual.cfg");
    let append = |line: &'static str| line.trim().strip_prefix("APPEND ");
    let all: Vec<_> = file
        .lines()
        .filter_map(append)
        .map(|line| BootArgs::parse(line).unwrap())
        .collect();
    let facts: Vec<_> = all
        .iter()
        .map(|args| {
            assert!(args.rescue && args.notes.is_empty(), "{args:?}");
            assert_eq!(args.ramdisk_size, Some(64000));
            let auto = args.automatic.as_ref().unwrap();
            assert_eq!(auto.addressing, Addressing::Dhcp);
            let (interface, server, directory) = match auto.method {
                Method::Http => (Interface::Auto, Some("10.0.1.253"), "/cs4"),
                Method::Nfs => (Interface::Name("eth0".into()), Some("10.0.1.253"), "/cs4"),
                _ => (Interface::Name("eth0".into()), None, ""),
            };
            assert_eq!(auto.interface, interface);
            assert_eq!(auto.server.as_deref(), server);
            assert_eq!(auto.directory, directory);
            (auto.method, args.clone, auto.dolly_timeout)
        })
        .collect();
    use {CloneMethod as C, Method as M};
    assert_eq!(
        facts,
        [
            (M::Ka, Some(C::Ka), None),
            (M::Dolly, Some(C::Dolly), Some(100)),
            (M::Nfs, None, None),
            (M::Http, None, None),
            (M::Ka, Some(C::Ka), None),
            (M::Dolly, Some(C::Ka), None),
            (M::Ka, Some(C::Dolly), None),
            (M::Dolly, Some(C::DollyPlus), None),
        ]
    );
}

#[test]
fn every_word_is_read() {
    let args = BootArgs::parse(
        "vlan=4094 ssh_key=http://10.0.0.1/id.pub keepmounted noauto keepmodules ramdisk_size=250000 \
         dolly_timeout=30 root=/dev/ram3 rw",
    )
    .unwrap();
    assert_eq!(args.vlan, Some(4094));
    assert_eq!(args.ssh_key.as_deref(), Some("http://10.0.0.1/id.pub"));
    assert!(args.keepmounted && args.noauto && args.keepmodules);
    assert_eq!(args.ramdisk_size, Some(250_000));
    assert_eq!(args.dolly_timeout, Some(30));
    assert_eq!(args.notes, [""; 0]);
    let nothing = BootArgs::parse("vlan= ssh_key= dolly_timeout= dolly_timeout=0 kaopt=").unwrap();
    assert_eq!(nothing, BootArgs::default());
}

#[test]
fn the_key_of_automatic_wins_over_the_word() {
    for (line, seconds) in [
        ("automatic=method:dolly dolly_timeout=30", Some(30)),
        ("dolly_timeout=30 automatic=method:dolly", Some(30)),
        (
            "dolly_timeout=30 automatic=method:dolly,dolly_timeout:9",
            Some(9),
        ),
        (
            "dolly_timeout=30 automatic=method:dolly,dolly_timeout:0",
            Some(30),
        ),
        ("automatic=method:dolly", None),
    ] {
        let automatic = BootArgs::parse(line).unwrap().automatic.unwrap();
        assert_eq!(automatic.dolly_timeout, seconds, "{line}");
    }
}

#[test]
fn old_words_are_remarked_on_once() {
    let args = BootArgs::parse("netauto changedisk thirdparty thirdparty debugstage1=1").unwrap();
    assert_eq!(
        args.notes,
        [
            "netauto is ignored: no installer runs here that wants a file",
            "changedisk is ignored: nobody is asked for another disk",
            "thirdparty is ignored: every driver is in all.rdz",
            "debugstage1 is ignored: write debug instead",
        ]
    );
    for bad in ["", "0", "64M", "-1", "99999999999999999999"] {
        let args = BootArgs::parse(&format!("ramdisk_size={bad}")).unwrap();
        assert_eq!(args.ramdisk_size, None);
        assert_eq!(
            args.notes,
            [format!("ramdisk_size={bad} is no number of KiB, ignored")]
        );
    }
}

#[test]
fn wrong_values_of_words_are_errors() {
    for (line, sentence) in [
        (
            "vlan=0",
            "vlan=0 makes no sense; write vlan= and: ID (1 to 4094)",
        ),
        ("vlan=4095", "vlan=4095 makes no sense"),
        ("vlan=lab", "vlan=lab makes no sense"),
        (
            "ssh_key=id.pub",
            "ssh_key=id.pub makes no sense; write ssh_key= and: URL",
        ),
        ("ssh_key=http://", "ssh_key=http:// makes no sense"),
        (
            "stage2_digest=of",
            "stage2_digest=of makes no sense; write stage2_digest= and: off",
        ),
        (
            "dolly_timeout=2m",
            "dolly_timeout=2m makes no sense; write dolly_timeout= and: SECONDS",
        ),
    ] {
        let error = BootArgs::parse(line).unwrap_err().to_string();
        assert!(error.contains(sentence), "{line}: {error}");
    }
}

#[test]
fn proxies_disks_and_keys_of_other_times() {
    let auto =
        automatic("method:ftp,proxh:cache,proxp:3128,dis:/dev/sda,par:cciss/c0d0p1,int:wired");
    assert_eq!(auto.proxy_host.as_deref(), Some("cache"));
    assert_eq!(auto.proxy_port, Some(3128));
    assert_eq!(auto.disk.as_deref(), Some("sda"));
    assert_eq!(auto.partition.as_deref(), Some("cciss/c0d0p1"));
    assert_eq!(auto.interface, Interface::Auto);
    for bad in [
        "proxy_port:0",
        "proxy_port:65536",
        "disk:../sda",
        "disk:/dev/",
        "partition:/etc/passwd",
        "partition:a//b",
    ] {
        let error = BootArgs::parse(&format!("automatic=method:disk,{bad}")).unwrap_err();
        assert!(error.to_string().contains(bad), "{error}");
    }
    let args =
        BootArgs::parse("automatic=method:http,adslu:me,wep_key:1,thirdparty:x,adslu:you").unwrap();
    assert_eq!(
        args.notes,
        [
            "automatic=: adsluser is not supported, ignored: modem lines carry no clone",
            "automatic=: wep_key is not supported, ignored: nodes are cloned over a cable",
            "automatic=: thirdparty is not supported, ignored: every driver is in all.rdz",
        ]
    );
}

#[test]
fn no_name_is_in_the_table_twice() {
    let mut words: Vec<_> = WORDS.iter().map(|word| word.name).collect();
    let mut keys: Vec<_> = KEYS.iter().map(|key| key.name).collect();
    keys.extend(KEYS.iter().filter(|k| k.short != k.name).map(|k| k.short));
    for names in [&mut words, &mut keys] {
        names.sort_unstable();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count, "{names:?}");
    }
}

#[test]
fn a_long_line_is_read_to_its_end() {
    // The old stage 1 cut it off at 512 bytes.
    let line = format!("{} automatic=method:http rescue", "x=y ".repeat(500));
    let args = BootArgs::parse(&line).unwrap();
    assert!(args.rescue && args.automatic.is_some());
}

#[test]
fn who_may_have_a_shell_and_who_hears_of_the_node() {
    let args = |text: &str| BootArgs::parse(text).unwrap();
    for (text, shell) in [
        ("rescue", true),
        ("rescue dollymethod", true),
        ("dollymethod", false),
        ("dollymethod debug", true),
        ("automatic=method:http", false),
    ] {
        assert_eq!(args(text).shell, shell, "{text}");
    }
    assert!(args("dollymethod").rescue);
    assert_eq!(args("syslog=off").syslog, Some(Syslog::Off));
    assert_eq!(args("syslog=").syslog, None);
    let error = BootArgs::parse("syslog=host:port").unwrap_err();
    assert_eq!(
        error.to_string(),
        "syslog=host:port makes no sense; write syslog= and: HOST, HOST:PORT or off"
    );
}

#[test]
fn a_server_has_a_host_however_it_is_written() {
    for (server, host) in [
        ("h", "h"),
        ("h:80", "h"),
        ("10.0.1.1:8080", "10.0.1.1"),
        ("fe80::1", "fe80::1"),
        ("[fe80::1]:80", "fe80::1"),
        ("[fe80::1]", "fe80::1"),
        ("http://h", "h"),
        ("https://h:8443/pub/x", "h"),
        ("http://[2001:db8::1]:8080/pub", "2001:db8::1"),
        ("ftp://user:word@h/pub", "h"),
        ("[", ""),
        ("://", ""),
        ("", ""),
    ] {
        assert_eq!(host_of(server), host, "{server:?}");
    }
}
