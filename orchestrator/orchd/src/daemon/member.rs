//! A running member: the tasks of a node, and on managers those of a manager.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use orch_core::dispatch::Assignment;
use orch_core::ids::NodeId;
use orch_core::objects::node::{NodeDescription, Role};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::LifecycleError;
use super::managing::Managing;
use super::state_dir::{StateDir, StoredMembership};
use crate::agent::{self, AgentContext};
use crate::args::Options;
use crate::netplane::NetPlane;
use crate::pki::credentials::Credentials;
use crate::plugin::Driver;
use crate::rpc::ClockOffset;
use crate::rpc::ManagerClient;
use crate::rpc::control::Control;
use crate::rpc::link::{self, Link, LinkConfig};
use crate::rpc::renewal::Renewer;

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
    /// What a manager does besides.
    pub managing: Option<Managing>,
    node: Option<NodeSide>,
}

/// The node's end of the link to the managers.
struct NodeSide {
    credentials: watch::Receiver<Arc<Credentials>>,
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
    /// The node has a new certificate, for this role.
    Role(Role),
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
            managing: None,
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

    /// Starts everything of a member, on managers those of a manager too.
    pub async fn start(
        &mut self,
        dir: &StateDir,
        membership: &StoredMembership,
        credentials: Credentials,
    ) -> Result<(), LifecycleError> {
        let credentials = watch::Sender::new(Arc::new(credentials));
        if membership.manager {
            self.manage(dir, membership, credentials.subscribe())
                .await?;
        } else {
            // What a manager that was demoted left, should it have ended in between.
            forget_raft(dir)?;
        }
        self.start_node(dir, membership, credentials);
        Ok(())
    }

    async fn manage(
        &mut self,
        dir: &StateDir,
        membership: &StoredMembership,
        credentials: watch::Receiver<Arc<Credentials>>,
    ) -> Result<(), LifecycleError> {
        let managing = Managing::resume(&self.context, dir, membership, credentials).await?;
        self.managing = Some(managing);
        Ok(())
    }

    /// Goes on as a manager, or as a worker. What runs on the node does not notice.
    pub async fn change_role(
        &mut self,
        dir: &StateDir,
        membership: &StoredMembership,
    ) -> Result<(), LifecycleError> {
        self.stop_managing().await;
        match (&self.node, membership.manager) {
            (Some(node), true) => {
                let credentials = node.credentials.clone();
                self.manage(dir, membership, credentials).await
            }
            (_, true) => Ok(()),
            (_, false) => forget_raft(dir),
        }
    }

    /// Goes on as a manager with an empty log and another place in the raft group.
    pub async fn take_another_place(
        &mut self,
        dir: &StateDir,
        membership: &StoredMembership,
    ) -> Result<(), LifecycleError> {
        self.stop_managing().await;
        forget_raft(dir)?;
        self.change_role(dir, membership).await
    }

    async fn stop_managing(&mut self) {
        if let Some(managing) = self.managing.take() {
            managing.stop().await;
        }
    }

    /// The cluster's state and control, on managers.
    pub fn control(&self) -> Option<&Control> {
        self.managing.as_ref().map(|managing| &managing.control)
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
        let config = LinkConfig {
            credentials: credentials.subscribe(),
            address: membership.advertise.ip(),
            managers: membership.known_managers(),
            tick: options.tick,
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
            credentials: credentials.subscribe(),
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
            assignments: node.assignments.clone(),
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

    fn supervise(
        &self,
        name: &'static str,
        task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
    ) {
        let failures = self.context.failures.clone();
        supervise(&self.tasks, &self.stop, failures, name, task);
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
                Ok(()) = node.credentials.changed() => {
                    return News::Role(node.credentials.borrow_and_update().identity().role);
                }
                else => return std::future::pending().await,
            }
        }
    }

    /// Waits for the first assignment, and on managers until they know the swarm; whether that came
    /// within `patience`.
    pub async fn joined(&self, patience: Duration) -> bool {
        let Some(node) = &self.node else { return false };
        let mut assignments = node.assignments.clone();
        let mut states = self.control().map(|control| control.manager().watch());
        let joined = async {
            assignments.wait_for(Option::is_some).await.is_ok()
                && match &mut states {
                    Some(states) => states.wait_for(|s| s.cluster().is_some()).await.is_ok(),
                    None => true,
                }
        };
        tokio::time::timeout(patience, joined)
            .await
            .unwrap_or(false)
    }

    /// Waits until the managers go on without this one; whether that came within `patience`.
    pub async fn dismissed(&self, patience: Duration) -> bool {
        let Some(node) = &self.node else { return false };
        let mut assignments = node.assignments.clone();
        let worker =
            |told: &Option<Assignment>| told.as_ref().is_some_and(|a| a.role == Role::Worker);
        let told = tokio::time::timeout(patience, assignments.wait_for(worker)).await;
        matches!(told, Ok(Ok(_)))
    }

    /// Stops all tasks. Containers and the data plane stay as they are.
    pub async fn stop(self) {
        self.stop.cancel();
        if let Some(managing) = self.managing {
            managing.stop().await;
        }
        end(&self.tasks).await;
    }
}

/// Waits for tasks that were told to end.
pub(super) async fn end(tasks: &TaskTracker) {
    tasks.close();
    if tokio::time::timeout(STOP_TIMEOUT, tasks.wait())
        .await
        .is_err()
    {
        tracing::error!("some tasks did not end in time");
    }
}

/// Runs a task that ends only with `stop`; anything else is a failure.
pub(super) fn supervise(
    tasks: &TaskTracker,
    stop: &CancellationToken,
    failures: mpsc::Sender<Failure>,
    name: &'static str,
    task: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) {
    let stop = stop.clone();
    tasks.spawn(async move {
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

fn forget_raft(dir: &StateDir) -> Result<(), LifecycleError> {
    dir.forget_raft()
        .map_err(|error| LifecycleError::Failed(format!("{error:#}")))
}

pub(super) async fn report(failures: &mpsc::Sender<Failure>, failure: Failure) {
    if failures.send(failure).await.is_err() {
        tracing::debug!("a failure while orchd stops");
    }
}
