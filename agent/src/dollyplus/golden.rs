//! `goldring dollyS`: the golden node of a dolly+ ring.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use goldring_contract::Root;
use goldring_disk::source::Source;
use goldring_transfer::discover;
use goldring_transfer::dolly;
use goldring_transfer::dollyplus::server::{self, Options};
use goldring_transfer::dollyplus::source::{InFile, Input};
use goldring_wire::discover::Program;
use goldring_wire::dollyplus::config::{Config, FileLine};

use super::codec::ZSTD;
use super::screen::Screen;
use super::{Asked, ServerArgs, all_good, timing};
use crate::dolly::ring::{is_for_stage2, own_name};
use crate::dolly::words::Search;
use crate::fault::Usage;

/// `goldring dollyS`.
pub(crate) fn run(args: &ServerArgs) -> anyhow::Result<()> {
    let root = Root::system();
    let mut screen = Screen::new(args.verbose, args.json);
    if args.dry_run && args.plain {
        return Err(Usage(
            "--dry-run asks the nodes, and --plain says that they are old, which cannot be asked; leave one away"
                .to_owned(),
        )
        .into());
    }
    let config = match &args.config {
        Some(file) => read_config(file)?,
        None => from_words(args, &root, &mut screen)?,
    };
    let files = files(&root, &config, &mut screen)?;
    let options = Options {
        bind: args.bind,
        server: config.server.clone(),
        timing: timing(Duration::from_secs(args.stall_timeout)),
        codec: Some(ZSTD),
        plain: args.plain,
        wait: Duration::from_secs(args.wait),
        late: Duration::from_secs(args.late),
        leave_behind: args.patience.factor(),
        dry: args.dry_run,
    };
    screen.config(&config);
    let summary = server::serve(&options, &files, &config.clients, &mut screen)?;
    screen.server_summary(&summary);
    let asked = match args.dry_run {
        true => Asked::ToLook,
        false => Asked::ToTake,
    };
    all_good(&summary, asked)
}

/// The ring that the command line names.
fn from_words(args: &ServerArgs, root: &Root, screen: &mut Screen) -> anyhow::Result<Config> {
    let search = |output: &str| Search {
        // Nodes that wait for dolly take part in dolly+, too.
        programs: match is_for_stage2(output) {
            true => &[Program::Stage2],
            false => &[Program::DollyPlus, Program::Dolly],
        },
        dry: args.dry_run,
        limit: args.alarm.map(Duration::from_secs),
    };
    let mut told = |line: &str, changed: bool| match changed {
        true => screen.say(line),
        false => screen.status(line),
    };
    let ring = args.words.ring(root, &search, &mut told)?;
    // As the last client has to find this computer.
    let own = ring.clients.last().map(|last| discover::own_address(last));
    let server = match own {
        Some(Ok(address)) => address.to_string(),
        _ => own_name(&dolly::own(root, &[])),
    };
    let copied = format!("iofiles 1\n{} > {}", ring.input, ring.output);
    let text = ring.text(&copied, &server);
    Config::parse(&text).map_err(|error| Usage(error.complaint).into())
}

fn read_config(path: &Path) -> anyhow::Result<Config> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        io::stdin()
            .read_to_end(&mut bytes)
            .context("reading the configuration from the standard input")?;
        return Config::parse_bytes(&bytes).context("the standard input");
    }
    let name = path.display();
    let bytes = fs::read(path).with_context(|| format!("reading the configuration {name}"))?;
    Config::parse_bytes(&bytes).with_context(|| name.to_string())
}

/// All inputs, looked at before anybody is called.
fn files(root: &Root, config: &Config, screen: &mut Screen) -> anyhow::Result<Vec<InFile>> {
    let mut files = Vec::new();
    for line in &config.files {
        if line.uncookable {
            screen.say(&format!(
                "warning: {} has no ending that >> knows (.gz .Z .tar .cpio .bz2 .xz .zst and their pairs); \
                 it is copied as it is",
                line.input
            ));
        }
        files.push(file(root, line, screen)?);
    }
    Ok(files)
}

/// An input as a ring reads it.
pub(crate) fn file(root: &Root, line: &FileLine, screen: &mut Screen) -> anyhow::Result<InFile> {
    let path = std::path::absolute(&line.input)?;
    let source = Source::open(root, &path)?;
    for user in &source.users {
        screen.say(&format!(
            "warning: {user}; what changes while it is copied is copied half"
        ));
    }
    let size = source.size;
    let again = root.clone();
    // A pipe can be opened once only.
    let first = std::sync::Mutex::new(Some(source));
    let open = move || {
        let mut kept = first
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let source = match kept.take() {
            Some(source) => source,
            None => Source::open(&again, &path).map_err(io::Error::other)?,
        };
        let file = source.size.and_then(|_| source.file().ok()).map(Arc::new);
        Ok(Box::new(Disk { source, file }) as Box<dyn Input>)
    };
    Ok(InFile {
        input: line.input.clone(),
        output: line.output.clone(),
        cook: line.cook,
        size,
        open: Box::new(open),
    })
}

/// A disk, a partition or a file, as the ring reads it.
struct Disk {
    source: Source,
    /// The same once more, to read what was sent a second time.
    file: Option<Arc<File>>,
}

impl Read for Disk {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.source.read(bytes)
    }
}

impl Input for Disk {
    fn go_to(&mut self, offset: u64) -> io::Result<()> {
        self.source.go_to(offset)
    }

    fn go_carefully_to(&mut self, offset: u64) -> io::Result<()> {
        self.source.go_carefully_to(offset)
    }

    fn hole_at(&mut self, offset: u64) -> Option<u64> {
        self.source.hole_at(offset)
    }

    fn file(&self) -> Option<Arc<File>> {
        self.file.clone()
    }
}
