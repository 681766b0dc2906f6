//! TLS between nodes: who is believed, on either side.

use std::sync::Arc;
use std::time::SystemTime;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, ServerConfig,
    SignatureScheme,
};

use super::credentials::Credentials;
use super::{PkiError, RootCertificate, RootDigest, role_name};
use orch_core::objects::node::Role;

/// gRPC is HTTP/2.
const ALPN: &[u8] = b"h2";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots(root: &RootCertificate) -> Result<Arc<RootCertStore>, PkiError> {
    let mut store = RootCertStore::empty();
    store
        .add(root.der().clone())
        .map_err(|e| PkiError::malformed("root certificate", e))?;
    Ok(Arc::new(store))
}

fn unusable(reason: impl std::fmt::Display) -> PkiError {
    PkiError::crypto("the certificate cannot be used for TLS", reason)
}

/// A manager's side: clients may come without a certificate (to ask for one), but a certificate
/// that they show must be the cluster's.
pub fn server(credentials: &Credentials) -> Result<ServerConfig, PkiError> {
    let verifier =
        WebPkiClientVerifier::builder_with_provider(roots(credentials.root())?, provider())
            .allow_unauthenticated()
            .build()
            .map_err(unusable)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(credentials.chain(), credentials.key())
        .map_err(unusable)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// A member's side towards a manager. Refuses certificates whose time is over.
pub fn client(credentials: &Credentials) -> Result<ClientConfig, PkiError> {
    credentials.check_validity(SystemTime::now())?;
    client_unchecked(credentials)
}

/// [`client`] with whatever certificate there is.
pub(crate) fn client_unchecked(credentials: &Credentials) -> Result<ClientConfig, PkiError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .with_root_certificates(roots(credentials.root())?)
        .with_client_auth_cert(credentials.chain(), credentials.key())
        .map_err(unusable)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// The side of a host that is no member yet: it believes the cluster whose root certificate has
/// the digest that its token names.
pub fn joining(expected: RootDigest) -> Result<ClientConfig, PkiError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PinnedRoot {
            expected,
            provider: provider(),
        }))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

/// The name that managers' certificates are valid for.
pub fn manager_name() -> Result<ServerName<'static>, PkiError> {
    ServerName::try_from(role_name(Role::Manager)).map_err(unusable)
}

