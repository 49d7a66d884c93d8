//! `cargo xtask image`: makes the images.

/// What the images are made of.
#[derive(clap::Args, Debug)]
pub(crate) struct Options {}

/// Makes the images.
pub(crate) fn run(_options: &Options) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
