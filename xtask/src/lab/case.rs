//! What is run: a card and a controller each, and the table of how far each came.

use std::fmt::Write as _;

use super::models::{DISKS, Disk, NICS, Nic};

/// One path: all its nodes have this card and this controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) nic: Nic,
    pub(super) disk: Disk,
}

/// As many as it takes for every card and every controller to have its turn.
pub(super) fn cases(nics: &[Vec<Nic>], disks: &[Vec<Disk>]) -> Vec<Case> {
    let or_first = |count: usize| if count == 0 { 1 } else { count };
    let (nics, disks) = (nics.concat(), disks.concat());
    let count = or_first(nics.len()).max(or_first(disks.len()));
    let nth = |n: usize| Case {
        nic: *nics.get(n % or_first(nics.len())).unwrap_or(&NICS[0]),
        disk: *disks.get(n % or_first(disks.len())).unwrap_or(&DISKS[0]),
    };
    (0..count).map(nth).collect()
}

impl Case {
    /// For file names.
    pub(super) fn name(&self) -> String {
        format!("{}_{}", self.nic.name, self.disk.name)
    }

    /// How its first boot starts.
    pub(super) fn start(&self) -> &'static str {
        if self.nic.has_rom { "PXE" } else { "kernel" }
    }
}

/// How a case went.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) case: Case,
    /// Kernel start to stage 2, by the kernel's clock.
    pub(super) stage2: Option<f64>,
    /// From power-on to the end, by this machine's clock.
    pub(super) seconds: f64,
    /// How far it came, or why no further.
    pub(super) reached: Result<&'static str, String>,
}

/// A line for each case.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<31} {:<32} {:<23} {:<7} {:<7} {:>7} {:>7}\n",
        "card", "disk controller", "drivers", "boot", "reached", "stage 2", "seconds"
    );
    for row in rows {
        let Case { nic, disk } = row.case;
        let stage2 = row.stage2.map_or("-".into(), |s| format!("{s:.1}"));
        let reached = row.reached.as_ref().map_or("failed", |reached| *reached);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:<31} {:<32} {:<23} {:<7} {reached:<7} {stage2:>7} {:>7.0}",
            nic.name,
            disk.name,
            format!("{}, {}", nic.driver, disk.driver),
            row.case.start(),
            row.seconds,
        );
    }
    for row in rows {
        if let (Some(file), Ok("named")) = (row.case.nic.firmware, &row.reached) {
            let _ = writeln!(
                text,
                "named: {} needs the firmware {file}, which is not free and not in these images; \
                 its console says so",
                row.case.nic.name
            );
        }
        if let Err(failure) = &row.reached {
            let _ = writeln!(
                text,
                "failed: {} with {}: {failure}",
                row.case.nic.name, row.case.disk.name
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::models::{parse_disks, parse_nics};

    #[test]
    fn every_model_has_its_turn() {
        assert_eq!(
            cases(&[], &[]),
            [Case {
                nic: NICS[0],
                disk: DISKS[0]
            }]
        );
        let all = cases(
            &[parse_nics("all").unwrap()],
            &[parse_disks("all").unwrap()],
        );
        assert_eq!(all.len(), NICS.len().max(DISKS.len()));
        for nic in NICS {
            assert!(all.iter().any(|case| case.nic == *nic), "{}", nic.name);
        }
        for disk in DISKS {
            assert!(all.iter().any(|case| case.disk == *disk), "{}", disk.name);
        }
        let two = [parse_disks("nvme").unwrap(), parse_disks("dc390").unwrap()];
        let both = cases(&[parse_nics("e1000").unwrap()], &two);
        assert!(both.len() == 2 && both[0].nic == both[1].nic && both[1].disk == two[1][0]);
    }

    #[test]
    fn the_table_names_what_failed() {
        let rows = [
            Row {
                case: cases(&[], &[])[0],
                stage2: Some(12.34),
                seconds: 56.7,
                reached: Ok("stage2"),
            },
            Row {
                case: cases(&[parse_nics("tulip").unwrap()], &[])[0],
                stage2: None,
                seconds: 400.0,
                reached: Err("no \"# \" in 400 s".into()),
            },
        ];
        let text = table(&rows);
        let lines: Vec<&str> = text.lines().collect();
        assert!(
            lines[1].ends_with("PXE     stage2     12.3      57"),
            "{text}"
        );
        assert!(
            lines[2].ends_with("kernel  failed        -     400"),
            "{text}"
        );
        assert!(lines[3].starts_with("failed: tulip with virtio-blk-pci: no"));
        let all = cases(
            &[parse_nics("all").unwrap()],
            &[parse_disks("all").unwrap()],
        );
        let row = |case: &Case| Row {
            case: *case,
            stage2: None,
            seconds: 0.0,
            reached: Ok("stage2"),
        };
        let rows: Vec<Row> = all.iter().map(row).collect();
        let widths: Vec<usize> = table(&rows)
            .lines()
            .map(str::len)
            .take(rows.len() + 1)
            .collect();
        assert!(widths.iter().all(|w| *w == widths[0]), "{widths:?}");
    }
}
