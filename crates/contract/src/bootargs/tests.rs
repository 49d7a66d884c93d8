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
            "network:adsl makes no sense",
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
