//! `cargo xtask`: builds, tests and shows everything. One verb, one module.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod image;
mod programs;

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about, version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Make vmlinuz, all.rdz and rescue.clp.
    Image(image::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Image(options) => image::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
