//! HTTP.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use goldring_transfer::fetch::{FetchError, SmallError, small_with};
use goldring_transfer::remote::{Options, RemoteError, Url, open};

use crate::server::{Act, SILENCE, answer, line, opened, options, serve, server, taken, url};

const OK: &str = "HTTP/1.1 200 OK\nContent-Length: 10";
const TAGGED: &str = "HTTP/1.1 200 OK\nContent-Length: 10\nETag: \"v1\"";

#[test]
fn a_file_arrives_whole_whatever_follows_it() {
    let file = answer(OK, b"0123456789 and more that nobody announced");
    let (place, requests) = server(vec![Act::Send(file)]);
    let remote = open(&url(&place), &options()).unwrap();
    assert_eq!(remote.length(), Some(10));
    assert_eq!(taken(remote).unwrap(), b"0123456789");
    let request = requests.lock().unwrap()[0].clone();
    assert!(
        request.starts_with("get /cs4/file http/1.1\r\n"),
        "{request}"
    );
    for header in [
        format!("host: {place}"),
        "accept-encoding: identity".to_owned(),
        "connection: close".to_owned(),
    ] {
        assert!(request.contains(&format!("\r\n{header}\r\n")), "{request}");
    }
    assert!(!request.contains("range:"), "{request}");
}

#[test]
fn an_address_of_ipv6_is_a_server_like_another() {
    let Ok(listener) = TcpListener::bind("[::1]:0") else {
        println!("nothing was tested: this machine has no IPv6");
        return;
    };
    let (place, requests) = serve(listener, vec![Act::Send(answer(OK, b"0123456789"))]);
    let remote = open(&url(&place), &options()).unwrap();
    assert_eq!(taken(remote).unwrap(), b"0123456789");
    let request = requests.lock().unwrap()[0].clone();
    assert!(
        request.contains(&format!("\r\nhost: {place}\r\n")),
        "{request}"
    );
}

#[test]
fn redirects_lead_elsewhere_and_in_a_circle_they_end() {
    let (there, _) = server(vec![Act::Send(answer(OK, b"0123456789"))]);
    let moved = |to: &str| Act::Send(answer(&format!("HTTP/1.1 302 X\nLocation: {to}"), b""));
    let first = vec![
        moved("/up"),
        moved("down?a=b"),
        moved(&format!("http://{there}/x")),
    ];
    let (here, requests) = server(first);
    let remote = open(&url(&here), &options()).unwrap();
    assert_eq!(taken(remote).unwrap(), b"0123456789");
    let paths: Vec<_> = requests
        .lock()
        .unwrap()
        .iter()
        .map(|r| r[..12].to_owned())
        .collect();
    assert_eq!(paths, ["get /cs4/fil", "get /up http", "get /down?a="]);

    let error = opened(vec![moved("/x"); 9]).unwrap_err().to_string();
    assert!(
        error.contains("sent on to \"5 other places in turn\""),
        "{error}"
    );
    for nowhere in ["gopher://h/", "ftp://h/x", "http://:0/"] {
        let error = opened(vec![moved(nowhere)]).unwrap_err().to_string();
        assert!(
            error.contains(&format!("sent on to {nowhere:?}")),
            "{error}"
        );
    }
    let error = opened(vec![moved("https://127.0.0.1:1/x")]).unwrap_err();
    assert!(matches!(error, RemoteError::NoTls(_)), "{error}");
    assert!(error.lasts());
}

#[test]
fn answers_that_are_none_have_clear_sentences() {
    let table: [(&str, &str); 10] = [
        (
            "HTTP/1.0 404 Not Found",
            ": 404 Not Found; put the file there",
        ),
        (
            "HTTP/1.1 403 No",
            ": 403 Forbidden; let everybody read the file",
        ),
        ("HTTP/1.1 503 ", "; look into the web server's log"),
        (
            "HTTP/1.1 204 No Content",
            "; the server does not want to send it",
        ),
        ("SSH-2.0-OpenSSH_9.2", "the answer is not HTTP ("),
        ("220 ready", "the answer is not HTTP ("),
        ("HTTP/9.9 200 OK", "the answer is not HTTP ("),
        (
            "HTTP/1.1 200 OK\nContent-Length: -1",
            "the answer is not HTTP (",
        ),
        (
            "HTTP/1.1 200 OK\nContent-Length: 1\nContent-Length: 2",
            "the answer is not HTTP (",
        ),
        ("HTTP/1.1 200 OK\n:::", "the answer is not HTTP ("),
    ];
    for (head, sentence) in table {
        let error = opened(vec![Act::Send(answer(head, b"hello"))]).unwrap_err();
        let error = line(&error);
        assert!(error.contains(sentence), "{head}: {error}");
        assert!(error.starts_with("http://127.0.0.1:"), "{error}");
    }
    for (bytes, sentence) in [
        (&b""[..], "no answer: the server closed the connection"),
        (
            b"HTTP/1.1 200 OK\r\n",
            "no answer: the server closed the connection",
        ),
        (b"\xff\xfe\x00\r\n\r\n", "the answer is not HTTP ("),
    ] {
        let error = line(&opened(vec![Act::Send(bytes.to_vec())]).unwrap_err());
        assert!(error.contains(sentence), "{error}");
    }
}

