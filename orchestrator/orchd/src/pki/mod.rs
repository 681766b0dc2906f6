//! Trust between nodes: the cluster's certificate authority, node certificates, join tokens.
//!
//! Every node proves itself with a certificate of the cluster's own root: common name = node id,
//! organisational unit = role, organisation = cluster id. Nothing here decides who may do what:
//! that is `rpc::access`.

pub mod ca;
pub mod credentials;
pub mod tls;
pub mod token;

use std::fmt;
use std::ops::Range;
use std::time::{Duration, SystemTime};

use num_bigint::BigUint;
use orch_core::ids::{ClusterId, InvalidId, NodeId};
use orch_core::objects::cluster::{JoinTokens, RootCa};
use orch_core::objects::node::Role;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use sha2::{Digest, Sha256};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate};

use self::token::JoinToken;

/// Why a key or certificate is of no use.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A certificate or request cannot be read.
    #[error("the {what} cannot be read: {reason}")]
    Malformed {
        /// `node certificate`, ...
        what: &'static str,
        /// The decoder's words.
        reason: String,
    },
    /// A certificate's time is over, or has not come.
    #[error(
        "the {what} is valid from {from} to {to} and not now. Check this host's clock; if it is \
         right, leave the swarm and join it again"
    )]
    NotValidNow {
        /// `root certificate`, ...
        what: &'static str,
        /// Begin.
        from: String,
        /// End.
        to: String,
    },
    /// A certificate does not say who its owner is.
    #[error("the certificate does not name a node of a cluster: {0}")]
    NoIdentity(String),
    /// A key cannot be made or used.
    #[error("{what}: {reason}")]
    Crypto {
        /// What was tried.
        what: &'static str,
        /// The library's words.
        reason: String,
    },
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: std::path::PathBuf,
        /// What happened.
        source: std::io::Error,
    },
}

impl PkiError {
    fn malformed(what: &'static str, reason: impl fmt::Display) -> Self {
        Self::Malformed {
            what,
            reason: reason.to_string(),
        }
    }

    fn crypto(what: &'static str, reason: impl fmt::Display) -> Self {
        Self::Crypto {
            what,
            reason: reason.to_string(),
        }
    }
}

/// SHA-256 of a root certificate (DER): what join tokens pin.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RootDigest(pub [u8; 32]);

impl fmt::Display for RootDigest {
    /// The form that it has in a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:0>50}",
            BigUint::from_bytes_be(&self.0).to_str_radix(36)
        )
    }
}

impl fmt::Debug for RootDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A root certificate that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RootCertificate {
    der: CertificateDer<'static>,
}

impl RootCertificate {
    /// Parses PEM.
    pub fn from_pem(pem: &str) -> Result<Self, PkiError> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|e| PkiError::malformed("root certificate", e))?;
        Self::from_der(der)
    }

    /// Parses DER.
    pub fn from_der(der: CertificateDer<'static>) -> Result<Self, PkiError> {
        parse_certificate("root certificate", &der)?;
        Ok(Self { der })
    }

    /// The certificate.
    pub fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    /// What tokens pin.
    pub fn digest(&self) -> RootDigest {
        RootDigest(Sha256::digest(&self.der).into())
    }

    /// Refuses a root whose time is over. TLS itself does not look at that.
    pub fn check_validity(&self, now: SystemTime) -> Result<(), PkiError> {
        check_validity("root certificate", &self.der, now)
    }
}

/// Who a certificate says its owner is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The node.
    pub node: NodeId,
    /// What it is trusted with.
    pub role: Role,
    /// Its cluster.
    pub cluster: ClusterId,
}

/// The organisational unit of certificates of that role, also a name that they are valid for.
pub const fn role_name(role: Role) -> &'static str {
    match role {
        Role::Manager => "swarm-manager",
        Role::Worker => "swarm-worker",
    }
}

impl Identity {
    /// Reads the identity in a certificate that TLS has verified.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, PkiError> {
        let parsed = parse_certificate("certificate", certificate)?;
        let subject = parsed.subject();
        let text = |name: &str, mut values: Vec<&str>| match values.len() {
            1 => Ok(values.remove(0).to_owned()),
            n => Err(PkiError::NoIdentity(format!("it has {n} {name}s"))),
        };
        let bad_id = |e: InvalidId| PkiError::NoIdentity(e.to_string());
        let node = text(
            "common name",
            subject
                .iter_common_name()
                .filter_map(|a| a.as_str().ok())
                .collect(),
        )?;
        let unit = text(
            "organisational unit",
            subject
                .iter_organizational_unit()
                .filter_map(|a| a.as_str().ok())
                .collect(),
        )?;
        let organisation = text(
            "organisation",
            subject
                .iter_organization()
                .filter_map(|a| a.as_str().ok())
                .collect(),
        )?;
        let role = [Role::Manager, Role::Worker]
            .into_iter()
            .find(|role| role_name(*role) == unit)
            .ok_or_else(|| PkiError::NoIdentity(format!("unknown role \"{unit}\"")))?;
        Ok(Self {
            node: NodeId::parse(&node).map_err(bad_id)?,
            role,
            cluster: ClusterId::parse(&organisation).map_err(bad_id)?,
        })
    }
}

/// New join tokens where asked for, the current ones elsewhere: `swarm join-token --rotate`.
pub fn rotate_tokens(
    root: &RootCa,
    current: &JoinTokens,
    worker: bool,
    manager: bool,
) -> Result<JoinTokens, PkiError> {
    let digest = RootCertificate::from_pem(&root.certificate_pem)?.digest();
    let next = |rotate: bool, old: &String| {
        if rotate {
            JoinToken::generate(digest).to_string()
        } else {
            old.clone()
        }
    };
    Ok(JoinTokens {
        worker: next(worker, &current.worker),
        manager: next(manager, &current.manager),
    })
}

fn parse_certificate<'a>(
    what: &'static str,
    der: &'a CertificateDer<'_>,
) -> Result<X509Certificate<'a>, PkiError> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(PkiError::malformed(what, "there is something behind it")),
        Err(e) => Err(PkiError::malformed(what, e)),
    }
}

/// When a certificate begins and ends to be valid.
fn validity(what: &'static str, der: &CertificateDer<'_>) -> Result<Range<SystemTime>, PkiError> {
    let certificate = parse_certificate(what, der)?;
    let moment = |time: ASN1Time| {
        let seconds = u64::try_from(time.timestamp()).unwrap_or_default();
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    };
    let validity = certificate.validity();
    Ok(moment(validity.not_before)..moment(validity.not_after))
}

fn check_validity(
    what: &'static str,
    der: &CertificateDer<'_>,
    now: SystemTime,
) -> Result<(), PkiError> {
    let certificate = parse_certificate(what, der)?;
    let validity = certificate.validity();
    let seconds = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let now = i64::try_from(seconds)
        .ok()
        .and_then(|s| ASN1Time::from_timestamp(s).ok());
    if now.is_some_and(|now| validity.is_valid_at(now)) {
        return Ok(());
    }
    Err(PkiError::NotValidNow {
        what,
        from: validity.not_before.to_string(),
        to: validity.not_after.to_string(),
    })
}
