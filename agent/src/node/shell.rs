//! `rescue` alone: a shell on the console.

use std::io::{self, BufRead};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use goldring_contract::Root;
use goldring_contract::handover::Outcome;

/// A shell that ends this fast this often does not work.
const QUICK: (Duration, u32) = (Duration::from_secs(2), 5);

/// Runs shells until the person says `reboot`.
pub(crate) fn run(root: &Root) -> Outcome {
    let Some(shell) = ["/bin/bash", "/bin/sh"]
        .into_iter()
        .map(|path| root.join(path))
        .find(|path| path.exists())
    else {
        return Outcome::Hold("there is no shell in this image".to_owned());
    };
    let mut quick = 0;
    loop {
        println!("Rescue system. The shell starts again when it ends.");
        let start = Instant::now();
        if let Err(error) = Command::new(&shell).arg("-i").status() {
            return Outcome::Hold(format!("starting {}: {error}", shell.display()));
        }
        let short = start.elapsed() < QUICK.0;
        quick = if short { quick + 1 } else { 0 };
        if quick >= QUICK.1 {
            return Outcome::Hold(format!("{} ends at once", shell.display()));
        }
        println!("The shell has ended. Type reboot to restart the computer; Enter gives a shell.");
        let mut answer = String::new();
        // Nobody there: a new shell, but not a thousand of them.
        match io::stdin().lock().read_line(&mut answer) {
            Ok(n) if n > 0 => {}
            _ => thread::sleep(Duration::from_secs(1)),
        }
        if answer.trim() == "reboot" {
            return Outcome::Done("the person at the console said so".to_owned());
        }
    }
}
