//! The node's side of the cluster: runs the tasks that the managers assign to this host.
//!
//! [`run`] plugs a member's parts together and owns their life: assignments come in through the
//! link, are kept on disk and handed to the data plane ([`crate::netplane`]), the engine's driver
//! ([`crate::plugin`]) and the tasks' owner ([`tasks`]); statuses go back through the link. What
//! is to be done for a task is decided by [`orch_core::agent`]. Nothing here talks to a manager
//! but through the link and its client.
//!
//! Containers and data plane outlive the agent: a new one takes them over.

mod acknowledge;
mod executor;
mod intake;
mod listeners;
mod networks;
mod observer;
mod ports;
mod tasks;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use orch_core::dispatch::Assignment;
use orch_core::ids::NodeId;
use orch_core::objects::node::NodeDescription;
use orch_dataplane::{Config, DataPlane};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::args::Options;
use crate::engine::{Engine, EngineError};
use crate::netplane::NetPlane;
use crate::plugin::{self, Ledger};
use crate::rpc::client::ManagerClient;
use crate::rpc::link::NodeLink;
use crate::{dns, durable};

/// What the agent needs to run.
pub struct AgentContext {
    /// This node.
    pub node_id: NodeId,
    /// Its underlay address.
    pub node_address: IpAddr,
    /// UDP port of the overlay's tunnels.
    pub data_path_port: u16,
    /// Assignments in, reports out.
    pub link: NodeLink,
    /// Further calls to a manager.
    pub client: ManagerClient,
    /// The daemon's settings.
    pub options: Arc<Options>,
    /// The engine's driver, served by the daemon.
    pub driver: plugin::Driver,
    /// Told of the data plane while it is open.
    pub plane: watch::Sender<Option<NetPlane>>,
}

/// Where the agent keeps what must survive a restart.
fn folder(options: &Options) -> PathBuf {
    options.state_dir.join("agent")
}

/// Runs the agent until `shutdown`. Then everything on this host stays as it is.
///
/// # Errors
///
/// When the data plane cannot be brought up or the agent's files cannot be used.
pub async fn run(context: AgentContext, shutdown: CancellationToken) -> anyhow::Result<()> {
    let AgentContext {
        node_id,
        node_address,
        data_path_port,
        link,
        client,
        options,
        driver,
        plane: open_plane,
    } = context;
    let folder = folder(&options);
    durable::create_dir(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let kept = intake::Kept::new(&folder, node_id.clone());
    let last = last_assignment(&kept);
    let (assignment, assigned) = watch::channel(last.map(Arc::new));
    let plane = NetPlane::open(Config {
        node_address,
        vxlan_port: data_path_port,
        bpf_dir: options.bpf_dir.clone(),
        table_sizes: options.table_sizes(),
    })
    .await
    .context("cannot bring up the data plane")?;
    if let Some(last) = &*assigned.borrow() {
        plane.set_desired(last.network.clone());
    }
    open_plane.send_replace(Some(plane.clone()));
    let ledger = Ledger::open(&folder.join("attachments"))?;
    let node = Arc::new(plugin::Node::new(
        assigned.clone(),
        plane.clone(),
        client.clone(),
        ledger,
    ));
    driver.plug(Arc::clone(&node));

    let engine = Engine::new(&options.engine_socket);
    let mut background = JoinSet::new();
    background.spawn(acknowledge::acknowledge(plane.clone(), client.clone()));
    background.spawn(ports::watch(assigned.clone(), client));
    background.spawn(intake::take_in(
        link.assignments,
        kept,
        plane.clone(),
        assignment,
    ));
    background.spawn(plugin::keep_loans(Arc::clone(&node)));
    background.spawn(plugin::keep_names(Arc::clone(&node), engine.clone()));
    background.spawn(plugin::remove_leftovers(node, engine.clone()));
    background.spawn(dns::serve(plane.clone(), shutdown.clone()));
    let (networks, keeper) = networks::keeper(engine.clone(), assigned.clone());
    background.spawn(keeper);
    let (observer, observing) = observer::observe(engine.clone(), node_id.clone());
    background.spawn(observing);
    let executor = executor::Executor::new(engine, node_id, networks);
    let tasks = tasks::Tasks::new(executor, observer, assigned, link.reports);
    shutdown.run_until_cancelled(tasks.run()).await;
    driver.unplug();
    open_plane.send_replace(None);
    background.shutdown().await;
    plane.close().await;
    Ok(())
}

/// What this node was told before the daemon's start.
fn last_assignment(kept: &intake::Kept) -> Option<Assignment> {
    kept.load().unwrap_or_else(|error| {
        let error = format!("{error:#}");
        tracing::warn!(
            error,
            "waiting for an assignment: the last one cannot be used"
        );
        None
    })
}

/// What the engine says of this host. The address for tunnel packets is the caller's to add.
pub async fn describe(options: &Options) -> Result<NodeDescription, EngineError> {
    Engine::new(&options.engine_socket).describe().await
}

/// Removes everything of the cluster from this host: containers of tasks, networks of the engine,
/// the data plane and the agent's files. To be called when the agent has ended. Without `node`, a
/// membership that cannot be read, the kept assignment tells whose the containers are.
///
/// # Errors
///
/// What could not be removed, after everything else was. Calling it again goes on from there.
pub async fn cleanup(options: &Options, node: Option<&NodeId>) -> anyhow::Result<()> {
    let folder = folder(options);
    let engine = Engine::new(&options.engine_socket);
    let node = match node {
        Some(node) => Some(node.clone()),
        None => intake::Kept::owner(&folder)?,
    };
    let containers = match node {
        Some(node) => remove_containers(&engine, &node).await,
        None => Ok(()),
    };
    let networks = remove_networks(&engine).await;
    DataPlane::sweep(&options.bpf_dir)
        .await
        .context("cannot remove the data plane")?;
    containers.context("cannot remove the containers of this node's tasks")?;
    networks.context("cannot remove the cluster's networks from the engine")?;
    durable::remove(&folder).with_context(|| format!("cannot remove {}", folder.display()))
}

/// Stops and removes this node's task containers, all at once.
async fn remove_containers(engine: &Engine, node: &NodeId) -> Result<(), EngineError> {
    let mut removals = JoinSet::new();
    for container in engine.task_containers(node).await?.into_values() {
        let engine = engine.clone();
        removals.spawn(async move {
            if let Err(error) = engine.stop_container(&container.id, None).await {
                tracing::warn!(container = container.id, %error, "killing what does not stop");
            }
            engine.remove_container(&container.id).await
        });
    }
    removals.join_all().await.into_iter().collect()
}

/// Removes the engine's copies of cluster networks and takes foreign containers off them.
async fn remove_networks(engine: &Engine) -> Result<(), EngineError> {
    let mut result = Ok(());
    for network in engine.cluster_networks().await? {
        let removed = match engine.disconnect_all(&network.id).await {
            Ok(()) => engine.remove_network(&network.id).await,
            Err(error) => Err(error),
        };
        // One that stays is no reason to leave the others.
        result = result.and(removed);
    }
    result
}
