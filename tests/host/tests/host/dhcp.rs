//! `init`'s DHCP client against a real dnsmasq, in a network namespace of their own.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use goldring_host_tests::program;

use crate::Story;

pub(crate) const STORIES: &[Story] = &[("a_lease_from_dnsmasq", lease)];

/// Why these stories cannot run here, if so.
pub(crate) fn unavailable() -> Option<String> {
    let found = Command::new("dnsmasq").arg("--version").output().is_ok();
    (!found).then(|| "needs dnsmasq-base; as root, cargo xtask test installs it".to_owned())
}

/// `init --dhcp CARD` prints the lease that a node would get and changes nothing.
fn lease(_goldring: &Path) -> Result<()> {
    let init = program::built("goldring-init", "init")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/dhcp/dnsmasq.gen.sh");
    let output = Command::new(script)
        .arg(init)
        .args(["--dhcp", "node0"])
        .output()
        .context("starting dnsmasq.gen.sh")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let log = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{said}\n{log}");
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
        ensure!(said.contains(wanted), "no {wanted} in {said}");
    }
    Ok(())
}