#[test]
fn a_file_without_a_length_says_so() {
    for head in [
        "HTTP/1.1 200 OK",
        "HTTP/1.1 200 OK\nTransfer-Encoding: chunked",
    ] {
        let remote = opened(vec![Act::Send(answer(head, b"5\r\nhello\r\n0\r\n\r\n"))]);
        assert_eq!(remote.unwrap().length(), None, "{head}");
    }
    let none = "HTTP/1.1 200 OK\nContent-Length: 0";
    let remote = opened(vec![Act::Send(answer(none, b""))]).unwrap();
    assert_eq!((remote.length(), taken(remote).unwrap()), (Some(0), vec![]));
}

#[test]
fn a_header_without_an_end_is_not_read_for_ever() {
    let many = [&b"HTTP/1.1 200 OK\r\n"[..], &b"X: y\r\n".repeat(5000)].concat();
    let long = [&b"HTTP/1.1 200 OK\r\nX: "[..], &b"y".repeat(50_000)].concat();
    for head in [many, long] {
        let error = opened(vec![Act::Hang(head, SILENCE * 4)]).unwrap_err();
        assert!(matches!(error, RemoteError::Babble { .. }), "{error}");
    }
    let started = Instant::now();
    let error = line(&opened(vec![Act::Drip(b"X")]).unwrap_err());
    assert!(
        error.contains("fell silent") || error.contains("not HTTP"),
        "{error}"
    );
    assert!(started.elapsed() < SILENCE * 8);
}

#[test]
fn silence_is_an_error_before_and_in_the_file() {
    let started = Instant::now();
    let error = line(&opened(vec![Act::Hang(b"HTTP/1.1 200".to_vec(), SILENCE * 8)]).unwrap_err());
    assert!(
        error.contains("no answer: the server fell silent"),
        "{error}"
    );
    let begun = Act::Hang(answer(OK, b"hello"), SILENCE * 8);
    // Nobody is there for the second connection.
    let error = taken(opened(vec![begun]).unwrap()).unwrap_err();
    assert!(
        matches!(
            error,
            FetchError::Broken {
                got: 5,
                total: 10,
                ..
            }
        ),
        "{error}"
    );
    assert!(started.elapsed() < SILENCE * 16, "{:?}", started.elapsed());
}

#[test]
fn nobody_there_and_names_without_an_address_are_told_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = line(&open(&url(&address), &options()).unwrap_err());
    let wanted = "no connection; is the server running, and is its port open?: Connection refused";
    assert!(error.contains(wanted), "{error}");
    let error = open(&url("no-such-host.invalid"), &options()).unwrap_err();
    assert!(matches!(error, RemoteError::Resolve { .. }), "{error}");
}

#[test]
fn a_reset_connection_is_resumed_where_it_broke() {
    let rest = "HTTP/1.1 206 Partial Content\nContent-Length: 6\nContent-Range: bytes 4-9/10";
    let (place, requests) = server(vec![
        Act::Reset(answer(TAGGED, b"0123")),
        Act::Send(answer("HTTP/1.1 503 Busy", b"")),
        Act::Send(answer(rest, b"45")),
        Act::Send(answer(
            &rest.replace("4-9", "6-9").replace(" 6\n", " 4\n"),
            b"6789",
        )),
    ]);
    let remote = open(&url(&place), &options()).unwrap();
    assert_eq!(taken(remote).unwrap(), b"0123456789");
    let requests = requests.lock().unwrap();
    let ranges: Vec<_> = requests
        .iter()
        .map(|r| {
            r.lines()
                .filter(|l| l.contains("range:"))
                .collect::<Vec<_>>()
                .join(", ")
        })
        .collect();
    let four = "range: bytes=4-, if-range: \"v1\"";
    assert_eq!(
        ranges,
        ["", four, four, "range: bytes=6-, if-range: \"v1\""]
    );
}

