//! The real client against a real dnsmasq, in a network namespace of their own.

use std::path::Path;
use std::process::Command;

fn tool(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(name).exists())
}

/// Why the test cannot run here, if it cannot.
fn missing() -> Option<String> {
    for name in ["unshare", "ip", "dnsmasq"] {
        if !tool(name) {
            return Some(format!("there is no {name}"));
        }
    }
    let may = Command::new("unshare").args(["--net", "true"]).status();
    let may = may.is_ok_and(|status| status.success());
    (!may).then(|| "a network namespace needs root".to_owned())
}

#[test]
fn root_a_lease_from_dnsmasq() {
    if let Some(reason) = missing() {
        eprintln!("skipped: {reason}");
        return;
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/dhcp/dnsmasq.gen.sh");
    let output = Command::new(script)
        .args([env!("CARGO_BIN_EXE_init"), "--dhcp", "node0"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{log}");
    for wanted in [
        "node0: 10.9.0.1 offers 10.9.0.57",
        "address: 10.9.0.57",
        "prefix: 24",
        "192.168.4.0",
        "\"node7\"",
        "\"eng.lab.lan\"",
        "1450",
        "\"10.9.0.2\"",
    ] {
        assert!(said.contains(wanted), "no {wanted} in {said}");
    }
}
