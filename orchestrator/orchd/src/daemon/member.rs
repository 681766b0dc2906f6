//! A running member: the tasks of a node, and on managers those of a manager.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use orch_core::dispatch::Assignment;
use orch_core::ids::NodeId;
use orch_core::objects::node::NodeDescription;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::LifecycleError;
use super::state_dir::{StateDir, StoredMembership};
use crate::agent::{self, AgentContext};
use crate::args::Options;
use crate::manager::{self, ManagerHandle};
use crate::netplane::NetPlane;
use crate::pki::credentials::Credentials;
use crate::plugin::Driver;
use crate::raft::{Raft, Room, SoleManager};
use crate::rpc::ClockOffset;
use crate::rpc::link::{self, Link, LinkConfig};
use crate::rpc::renewal::Renewer;
use crate::rpc::{ManagerClient, server};

/// Time that the tasks have to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(20);

/// Something that the running member cannot get over by itself.
#[derive(Debug)]
pub(super) enum Failure {
    /// The process must end: what it promised can no longer be kept.
    Fatal(String),
    /// The member stops and is started again a little later.
    Restart(String),
}

/// What every member is started with.
#[derive(Clone)]
pub(super) struct Context {
    pub options: Arc<Options>,
    pub driver: Driver,
    pub plane: watch::Sender<Option<NetPlane>>,
    pub failures: mpsc::Sender<Failure>,
}

/// A running member. Dropping it does not stop it: [`Running::stop`] does.
pub(super) struct Running {
    context: Context,
    stop: CancellationToken,
    tasks: TaskTracker,
    /// The cluster's control, on managers.
    pub manager: Option<ManagerHandle>,
    node: Option<NodeSide>,
}

/// The node's end of the link to the managers.
struct NodeSide {
    client: ManagerClient,
    assignments: watch::Receiver<Option<Assignment>>,
    managers: watch::Receiver<Vec<(NodeId, SocketAddr)>>,
    fault: watch::Receiver<Option<String>>,
    clock: watch::Receiver<Option<ClockOffset>>,
}

/// Something that the link to the managers told.
pub(super) enum News {
    /// A new assignment.
    Assignment(Box<Assignment>),
    /// The managers changed.
    Managers(Vec<(NodeId, SocketAddr)>),
    /// Why this node cannot reach any manager through its own fault; `None`: it can again.
    Fault(Option<String>),
}

fn failed(what: &str, error: impl std::fmt::Display) -> LifecycleError {
    LifecycleError::Failed(format!("{what}: {error}"))
}

/// Takes the port of node-to-node calls.
pub(super) async fn bind(address: SocketAddr) -> Result<TcpListener, LifecycleError> {
    TcpListener::bind(address).await.map_err(|e| {
        LifecycleError::BadAddress(format!(
            "cannot listen on {address} for other nodes: {e}; choose another address or port \
             with --listen-addr"
        ))
    })
}

/// What this host says of itself; `data_path` is where it wants its tunnel packets.
pub(super) async fn describe(
    options: &Options,
    data_path: std::net::IpAddr,
) -> Result<NodeDescription, crate::engine::EngineError> {
    let mut description = agent::describe(options).await?;
    description.data_path_address = Some(data_path);
    Ok(description)
}

impl Running {
    /// A member of which nothing runs yet.
    pub fn new(context: Context) -> Self {
        Self {
            context,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            manager: None,
            node: None,
        }
    }

    /// Starts everything of the member that the state folder describes.
    pub async fn resume(
        context: Context,
        dir: &StateDir,
        membership: &StoredMembership,
    ) -> Result<Self, LifecycleError> {
        let credentials = Credentials::load(&dir.certs())?;
        let mut running = Self::new(context);
        let started = running.start(dir, membership, credentials).await;
        if let Err(error) = started {
            running.stop().await;
            return Err(error);
        }
        Ok(running)
    }

    async fn start(
        &mut self,
        dir: &StateDir,
        membership: &StoredMembership,
        credentials: Credentials,
    ) -> Result<(), LifecycleError> {
        let credentials = watch::Sender::new(Arc::new(credentials));
        if let Some(listen) = membership.listen {
            let listener = bind(listen).await?;
            self.start_manager(dir)?;
            self.serve(listener, credentials.subscribe());
        }
        self.start_node(dir, membership, credentials);
        Ok(())
    }

    /// Starts raft and the manager on the log in the state folder.
    pub fn start_manager(&mut self, dir: &StateDir) -> Result<ManagerHandle, LifecycleError> {
        let log = dir.raft();
        let (raft, member) = Raft::start(&log, Room::of(&log), SoleManager, self.stop.clone())
            .map_err(|e| failed("cannot start raft", e))?;
        let failures = self.context.failures.clone();
        self.tasks.spawn(async move {
            let reason = match member.await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            report(&failures, Failure::Fatal(reason)).await;
        });
        let (handle, leader) = manager::spawn(raft, self.stop.clone());
        self.supervise("the manager", async move {
            leader.await.map_err(anyhow::Error::from)
        });
        self.manager = Some(handle.clone());
        Ok(handle)
    }

