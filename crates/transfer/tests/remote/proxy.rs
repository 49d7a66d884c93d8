//! Files by a proxy.

use goldring_transfer::remote::{Options, Proxy, Url, open};

use crate::server::{Act, answer, line, options, server, taken};

fn by(place: &str) -> Options {
    let (host, port) = place.split_once(':').unwrap();
    Options {
        proxy: Some(Proxy::new(host, port.parse().unwrap()).unwrap()),
        ..options()
    }
}

#[test]
fn a_proxy_is_asked_for_the_whole_url() {
    let file = answer("HTTP/1.1 200 OK\nContent-Length: 5", b"hello");
    let moved = answer("HTTP/1.1 301 X\nLocation: /b", b"");
    let (place, requests) = server(vec![
        Act::Send(moved),
        Act::Send(file.clone()),
        Act::Send(file),
    ]);
    let url = Url::parse("http://boot.invalid:8080/a").unwrap();
    assert_eq!(taken(open(&url, &by(&place)).unwrap()).unwrap(), b"hello");
    let url = Url::parse("ftp://me:word@boot.invalid/a").unwrap();
    assert_eq!(taken(open(&url, &by(&place)).unwrap()).unwrap(), b"hello");
    let requests = requests.lock().unwrap();
    for (request, first, host) in [
        (
            &requests[0],
            "get http://boot.invalid:8080/a http/1.1",
            "boot.invalid:8080",
        ),
        (
            &requests[1],
            "get http://boot.invalid:8080/b http/1.1",
            "boot.invalid:8080",
        ),
        (
            &requests[2],
            "get ftp://me:word@boot.invalid/a http/1.1",
            "boot.invalid",
        ),
    ] {
        assert!(request.starts_with(first), "{request}");
        assert!(
            request.contains(&format!("\r\nhost: {host}\r\n")),
            "{request}"
        );
    }
}

#[test]
fn what_a_proxy_says_names_it() {
    let (place, _) = server(vec![Act::Send(answer("HTTP/1.1 407 X", b""))]);
    let url = Url::parse("http://boot.invalid/a").unwrap();
    let error = line(&open(&url, &by(&place)).unwrap_err());
    let wanted = format!("http://boot.invalid/a by the proxy {place}: 407 ");
    assert!(error.starts_with(&wanted), "{error}");
    assert!(error.contains("let this node use the proxy"), "{error}");
    assert!(Proxy::new("a b", 1).is_err());
}
