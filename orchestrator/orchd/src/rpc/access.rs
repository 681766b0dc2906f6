//! Who may make which call.
//!
//! [`TABLE`] is the only place that says so and [`Guard`] the only one that enforces it, in front
//! of every service: a call that the table does not know is refused.

use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use orch_core::objects::node::Role;
use orch_core::store::State;
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::server::{TcpConnectInfo, TlsConnectInfo};
use tower::{Layer, Service};

use crate::pki::Identity;

/// Who may make a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody, also without a certificate.
    Anyone,
    /// Members of the cluster with one of these roles.
    Members(&'static [Role]),
}

const ANY_MEMBER: Access = Access::Members(&[Role::Worker, Role::Manager]);

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
    let entry = table.iter().find(|(name, _)| *name == method);
    let (_, access) = entry.ok_or_else(|| {
        Status::permission_denied(format!("nobody may call {method}: it is not known here"))
    })?;
    let roles = match access {
        Access::Anyone => return Ok(identity),
        Access::Members(roles) => roles,
    };
    let identity = identity.ok_or_else(no_certificate)?;
    let denied = |why: String| Err(Status::permission_denied(why));
    let Some(cluster) = state.cluster() else {
        return Err(Status::unavailable(
            "this manager is starting and does not know its swarm yet; try again",
        ));
    };
    if cluster.id != identity.cluster {
        return denied(format!("node {} belongs to another swarm", identity.node));
    }
    if state.node(&identity.node).is_none() {
        return denied(format!(
            "node {} was removed from this swarm",
            identity.node
        ));
    }
    if !roles.contains(&identity.role) {
        return denied(format!("a {:?} may not call {method}", identity.role));
    }
    Ok(Some(identity))
}

/// Puts a [`Guard`] in front of a service.
#[derive(Debug, Clone)]
pub(super) struct GuardLayer {
    pub(super) table: &'static [(&'static str, Access)],
    pub(super) state: watch::Receiver<State>,
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
        decide(
            self.rules.table,
            request.uri().path(),
            identity,
            &self.rules.state.borrow(),
        )
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
                tracing::warn!(method, reason = status.message(), "call refused");
                Box::pin(std::future::ready(Ok(status.into_http())))
            }
        }
    }
}
