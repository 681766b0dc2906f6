//! The certificate authority's calls: a host with a join token becomes a node, and a node stays
//! one.

use std::collections::BTreeSet;
use std::time::SystemTime;

use ipnet::IpNet;
use orch_core::control::{self, ControlError};
use orch_core::ids::NodeId;
use orch_core::objects::Cluster;
use orch_core::objects::node::{Availability, Role};
use orch_core::store::{State, Tx};
use orch_proto::{
    IssueCertificateRequest, IssueCertificateResponse, RenewCertificateRequest,
    RenewCertificateResponse, ca_server,
};
use tonic::{Request, Response, Status};

use super::access::Peer;
use super::{clock, wire};
use crate::manager::ManagerHandle;
use crate::pki::ca::CertificateAuthority;
use crate::pki::token::{self, JoinToken};
use crate::pki::{Identity, PkiError};

const TOKEN_NEEDED: &str = "A valid join token is necessary to join this cluster";

/// Signs certificates for hosts with a join token.
pub(super) struct Ca {
    manager: ManagerHandle,
}

impl Ca {
    pub(super) fn new(manager: ManagerHandle) -> Self {
        Self { manager }
    }
}

/// How an availability is written in a request.
pub(super) const fn availability_name(availability: Availability) -> &'static str {
    match availability {
        Availability::Active => "active",
        Availability::Pause => "pause",
        Availability::Drain => "drain",
    }
}

fn parse_availability(text: &str) -> Result<Availability, Status> {
    [
        Availability::Active,
        Availability::Pause,
        Availability::Drain,
    ]
    .into_iter()
    .find(|a| availability_name(*a) == text)
    .ok_or_else(|| Status::invalid_argument(format!("unknown availability \"{text}\"")))
}

/// The role that the token gives in this cluster.
fn role_of(cluster: &Cluster, token: &JoinToken) -> Result<Role, ControlError> {
    token::role_of(token, &cluster.join_tokens)
        .ok_or_else(|| ControlError::PermissionDenied(TOKEN_NEEDED.to_owned()))
}

fn admit(
    tx: &mut Tx<'_>,
    identity: &Identity,
    token: &JoinToken,
    availability: Availability,
) -> Result<(), ControlError> {
    let no_cluster = || ControlError::FailedPrecondition("there is no swarm here".to_owned());
    // The token may have been rotated since the request came.
    let role = role_of(tx.cluster().ok_or_else(no_cluster)?, token)?;
    control::admit_node(tx, &identity.node, role, availability)
}

/// The ranges that networks are given addresses from, and those that they have.
fn address_ranges(state: &State) -> BTreeSet<IpNet> {
    let pools = state.cluster().into_iter();
    let pools = pools.flat_map(|cluster| &cluster.address_pools);
    let subnets = state.networks().flat_map(|network| &network.subnets);
    let given = subnets.map(|subnet| &subnet.range);
    pools.chain(given).copied().collect()
}

/// A certificate for the key of a request, DER.
fn sign(cluster: &Cluster, csr: &[u8], identity: &Identity) -> Result<Vec<u8>, Status> {
    let lifetime = cluster.spec.node_cert_expiry;
    let certificate = CertificateAuthority::open(&cluster.root_ca)
        .and_then(|authority| authority.issue(csr, identity, lifetime, SystemTime::now()))
        .map_err(cannot_sign)?;
    Ok(certificate.to_vec())
}

fn refused(error: ControlError) -> Status {
    wire::write_refused(error.into())
}

fn cannot_sign(error: PkiError) -> Status {
    match error {
        PkiError::Malformed {
            what: "certificate request",
            ..
        } => Status::invalid_argument(error.to_string()),
        PkiError::Malformed { .. }
        | PkiError::NotValidNow { .. }
        | PkiError::NoIdentity(_)
        | PkiError::Crypto { .. }
        | PkiError::File { .. } => Status::internal(error.to_string()),
    }
}

#[tonic::async_trait]
impl ca_server::Ca for Ca {
    async fn issue_certificate(
        &self,
        request: Request<IssueCertificateRequest>,
    ) -> Result<Response<IssueCertificateResponse>, Status> {
        let request = request.into_inner();
        let token: JoinToken = request
            .token
            .parse()
            .map_err(|_| Status::permission_denied(TOKEN_NEEDED))?;
        let state = self.manager.state();
        let cluster = state
            .cluster()
            .ok_or_else(|| Status::unavailable("there is no swarm here yet"))?;
        let role = role_of(cluster, &token).map_err(refused)?;
        let mut response = IssueCertificateResponse {
            data_path_port: u32::from(cluster.data_path_port),
            time_ms: clock::milliseconds(SystemTime::now()),
            manager: role == Role::Manager,
            address_ranges: address_ranges(&state)
                .iter()
                .map(ToString::to_string)
                .collect(),
            ..IssueCertificateResponse::default()
        };
        if request.csr.is_empty() {
            return Ok(Response::new(response));
        }
        let availability = parse_availability(&request.availability)?;
        let identity = Identity {
            node: NodeId::from_random(rand::random()),
            role,
            cluster: cluster.id.clone(),
        };
        response.node_id = identity.node.to_string();
        response.certificate = sign(cluster, &request.csr, &identity)?;
        let node = identity.node.clone();
        self.manager
            .write(move |tx| admit(tx, &identity, &token, availability))
            .await
            .map_err(wire::write_refused)?;
        tracing::info!(%node, ?role, "a node joined");
        Ok(Response::new(response))
    }

    async fn renew_certificate(
        &self,
        request: Request<RenewCertificateRequest>,
    ) -> Result<Response<RenewCertificateResponse>, Status> {
        let known = Peer::of(&request)?;
        let state = self.manager.state();
        let removed = || Status::permission_denied("this node was removed from the swarm");
        let node = state.node(&known.node).ok_or_else(removed)?;
        let cluster = state.cluster().ok_or_else(removed)?;
        let identity = Identity {
            role: node.serves_as(),
            ..known
        };
        let certificate = sign(cluster, &request.into_inner().csr, &identity)?;
        tracing::info!(node = %identity.node, "a node's certificate was renewed");
        Ok(Response::new(RenewCertificateResponse { certificate }))
    }
}
