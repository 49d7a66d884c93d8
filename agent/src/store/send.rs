//! `goldring store send`: the sessions of `ka-d`, out of an image.

use std::io::{self, Write};

use anyhow::Context;
use goldring_files::store::{Image, Packed};
use goldring_files::text::shown;
use goldring_transfer::ka::Source;

use super::{SendArgs, heading, kept, verify};
use crate::deploy::{Streams, deploy, plan, source};

/// Deploys an image.
pub(super) fn run(args: &SendArgs) -> anyhow::Result<()> {
    let image = Image::open(&args.image)?;
    let golden = kept::golden(&image).with_context(|| shown(&args.image))?;
    let plan = plan(golden, &args.shape, &args.course)?;
    if args.dry_run {
        let text = format!("{}\n{}", heading(&image), plan.text());
        return Ok(io::stdout().write_all(text.as_bytes())?);
    }
    eprintln!("store: {}", heading(&image));
    if !args.unchecked {
        eprintln!("store: reading all of it, before any node is touched");
        verify::refuse(&verify::read_through(&image))?;
    }
    let old = Err("they cannot read a kept image; boot them with a new stage 2".to_owned());
    deploy(&plan, old, &args.course, &Kept(&image))
}

/// The streams of an image.
struct Kept<'a>(&'a Image);

impl Kept<'_> {
    fn packed(&self, number: usize) -> Result<Packed, String> {
        let packed = self.0.packed(number);
        packed.ok_or_else(|| "the image has no such stream".to_owned())
    }
}

impl Streams for Kept<'_> {
    /// As they lie there: a node unpacks them. Old nodes have been let go before.
    fn files(&self, _plain: bool) -> Result<Source, String> {
        Ok(source(self.packed(0)?, || Ok(())))
    }

    fn raw(&self, number: usize) -> Result<Source, String> {
        let unpacked = zstd::stream::read::Decoder::new(self.packed(number + 1)?);
        let unpacked = unpacked.map_err(|error| format!("starting zstd: {error}"))?;
        Ok(source(unpacked, || Ok(())))
    }
}
