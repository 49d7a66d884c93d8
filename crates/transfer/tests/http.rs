//! The web client against servers that behave, misbehave and die.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use goldring_transfer::fetch::{FetchError, into_file};
use goldring_transfer::http::{HttpError, Url, get};

const SILENCE: Duration = Duration::from_millis(300);

/// A server that answers each connection in turn with one of `answers`, then closes it
/// after `pause`. Returns its `HOST:PORT`.
fn server(answers: Vec<Vec<u8>>, pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for answer in answers {
            let (mut stream, _) = listener.accept().unwrap();
            read_request(&mut stream);
            let _ = stream.write_all(&answer);
            std::thread::sleep(pause);
        }
    });
    address
}

fn read_request(stream: &mut TcpStream) {
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 {
            return;
        }
        request.push(byte[0]);
    }
    let request = String::from_utf8(request).unwrap();
    assert!(request.starts_with("GET /"), "{request}");
    assert!(request.contains("\r\nHost: 127.0.0.1:"), "{request}");
}

fn fails(answer: &[u8], pause: Duration) -> HttpError {
    let url = Url::new(&server(vec![answer.to_vec()], pause), "", "x").unwrap();
    get(&url, SILENCE).unwrap_err()
}

#[test]
fn a_file_arrives_whole_even_after_a_redirect() {
    let file = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello and more".to_vec();
    let redirect = b"HTTP/1.1 302 Found\r\nLocation: /there\r\n\r\n".to_vec();
    let url = Url::new(&server(vec![redirect, file], Duration::ZERO), "a", "b").unwrap();
    let mut body = get(&url, SILENCE).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let length = body.length;
    into_file(&mut body, length, &path, SILENCE, &mut |_| {}).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"hello");
}

#[test]
fn answers_that_are_none_have_clear_sentences() {
    let table: [(&[u8], &str); 7] = [
        (
            b"HTTP/1.0 404 Not Found\r\n\r\n",
            ": 404 Not Found; put the file there",
        ),
        (
            b"HTTP/1.1 403 No\r\n\r\n",
            ": 403 No; let everybody read the file",
        ),
        (b"HTTP/1.1 503 \r\n\r\n", "; look into the web server's log"),
        (
            b"HTTP/1.1 200 OK\r\n\r\nhello",
            "the server tells no length",
        ),
        (
            b"HTTP/1.1 301 X\r\nLocation: https://h/\r\n\r\n",
            "sent on to \"https://h/\"",
        ),
        (
            b"SSH-2.0-OpenSSH\r\n",
            "the answer is not HTTP (no status line)",
        ),
        (
            b"HTTP/1.1 200 OK\r\n",
            "the answer is not HTTP (it ends within its header)",
        ),
    ];
    for (answer, sentence) in table {
        let error = fails(answer, Duration::ZERO).to_string();
        assert!(error.contains(sentence), "{error}");
        assert!(error.starts_with("http://127.0.0.1:"), "{error}");
    }
    assert!(matches!(fails(b"", Duration::ZERO), HttpError::Talk { .. }));
    let endless = [&b"HTTP/1.1 200 OK\r\n"[..], &b"X: y\r\n".repeat(5000)].concat();
    assert!(matches!(
        fails(&endless, SILENCE * 4),
        HttpError::NotHttp { .. }
    ));
}

#[test]
fn redirects_in_a_circle_end() {
    let circle = b"HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n".to_vec();
    let url = Url::new(&server(vec![circle; 9], Duration::ZERO), "", "x").unwrap();
    let error = get(&url, SILENCE).unwrap_err().to_string();
    assert!(error.contains("5 other places in turn"), "{error}");
}

#[test]
fn silence_is_an_error_before_and_in_the_file() {
    let started = Instant::now();
    assert!(matches!(
        fails(b"HTTP/1.1 200", SILENCE * 8),
        HttpError::Talk { .. }
    ));
    let begun = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello".to_vec();
    let url = Url::new(&server(vec![begun], SILENCE * 8), "", "x").unwrap();
    let mut body = get(&url, SILENCE).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    let error = into_file(&mut body, 9, &path, SILENCE, &mut |_| {}).unwrap_err();
    assert!(
        matches!(error, FetchError::Broken { got: 5, .. }),
        "{error}"
    );
    assert!(started.elapsed() < SILENCE * 8);
}

#[test]
fn nobody_there_is_told_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = get(&Url::new(&address, "", "x").unwrap(), SILENCE).unwrap_err();
    assert!(
        error.to_string().contains("is the web server running"),
        "{error}"
    );
}
