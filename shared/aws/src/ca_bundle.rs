//! Certificate authorities to trust instead of the system's, from `AWS_CA_BUNDLE` as in the AWS CLI.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder, ConnectorBuilder};
use aws_smithy_runtime_api::client::http::SharedHttpClient;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::config::{ConfigError, Env};

/// The file cannot be used as a bundle of certificates.
#[derive(Debug, thiserror::Error)]
pub enum CaBundleError {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// The file holds no certificate of an authority.
    #[error("the file holds no PEM certificate")]
    NoCertificate,
    /// The SDK rejects the certificates.
    #[error("the certificates cannot be used: {0}")]
    Unusable(String),
}

/// A file of PEM certificates.
#[derive(Clone, Debug)]
pub struct CaBundle {
    pem: String,
    tls: TlsContext,
}

impl CaBundle {
    /// Reads the file that `AWS_CA_BUNDLE` names, if it is set.
    pub fn from_env(env: &Env<impl Fn(&str) -> Option<String>>) -> Result<Option<Self>, ConfigError> {
        const NAME: &str = "AWS_CA_BUNDLE";
        let Some(value) = env.var(NAME) else { return Ok(None) };
        let read = Self::read(&value);
        read.map(Some).map_err(|why| ConfigError::Invalid { name: NAME, value, why: why.to_string() })
    }

    /// Reads a file of PEM certificates. Certificates that TLS cannot use are left out, as OpenSSL does.
    pub fn read(path: impl AsRef<Path>) -> Result<Self, CaBundleError> {
        let text = std::fs::read(path)?;
        let mut roots = RootCertStore::empty();
        let mut pem = String::new();
        for certificate in CertificateDer::pem_slice_iter(&text).flatten() {
            if roots.add(certificate.clone()).is_ok() {
                // Written anew, so that the bundle holds the usable certificates only.
                let der = STANDARD.encode(&certificate);
                // Writing to a string cannot fail.
                let _ = writeln!(pem, "-----BEGIN CERTIFICATE-----\n{der}\n-----END CERTIFICATE-----");
            }
        }
        if roots.is_empty() {
            return Err(CaBundleError::NoCertificate);
        }
        // The bundle replaces the system's authorities, as in the AWS CLI.
        let trusted = TrustStore::empty().with_pem_certificate(pem.as_bytes());
        let tls = TlsContext::builder().with_trust_store(trusted).build();
        Ok(Self { pem, tls: tls.map_err(|error| CaBundleError::Unusable(error.to_string()))? })
    }

    /// The usable certificates, in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Creates the SDK's own HTTP client, with these authorities in place of the system's.
    pub fn http_client(&self) -> SharedHttpClient {
        let tls = self.tls.clone();
        Builder::new().build_with_connector_fn(move |settings, components| {
            let mut connector = ConnectorBuilder::default()
                .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
                .tls_context(tls.clone());
            connector.set_connector_settings(settings.cloned());
            connector.set_sleep_impl(components.and_then(|components| components.sleep_impl()));
            // Who needs a bundle is often behind a proxy, so the variables that name the proxy count, too.
            connector.set_proxy_config(Some(ProxyConfig::from_env()));
            connector.build()
        })
    }
}

/// Returns `true` if a connection failed because the other side's certificate is not trusted.
pub fn is_certificate_error(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
            return true;
        }
        // `source` of an I/O error skips the error that it wraps.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = wrapped.map(|error| error as &(dyn Error + 'static)).or_else(|| error.source());
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_error_is_found_however_deep_it_is_wrapped() {
        let io_error = |why: rustls::Error| io::Error::other(io::Error::new(io::ErrorKind::InvalidData, why));
        let unknown = rustls::CertificateError::UnknownIssuer;
        assert!(is_certificate_error(&io_error(rustls::Error::InvalidCertificate(unknown))));
        assert!(!is_certificate_error(&io_error(rustls::Error::HandshakeNotComplete)));
        assert!(!is_certificate_error(&io::Error::from(io::ErrorKind::ConnectionRefused)));
    }

    #[test]
    fn an_invalid_bundle_is_rejected() {
        let dir = std::env::temp_dir();
        let error_of = |text: &str| {
            let file = dir.join(format!("bundle-{}.pem", uuid::Uuid::new_v4()));
            std::fs::write(&file, text).unwrap();
            let error = CaBundle::read(&file).unwrap_err().to_string();
            std::fs::remove_file(file).unwrap();
            error
        };
        assert_eq!(error_of(""), "the file holds no PEM certificate");
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(error_of(broken), "the file holds no PEM certificate");
        let missing = CaBundle::read("/nowhere/ca.pem").unwrap_err().to_string();
        assert_eq!(missing, "the file cannot be read: No such file or directory (os error 2)");
    }
}
