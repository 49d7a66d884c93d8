//! Files from web and FTP servers that behave, misbehave and die.

mod ftp;
mod http;
mod proxy;
mod server;
#[cfg(feature = "https")]
mod tls;
