//! One file to all hosts: goldring's ways beside those that people type by hand. Each
//! host is a network namespace on a bridge, its link limited or not, and writes to a
//! file of its own in memory, which is compared with the source afterwards.

use anyhow::Result;

use super::transfer::data::{Amount, Data};
use super::transfer::options::{Rate, Size};
use super::transfer::tools::Tool;
use super::transfer::{Bench, Common};

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench ring --install
      every tool, 1, 3 and 7 nodes, 400 Mbit/s and no limit (root); about an hour
  cargo xtask bench ring --nodes 3 --rates none --data random --tools goldring,mbuffer --runs 3
      what the processors allow
  cargo xtask bench ring --kill --nodes 7 --rates 400 --tools plus,mbuffer
      the same with a node killed in the middle
  cargo xtask bench ring --dry-run
      what would be measured, and what is missing";

/// How rings are measured.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Ring {
    #[command(flatten)]
    common: Common,
    /// Limits of each host's link in Mbit/s, or none
    #[arg(
        long,
        default_value = "400,none",
        value_delimiter = ',',
        value_name = "MBIT,…"
    )]
    rates: Vec<Rate>,
    /// How much is sent, such as 256MiB
    #[arg(long, default_value = "1GiB")]
    size: Size,
    /// Of which kind
    #[arg(long, value_enum, default_value = "half,random", value_delimiter = ',')]
    data: Vec<Data>,
    /// By what [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    tools: Vec<Tool>,
    /// Once more with a node killed in the middle: how much later the others end
    #[arg(long)]
    kill: bool,
}

impl Ring {
    fn bench(&self) -> Bench<'_> {
        Bench {
            name: "ring",
            common: &self.common,
            rates: &self.rates,
            data: &self.data,
            tools: match self.tools.as_slice() {
                [] => Tool::RINGS,
                tools => tools,
            },
            kill: self.kill,
            amount: Amount {
                bytes: self.size.0,
                files: 0,
            },
        }
    }
}

/// Measures and prints.
pub(super) fn run(options: &Ring) -> Result<()> {
    options.bench().run()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::transfer::Case;
    use super::*;
    use crate::host::need;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        ring: Ring,
    }

    fn ring(words: &[&str]) -> Ring {
        let words = [&["x"], words].concat();
        Line::try_parse_from(words).unwrap().ring
    }

    #[test]
    fn everything_is_measured_in_turns() {
        let all = ring(&[]);
        assert_eq!(all.bench().cases(1).len(), 2 * 3 * 2 * Tool::RINGS.len());
        let some = ring(&[
            "--nodes",
            "1,3",
            "--rates",
            "none",
            "--data",
            "half",
            "--tools",
            "goldring,nc",
            "--kill",
            "--size",
            "1MiB",
        ]);
        let some = some.bench();
        let words = |run| -> Vec<String> { some.cases(run).iter().map(Case::to_string).collect() };
        assert_eq!(
            words(1),
            [
                "no limit, 1 node, half zeros: goldring dolly --plain",
                "no limit, 1 node, half zeros: nc and tee",
                "no limit, 3 nodes, half zeros: goldring dolly --plain",
                "no limit, 3 nodes, half zeros: goldring dolly --plain, a node killed",
                "no limit, 3 nodes, half zeros: nc and tee",
                "no limit, 3 nodes, half zeros: nc and tee, a node killed",
            ]
        );
        assert!(words(2)[0].ends_with("nc and tee"), "{:?}", words(2));
        assert_eq!(some.memory(), 4 << 20);
        assert!(
            some.plan(&[need("/no/such", "nosuch")])
                .contains("missing: nosuch")
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for words in [
            ["--nodes", "0"],
            ["--nodes", "3,x"],
            ["--rates", "0"],
            ["--rates", "fast"],
            ["--size", "0"],
            ["--size", "1GB"],
            ["--tools", "rsync"],
            // Those are for trees.
            ["--tools", "tar"],
            ["--data", "tree"],
            ["--runs", "0"],
        ] {
            let words = [&["x"], &words[..]].concat();
            assert!(Line::try_parse_from(&words).is_err(), "{words:?}");
        }
    }
}
