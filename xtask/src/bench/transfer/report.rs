//! What is printed and kept.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use super::figures::{self, Figures};
use super::options::Rate;
use super::scene::{self, Case, Failure};
use super::tools::Tool;
use crate::bench::stats;

/// A transfer and how it went.
#[derive(Debug)]
pub(in crate::bench) struct Row {
    pub(in crate::bench) run: u8,
    pub(in crate::bench) case: Case,
    pub(in crate::bench) result: Result<Figures, Failure>,
}

/// One line on a transfer.
pub(in crate::bench) fn told(row: &Row, size: u64) -> String {
    match &row.result {
        Ok(figures) => format!(
            "{}: {:.2} s, {:.1} MB/s, {:.1} s of processors for a GiB",
            row.case,
            figures.wall,
            figures::megabytes_per_second(size, figures.wall),
            figures::per_gib(figures.cpu(), size)
        ),
        Err(failure) => format!("{}: failed: {failure}", row.case),
    }
}

/// One line for each transfer.
pub(in crate::bench) fn csv(rows: &[Row]) -> String {
    let mut text = String::from(
        "run,Mbit/s,nodes,data,tool,killed,wall s,peak bytes of each host,others' part,processor s of each host,failure\n",
    );
    for Row { run, case, result } in rows {
        let rate = case
            .rate
            .0
            .map_or_else(|| "none".to_owned(), |rate| rate.to_string());
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "{run},{rate},{},{},{},{},",
            case.nodes,
            case.data.name(),
            case.tool.name(),
            case.kill
        );
        let _ = match result {
            Ok(figures) => {
                let cpu: Vec<String> = figures.cpu.iter().map(f64::to_string).collect();
                let peaks: Vec<String> = figures.peaks.iter().map(u64::to_string).collect();
                let (wall, peaks, others) = (figures.wall, peaks.join(" "), figures.others);
                writeln!(text, "{wall:.4},{peaks},{others:.3},{},", cpu.join(" "))
            }
            Err(failure) => writeln!(text, ",,,,\"{}\"", failure.replace('"', "'")),
        };
    }
    text
}

/// The middle of some runs of one case.
#[derive(Debug, Clone, Copy)]
struct Middle {
    wall: f64,
    cpu: f64,
    cpu_of_a_node: f64,
    peak_of_golden: f64,
    peak_of_nodes: f64,
}

fn middle<'a>(figures: impl Iterator<Item = &'a Figures>) -> Option<Middle> {
    let all: Vec<_> = figures.collect();
    let of = |figure: &dyn Fn(&Figures) -> f64| {
        let figures: Vec<f64> = all.iter().map(|figures| figure(figures)).collect();
        stats::spread(&figures).map(|spread| spread.median)
    };
    Some(Middle {
        wall: of(&|figures| figures.wall)?,
        cpu: of(&|figures| figures.cpu())?,
        cpu_of_a_node: of(&|figures| figures.cpu_of_a_node())?,
        peak_of_golden: of(&|figures| figures.peak_of_golden() as f64)?,
        peak_of_nodes: of(&|figures| figures.peak_of_nodes() as f64)?,
    })
}

/// All rows of one case.
struct Results<'a> {
    rows: &'a [Row],
}

impl Results<'_> {
    fn middle(&self, case: &Case) -> Option<Middle> {
        let rows = self.rows.iter().filter(|row| row.case == *case);
        middle(rows.filter_map(|row| row.result.as_ref().ok()))
    }

    /// The failures, the first one in words; `None` without any.
    fn failures(&self, case: &Case) -> Option<String> {
        let rows = || self.rows.iter().filter(|row| row.case == *case);
        let failed: Vec<_> = rows().filter_map(|row| row.result.as_ref().err()).collect();
        let first = failed.first()?;
        Some(match (failed.len(), rows().count()) {
            (1, 1) => format!("failed: {first}"),
            (n, all) => format!("{n} of {all} failed: {first}"),
        })
    }
}

