//! Every call, over real TLS on loopback, with every kind of wrong caller; joining and the link.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use orch_core::control;
use orch_core::dispatch::{Acknowledgement, Assignment, TaskReport};
use orch_core::ids::{NodeId, TaskId};
use orch_core::objects::cluster::RootCa;
use orch_core::objects::node::{Availability, NodeDescription, NodeState, Role};
use orch_core::objects::service::{EndpointSpec, ServiceMode};
use orch_core::objects::task::{ContainerSpec, TaskStatus};
use orch_core::objects::{ServiceSpec, TaskSpec};
use orch_core::store::State;
use orch_core::task_state::{DesiredState, TaskState};
use orch_core::time::Timestamp;
use orch_proto::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::FileDescriptorSet;
use rustls::ClientConfig;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::Code;

use super::access::{Access, TABLE, decide};
use super::carrier::Inbox;
use super::client::Admission;
use super::link::{self, LinkConfig};
use super::*;
use crate::manager::tests::{CLUSTER, MANAGER, TestManager};
use crate::pki::ca::new_root;
use crate::pki::credentials::Credentials;
use crate::pki::tls::tests::issue;
use crate::pki::token::{JoinToken, new_tokens};
use crate::pki::{Identity, RootCertificate, tls};

mod callers;
mod sessions;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);
/// Longer than anything here takes; only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(20);
/// A worker that is a member.
const WORKER: u128 = 200;

struct Server {
    manager: TestManager,
    root: RootCa,
    address: SocketAddr,
}

impl Server {
    async fn start(table: &'static [(&'static str, Access)]) -> Self {
        Self::start_as(table, |root| member(root, MANAGER, Role::Manager)).await
    }

    /// With other credentials than a manager should have.
    async fn start_as(
        table: &'static [(&'static str, Access)],
        credentials: impl FnOnce(&RootCa) -> Credentials,
    ) -> Self {
        let root = new_root(SystemTime::now() - YEAR).unwrap();
        let digest = RootCertificate::from_pem(&root.certificate_pem)
            .unwrap()
            .digest();
        let manager = TestManager::start(root.clone(), new_tokens(digest)).await;
        manager
            .handle
            .write(|tx| {
                let worker = NodeId::from_random(WORKER);
                control::admit_node(tx, &worker, Role::Worker, Availability::Active)
            })
            .await
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let credentials = lasting(credentials(&root));
        let (handle, stop) = (manager.handle.clone(), manager.stop.clone());
        tokio::spawn(async move {
            server::serve_with(table, listener, credentials, handle, nobody(), stop)
                .await
                .unwrap();
        });
        Self {
            manager,
            root,
            address,
        }
    }

    fn token(&self, role: Role) -> JoinToken {
        let state = self.manager.handle.state();
        let tokens = &state.cluster().unwrap().join_tokens;
        let text = match role {
            Role::Manager => &tokens.manager,
            Role::Worker => &tokens.worker,
        };
        text.parse().unwrap()
    }

    /// Makes an empty call and returns how it was refused.
    async fn call(&self, config: ClientConfig, method: &str) -> Result<(), RpcError> {
        let (channel, _) = connection::connect(&self.address.to_string(), config).await?;
        let mut client = tonic::client::Grpc::new(channel);
        client.ready().await.unwrap();
        let path = method.parse().unwrap();
        let codec = tonic_prost::ProstCodec::<(), ()>::default();
        client.unary(tonic::Request::new(()), path, codec).await?;
        Ok(())
    }

    async fn refusal(&self, config: ClientConfig, method: &str) -> Option<Code> {
        match self.call(config, method).await {
            Err(RpcError::Refused { code, .. }) => Some(code),
            Ok(()) | Err(_) => None,
        }
    }
}

/// Where raft's messages go when there is one manager.
fn nobody() -> Inbox {
    tokio::sync::mpsc::channel(1).0
}

/// Credentials that nobody renews.
fn lasting(credentials: Credentials) -> watch::Receiver<Arc<Credentials>> {
    watch::channel(Arc::new(credentials)).1
}

fn member(root: &RootCa, node: u128, role: Role) -> Credentials {
    issue(root, CLUSTER, node, role, SystemTime::now(), YEAR)
}

fn expired(root: &RootCa, node: u128, role: Role) -> Credentials {
    issue(
        root,
        CLUSTER,
        node,
        role,
        SystemTime::now() - YEAR,
        YEAR / 2,
    )
}

async fn join(server: &Server, token: JoinToken) -> String {
    let joined = async {
        let admission = Admission::connect(&server.address.to_string(), token).await?;
        admission.request(Availability::Active).await
    };
    joined.await.map(|_| ()).unwrap_err().to_string()
}
