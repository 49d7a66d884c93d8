//! HTTP/1.1 by `ureq`: redirects, the rest of a file, proxies.
//!
//! Redirects are followed here and not by the library, since a proxy gets whole URLs
//! (RFC 9112, section 3.2.2), and since https must not be tried without a CA.

use std::io::{self, Read};
use std::net::{IpAddr, ToSocketAddrs as _};
use std::time::Duration;

use ureq::http::header::{CONNECTION, HOST, HeaderName, LAST_MODIFIED, LOCATION, RANGE};
use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, IF_RANGE};
use ureq::http::{Response, Uri, uri};
use ureq::{Agent, Body, Timeout};

use super::problem::RemoteError;
use super::url::{Scheme, Url, printable};
use super::{Options, Part, Proxy, Rest, closed, named, proxied, silent};

/// How often a server may send us elsewhere.
const REDIRECTS: u32 = 5;
/// How long a connection may take, with all addresses of the server.
const CONNECT: Duration = Duration::from_secs(10);
/// The longest header that is read, in bytes.
const HEAD_MAX: usize = 16 * 1024;

pub(super) fn part(
    url: &Url,
    options: &Options,
    rest: Option<&Rest<'_>>,
) -> Result<Part, RemoteError> {
    let mut place = url.clone();
    for _ in 0..=REDIRECTS {
        let shown = shown(&place, options);
        let response = ask(&place, options, rest)?;
        let code = response.status().as_u16();
        match (code, rest) {
            (301 | 302 | 303 | 307 | 308, _) => {
                let location = header(&response, &LOCATION).unwrap_or_default();
                match place.join(location) {
                    Some(next) if next.scheme != Scheme::Ftp => place = next,
                    _ => {
                        let location = printable(location, 200);
                        return Err(RemoteError::Redirect {
                            url: shown,
                            location,
                        });
                    }
                }
            }
            (200, None) => return Ok(whole(response)),
            (206, Some(rest)) => return following(response, rest, &shown),
            // The file is shorter now.
            (416, Some(_)) => return Err(RemoteError::Changed(shown)),
            (200, Some(rest)) => {
                let same = rest.tag.is_none() || tag(&response).as_deref() == rest.tag;
                let error = if same {
                    RemoteError::NoRest
                } else {
                    RemoteError::Changed
                };
                return Err(error(shown));
            }
            _ => {
                let reason = response.status().canonical_reason().unwrap_or_default();
                return Err(RemoteError::Status {
                    url: shown,
                    code,
                    reason,
                });
            }
        }
    }
    Err(RemoteError::Redirect {
        url: shown(url, options),
        location: format!("{REDIRECTS} other places in turn"),
    })
}

/// The whole file.
fn whole(response: Response<Body>) -> Part {
    // The library tells no length for a body that is none.
    let empty = header(&response, &CONTENT_LENGTH).is_some_and(|length| length.trim() == "0");
    let length = response.body().content_length().or(empty.then_some(0));
    let tag = tag(&response);
    let stream = Box::new(Stream(response.into_body().into_reader()));
    Part {
        length,
        tag,
        stream,
    }
}

/// The rest of the file, if it is that.
fn following(response: Response<Body>, rest: &Rest<'_>, shown: &str) -> Result<Part, RemoteError> {
    let range = header(&response, &CONTENT_RANGE).and_then(content_range);
    match range {
        Some((first, _, total)) if first == rest.from && total == Some(rest.length) => {
            Ok(whole(response))
        }
        Some((_, _, Some(total))) if total != rest.length => {
            Err(RemoteError::Changed(shown.to_owned()))
        }
        _ => Err(RemoteError::NoRest(shown.to_owned())),
    }
}

/// Reads `bytes FIRST-LAST/TOTAL`, where the total may be `*` (RFC 9110, section 14.4).
pub(super) fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.trim().split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let total = match total {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    (first <= last && total.is_none_or(|total| last < total)).then_some((first, last, total))
}

/// What the server calls this state of the file: a strong entity tag, or the date of its
/// last change. Both may stand in `If-Range` (RFC 9110, section 13.1.5).
fn tag(response: &Response<Body>) -> Option<String> {
    let strong = header(response, &ETAG).filter(|tag| !tag.starts_with("W/"));
    let tag = strong.or_else(|| header(response, &LAST_MODIFIED))?;
    Some(tag.to_owned())
}

fn header<'a>(response: &'a Response<Body>, name: &HeaderName) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

fn ask(
    place: &Url,
    options: &Options,
    rest: Option<&Rest<'_>>,
) -> Result<Response<Body>, RemoteError> {
    let proxy = options.proxy.as_ref();
    find(proxy.map_or(&place.host, |proxy| &proxy.host))?;
    let shown = shown(place, options);
    let wrong = |problem: String| RemoteError::Babble {
        url: shown.clone(),
        protocol: "HTTP",
        problem,
    };
    let uri = target(place, proxy).ok_or_else(|| wrong("no place for a request".to_owned()))?;
    let mut request = agent(place, options)?
        .get(uri)
        .header(HOST, place.place())
        .header(CONNECTION, "close");
    if let Some(rest) = rest {
        request = request.header(RANGE, format!("bytes={}-", rest.from));
        if let Some(tag) = rest.tag {
            request = request.header(IF_RANGE, tag);
        }
    }
    request
        .call()
        .map_err(|error| failed(place, shown.clone(), error))
}

/// Looks a name up, so that a name without an address is told from a server that is not
/// there.
fn find(host: &str) -> Result<(), RemoteError> {
    if host.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let addresses = (host, 80).to_socket_addrs();
    let none = || io::Error::from(io::ErrorKind::AddrNotAvailable);
    match addresses.and_then(|mut all| all.next().ok_or_else(none)) {
        Ok(_) => Ok(()),
        Err(source) => Err(RemoteError::Resolve {
            host: host.to_owned(),
            source,
        }),
    }
}