/// The tables.
pub(in crate::bench) fn report(rows: &[Row], size: u64) -> String {
    let mut text = String::new();
    let results = Results { rows };
    // In the order in which they were measured.
    let mut groups: Vec<Case> = Vec::new();
    for Row { case, .. } in rows {
        let same = |group: &&Case| {
            (group.rate, group.nodes, group.data) == (case.rate, case.nodes, case.data)
        };
        if !groups.iter().any(|group| same(&group)) {
            groups.push(*case);
        }
    }
    for group in &groups {
        table(&mut text, &results, group, size);
    }
    slopes(&mut text, &results);
    let others: Vec<f64> = rows
        .iter()
        .filter_map(|row| row.result.as_ref().ok().map(|figures| figures.others))
        .collect();
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: Vec<&str> = load.split(' ').take(3).collect();
    if let Some(others) = stats::spread(&others) {
        let _ = writeln!(
            text,
            "{} processors, load {}; busy with something else (the kernel's own network work is in it): \
             {:.0} % in the middle, {:.0} % at most",
            std::thread::available_parallelism().map_or(1, usize::from),
            load.join(" "),
            others.median * 100.0,
            others.greatest * 100.0
        );
    }
    text
}

/// Tools of some rows, each once, in the order of [`Tool`].
fn tools(rows: &[Row]) -> BTreeSet<Tool> {
    rows.iter().map(|row| row.case.tool).collect()
}

fn table(text: &mut String, results: &Results<'_>, group: &Case, size: u64) {
    let link = match group.rate {
        Rate(None) => "links without a limit".to_owned(),
        Rate(Some(rate)) => format!(
            "links of {rate} Mbit/s, which carry {:.1} MB/s of data",
            figures::payload_limit(rate) / 1e6
        ),
    };
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{}, {}, {size} bytes, {link}",
        scene::nodes(group.nodes),
        group.data.name(),
    );
    let _ = writeln!(
        text,
        "{:<24} {:>8} {:>7} {:>6}   {:>9} {:>8}   {:>7} {:>6}   {:>8} {:>6}",
        "",
        "seconds",
        "MB/s",
        "link",
        "CPU s/GiB",
        "a node",
        "peak MB",
        "a node",
        "x speed",
        "x CPU"
    );
    let of = |tool| Case {
        tool,
        kill: false,
        ..*group
    };
    let reference = tools(results.rows)
        .into_iter()
        .find(|tool| tool.is_reference())
        .and_then(|tool| results.middle(&of(tool)));
    for tool in tools(results.rows) {
        let case = of(tool);
        if let Some(middle) = results.middle(&case) {
            let _ = writeln!(
                text,
                "{:<24} {}",
                tool.name(),
                line(&middle, reference.as_ref(), group.rate, size)
            );
        }
        if let Some(failures) = results.failures(&case) {
            let _ = writeln!(text, "{:<24} {failures}", tool.name());
        }
        killed(text, results, &case);
    }
    text.push('\n');
}

fn line(middle: &Middle, reference: Option<&Middle>, rate: Rate, size: u64) -> String {
    let speed = figures::megabytes_per_second(size, middle.wall);
    let link = rate.0.map_or_else(String::new, |rate| {
        format!("{:.0} %", speed * 1e8 / figures::payload_limit(rate))
    });
    let ratios = reference.map_or_else(String::new, |reference| {
        format!(
            "{:>8.2} {:>6.2}",
            reference.wall / middle.wall,
            middle.cpu / reference.cpu.max(1e-9)
        )
    });
    format!(
        "{:>8.2} {speed:>7.1} {link:>6}   {:>9.2} {:>8.2}   {:>7.0} {:>6.0}   {ratios}",
        middle.wall,
        figures::per_gib(middle.cpu, size),
        figures::per_gib(middle.cpu_of_a_node, size),
        middle.peak_of_golden / 1e6,
        middle.peak_of_nodes / 1e6,
    )
}

/// What became of the others when a node was killed.
fn killed(text: &mut String, results: &Results<'_>, case: &Case) {
    let dead = Case {
        kill: true,
        ..*case
    };
    if let (Some(without), Some(with)) = (results.middle(case), results.middle(&dead)) {
        let _ = writeln!(
            text,
            "{:<24} {:>8.2} {:+.2} s",
            "  with a node killed",
            with.wall,
            with.wall - without.wall
        );
    }
    if let Some(failures) = results.failures(&dead) {
        let _ = writeln!(text, "{:<24} {failures}", "  with a node killed");
    }
}

