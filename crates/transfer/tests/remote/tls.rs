//! https, with certificates of all kinds (`certificates/make.sh` made them).

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;

use goldring_transfer::remote::{Options, RemoteError, Url, open};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::server::{Act, answer, line, options, server, taken};

const CA: &[u8] = include_bytes!("certificates/ca.pem");
const STRANGER: &[u8] = include_bytes!("certificates/stranger.pem");
const KEY: &[u8] = include_bytes!("certificates/server.key");
const GOOD: &[u8] = include_bytes!("certificates/good.pem");
const EXPIRED: &[u8] = include_bytes!("certificates/expired.pem");
const FUTURE: &[u8] = include_bytes!("certificates/future.pem");
const OTHER: &[u8] = include_bytes!("certificates/other.pem");

/// A web server for https with this certificate; each answer is one connection. Returns
/// its port.
fn secure(certificate: &[u8], answers: Vec<Vec<u8>>) -> u16 {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_slice(certificate).unwrap()],
            PrivateKeyDer::from_pem_slice(KEY).unwrap(),
        )
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for answer in answers {
            let (stream, _) = listener.accept().unwrap();
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(connection, stream);
            let mut request = [0; 4096];
            // A client that does not trust us goes away.
            if stream.read(&mut request).is_ok_and(|length| length > 0) {
                let _ = stream.write_all(&answer).and_then(|()| stream.flush());
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
    });
    port
}

fn trusting(pem: &[u8]) -> Options {
    Options {
        roots: Some(pem.to_vec()),
        ..options()
    }
}

fn url(host: &str, port: u16) -> Url {
    Url::parse(&format!("https://{host}:{port}/file")).unwrap()
}

#[test]
fn a_file_arrives_by_https_also_in_two_parts_and_after_a_redirect() {
    let file = "HTTP/1.1 200 OK\nContent-Length: 10";
    let rest = "HTTP/1.1 206 X\nContent-Length: 6\nContent-Range: bytes 4-9/10";
    let port = secure(GOOD, vec![answer(file, b"0123"), answer(rest, b"456789")]);
    let remote = open(&url("localhost", port), &trusting(CA)).unwrap();
    assert_eq!(taken(remote).unwrap(), b"0123456789");

    let port = secure(GOOD, vec![answer(file, b"0123456789")]);
    let moved = format!("HTTP/1.1 301 X\nLocation: https://127.0.0.1:{port}/file");
    let (here, _) = server(vec![Act::Send(answer(&moved, b""))]);
    let remote = open(&crate::server::url(&here), &trusting(CA)).unwrap();
    assert_eq!(taken(remote).unwrap(), b"0123456789");
}

#[test]
fn whoever_is_not_to_be_trusted_is_named_with_what_to_do() {
    let today = std::process::Command::new("date")
        .args(["-u", "+%Y-%m-%d"])
        .output();
    let today = String::from_utf8(today.unwrap().stdout).unwrap();
    let clock = format!(
        "this node's clock says {}; set the node's clock",
        today.trim()
    );
    let signed = "signed by nobody whom this image trusts; make it with `cargo xtask image --ca";
    for (certificate, ca, sentences) in [
        (EXPIRED, CA, ["was valid until 2011-01-01", &clock]),
        (FUTURE, CA, ["is valid from 2110-01-01 on", &clock]),
        (GOOD, STRANGER, [signed, signed]),
        (
            OTHER,
            CA,
            ["is not for localhost", "write a name in server:"],
        ),
    ] {
        let port = secure(certificate, vec![vec![]]);
        let error = open(&url("localhost", port), &trusting(ca)).unwrap_err();
        assert!(matches!(error, RemoteError::Certificate { .. }) && error.lasts());
        let error = line(&error);
        for sentence in sentences {
            assert!(error.contains(sentence), "{sentence}: {error}");
        }
    }
}

#[test]
fn what_is_no_https_says_so() {
    let error = open(&url("localhost", 1), &options()).unwrap_err();
    assert!(matches!(error, RemoteError::NoTls(_)), "{error}");
    let error = open(&url("localhost", 1), &trusting(b"junk")).unwrap_err();
    assert!(
        matches!(error, RemoteError::Ca(_)) && error.lasts(),
        "{error}"
    );
    let error = open(&url("localhost", 1), &trusting(CA)).unwrap_err();
    assert!(matches!(error, RemoteError::Connect { .. }), "{error}");
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = plain.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        let _ = stream.read(&mut [0; 4096]);
    });
    let error = line(&open(&url("127.0.0.1", port), &trusting(CA)).unwrap_err());
    assert!(error.contains(": no https ("), "{error}");
}
