//! A tree of files to all hosts: goldring's files over ka beside `tar | mbuffer | tar`,
//! on the same hosts as [`super::ring`].

use anyhow::Result;

use super::transfer::data::{Amount, Data};
use super::transfer::options::{Rate, Size};
use super::transfer::tools::Tool;
use super::transfer::{Bench, Common};

const EXAMPLES: &str = "\
Examples:
  cargo xtask bench files --install --runs 3
      1, 3 and 7 nodes, 100 Mbit/s and no limit (root); about half an hour
  cargo xtask bench files --nodes 1 --rates none --runs 5
      what a byte of files costs at both ends
  cargo xtask bench files --nodes 1 --rates none --size 1MiB --files 2000000
      two million empty files: how much memory both ends need
  cargo xtask bench files --dry-run
      what would be measured, and what is missing";

/// How files are measured.
#[derive(clap::Args, Debug)]
#[command(after_help = EXAMPLES)]
pub(super) struct Files {
    #[command(flatten)]
    common: Common,
    /// Limits of each host's link in Mbit/s, or none
    #[arg(
        long,
        default_value = "100,none",
        value_delimiter = ',',
        value_name = "MBIT,…"
    )]
    rates: Vec<Rate>,
    /// How much is in the files of the tree: many small, some large
    #[arg(long, default_value = "600MiB")]
    size: Size,
    /// So many empty files besides
    #[arg(long, default_value_t = 0, value_name = "N")]
    files: u64,
    /// By what [default: all]
    #[arg(long, value_enum, value_delimiter = ',')]
    tools: Vec<Way>,
}

/// A way to bring a tree to all hosts.
#[derive(clap::ValueEnum, Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// goldring ka-d-server --tree and ka-d-client --tree, which do what ka-d does
    Ka,
    /// tar, a chain of mbuffer -O, and tar; with the same options for tar
    Tar,
}

impl Way {
    fn tool(self) -> Tool {
        match self {
            Self::Ka => Tool::KaFiles,
            Self::Tar => Tool::Tar,
        }
    }
}

/// Measures and prints.
pub(super) fn run(options: &Files) -> Result<()> {
    let tools: Vec<Tool> = match options.tools.as_slice() {
        [] => Tool::TREES.to_vec(),
        ways => ways.iter().map(|way| way.tool()).collect(),
    };
    bench(options, &tools).run()
}

fn bench<'a>(options: &'a Files, tools: &'a [Tool]) -> Bench<'a> {
    Bench {
        name: "files",
        common: &options.common,
        rates: &options.rates,
        data: &[Data::Tree],
        tools,
        kill: false,
        amount: Amount {
            bytes: options.size.0,
            files: options.files,
        },
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::transfer::Case;
    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        files: Files,
    }

    #[test]
    fn both_ways_take_turns() {
        let words = ["x", "--nodes", "7", "--rates", "none", "--files", "5"];
        let line = Line::try_parse_from(words).unwrap();
        let bench = bench(&line.files, Tool::TREES);
        let words = |run| -> Vec<String> { bench.cases(run).iter().map(Case::to_string).collect() };
        let ka = "no limit, 7 nodes, a tree of files: goldring files over ka";
        let tar = "no limit, 7 nodes, a tree of files: tar | mbuffer | tar";
        assert_eq!(words(1), [ka, tar]);
        assert_eq!(words(2), [tar, ka]);
        assert!(bench.memory() > 8 * (600 << 20));
    }

    #[test]
    fn nonsense_is_refused() {
        for words in [["--tools", "nc"], ["--files", "-1"], ["--size", "0"]] {
            let words = [&["x"], &words[..]].concat();
            assert!(Line::try_parse_from(&words).is_err(), "{words:?}");
        }
    }
}