#[test]
fn what_cannot_be_resumed_begins_again() {
    let again = |second: Vec<u8>| {
        let acts = vec![Act::Send(answer(TAGGED, b"0123")), Act::Send(second)];
        line(&taken(opened(acts).unwrap()).unwrap_err())
    };
    let range = |range: &str| {
        format!("HTTP/1.1 206 Partial Content\nContent-Length: 6\nContent-Range: bytes {range}")
    };
    let changed = "the file has changed on the server meanwhile";
    let no_rest = "the server does not send the rest of a file";
    for (second, sentence) in [
        (TAGGED.to_owned(), no_rest),
        (TAGGED.replace("v1", "v2"), changed),
        (OK.to_owned(), changed),
        ("HTTP/1.1 416 Range Not Satisfiable".to_owned(), changed),
        (range("4-9/11"), changed),
        (range("3-9/10"), no_rest),
        (range("4-9/*"), no_rest),
        (range("9-4/10"), no_rest),
        (range("x"), no_rest),
    ] {
        let error = again(answer(&second, b"456789"));
        assert!(error.contains(sentence), "{second}: {error}");
        assert!(error.contains("broke off after 4 of 10 bytes"), "{error}");
    }
}

#[test]
fn a_server_that_breaks_every_time_is_given_up() {
    let none = "HTTP/1.1 206 Partial Content\nContent-Length: 6\nContent-Range: bytes 4-9/10";
    let mut acts = vec![Act::Send(answer(OK, b"0123"))];
    acts.extend(vec![Act::Send(answer(none, b"")); 9]);
    let (place, requests) = server(acts);
    let error = line(&taken(open(&url(&place), &options()).unwrap()).unwrap_err());
    assert!(
        error.contains("4 of 10 bytes: the server closed the connection"),
        "{error}"
    );
    assert_eq!(requests.lock().unwrap().len(), 5);
}

#[test]
fn a_drip_inside_the_file_is_too_slow() {
    let head = answer("HTTP/1.1 200 OK\nContent-Length: 1000000", b"");
    let (place, _) = server(vec![Act::Hang(head, Duration::ZERO), Act::Drip(b"x")]);
    // The second connection is an answer for nobody: no header ever ends.
    let started = Instant::now();
    assert!(taken(open(&url(&place), &options()).unwrap()).is_err());
    assert!(started.elapsed() < SILENCE * 30);
}

#[test]
fn a_small_file_is_small_and_complete() {
    let (place, _) = server(vec![
        Act::Send(answer(OK, b"0123456789")),
        Act::Send(answer("HTTP/1.1 200 OK", b"as long as it lasts")),
        Act::Send(answer(OK, b"0123456789")),
        Act::Send(answer(OK, b"0123")),
        Act::Drip(b"HTTP/1.1 200 OK\r\n\r\n"),
    ]);
    let get = |most| small_with(&url(&place), most, &options());
    assert_eq!(get(10).unwrap(), b"0123456789");
    assert_eq!(get(100).unwrap(), b"as long as it lasts");
    let error = get(9).unwrap_err().to_string();
    assert!(
        error.contains("more than 9 bytes; is it the right file?"),
        "{error}"
    );
    let error = get(10).unwrap_err();
    assert!(
        matches!(error, SmallError::Broken { got: 4, .. }),
        "{error}"
    );
    let _ = Url::parse("http://h/").map(|url| small_with(&url, 0, &Options::new(SILENCE)));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    /// A header with pieces of truth in it, and then anything.
    #[test]
    fn whatever_a_server_says_the_client_ends(
        head in "(HTTP/1.[01] (200|206|302|404) [a-z]{0,3}\r\n)?((Content-Length|Content-Range|Location|Transfer-Encoding|X): [ -~]{0,20}\r\n){0,4}(\r\n)?",
        body in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
    ) {
        let bytes = [head.as_bytes(), &body].concat();
        let (place, _) = server(vec![Act::Send(bytes); 6]);
        let started = Instant::now();
        let _ = small_with(&url(&place), 1000, &options());
        proptest::prop_assert!(started.elapsed() < SILENCE * 8);
    }
}
