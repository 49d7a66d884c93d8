//! `goldring ka-d-server`, `ka-d-client` and `ka-d-session`: one stream to many computers, by ka.

mod client;
pub(crate) mod command;
pub(crate) mod screen;
mod server;
pub(crate) mod session;

use std::net::Ipv4Addr;
use std::path::PathBuf;

use goldring_contract::limits::{KA_FIND, KA_SILENCE, KA_WAIT};
use goldring_transfer::ka::Ports;
use goldring_wire::ka::{CONTROL_PORT, DATA_PORT};

/// What is sent when nobody says something else, as the old server did.
const SEND_ALL: &str = "tar --create --one-file-system --sparse --file - /";
/// What takes it when nobody says something else, as the old client did.
const INTO_STAGE2: &str = "(cd /tmp/stage2; tar --extract --file -)";

const SERVER_EXAMPLES: &str = "\
Examples:
  goldring ka-d-server -s data -n 3 -e 'tar c -C /srv/data .'
                              send a tar to the first 3 nodes that come
  goldring ka-d-server -s data -n 3 --timeout 300 -e 'tar c -C /srv/data .'
                              but wait for them no longer than 300 s
  goldring ka-d-server -s data -n 3 --tree /srv/data
                              files with everything they have, compared at the end
  goldring ka-d-server -s data --only node2,node3 -e 'cat disk.img'
                              to these two, and to nobody else
  On each node:
  goldring ka-d-client -w -s data -e 'tar x -C /srv/data'

Exit status: 0 every node has everything, 1 it failed, 2 wrong options.";

/// Options of `goldring ka-d-server`; the letters are those of ka-deploy.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = SERVER_EXAMPLES)]
pub(crate) struct ServerArgs {
    /// The session; clients with the same name find this server
    #[arg(short = 's', long = "name", value_name = "NAME")]
    session: Option<String>,
    /// So many nodes are waited for
    #[arg(short = 'n', long = "nodes", value_name = "NUMBER", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=4000))]
    nodes: u32,
    /// The nodes that are waited for; nobody else may take part
    #[arg(
        long,
        value_name = "HOST,...",
        value_delimiter = ',',
        conflicts_with = "nodes"
    )]
    only: Vec<String>,
    /// Wait for them so long
    #[arg(long, value_name = "SECONDS", default_value_t = KA_WAIT.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// When the time is over, send to those who are there
    #[arg(long)]
    partial: bool,
    /// The command whose output is sent
    #[arg(short = 'e', long = "command", value_name = "COMMAND", default_value = SEND_ALL)]
    command: String,
    /// Send the files of this folder with everything they have, on one file system; nodes say
    /// --tree, too
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    tree: Option<PathBuf>,
    /// How many nodes each one feeds
    #[arg(short = 'a', long, value_name = "NUMBER", default_value_t = 1,
          value_parser = clap::value_parser!(u8).range(1..=4))]
    arity: u8,
    /// Let the nodes go one by one, so many tenths of a second apart
    #[arg(short = 'd', long, value_name = "TENTHS")]
    delay: Option<u32>,
    /// Never be so far ahead of the last node that a lost one cannot be replaced
    /// (without it: as long as no more than 32 nodes are the last of a branch)
    #[arg(short = 'l', long = "bounded")]
    bounded: bool,
    /// Be as far ahead as it goes
    #[arg(long, conflicts_with = "bounded")]
    unbounded: bool,
    /// The port of the control connections
    #[arg(short = 'p', long, value_name = "PORT", default_value_t = CONTROL_PORT)]
    control_port: u16,
    /// The port of the data connections
    #[arg(short = 'P', long, value_name = "PORT", default_value_t = DATA_PORT)]
    data_port: u16,
    /// Listen on this address only
    #[arg(long, value_name = "ADDRESS", default_value_t = Ipv4Addr::UNSPECIFIED)]
    bind: Ipv4Addr,
    /// A node that has answered nothing for so long is dead
    #[arg(long, value_name = "SECONDS", default_value_t = KA_SILENCE.as_secs(),
          value_parser = clap::value_parser!(u64).range(5..))]
    stall_timeout: u64,
    /// Say everything that happens
    #[arg(long)]
    verbose: bool,
    /// Print version
    #[arg(short = 'v', action = clap::ArgAction::Version)]
    old_version: Option<bool>,
}

