//! Whom to trust for https, and what is wrong with a server that is not to be trusted.

use std::io;
use std::sync::Arc;

use goldring_contract::calendar;
use rustls::CertificateError as C;
use rustls::pki_types::UnixTime;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::problem::RemoteError;
use super::url::Url;

/// Trusts the certificates in `pem`, and nobody else.
pub(super) fn config(pem: &[u8]) -> Result<TlsConfig, RemoteError> {
    // Another call may have been first; then it is there.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut roots = Vec::new();
    for item in parse_pem(pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => roots.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(RemoteError::Ca(error.to_string())),
        }
    }
    if roots.is_empty() {
        return Err(RemoteError::Ca("it holds no certificate".to_owned()));
    }
    let roots = RootCerts::Specific(Arc::new(roots));
    Ok(TlsConfig::builder().root_certs(roots).build())
}

/// What TLS had against the server, in a sentence; `None` for an error of another kind.
pub(super) fn problem(url: &Url, error: &io::Error) -> Option<String> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(wrong) = error else {
        return Some(format!("no https ({error}); is it a web server for https?"));
    };
    let clock = || date_of(UnixTime::now());
    Some(match wrong {
        C::NotValidYet => format!(
            "the server's certificate is not valid yet, says this node, whose clock says {}; {CLOCK}",
            clock()
        ),
        C::NotValidYetContext { not_before, .. } => format!(
            "the server's certificate is valid from {} on, but this node's clock says {}; {CLOCK}",
            date_of(*not_before),
            clock()
        ),
        C::Expired => format!(
            "the server's certificate has expired, says this node, whose clock says {}; {CLOCK}",
            clock()
        ),
        C::ExpiredContext { not_after, .. } => format!(
            "the server's certificate was valid until {}, and this node's clock says {}; {CLOCK}",
            date_of(*not_after),
            clock()
        ),
        C::UnknownIssuer | C::BadSignature => "the server's certificate is signed by nobody whom \
             this image trusts; make it with `cargo xtask image --ca FILE` of the one who signed it"
            .to_owned(),
        C::NotValidForName | C::NotValidForNameContext { .. } => format!(
            "the server's certificate is not for {}; write a name in server: that it is for",
            url.host
        ),
        other => format!("the server's certificate is not good ({other})"),
    })
}

const CLOCK: &str = "set the node's clock if it is wrong, else renew the certificate";

fn date_of(time: UnixTime) -> String {
    calendar::date(time.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        for pem in [
            &b""[..],
            b"hello",
            b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
        ] {
            assert!(matches!(config(pem), Err(RemoteError::Ca(_))));
        }
    }
}
