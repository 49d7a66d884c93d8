//! Where a file is, as a person or a server writes it.

use std::fmt;
use std::net::Ipv6Addr;

use ureq::http::Uri;

/// How a file is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// By HTTP/1.1.
    Http,
    /// By HTTP/1.1 inside TLS.
    Https,
    /// By FTP, passive.
    Ftp,
}

impl Scheme {
    const ALL: [(Self, &'static str, u16); 3] = [
        (Self::Http, "http", 80),
        (Self::Https, "https", 443),
        (Self::Ftp, "ftp", 21),
    ];

    fn of(word: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|(_, name, _)| word.eq_ignore_ascii_case(name))
            .map(|(scheme, ..)| *scheme)
    }

    fn row(self) -> (&'static str, u16) {
        let mut all = Self::ALL.iter();
        all.find(|(scheme, ..)| *scheme == self)
            .map_or(("", 0), |(_, name, port)| (name, *port))
    }
}

/// Where a file is: `SCHEME://HOST:PORT/PATH`. Written, it shows neither a usual port
/// nor a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// How it is fetched.
    pub scheme: Scheme,
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    /// The scheme's own when none was written.
    pub port: u16,
    /// Begins with a slash; what may not stand there is written as `%XX` (RFC 3986,
    /// section 2.1).
    pub path: String,
    /// User and password, if any.
    pub login: Option<(String, String)>,
}

/// A text that is no place of a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} makes no sense as a place; write http://HOST/FILE, https://HOST/FILE or ftp://HOST/FILE, perhaps with HOST:PORT"
)]
pub struct UrlError(pub String);

impl Url {
    /// Reads `SCHEME://[USER[:PASSWORD]@]HOST[:PORT][/PATH]`.
    ///
    /// # Errors
    /// Another scheme, no host, or a port that is none.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        Self::read(text).ok_or_else(|| UrlError(printable(text, 200)))
    }

    fn read(text: &str) -> Option<Self> {
        let uri: Uri = encoded(text).parse().ok()?;
        let scheme = Scheme::of(uri.scheme_str()?)?;
        let authority = uri.authority()?.as_str();
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, authority),
        };
        let (host, port) = host_and_port(place)?;
        let login = login.map(|login| {
            let (user, pass) = login.split_once(':').unwrap_or((login, ""));
            (decoded(user), decoded(pass))
        });
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Some(Self {
            scheme,
            host,
            port: port.unwrap_or(scheme.row().1),
            path: if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            },
            login,
        })
    }

    /// The place of `file` on `server` below `directory` (with or without slashes around
    /// it). `server` is `HOST`, `HOST:PORT`, an IPv6 address with or without brackets, or
    /// a whole URL whose path stands before the directory; only then its scheme counts.
    ///
    /// # Errors
    /// As [`Url::parse`], with the server as it was written.
    pub fn on_server(
        scheme: Scheme,
        server: &str,
        directory: &str,
        file: &str,
    ) -> Result<Self, UrlError> {
        let bare = server.parse::<Ipv6Addr>().is_ok();
        let whole = if server.contains("://") {
            server.to_owned()
        } else if bare {
            format!("{}://[{server}]", scheme.row().0)
        } else {
            format!("{}://{server}", scheme.row().0)
        };
        let wrong = || UrlError(printable(server, 200));
        let mut url = Self::read(&whole).ok_or_else(wrong)?;
        // A path without a scheme is a folder in the wrong place.
        if !server.contains("://") && url.path != "/" {
            return Err(wrong());
        }
        let folders = [url.path.as_str(), directory, file].map(|part| part.trim_matches('/'));
        let path: Vec<_> = folders
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        url.path = encoded(&format!("/{}", path.join("/")));
        Ok(url)
    }

    /// Where a `Location` header points to, seen from here (RFC 3986, section 5.2, without
    /// its dots). `None` for what is no place of a file.
    #[must_use]
    pub fn join(&self, location: &str) -> Option<Self> {
        let location = location.split('#').next().unwrap_or_default();
        if location.contains("://") {
            return Self::read(location);
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Self::read(&format!("{}://{rest}", self.scheme.row().0));
        }
        let folder = match self.path.split('?').next().and_then(|path| path.rfind('/')) {
            Some(slash) if !location.starts_with('/') => &self.path[..=slash],
            _ => "",
        };
        (!location.is_empty()).then(|| Self {
            path: encoded(&format!("{folder}{location}")),
            ..self.clone()
        })
    }

    /// `HOST` or `HOST:PORT`, as it stands in a `Host` header.
    #[must_use]
    pub fn place(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == self.scheme.row().1 {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// The path with its `%XX` read, for protocols that have names instead of URLs.
    #[must_use]
    pub fn decoded_path(&self) -> String {
        decoded(&self.path)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme.row().0, self.place(), self.path)
    }
}

