//! `goldring`: everything a person or a node runs. What it does is chosen by the first
//! word, or by the name under which it was started.

mod bootable;
mod cli;
mod deploy;
mod dolly;
mod dollyplus;
mod fault;
mod files;
mod install;
mod ka;
mod killpoint;
mod node;
mod partition;
mod prepare;
mod tools;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse_from(cli::by_name(std::env::args_os()));
    let result = match cli.command {
        cli::Command::Dolly(args) => dolly::run(&args),
        cli::Command::DollyS(args) => dollyplus::serve(&args),
        cli::Command::DollyC(args) => dollyplus::clone(&args),
        cli::Command::Dping(args) => dollyplus::ping(&args),
        cli::Command::KaD(args) => deploy::run(&args),
        cli::Command::KaServer(args) => ka::serve(&args),
        cli::Command::KaClient(args) => ka::receive(&args),
        cli::Command::KaSession(args) => ka::send_stage2(&args),
        cli::Command::Prepare(args) => prepare::run(&args),
        cli::Command::Lsparts(args) => tools::lsparts::run(&args),
        cli::Command::Guessmounts(args) => tools::guessmounts::run(&args),
        cli::Command::InstallBootloader(args) => tools::install_bootloader::run(&args),
        cli::Command::Drvinst(args) => tools::drivers::run(&args),
        cli::Command::Partition(args) => partition::run(&args),
        cli::Command::FdiskToDesc(args) => partition::fdisk_to_desc::run(&args),
        cli::Command::Bootable(args) => bootable::run(&args),
        cli::Command::Files(args) => files::run(&args),
        cli::Command::Node(args) => node::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("goldring: {}", fault::chain(&error));
            fault::exit_code(&error)
        }
    }
}
