//! `goldring store verify`, and how images are read through before they are sent.

use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::bail;
use goldring_disk::target::decimal;
use goldring_files::store::{Damage, Image, Kind, is_busy, kind};
use goldring_files::text::shown;

use super::{VerifyArgs, images};
use crate::fault;
use crate::ka::screen::Screen;

/// Tells for each image whether it is whole.
pub(super) fn run(args: &VerifyArgs) -> anyhow::Result<()> {
    let (mut bad, mut good) = (0, 0);
    for folder in &args.folders {
        let found = images(folder)?;
        if found.is_empty() {
            bail!("there is no image in {}", shown(folder));
        }
        for image in found {
            match verdict(&image) {
                Ok(Some(line)) => {
                    good += 1;
                    print(&format!("{}: {line}", shown(&image)))?;
                }
                // Nobody knows yet what it will be.
                Ok(None) => print(&format!("{}: it is being saved", shown(&image)))?,
                Err(lines) => {
                    bad += 1;
                    for line in lines {
                        print(&format!("{}: {line}", shown(&image)))?;
                    }
                }
            }
        }
    }
    if bad > 0 {
        bail!("{bad} of {} images are damaged or not whole", bad + good);
    }
    Ok(())
}

fn print(line: &str) -> anyhow::Result<()> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => Ok(written?),
    }
}

/// What to say of an image that is whole; nothing of one in the making; what is wrong.
fn verdict(folder: &Path) -> Result<Option<String>, Vec<String>> {
    if kind(folder) == Kind::Partial && is_busy(folder) {
        return Ok(None);
    }
    let image = Image::open(folder).map_err(|error| vec![fault::one_line(error)])?;
    let damages = read_through(&image);
    if !damages.is_empty() {
        return Err(damages.iter().map(Damage::to_string).collect());
    }
    let pieces: usize = image.index.streams.iter().map(|s| s.pieces.len()).sum();
    let size = decimal(image.index.packed());
    let read = super::kept::golden(&image).map(|_| format!("whole, {size} in {pieces} pieces"));
    read.map(Some).map_err(|error| vec![fault::chain(&error)])
}

/// Reads all of an image, and shows how far it is.
pub(super) fn read_through(image: &Image) -> Vec<Damage> {
    let mut screen = Screen::named("store", false);
    screen.start();
    let screen = Mutex::new(screen);
    let mut tell = teller(&screen, image.index.packed());
    image.verify(&mut tell)
}

/// Takes the bytes that were read since the last time.
pub(super) fn teller(screen: &Mutex<Screen>, total: u64) -> impl FnMut(u64) {
    let mut done = 0;
    move |bytes| {
        done += bytes;
        let mut screen = screen.lock().unwrap_or_else(PoisonError::into_inner);
        screen.progress(done, Some(total), "");
    }
}

/// An error that names what is damaged; nothing when all is well.
pub(super) fn refuse(damages: &[Damage]) -> anyhow::Result<()> {
    let Some(first) = damages.first() else {
        return Ok(());
    };
    let more = match damages.len() - 1 {
        0 => String::new(),
        number => format!(" and {number} more files, which goldring store verify names"),
    };
    bail!(
        "{first}{more}; nothing was sent. Copy the image again from where it is whole, or save it again"
    )
}
