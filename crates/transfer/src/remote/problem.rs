//! Why there is no file.

use std::io;

use super::url::UrlError;

/// Why there is no file. `url` is where, for a person.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The place makes no sense.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// The name has no address.
    #[error("{host} has no address; write the server's address instead of its name")]
    Resolve {
        /// The name.
        host: String,
        /// Why.
        source: io::Error,
    },
    /// Nobody answers there.
    #[error("{url}: no connection; is the server running, and is its port open?")]
    Connect {
        /// What was wanted.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// The conversation broke off before the file began.
    #[error("{url}: no answer")]
    Talk {
        /// What was wanted.
        url: String,
        /// Why.
        source: io::Error,
    },
    /// What answers speaks something else.
    #[error("{url}: the answer is not {protocol} ({problem})")]
    Babble {
        /// What was wanted.
        url: String,
        /// What it should speak.
        protocol: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The web server said no.
    #[error("{url}: {code} {reason}; {}", advice(*code))]
    Status {
        /// What was wanted.
        url: String,
        /// The status code.
        code: u16,
        /// What it means.
        reason: &'static str,
    },
    /// The server sends us elsewhere, to no place that we can reach.
    #[error("{url}: sent on to {location:?}, which this program cannot follow")]
    Redirect {
        /// What was wanted.
        url: String,
        /// Where to.
        location: String,
    },
    /// The server does not know the user.
    #[error(
        "{url}: the server does not let {user} in ({reply}); write user: and pass: of one whom it knows"
    )]
    Login {
        /// What was wanted.
        url: String,
        /// Who.
        user: String,
        /// The server's words.
        reply: String,
    },
    /// The FTP server has no such file.
    #[error("{url}: no such file ({reply}); put it there, and let {user} read it")]
    NoFile {
        /// What was wanted.
        url: String,
        /// Who asked.
        user: String,
        /// The server's words.
        reply: String,
    },
    /// The FTP server said no.
    #[error("{url}: the server refuses {what} ({reply})")]
    Refused {
        /// What was wanted.
        url: String,
        /// What was asked for.
        what: &'static str,
        /// The server's words.
        reply: String,
    },
    /// https without a word about whom to trust.
    #[error(
        "{0}: this image trusts nobody, and so has no https; make one with `cargo xtask image --ca FILE`, or use http"
    )]
    NoTls(String),
    /// The file that names whom to trust cannot be used.
    #[error("the CA file of this image cannot be used ({0}); make the image again with another")]
    Ca(String),
    /// The server is not to be trusted.
    #[error("{url}: {problem}")]
    Certificate {
        /// What was wanted.
        url: String,
        /// Why, and what to do.
        problem: String,
    },
    /// The server sends whole files only.
    #[error("{0}: the server does not send the rest of a file, so it begins again")]
    NoRest(String),
    /// The file is another one than before.
    #[error("{0}: the file has changed on the server meanwhile, so it begins again")]
    Changed(String),
}

impl RemoteError {
    /// Whether only a person can mend it, so that another try is of no use.
    #[must_use]
    pub fn lasts(&self) -> bool {
        matches!(
            self,
            Self::Url(_)
                | Self::NoTls(_)
                | Self::Ca(_)
                | Self::Certificate { .. }
                | Self::Login { .. }
        )
    }

    /// Whether asking for the rest again is of no use.
    pub(super) fn ends_the_try(&self) -> bool {
        self.lasts() || matches!(self, Self::NoRest(_) | Self::Changed(_))
    }
}

fn advice(code: u16) -> &'static str {
    match code {
        404 | 410 => "put the file there",
        401 | 403 => "let everybody read the file",
        407 => "let this node use the proxy",
        500..=599 => "look into the web server's log",
        _ => "the server does not want to send it",
    }
}