const CLIENT_EXAMPLES: &str = "\
Examples:
  goldring ka-d-client -w -s data -e 'tar x -C /srv/data'
                              take part in the session data
  goldring ka-d-client -w -s data --tree /srv/data
                              the same, if the server says --tree
  goldring ka-d-client -h node1 -e 'cat > disk.img'
                              in the one of node1, whatever it is called
  goldring ka-d-client -g -s data
                              tell its server to wait for nobody else

Exit status: 0 everything came and the command ended well, 1 it failed,
2 wrong options.";

/// Options of `goldring ka-d-client`; the letters are those of ka-deploy.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = CLIENT_EXAMPLES, disable_help_flag = true)]
#[command(group = clap::ArgGroup::new("server").required(true).args(["session", "host"]))]
pub(crate) struct ClientArgs {
    /// The session; its server is looked for in this network
    #[arg(short = 's', long = "name", value_name = "NAME")]
    session: Option<String>,
    /// The server
    #[arg(short = 'h', long = "host", value_name = "HOST")]
    host: Option<String>,
    /// The command that gets what comes
    #[arg(short = 'e', long = "command", value_name = "COMMAND", default_value = INTO_STAGE2)]
    command: String,
    /// Receive files into this folder, from a server with --tree
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    tree: Option<PathBuf>,
    /// Wait at the end until the server lets this node go
    #[arg(short = 'w', long)]
    wait: bool,
    /// Tell the server to start now, and take nothing
    #[arg(short = 'g', long = "go")]
    go: bool,
    /// Look for the server so long
    #[arg(long, value_name = "SECONDS", default_value_t = KA_FIND.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..))]
    find: u64,
    /// Wait for the start so long
    #[arg(long, value_name = "SECONDS", default_value_t = KA_WAIT.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// The port of the control connection
    #[arg(short = 'p', long, value_name = "PORT", default_value_t = CONTROL_PORT)]
    control_port: u16,
    /// The port of the data connections
    #[arg(short = 'P', long, value_name = "PORT", default_value_t = DATA_PORT)]
    data_port: u16,
    /// Listen on this address only
    #[arg(long, value_name = "ADDRESS", default_value_t = Ipv4Addr::UNSPECIFIED)]
    bind: Ipv4Addr,
    /// Say everything that happens
    #[arg(long)]
    verbose: bool,
    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Print version
    #[arg(short = 'v', action = clap::ArgAction::Version)]
    old_version: Option<bool>,
}

const SESSION_EXAMPLES: &str = "\
Examples:
  DATA_PATH=/mnt/ka goldring ka-d-session -n 4
                              stage 2 for 4 nodes that boot with method:ka
  goldring ka-d-session -n 4 --name lab
                              for those that boot with kaopt=lab, too

Exit status: 0 every node has it, 1 it failed, 2 wrong options.";

/// Options of `goldring ka-d-session`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = SESSION_EXAMPLES)]
pub(crate) struct SessionArgs {
    /// So many nodes are waited for
    #[arg(short = 'n', long = "nodes", value_name = "NUMBER", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=4000))]
    nodes: u32,
    /// The folder that is sent: the unpacked stage 2 (without it: what the
    /// environment says as DATA_PATH, or /mnt/ka)
    #[arg(long, value_name = "FOLDER")]
    data_path: Option<PathBuf>,
    /// What kaopt= of these nodes says
    #[arg(short = 's', long, value_name = "NAME")]
    name: Option<String>,
    /// Wait for the nodes so long
    #[arg(long, value_name = "SECONDS", default_value_t = KA_WAIT.as_secs(),
          value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
    /// When the time is over, send to those who are there
    #[arg(long)]
    partial: bool,
    /// Listen on this address only
    #[arg(long, value_name = "ADDRESS", default_value_t = Ipv4Addr::UNSPECIFIED)]
    bind: Ipv4Addr,
    /// Say everything that happens
    #[arg(long)]
    verbose: bool,
}

/// `goldring ka-d-server`.
pub(crate) fn serve(args: &ServerArgs) -> anyhow::Result<()> {
    server::run(args)
}

/// `goldring ka-d-client`.
pub(crate) fn receive(args: &ClientArgs) -> anyhow::Result<()> {
    client::run(args)
}

/// `goldring ka-d-session`.
pub(crate) fn send_stage2(args: &SessionArgs) -> anyhow::Result<()> {
    session::run(args)
}

fn ports(control: u16, data: u16) -> Ports {
    Ports { control, data }
}
