//! The cluster's certificate authority.

use std::time::{Duration, SystemTime};

use orch_core::objects::cluster::RootCa;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};

use super::{Identity, PkiError, RootCertificate, role_name};

/// Lifetime of the root: as Swarm's.
const ROOT_LIFETIME: Duration = Duration::from_secs(20 * 365 * 24 * 3600);
/// Certificates are valid from this long ago, for hosts whose clock is behind.
pub(super) const BACKDATE: Duration = Duration::from_secs(3600);

/// A certificate authority that can sign.
pub struct CertificateAuthority {
    root: RootCertificate,
    issuer: Issuer<'static, KeyPair>,
}

/// Makes a new root: what the cluster object keeps.
pub fn new_root(now: SystemTime) -> Result<RootCa, PkiError> {
    let key = new_key()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "swarm-ca");
    params.not_before = (now - BACKDATE).into();
    params.not_after = (now + ROOT_LIFETIME).into();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params
        .self_signed(&key)
        .map_err(|e| PkiError::crypto("cannot sign the root", e))?;
    Ok(RootCa {
        certificate_pem: certificate.pem(),
        key_pem: key.serialize_pem(),
    })
}

/// A new P-256 key.
pub(super) fn new_key() -> Result<KeyPair, PkiError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        .map_err(|e| PkiError::crypto("cannot make a key", e))
}

impl CertificateAuthority {
    /// The authority that a cluster keeps.
    pub fn open(root: &RootCa) -> Result<Self, PkiError> {
        let key = KeyPair::from_pem(&root.key_pem)
            .map_err(|e| PkiError::malformed("key of the root certificate", e))?;
        let certificate = RootCertificate::from_pem(&root.certificate_pem)?;
        let issuer = Issuer::from_ca_cert_der(certificate.der(), key)
            .map_err(|e| PkiError::malformed("root certificate", e))?;
        Ok(Self {
            root: certificate,
            issuer,
        })
    }

    /// The root certificate.
    pub fn root(&self) -> &RootCertificate {
        &self.root
    }

    /// Signs a certificate for the key of `request` (PKCS#10, DER). Nothing but the key is taken
    /// from the request: who its owner is, the authority says.
    pub fn issue(
        &self,
        request: &[u8],
        identity: &Identity,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<CertificateDer<'static>, PkiError> {
        self.root.check_validity(now)?;
        let request = CertificateSigningRequestDer::from(request);
        let request = CertificateSigningRequestParams::from_der(&request)
            .map_err(|e| PkiError::malformed("certificate request", e))?;
        let role = role_name(identity.role);
        let mut params = CertificateParams::new([identity.node.to_string(), role.to_owned()])
            .map_err(|e| PkiError::crypto("cannot name the certificate", e))?;
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, identity.node.as_str());
        params
            .distinguished_name
            .push(DnType::OrganizationalUnitName, role);
        params
            .distinguished_name
            .push(DnType::OrganizationName, identity.cluster.as_str());
        params.not_before = (now - BACKDATE).into();
        params.not_after = (now + lifetime).into();
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.use_authority_key_identifier_extension = true;
        let certificate = params
            .signed_by(&request.public_key, &self.issuer)
            .map_err(|e| PkiError::crypto("cannot sign the certificate", e))?;
        Ok(certificate.der().clone())
    }
}

#[cfg(test)]
mod tests {
    use orch_core::ids::{ClusterId, NodeId};
    use orch_core::objects::node::Role;

    use super::*;
    use crate::pki::credentials::NodeKey;

    fn identity() -> Identity {
        Identity {
            node: NodeId::from_random(1),
            role: Role::Worker,
            cluster: ClusterId::from_random(2),
        }
    }

    #[test]
    fn a_certificate_says_who_its_owner_is() {
        let now = SystemTime::now();
        let authority = CertificateAuthority::open(&new_root(now).unwrap()).unwrap();
        let request = NodeKey::generate().unwrap().request().unwrap();
        let lifetime = Duration::from_secs(3600);
        let certificate = authority
            .issue(&request, &identity(), lifetime, now)
            .unwrap();
        assert_eq!(Identity::of(&certificate).unwrap(), identity());
    }

    #[test]
    fn a_root_whose_time_is_over_signs_nothing() {
        let now = SystemTime::now();
        let authority = CertificateAuthority::open(&new_root(now).unwrap()).unwrap();
        let request = NodeKey::generate().unwrap().request().unwrap();
        let late = now + ROOT_LIFETIME + Duration::from_secs(1);
        let error = authority
            .issue(&request, &identity(), BACKDATE, late)
            .unwrap_err();
        assert!(matches!(error, PkiError::NotValidNow { .. }), "{error}");
    }

    #[test]
    fn a_damaged_request_is_refused() {
        let now = SystemTime::now();
        let authority = CertificateAuthority::open(&new_root(now).unwrap()).unwrap();
        let request = NodeKey::generate().unwrap().request().unwrap();
        for damaged in [b"".as_slice(), b"hello", &request[..request.len() / 2]] {
            let issued = authority.issue(damaged, &identity(), BACKDATE, now);
            assert!(matches!(issued, Err(PkiError::Malformed { .. })));
        }
    }
}
