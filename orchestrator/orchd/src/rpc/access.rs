//! Who may make which call.
//!
//! [`TABLE`] is the only place that says so and [`Guard`] the only one that enforces it, in front
//! of every service: a call that the table does not know is refused. A manager that does not lead
//! serves no call but raft's: it says who leads.

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use orch_core::ids::NodeId;
use orch_core::objects::Cluster;
use orch_core::objects::node::Role;
use orch_core::store::State;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tower::{Layer, Service};

use super::wire;
use crate::manager::ManagerHandle;
use crate::pki::Identity;

/// Who may make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody, also without a certificate.
    Anyone,
    /// Members of the cluster with one of these roles.
    Members(&'static [Role]),
    /// Managers, at any manager, also at one that has not heard of them yet: it may be behind.
    Peers,
}

const ANY_MEMBER: Access = Access::Members(&[Role::Worker, Role::Manager]);
const MANAGERS: Access = Access::Members(&[Role::Manager]);

/// Method → who may call it.
pub(super) const TABLE: &[(&str, Access)] = &[
    ("/orch.node.v1.Ca/IssueCertificate", Access::Anyone),
    ("/orch.node.v1.Ca/RenewCertificate", ANY_MEMBER),
    ("/orch.node.v1.Dispatcher/Session", ANY_MEMBER),
    ("/orch.node.v1.Dispatcher/Heartbeat", ANY_MEMBER),
    ("/orch.node.v1.Dispatcher/ReportTasks", ANY_MEMBER),
    ("/orch.node.v1.Dispatcher/Acknowledge", ANY_MEMBER),
    ("/orch.node.v1.Dispatcher/Attach", ANY_MEMBER),
    ("/orch.node.v1.Dispatcher/NameAttachment", ANY_MEMBER),
    ("/orch.node.v1.Dispatcher/Detach", ANY_MEMBER),
    ("/orch.node.v1.Dispatcher/SyncAttachments", ANY_MEMBER),
    ("/orch.node.v1.Dispatcher/ReportPorts", ANY_MEMBER),
    ("/orch.node.v1.Dispatcher/Leave", ANY_MEMBER),
    ("/orch.node.v1.Managers/Carry", Access::Peers),
    ("/orch.node.v1.Managers/Enroll", MANAGERS),
    ("/orch.node.v1.Managers/Control", MANAGERS),
];

/// The member that makes a call; services find it in the request's extensions.
#[derive(Debug, Clone)]
pub(super) struct Peer(pub(super) Identity);

impl Peer {
    /// The member that made this call.
    pub(super) fn of<T>(request: &tonic::Request<T>) -> Result<Identity, Status> {
        let peer = request.extensions().get::<Self>();
        peer.map(|p| p.0.clone()).ok_or_else(no_certificate)
    }
}

fn no_certificate() -> Status {
    Status::unauthenticated("only members of the swarm may make this call: show a certificate")
}

/// Decides about one call. `identity` is what the verified certificate says, if one was shown.
pub(super) fn decide(
    table: &[(&str, Access)],
    method: &str,
    identity: Option<Identity>,
    state: &State,
) -> Result<Option<Identity>, Status> {
    match access_to(table, method)? {
        Access::Anyone => Ok(identity),
        Access::Members(roles) => {
            let identity = identity.ok_or_else(no_certificate)?;
            check_member(&identity, roles, method, state)?;
            Ok(Some(identity))
        }
        Access::Peers => {
            let identity = identity.ok_or_else(no_certificate)?;
            check_peer(&identity, method, state)?;
            Ok(Some(identity))
        }
    }
}

fn access_to(table: &[(&str, Access)], method: &str) -> Result<Access, Status> {
    let entry = table.iter().find(|(name, _)| *name == method);
    let (_, access) = entry.ok_or_else(|| {
        Status::permission_denied(format!("nobody may call {method}: it is not known here"))
    })?;
    Ok(*access)
}

fn removed(node: &NodeId) -> Status {
    Status::permission_denied(format!("node {node} was removed from this swarm"))
}

/// Whether the caller is of this cluster, if it is known which one that is.
fn check_cluster(identity: &Identity, cluster: &Cluster) -> Result<(), Status> {
    let node = &identity.node;
    if cluster.id != identity.cluster {
        let why = format!("node {node} belongs to another swarm");
        return Err(Status::permission_denied(why));
    }
    if cluster.removed_nodes.contains_key(node) {
        return Err(removed(node));
    }
    Ok(())
}

fn check_member(
    identity: &Identity,
    roles: &[Role],
    method: &str,
    state: &State,
) -> Result<(), Status> {
    let Some(cluster) = state.cluster() else {
        return Err(Status::unavailable(
            "this manager is starting and does not know its swarm yet; try again",
        ));
    };
    check_cluster(identity, cluster)?;
    let node = state
        .node(&identity.node)
        .ok_or_else(|| removed(&identity.node))?;
    // A certificate outlives what its node is trusted with.
    let role = identity.role.min(node.serves_as());
    if !roles.contains(&role) {
        let why = format!("a {role:?} may not call {method}");
        return Err(Status::permission_denied(why));
    }
    Ok(())
}

fn check_peer(identity: &Identity, method: &str, state: &State) -> Result<(), Status> {
    if let Some(cluster) = state.cluster() {
        check_cluster(identity, cluster)?;
    }
    if identity.role != Role::Manager {
        let why = format!("a {:?} may not call {method}", identity.role);
        return Err(Status::permission_denied(why));
    }
    Ok(())
}

/// Puts a [`Guard`] in front of a service.
#[derive(Debug, Clone)]
pub(super) struct GuardLayer {
    pub(super) table: &'static [(&'static str, Access)],
    pub(super) manager: ManagerHandle,
}

impl<S> Layer<S> for GuardLayer {
    type Service = Guard<S>;

    fn layer(&self, inner: S) -> Guard<S> {
        Guard {
            rules: self.clone(),
            inner,
        }
    }
}

/// Lets through what the table allows.
#[derive(Debug, Clone)]
pub(super) struct Guard<S> {
    rules: GuardLayer,
    inner: S,
}

impl<S> Guard<S> {
    fn check(&self, request: &http::Request<Body>) -> Result<Option<Identity>, Status> {
        let connection = request.extensions().get::<TlsConnectInfo<TcpConnectInfo>>();
        let certificates = connection.and_then(TlsConnectInfo::peer_certs);
        let identity = certificates
            .as_ref()
            .and_then(|chain| chain.first())
            .map(Identity::of)
            .transpose()
            .map_err(|e| Status::unauthenticated(e.to_string()))?;
        let GuardLayer { table, manager } = &self.rules;
        let method = request.uri().path();
        let decided = decide(table, method, identity, &manager.state())?;
        if access_to(table, method)? != Access::Peers && !manager.leads() {
            return Err(wire::not_leader(manager.leader()));
        }
        Ok(decided)
    }
}

impl<S> Service<http::Request<Body>> for Guard<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>> + Send,
    S::Future: Send + 'static,
    S::Error: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        match self.check(&request) {
            Ok(identity) => {
                if let Some(identity) = identity {
                    request.extensions_mut().insert(Peer(identity));
                }
                Box::pin(self.inner.call(request))
            }
            Err(status) => {
                let method = request.uri().path();
                // Nothing is wrong when somebody looks for the leader.
                match wire::leader_elsewhere(&status) {
                    Some(leader) => tracing::debug!(method, ?leader, "call for the leader"),
                    None => tracing::warn!(method, reason = status.message(), "call refused"),
                }
                Box::pin(std::future::ready(Ok(status.into_http())))
            }
        }
    }
}
