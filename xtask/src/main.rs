//! `cargo xtask`: builds, tests and shows everything. One verb, one module.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod bench;
mod docs;
mod host;
mod image;
mod image_kernel_config;
mod kernel;
mod lab;
mod programs;
mod test;
mod workspace;

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
    /// Clone virtual machines: PXE, stage 2, the ring, the first boot from disk.
    Lab(lab::Options),
    /// Make the lab's golden disk and print where it is.
    #[command(hide = true)]
    Golden(lab::GoldenOptions),
    /// Measure, beside what people use otherwise.
    Bench(bench::Options),
    /// Run all tests.
    Test(test::Options),
    /// Build a kernel for the images from the distribution's source.
    Kernel(kernel::Options),
    /// List what a kernel must have and why, or check one's configuration.
    KernelConfig(image_kernel_config::Options),
    /// Write the parts of the guide that are made from the code.
    Docs(docs::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Image(options) => image::run(&options),
        Verb::Lab(options) => lab::run(&options),
        Verb::Golden(options) => lab::golden_disk(&options),
        Verb::Bench(options) => bench::run(&options),
        Verb::Test(options) => test::run(&options),
        Verb::Kernel(options) => kernel::run(&options),
        Verb::KernelConfig(options) => image_kernel_config::run(&options),
        Verb::Docs(options) => docs::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