/// What a further node costs.
fn slopes(text: &mut String, results: &Results<'_>) {
    let mut lines = Vec::new();
    let mut seen: Vec<Case> = Vec::new();
    for row in results.rows {
        let case = Case {
            nodes: 0,
            kill: false,
            ..row.case
        };
        if seen.contains(&case) {
            continue;
        }
        seen.push(case);
        let numbers: BTreeSet<usize> = results.rows.iter().map(|row| row.case.nodes).collect();
        let points: Vec<_> = numbers
            .iter()
            .filter_map(|nodes| {
                let middle = results.middle(&Case {
                    nodes: *nodes,
                    ..case
                })?;
                Some((*nodes, middle.wall))
            })
            .collect();
        if let Some(slope) = figures::slope(&points) {
            let (rate, data) = (case.rate, case.data.name());
            lines.push(format!(
                "{:<24} {slope:>8.2} {:>7.2}   {rate}, {data}",
                case.tool.name(),
                figures::growth(&points).unwrap_or(1.0)
            ));
        }
    }
    if !lines.is_empty() {
        lines.sort();
        let _ = writeln!(
            text,
            "seconds for each further node, and how much longer the most nodes take than the fewest\n{}\n",
            lines.join("\n")
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::data::Data;
    use super::*;

    fn row(tool: Tool, nodes: usize, result: Result<f64, &str>) -> Row {
        Row {
            run: 1,
            case: Case {
                rate: Rate(Some(400)),
                nodes,
                data: Data::Random,
                tool,
                kill: false,
            },
            result: result
                .map(|wall| Figures {
                    wall,
                    cpu: vec![1.0, wall / 10.0],
                    peaks: vec![30_000_000, 20_000_000],
                    others: 0.25,
                })
                .map_err(str::to_owned),
        }
    }

    #[test]
    fn tables_have_ratios_and_failures() {
        let rows = [
            row(Tool::Goldring, 1, Ok(20.0)),
            row(Tool::Mbuffer, 1, Ok(30.0)),
            row(Tool::Nc, 1, Err("n1 ended with 1: \"no\"")),
            row(Tool::Goldring, 3, Ok(26.0)),
            Row {
                case: Case {
                    kill: true,
                    ..row(Tool::Goldring, 3, Ok(0.0)).case
                },
                ..row(Tool::Goldring, 3, Ok(28.5))
            },
        ];
        let text = report(&rows, 1_000_000_000);
        for part in [
            "1 node, random bytes, 1000000000 bytes, links of 400 Mbit/s, which carry 47.8 MB/s of data\n",
            "goldring dolly --plain      20.00    50.0  105 %        3.22     2.15        30     20       1.50   0.75\n",
            "nc and tee               failed: n1 ended with 1: \"no\"\n",
            "  with a node killed        28.50 +2.50 s\n",
            "goldring dolly --plain       3.00    1.30   400 Mbit/s, random bytes\n",
            "25 % in the middle, 25 % at most",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        let text = csv(&rows);
        assert!(
            text.contains(
                "\n1,400,1,random bytes,goldring dolly --plain,false,20.0000,30000000 20000000,0.250,1 2,\n"
            ),
            "{text}"
        );
        assert!(
            text.contains(",nc and tee,false,,,,,\"n1 ended with 1: 'no'\"\n"),
            "{text}"
        );
    }

    #[test]
    fn the_middle_of_runs_counts_and_failures_beside_it() {
        let rows = [
            row(Tool::Goldring, 1, Ok(20.0)),
            row(Tool::Goldring, 1, Err("x")),
            row(Tool::Goldring, 1, Ok(40.0)),
        ];
        let text = report(&rows, 1_000_000_000);
        assert!(
            text.contains("goldring dolly --plain      30.00    33.3"),
            "{text}"
        );
        assert!(text.contains("1 of 3 failed: x"), "{text}");
        // Nothing to compare with.
        assert!(!text.contains("seconds for each further node"));
    }
}
