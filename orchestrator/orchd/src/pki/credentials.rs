//! What a node proves itself with: its key, its certificate and the root it trusts.

use std::fs;
use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use super::{Identity, PkiError, RootCertificate, ca, check_validity};
use crate::durable;

/// Root certificate, DER.
const ROOT: &str = "root.der";
/// Certificate and key (PKCS#8), MessagePack of two byte strings: one file, because they change
/// together.
const NODE: &str = "node.cert";

#[derive(Serialize, Deserialize)]
struct NodeFile {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// A node's private key, before and after it has a certificate.
pub struct NodeKey(KeyPair);

impl NodeKey {
    /// A new key.
    pub fn generate() -> Result<Self, PkiError> {
        ca::new_key().map(Self)
    }

    /// A certificate request (PKCS#10, DER) signed by the key.
    pub fn request(&self) -> Result<Vec<u8>, PkiError> {
        let request = CertificateParams::default()
            .serialize_request(&self.0)
            .map_err(|e| PkiError::crypto("cannot sign the certificate request", e))?;
        Ok(request.der().to_vec())
    }
}

/// What a node proves itself with.
pub struct Credentials {
    identity: Identity,
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
    root: RootCertificate,
}

impl Credentials {
    /// Puts together what a node was given. The certificate's owner is read from it.
    pub fn new(
        key: &NodeKey,
        certificate: CertificateDer<'static>,
        root: RootCertificate,
    ) -> Result<Self, PkiError> {
        let key = PrivatePkcs8KeyDer::from(key.0.serialize_der());
        Ok(Self {
            identity: Identity::of(&certificate)?,
            certificate,
            key,
            root,
        })
    }

    /// Who the owner is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The root it trusts.
    pub fn root(&self) -> &RootCertificate {
        &self.root
    }

    /// The same with another root to trust.
    #[cfg(test)]
    pub(crate) fn with_root(self, root: RootCertificate) -> Self {
        Self { root, ..self }
    }

    /// Certificate and root, as TLS sends them.
    pub(super) fn chain(&self) -> Vec<CertificateDer<'static>> {
        vec![self.certificate.clone(), self.root.der().clone()]
    }

    /// The private key.
    pub(super) fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.clone_key())
    }

    /// From when to when the certificate is meant to be used.
    pub fn lifetime(&self) -> Result<Range<SystemTime>, PkiError> {
        let validity = super::validity("node certificate", &self.certificate)?;
        Ok(validity.start + ca::BACKDATE..validity.end)
    }

    /// Refuses certificates whose time is over.
    pub fn check_validity(&self, now: SystemTime) -> Result<(), PkiError> {
        self.root.check_validity(now)?;
        check_validity("node certificate", &self.certificate, now)
    }

    /// Writes the files into `dir`, durably.
    pub fn save(&self, dir: &Path) -> Result<(), PkiError> {
        let file = |name: &str, content: &[u8]| {
            let path = dir.join(name);
            durable::write(&path, content).map_err(|source| PkiError::File { path, source })
        };
        durable::create_dir(dir).map_err(|source| PkiError::File {
            path: dir.to_owned(),
            source,
        })?;
        file(ROOT, self.root.der())?;
        let pair = NodeFile {
            certificate: self.certificate.to_vec(),
            key: self.key.secret_pkcs8_der().to_vec(),
        };
        let content = rmp_serde::to_vec_named(&pair)
            .map_err(|e| PkiError::crypto("cannot encode the node certificate", e))?;
        file(NODE, &content)
    }

    /// Reads the files in `dir`.
    pub fn load(dir: &Path) -> Result<Self, PkiError> {
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read(&path).map_err(|source| PkiError::File { path, source })
        };
        let root = RootCertificate::from_der(CertificateDer::from(read(ROOT)?))?;
        let pair: NodeFile = rmp_serde::from_slice(&read(NODE)?)
            .map_err(|e| PkiError::malformed("node certificate", e))?;
        let certificate = CertificateDer::from(pair.certificate);
        let key = PrivatePkcs8KeyDer::from(pair.key);
        Ok(Self {
            identity: Identity::of(&certificate)?,
            certificate,
            key,
            root,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;
    use crate::pki::tls::tests::cluster;

    #[test]
    fn credentials_survive_their_files_which_only_the_owner_may_read() {
        let dir = tempfile::tempdir().unwrap();
        let (_, credentials) = cluster(1);
        credentials.save(dir.path()).unwrap();
        let loaded = Credentials::load(dir.path()).unwrap();
        assert_eq!(loaded.identity, credentials.identity);
        assert_eq!(loaded.chain(), credentials.chain());
        assert_eq!(loaded.key, credentials.key);
        let mode = fs::metadata(dir.path().join(NODE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(loaded.check_validity(SystemTime::now()).is_ok());
        let late = SystemTime::now() + Duration::from_secs(366 * 24 * 3600);
        assert!(loaded.check_validity(late).is_err());
    }
}