impl fmt::Debug for Url {
    /// As it is written: a password is nobody's business.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Splits `HOST`, `HOST:PORT`, `[ADDRESS]` or `[ADDRESS]:PORT`.
fn host_and_port(text: &str) -> Option<(String, Option<u16>)> {
    let (host, rest) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, rest)
        }
        None => text.split_at(text.find(':').unwrap_or(text.len())),
    };
    let port = match rest.strip_prefix(':') {
        Some(port) => Some(port.parse().ok().filter(|port| *port != 0)?),
        None if rest.is_empty() => None,
        None => return None,
    };
    // The resolver takes no other names, and none of these letters upsets a console.
    let plausible = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    (!host.is_empty() && host.chars().all(plausible)).then(|| (host.to_owned(), port))
}

/// Writes what may not stand in a URL as `%XX`; what is written so already stays.
fn encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            0x21..=0x7e if !b"\"<>\\^`{|}".contains(&byte) => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Reads `%XX`; what is no such thing stays.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = tail.first_chunk::<2>().filter(|_| *first == b'%');
        let byte = code.and_then(|code| {
            let digits = std::str::from_utf8(code).ok()?;
            digits
                .bytes()
                .all(|b| b.is_ascii_hexdigit())
                .then_some(())?;
            u8::from_str_radix(digits, 16).ok()
        });
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// What somebody wrote, cut and without what would upset a console.
pub(super) fn printable(text: &str, most: usize) -> String {
    text.chars()
        .filter(|c| !c.is_control())
        .take(most)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "install/stage2/rescue.clp";

    #[test]
    fn servers_and_folders_as_people_write_them() {
        let table = [
            ("10.0.1.1", "/cs4", "http://10.0.1.1/cs4/"),
            ("10.0.1.1:8080", "cs4/", "http://10.0.1.1:8080/cs4/"),
            ("http://boot.lan/", "", "http://boot.lan/"),
            ("boot:80", "/", "http://boot/"),
            ("https://boot.lan:8443", "cs4", "https://boot.lan:8443/cs4/"),
            ("HTTP://boot/pub/", "/cs 4/", "http://boot/pub/cs%204/"),
            ("[2001:db8::1]:8080", "x", "http://[2001:db8::1]:8080/x/"),
            ("2001:db8::1", "x", "http://[2001:db8::1]/x/"),
            ("http://[::1]", "", "http://[::1]/"),
            ("ftp://me:secret@h", "a", "ftp://h/a/"),
        ];
        for (server, directory, expected) in table {
            let url = Url::on_server(Scheme::Http, server, directory, FILE).unwrap();
            assert_eq!(url.to_string(), format!("{expected}{FILE}"));
        }
        for server in [
            "",
            ":80",
            "h:0",
            "h:99999",
            "h:port",
            "a b",
            "h/x",
            "http://",
            "gopher://h",
            "[::1",
            "[::1]x",
            "[h]:80",
            "h:80:90",
            "h?x",
            "http://h:x/",
            "\u{7}",
        ] {
            let error = Url::on_server(Scheme::Http, server, "", FILE).unwrap_err();
            assert!(error.to_string().contains("makes no sense"), "{server}");
        }
    }

    #[test]
    fn a_login_is_read_and_never_shown() {
        let url = Url::parse("ftp://me%40home:p%3aw:x@h:2121/a%20b").unwrap();
        let login = ("me@home".to_owned(), "p:w:x".to_owned());
        assert_eq!(url.login, Some(login));
        assert_eq!(
            format!("{url} {url:?}"),
            "ftp://h:2121/a%20b ftp://h:2121/a%20b"
        );
        assert_eq!(url.decoded_path(), "/a b");
    }

    #[test]
    fn redirects_are_followed_where_that_is_possible() {
        let url = Url::parse("http://h:8080/a/b?c=/d").unwrap();
        let to = |location| url.join(location).map(|url| url.to_string());
        assert_eq!(to("/x").as_deref(), Some("http://h:8080/x"));
        assert_eq!(to("x?y=z#w").as_deref(), Some("http://h:8080/a/x?y=z"));
        assert_eq!(to("http://k/x").as_deref(), Some("http://k/x"));
        assert_eq!(to("http://k").as_deref(), Some("http://k/"));
        assert_eq!(to("//k:81/x").as_deref(), Some("http://k:81/x"));
        assert_eq!(to("https://k/ü").as_deref(), Some("https://k/%C3%BC"));
        assert_eq!(to("gopher://k/"), None);
        assert_eq!(to("http://:80/"), None);
        assert_eq!(to(""), None);
        assert_eq!(to("#x"), None);
    }

    proptest::proptest! {
        #[test]
        fn what_was_read_is_written_and_read_again(text in "(http|ftp|https)://[ -~]{0,30}(/[ -~é]{0,20})?") {
            if let Ok(url) = Url::parse(&text) {
                let again = Url::parse(&url.to_string()).expect("it was read before");
                proptest::prop_assert_eq!(Url { login: None, ..url }, again);
            }
        }

        #[test]
        fn nothing_makes_it_panic(text in ".{0,60}", location in ".{0,60}") {
            let _ = Url::parse(&text);
            let url = Url::parse("http://h/a").expect("it is one");
            if let Some(next) = url.join(&location) {
                proptest::prop_assert!(Url::parse(&next.to_string()).is_ok(), "{}", next);
            }
        }
    }
}
