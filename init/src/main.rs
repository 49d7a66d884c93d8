//! PID 1 of stage 1: drivers, network, stage 2, and a watch over the agent.
//!
//! It never exits, never prompts and never waits for ever: whatever happens ends in
//! [`last_act`]. On a laptop `init --dry-run --root DIR` tells what it would do.

mod console;
mod content;
mod ctx;
mod engine;
mod fate;
mod flags;
mod hardware;
mod insert;
mod last_act;
mod memory;
mod modprobe;
mod network;
mod progress;
mod ramdisk;
mod report;
mod sources;
mod steps;
mod store;

use std::process::ExitCode;

use flags::Request;

fn main() -> ExitCode {
    // The kernel's helper for request_module is this program under another name.
    if modprobe::is_meant() {
        return modprobe::run(std::env::args_os().skip(1));
    }
    if std::process::id() == 1 {
        last_act::arm();
        // The context outlives the last act: what it holds must stay while a person looks.
        let mut ctx = ctx::Ctx::pid1();
        last_act::perform(&engine::run(steps::ALL, &mut ctx))
    }
    match flags::parse(std::env::args_os().skip(1)) {
        Ok(Request::Help) => print!("{}", flags::HELP),
        Ok(Request::List) => print!("{}", engine::list(steps::ALL)),
        Ok(Request::DryRun(facts)) => {
            let end = engine::run(steps::ALL, &mut ctx::Ctx::laptop(*facts));
            return last_act::pretend(&end);
        }
        Ok(Request::Dhcp(card, keep)) => return network::dhcp::show(&card, keep),
        Ok(Request::Ipv6(card, keep)) => return network::ipv6::show(&card, keep),
        Err(problem) => {
            eprintln!("init: {problem}");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}
