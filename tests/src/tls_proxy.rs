//! A TLS server whose certificate is signed by an authority of the tests' own.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Accepts TLS and forwards to a plain HTTP server.
pub struct TlsProxy {
    /// URL of the proxy.
    pub url: String,
    /// File with its authority's certificate, preceded by a block that is not a certificate.
    pub ca_bundle: PathBuf,
    /// File with the certificate of an authority that did not sign the proxy's.
    pub untrusted_ca_bundle: PathBuf,
    server_task: JoinHandle<()>,
}

impl TlsProxy {
    /// Starts a proxy in front of the server at this URL.
    pub async fn in_front_of(http_url: &str) -> Self {
        let (authority, other) = (create_authority(), create_authority());
        let acceptor = create_acceptor(&authority);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let behind = http_url.trim_start_matches("http://").to_owned();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, behind) = (acceptor.clone(), behind.clone());
                tokio::spawn(async move {
                    let mut secured = acceptor.accept(stream).await?;
                    let mut plain = TcpStream::connect(behind).await?;
                    tokio::io::copy_bidirectional(&mut secured, &mut plain).await
                });
            }
        });
        let odd = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let bundle = write_pem("bundle", &format!("{odd}{}", authority.pem()));
        Self {
            ca_bundle: bundle,
            untrusted_ca_bundle: write_pem("other-bundle", &other.pem()),
            url,
            server_task: serving,
        }
    }
}

impl Drop for TlsProxy {
    fn drop(&mut self) {
        self.server_task.abort();
        for file in [&self.ca_bundle, &self.untrusted_ca_bundle] {
            let _ = std::fs::remove_file(file);
        }
    }
}

fn create_authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn create_acceptor(authority: &CertifiedIssuer<'static, KeyPair>) -> TlsAcceptor {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder().with_no_client_auth();
    let config = config.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

fn write_pem(name: &str, pem: &str) -> PathBuf {
    let file = std::env::temp_dir().join(format!("{name}-{}.pem", uuid::Uuid::new_v4()));
    std::fs::write(&file, pem).unwrap();
    file
}
