//! `goldring ka-d-client`.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{bail, ensure};
use goldring_contract::Root;
use goldring_files::trailer::TrailerError;
use goldring_transfer::ka::client::{Options, Where, go_now, receive};

use super::screen::Screen;
use super::{ClientArgs, command, ports};
use crate::dolly::screen::rate;
use crate::fault::Usage;
use crate::files::stream::{self, form};

/// Takes part in a session, or tells its server to start.
pub(super) fn run(args: &ClientArgs) -> anyhow::Result<()> {
    let options = options(args)?;
    let mut screen = Screen::new(args.verbose);
    if args.go {
        let server = go_now(&options)?;
        screen.say(&format!("told {server} to start without waiting for more"));
        return Ok(());
    }
    let mut open = |compared| match &args.tree {
        Some(tree) => {
            let say = |said: &str| eprintln!("{said}");
            stream::sink(tree, form(compared), say, |received| {
                // ka compares what came, and cannot know whether that is all.
                ensure!(!received.is_bare, TrailerError::Absent);
                Ok(())
            })
        }
        None => command::sink(&args.command),
    };
    let summary = receive(&options, &mut open, &mut screen)?;
    let bytes = summary.stream.bytes;
    let _ = writeln!(
        io::stdout(),
        "received {bytes} bytes in {:.1} s, {}",
        summary.elapsed.as_secs_f64(),
        rate(bytes, summary.elapsed)
    );
    if let Some(trouble) = summary.trouble {
        screen.say(&format!("everything is here, but then: {trouble}"));
    }
    Ok(())
}

fn options(args: &ClientArgs) -> anyhow::Result<Options> {
    let server = match (&args.session, &args.host) {
        (Some(session), None) => Where::Session(session.clone()),
        (None, Some(host)) => Where::Host(host.clone()),
        _ => bail!(Usage("write -s SESSION or -h HOST".to_owned())),
    };
    let root = Root::system();
    let names = goldring_transfer::dolly::own(&root, &[]).names;
    Ok(Options {
        server,
        name: names.into_iter().next().unwrap_or_default(),
        wait: args.wait,
        find: Duration::from_secs(args.find),
        patience: Duration::from_secs(args.timeout),
        bind: args.bind,
        ports: ports(args.control_port, args.data_port),
        root,
    })
}
