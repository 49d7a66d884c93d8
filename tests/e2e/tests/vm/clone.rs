//! The whole path: PXE, stage 2 by http, the dolly ring, the first boot from disk.

use anyhow::{Result, ensure};
use goldring_vm_tests::xtask;
use libtest_mimic::Trial;

use crate::images::{golden, images};
use crate::{no_lab, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![trial(
        "clone::two_nodes_by_pxe_http_and_dolly",
        no_lab(),
        two_nodes,
    )]
}

fn two_nodes() -> Result<()> {
    // The lab would make them too; this way nobody else makes them at the same time.
    images()?;
    golden()?;
    let report = xtask(&[
        "lab", "--nodes", "2", "--method", "http", "--clone", "dolly",
    ])?;
    println!("{report}");
    for node in ["node1", "node2"] {
        for event in [
            "joined the ring",
            "its disk is the golden disk",
            "login prompt",
        ] {
            let told = report
                .lines()
                .any(|line| line.contains(node) && line.contains(event));
            ensure!(told, "no {event:?} of {node}:\n{report}");
        }
    }
    for milestone in [
        "modules loaded",
        "address bound",
        "stage 2 running",
        "ring joined",
        "clone done",
    ] {
        let row = report.lines().find(|line| line.starts_with(milestone));
        let figures = row.map_or(0, |row| {
            row.split_whitespace()
                .filter(|word| word.parse::<f64>().is_ok_and(|s| s > 0.0))
                .count()
        });
        ensure!(
            figures >= 2,
            "no times of both nodes for {milestone:?}:\n{report}"
        );
    }
    Ok(())
}