/// The target of the request: the server itself, or the proxy for http, which is told the
/// rest by [`prefix`]. For https the library asks the proxy for a tunnel.
fn target(place: &Url, proxy: Option<&Proxy>) -> Option<Uri> {
    let (scheme, authority) = match proxy {
        _ if place.scheme == Scheme::Https => ("https", whole_place(place)),
        None => ("http", whole_place(place)),
        Some(proxy) => ("http", proxy.url().place()),
    };
    let mut parts = uri::Parts::default();
    parts.scheme = Some(scheme.parse().ok()?);
    parts.authority = Some(authority.parse().ok()?);
    parts.path_and_query = Some(place.path.parse().ok()?);
    Uri::from_parts(parts).ok()
}

/// What stands before the path when a proxy is asked for a whole URL.
fn prefix(place: &Url) -> String {
    let name = if place.scheme == Scheme::Ftp {
        "ftp"
    } else {
        "http"
    };
    format!("{name}://{}", whole_place(place))
}

/// `[USER:PASSWORD@]HOST[:PORT]`.
fn whole_place(place: &Url) -> String {
    match &place.login {
        Some((user, pass)) => format!("{}:{}@{}", word(user), word(pass), place.place()),
        None => place.place(),
    }
}

/// A user or password as it stands in a URL.
fn word(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

fn agent(place: &Url, options: &Options) -> Result<Agent, RemoteError> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .max_response_header_size(HEAD_MAX)
        .max_idle_connections(0)
        // A length counts bytes of the file, not of something packed on the way.
        .accept_encoding("identity")
        .user_agent("goldring")
        .proxy(None)
        .timeout_connect(Some(CONNECT.min(options.silence)))
        .timeout_recv_response(Some(options.silence))
        .timeout_per_read(Some(options.silence))
        .timeout_per_write(Some(options.silence));
    if place.scheme == Scheme::Https {
        if let Some(proxy) = &options.proxy {
            let url = format!("http://{}", proxy.url().place());
            let proxy = ureq::Proxy::new(&url);
            config = config.proxy(Some(proxy.map_err(|error| failed(place, url, error))?));
        }
        config = secured(config, place, options)?;
    }
    let config = config.build();
    Ok(match options.proxy {
        Some(_) if place.scheme != Scheme::Https => proxied::agent(config, prefix(place)),
        _ => config.into(),
    })
}

type Settings = ureq::config::ConfigBuilder<ureq::typestate::AgentScope>;

#[cfg(feature = "https")]
fn secured(config: Settings, place: &Url, options: &Options) -> Result<Settings, RemoteError> {
    let roots = options.roots.as_deref();
    let roots = roots.ok_or_else(|| RemoteError::NoTls(place.to_string()))?;
    Ok(config.tls_config(super::tls::config(roots)?))
}

#[cfg(not(feature = "https"))]
fn secured(_: Settings, place: &Url, _: &Options) -> Result<Settings, RemoteError> {
    Err(RemoteError::NoTls(place.to_string()))
}

/// The place for a person, with the proxy that stands before it.
fn shown(place: &Url, options: &Options) -> String {
    match &options.proxy {
        Some(proxy) => format!("{place} by the proxy {}", proxy.url().place()),
        None => place.to_string(),
    }
}

/// What an error of the library means.
fn failed(place: &Url, url: String, error: ureq::Error) -> RemoteError {
    let babble = |problem: String| RemoteError::Babble {
        url: url.clone(),
        protocol: "HTTP",
        problem: printable(&problem, 120),
    };
    match error {
        ureq::Error::Io(error) => lost(place, url, error),
        ureq::Error::Timeout(Timeout::Connect) => RemoteError::Connect {
            url,
            source: io::Error::new(io::ErrorKind::TimedOut, "nobody answers there"),
        },
        ureq::Error::Timeout(_) => RemoteError::Talk {
            url,
            source: silent(),
        },
        ureq::Error::Protocol(problem) => babble(problem.to_string()),
        ureq::Error::LargeResponseHeader(..) => babble("its header has no end".to_owned()),
        ureq::Error::ConnectProxyFailed(reply) => RemoteError::Refused {
            url,
            what: "a tunnel",
            reply: printable(&reply, 120),
        },
        error => RemoteError::Talk {
            url,
            source: io::Error::other(error),
        },
    }
}

fn lost(place: &Url, url: String, error: io::Error) -> RemoteError {
    #[cfg(feature = "https")]
    if let Some(problem) = super::tls::problem(place, &error) {
        return RemoteError::Certificate { url, problem };
    }
    #[cfg(not(feature = "https"))]
    let _ = place;
    match error.kind() {
        io::ErrorKind::ConnectionRefused
        | io::ErrorKind::HostUnreachable
        | io::ErrorKind::NetworkUnreachable
        | io::ErrorKind::NetworkDown
        | io::ErrorKind::AddrNotAvailable => RemoteError::Connect { url, source: error },
        _ => RemoteError::Talk {
            url,
            source: named(error),
        },
    }
}

/// The library's stream with our names for what breaks it.
struct Stream(ureq::BodyReader<'static>);

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| {
            let own = error.get_ref().and_then(|inner| inner.downcast_ref());
            match own {
                Some(ureq::Error::Timeout(_)) => silent(),
                Some(_) => error,
                None if error.kind() == io::ErrorKind::UnexpectedEof => closed(),
                None => named(error),
            }
        })
    }
}