/// The root certificate that the other side of a joining connection showed. It was verified.
pub fn shown_root(chain: &[CertificateDer<'_>]) -> Result<RootCertificate, PkiError> {
    let root = chain
        .last()
        .ok_or_else(|| unusable("the manager showed no certificate"))?;
    RootCertificate::from_der(root.clone().into_owned())
}

/// Accepts a server whose chain ends in a root certificate of the expected digest.
#[derive(Debug)]
struct PinnedRoot {
    expected: RootDigest,
    provider: Arc<CryptoProvider>,
}

/// The root is another one.
#[derive(Debug, thiserror::Error)]
#[error("remote CA does not match fingerprint. Expected: {expected} Got {found}")]
struct FingerprintMismatch {
    expected: RootDigest,
    found: RootDigest,
}

/// Why a manager was not believed, in words for the user.
pub fn reason(error: &rustls::Error) -> String {
    use CertificateError as E;
    let rustls::Error::InvalidCertificate(refused) = error else {
        return error.to_string();
    };
    if let E::Other(OtherError(inner)) = refused {
        return inner.to_string();
    }
    let words = if matches!(refused, E::Expired | E::ExpiredContext { .. }) {
        "its certificate has expired, or this host's clock is wrong"
    } else if matches!(refused, E::NotValidYet | E::NotValidYetContext { .. }) {
        "its certificate is not valid yet: check the clocks of both hosts"
    } else if matches!(refused, E::UnknownIssuer | E::BadSignature) {
        "its certificate was not issued by this swarm's authority"
    } else {
        return error.to_string();
    };
    words.to_owned()
}

fn refused(error: impl std::error::Error + Send + Sync + 'static) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(error))).into()
}

impl ServerCertVerifier for PinnedRoot {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let root = shown_root(intermediates).map_err(refused)?;
        let found = root.digest();
        if found != self.expected {
            return Err(refused(FingerprintMismatch {
                expected: self.expected,
                found,
            }));
        }
        let moment = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(now.as_secs());
        root.check_validity(moment).map_err(refused)?;
        let roots = roots(&root).map_err(refused)?;
        WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&self.provider))
            .build()
            .map_err(refused)?
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::Duration;

    use orch_core::ids::{ClusterId, NodeId};
    use orch_core::objects::cluster::RootCa;

    use super::*;
    use crate::pki::ca::{CertificateAuthority, new_root};
    use crate::pki::credentials::NodeKey;
    use crate::pki::{Identity, PkiError};

    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

    /// Credentials of a node of a cluster.
    pub(crate) fn issue(
        root: &RootCa,
        cluster: u128,
        node: u128,
        role: Role,
        now: SystemTime,
        lifetime: Duration,
    ) -> Credentials {
        let authority = CertificateAuthority::open(root).unwrap();
        let key = NodeKey::generate().unwrap();
        let identity = Identity {
            node: NodeId::from_random(node),
            role,
            cluster: ClusterId::from_random(cluster),
        };
        let request = key.request().unwrap();
        let certificate = authority.issue(&request, &identity, lifetime, now).unwrap();
        Credentials::new(&key, certificate, authority.root().clone()).unwrap()
    }

    /// A new cluster's root and its manager.
    pub(crate) fn cluster(id: u128) -> (RootCa, Credentials) {
        let now = SystemTime::now();
        let root = new_root(now).unwrap();
        let manager = issue(&root, id, id * 100, Role::Manager, now, YEAR);
        (root, manager)
    }

    fn verify(
        expected: RootDigest,
        chain: &[CertificateDer<'_>],
        at: SystemTime,
    ) -> Result<(), String> {
        let pinned = PinnedRoot {
            expected,
            provider: provider(),
        };
        let now = UnixTime::since_unix_epoch(at.duration_since(SystemTime::UNIX_EPOCH).unwrap());
        let name = manager_name().unwrap();
        pinned
            .verify_server_cert(&chain[0], &chain[1..], &name, &[], now)
            .map(|_| ())
            .map_err(|e| reason(&e))
    }

    #[test]
    fn a_joining_host_believes_only_the_root_its_token_names() {
        let (_, manager) = cluster(1);
        let (_, foreign) = cluster(2);
        let expected = manager.root().digest();
        let now = SystemTime::now();
        assert_eq!(verify(expected, &manager.chain(), now), Ok(()));
        let error = verify(expected, &foreign.chain(), now).unwrap_err();
        assert!(
            error.contains("remote CA does not match fingerprint"),
            "{error}"
        );
        // A foreign leaf in front of the right root is of no use either.
        let mixed = [foreign.chain()[0].clone(), manager.chain()[1].clone()];
        assert!(verify(expected, &mixed, now).is_err());
        // Nor is a chain without a root.
        assert!(verify(expected, &manager.chain()[..1], now).is_err());
    }

    #[test]
    fn a_joining_host_refuses_workers_and_expired_roots() {
        let (root, manager) = cluster(1);
        let now = SystemTime::now();
        let worker = issue(&root, 1, 5, Role::Worker, now, YEAR);
        let expected = manager.root().digest();
        assert!(verify(expected, &worker.chain(), now).is_err());
        let error = verify(expected, &manager.chain(), now + 21 * YEAR).unwrap_err();
        assert!(error.contains("root certificate"), "{error}");
    }

    #[test]
    fn an_expired_certificate_makes_no_connection() {
        let past = SystemTime::now() - YEAR;
        let root = new_root(past).unwrap();
        let old = issue(&root, 1, 5, Role::Worker, past, YEAR / 2);
        let error = client(&old).unwrap_err();
        assert!(matches!(
            error,
            PkiError::NotValidNow {
                what: "node certificate",
                ..
            }
        ));
    }
}
