//! Any bytes as the answer of a web or FTP server, and as a URL: the clients end soon, and
//! what was read as a URL reads again.
#![no_main]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use goldring_transfer::fetch::small_with;
use goldring_transfer::remote::{Options, Scheme, Url};
use libfuzzer_sys::fuzz_target;

/// What the server answers from now on, and where it is.
type Server = (Mutex<Sender<Vec<u8>>>, u16);

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let port = listener.local_addr().expect("it has an address").port();
        let (sender, receiver) = channel::<Vec<u8>>();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            for mut stream in listener.incoming().flatten() {
                if let Some(newer) = receiver.try_iter().last() {
                    bytes = newer;
                }
                // A web client asks first; an FTP client waits.
                let _ = stream.set_read_timeout(Some(Duration::from_millis(1)));
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(&bytes);
                let _ = stream.shutdown(Shutdown::Write);
            }
        });
        (Mutex::new(sender), port)
    })
}

fuzz_target!(|data: &[u8]| {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(url) = Url::parse(text) {
            assert!(Url::parse(&url.to_string()).is_ok(), "{url}");
        }
        let base = Url::parse("http://h/a").expect("it is one");
        let _ = base.join(text);
        let _ = Url::on_server(Scheme::Http, text, text, text);
    }
    let (sender, port) = server();
    let sender = sender.lock().expect("nobody panics with it");
    sender.send(data.to_vec()).expect("the server lives");
    let options = Options {
        pause: Duration::ZERO,
        ..Options::new(Duration::from_millis(20))
    };
    for scheme in ["http", "ftp"] {
        let url = Url::parse(&format!("{scheme}://127.0.0.1:{port}/f")).expect("it is one");
        let _ = small_with(&url, 1 << 20, &options);
    }
});
