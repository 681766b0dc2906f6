//! `swarm join`: from a token and an address of a manager to a node.

use std::net::SocketAddr;

use orch_core::objects::node::{Availability, Role};

use super::state_dir::{StateDir, StoredMembership};
use super::{JoinRequest, LifecycleError, address, preflight};
use crate::args::Options;
use crate::pki::credentials::Credentials;
use crate::pki::token::JoinToken;
use crate::rpc::client::{Admission, LeaderSearch, Terms};
use crate::rpc::{self, RpcError};

/// A join whose every condition is met, before anything has changed.
pub(super) struct Joining {
    admission: Admission,
    manager: SocketAddr,
    availability: Availability,
    advertise: SocketAddr,
    listen: SocketAddr,
    data_path: std::net::IpAddr,
}

/// A manager that takes this host into its swarm.
struct Reached {
    admission: Admission,
    manager: SocketAddr,
    terms: Terms,
}

impl Joining {
    /// Finds the managers and checks that this host suits their swarm.
    pub async fn prepare(options: &Options, request: &JoinRequest) -> Result<Self, LifecycleError> {
        let token: JoinToken = request.token.parse()?;
        let interfaces = address::interfaces()?;
        let Reached {
            admission,
            manager,
            terms,
        } = reach(&request.remote_addrs, &token).await?;
        let mut listen = address::listen(&request.listen_addr, rpc::PORT, &interfaces)?;
        let advertise = match request.advertise_addr.as_str() {
            "" => SocketAddr::new(address::towards(manager)?, listen.port()),
            text => address::advertise(text, listen, &interfaces)?,
        };
        address::listen_for(&mut listen, advertise);
        let data_path = address::data_path(&request.data_path_addr, advertise.ip(), &interfaces)?;
        let role = preflight::Role {
            data_path_port: terms.data_path_port,
            manager_port: (terms.role == Role::Manager).then_some(listen.port()),
            ranges: terms.ranges,
            clock: Some(terms.clock),
        };
        preflight::check(options, role).await?;
        Ok(Self {
            admission,
            manager,
            availability: request.availability,
            advertise,
            listen,
            data_path,
        })
    }

    /// Becomes a node, and keeps that it is one.
    pub async fn admit(
        self,
        dir: &StateDir,
    ) -> Result<(StoredMembership, Credentials), LifecycleError> {
        let admitted = self.admission.request(self.availability).await?;
        let identity = admitted.credentials.identity().clone();
        admitted.credentials.save(&dir.certs())?;
        let stored = StoredMembership {
            node_id: identity.node,
            cluster_id: identity.cluster,
            manager: identity.role == Role::Manager,
            advertise: self.advertise,
            data_path_address: self.data_path,
            data_path_port: admitted.data_path_port,
            listen: self.listen,
            managers: Vec::new(),
            joined_at: Some(self.manager),
        };
        dir.save(&stored)
            .map_err(|error| LifecycleError::Failed(format!("{error:#}")))?;
        Ok((stored, admitted.credentials))
    }
}

/// Connects to the first manager that answers and is one that the token names; goes on to the one
/// that leads.
async fn reach(remotes: &[String], token: &JoinToken) -> Result<Reached, LifecycleError> {
    let mut managers = Vec::new();
    let mut error =
        LifecycleError::BadAddress("at least one RemoteAddr is required to join".to_owned());
    for text in remotes {
        let remote = address::remote(text, rpc::PORT)?;
        let found = tokio::net::lookup_host(&remote).await;
        match found.map(|mut found| found.next()) {
            Ok(Some(manager)) => managers.push(manager),
            Ok(None) | Err(_) => {
                let reason = "the name has no address".to_owned();
                let manager = remote;
                error = RpcError::Unreachable { manager, reason }.into();
            }
        }
    }
    if managers.is_empty() {
        return Err(error);
    }
    let mut search = LeaderSearch::among(&managers);
    loop {
        let manager = search.next()?;
        match reach_one(manager, token).await {
            Ok(reached) => return Ok(reached),
            Err(error) => search.failed(manager, error).await?,
        }
    }
}

async fn reach_one(manager: SocketAddr, token: &JoinToken) -> Result<Reached, RpcError> {
    let admission = Admission::connect(&manager.to_string(), token.clone()).await?;
    let terms = admission.check().await?;
    Ok(Reached {
        admission,
        manager,
        terms,
    })
}
