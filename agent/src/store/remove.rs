//! `goldring store rm`.

use std::io::{self, BufRead, IsTerminal, Write};

use anyhow::bail;
use goldring_disk::target::decimal;
use goldring_files::store::{Kind, StoreError, kind, remove, size_on_disk};
use goldring_files::text::shown;

use super::RemoveArgs;
use crate::fault::Usage;

/// Removes images.
pub(super) fn run(args: &RemoveArgs) -> anyhow::Result<()> {
    // All are looked at before the first is removed.
    for image in &args.images {
        if kind(image) == Kind::Other {
            return Err(StoreError::NotAnImage(shown(image)).into());
        }
    }
    for image in &args.images {
        let what = match kind(image) {
            Kind::Partial => "the rest of an image",
            _ => "the image",
        };
        let sentence = format!("{what} {} ({})", shown(image), decimal(size_on_disk(image)));
        if args.dry_run {
            println!("would remove {sentence}");
            continue;
        }
        if !args.yes && !agreed(&sentence)? {
            bail!("{} stays", shown(image));
        }
        remove(image)?;
        println!("removed {sentence}");
    }
    Ok(())
}

/// Asks the person at the terminal.
fn agreed(sentence: &str) -> anyhow::Result<bool> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        bail!(Usage(format!(
            "there is no terminal to ask on; say --yes to remove {sentence}"
        )));
    }
    print!("Remove {sentence}? [y/N] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}