    /// Serves the calls of nodes.
    pub fn serve(&self, listener: TcpListener, credentials: watch::Receiver<Arc<Credentials>>) {
        let Some(manager) = self.manager.clone() else {
            return;
        };
        let stop = self.stop.clone();
        self.supervise("the node-to-node server", async move {
            Ok(server::serve(listener, credentials, manager, stop).await?)
        });
    }

    /// Starts the link to the managers, the agent, and what renews the certificate.
    pub fn start_node(
        &mut self,
        dir: &StateDir,
        membership: &StoredMembership,
        credentials: watch::Sender<Arc<Credentials>>,
    ) {
        let options = Arc::clone(&self.context.options);
        let data_path = membership.data_path_address;
        let describing = Arc::clone(&options);
        let addresses = membership.managers.iter().map(|(_, address)| *address);
        let config = LinkConfig {
            credentials: credentials.subscribe(),
            address: membership.node_address,
            managers: addresses.chain(membership.joined_at).collect(),
            describe: move || {
                let options = Arc::clone(&describing);
                async move { describe(&options, data_path).await }
            },
        };
        let Link {
            node,
            client,
            managers,
            fault,
            clock,
        } = link::open(config, &self.tasks, &self.stop);
        self.node = Some(NodeSide {
            client: client.clone(),
            assignments: node.assignments.clone(),
            managers,
            fault,
            clock,
        });
        let renewer = Renewer {
            client: client.clone(),
            credentials,
            dir: dir.certs(),
        };
        let stop = self.stop.clone();
        self.supervise("the renewal of the certificate", async move {
            let renewing = stop.run_until_cancelled(renewer.run()).await;
            Ok(renewing.unwrap_or(Ok(()))?)
        });
        let agent = AgentContext {
            node_id: membership.node_id.clone(),
            node_address: data_path,
            data_path_port: membership.data_path_port,
            link: node,
            client,
            options,
            driver: self.context.driver.clone(),
            plane: self.context.plane.clone(),
        };
        self.supervise("the agent", agent::run(agent, self.stop.clone()));
    }

    /// Runs a task that ends only with the member; anything else is a failure.
    fn supervise(
        &self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let (failures, stop) = (self.context.failures.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let outcome = task.await;
            if !stop.is_cancelled() {
                let reason = match outcome {
                    Ok(()) => format!("{name} ended"),
                    Err(error) => format!("{name} failed: {error:#}"),
                };
                report(&failures, Failure::Restart(reason)).await;
            }
        });
    }

    /// How far a manager's clock is from this host's.
    pub fn clock(&self) -> Option<watch::Receiver<Option<ClockOffset>>> {
        self.node.as_ref().map(|node| node.clock.clone())
    }

    /// Calls to the managers.
    pub fn client(&self) -> Option<&ManagerClient> {
        self.node.as_ref().map(|node| &node.client)
    }

    /// Waits until the link tells something new. Cancel-safe.
    pub async fn news(&mut self) -> News {
        let Some(node) = &mut self.node else {
            return std::future::pending().await;
        };
        loop {
            tokio::select! {
                Ok(()) = node.assignments.changed() => {
                    let assignment = node.assignments.borrow_and_update().clone();
                    if let Some(assignment) = assignment {
                        return News::Assignment(Box::new(assignment));
                    }
                }
                Ok(()) = node.managers.changed() => {
                    return News::Managers(node.managers.borrow_and_update().clone());
                }
                Ok(()) = node.fault.changed() => {
                    return News::Fault(node.fault.borrow_and_update().clone());
                }
                else => return std::future::pending().await,
            }
        }
    }

    /// Waits for the first assignment; whether it came within `patience`.
    pub async fn joined(&self, patience: Duration) -> bool {
        let Some(node) = &self.node else { return false };
        let mut assignments = node.assignments.clone();
        let first = assignments.wait_for(Option::is_some);
        matches!(tokio::time::timeout(patience, first).await, Ok(Ok(_)))
    }

    /// Stops all tasks. Containers and the data plane stay as they are.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.close();
        if tokio::time::timeout(STOP_TIMEOUT, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::error!("some tasks did not end in time");
        }
    }
}

async fn report(failures: &mpsc::Sender<Failure>, failure: Failure) {
    if failures.send(failure).await.is_err() {
        tracing::debug!("a failure while orchd stops");
    }
}
