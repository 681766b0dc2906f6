//! The loop on real raft with a real log.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use orch_core::control::{self, InitCluster};
use orch_core::ids::{ClusterId, NodeId};
use orch_core::objects::ClusterSpec;
use orch_core::objects::cluster::{JoinTokens, RootCa};
use orch_core::objects::node::{Availability, NodeDescription, NodeState, Role};
use orch_core::store::Object;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::hosts::AskHosts;
use super::*;
use crate::raft::{Log, Raft, RaftError, Room, SoleManager};

/// The first manager's node id.
pub(crate) const MANAGER: u128 = 100;
/// Short, so that nobody waits.
const TICK: Duration = Duration::from_millis(10);
/// The cluster's id.
pub(crate) const CLUSTER: u128 = 1;

/// A manager with a cluster, in a folder of its own.
pub(crate) struct TestManager {
    pub(crate) handle: ManagerHandle,
    pub(crate) stop: CancellationToken,
    /// Free bytes on the disk of the log.
    free: Arc<AtomicU64>,
    /// Hosts that do not answer.
    silent: watch::Sender<BTreeSet<IpAddr>>,
    raft: JoinHandle<Result<(), RaftError>>,
    dir: tempfile::TempDir,
}

impl TestManager {
    pub(crate) async fn start(root_ca: RootCa, join_tokens: JoinTokens) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("raft");
        Raft::found(&log, 7).unwrap();
        let this = Self::on(dir);
        let spec = ClusterSpec {
            heartbeat_period: Duration::from_secs(1),
            ..ClusterSpec::default()
        };
        let init = InitCluster {
            id: ClusterId::from_random(CLUSTER),
            spec,
            address_pools: vec!["10.0.0.0/8".parse().unwrap()],
            subnet_size: 24,
            data_path_port: 4789,
            root_ca,
            join_tokens,
            node: NodeId::from_random(MANAGER),
            availability: Availability::Active,
            raft_id: 7,
            manager_address: "127.0.0.1:2377".parse().unwrap(),
            address: "127.0.0.1".parse().unwrap(),
            description: NodeDescription::default(),
        };
        this.handle.led().await;
        this.handle
            .write(move |tx| control::init_cluster(tx, init))
            .await
            .unwrap();
        this
    }

    fn on(dir: tempfile::TempDir) -> Self {
        let stop = CancellationToken::new();
        let log = dir.path().join("raft");
        let free = Arc::new(AtomicU64::new(u64::MAX));
        let left = Arc::clone(&free);
        let room = Room::by(move || Some(left.load(Ordering::Relaxed)));
        let log = Log::open(&log).unwrap();
        let (raft, task) = Raft::start(log, room, SoleManager, TICK, stop.clone()).unwrap();
        let (silent, told) = watch::channel(BTreeSet::new());
        let ask: AskHosts = Arc::new(move |hosts, patience| {
            let silent = &hosts & &*told.borrow();
            Box::pin(async move {
                if !silent.is_empty() {
                    tokio::time::sleep(patience).await;
                }
                silent
            })
        });
        let (handle, _) = spawn(raft, ask, stop.clone());
        Self {
            handle,
            stop,
            free,
            silent,
            raft: task,
            dir,
        }
    }

    pub(crate) async fn plain() -> Self {
        let root = RootCa {
            certificate_pem: String::new(),
            key_pem: String::new(),
        };
        let tokens = JoinTokens {
            worker: String::new(),
            manager: String::new(),
        };
        Self::start(root, tokens).await
    }

    pub(crate) async fn restart(self) -> Self {
        self.stop.cancel();
        self.raft.await.unwrap().unwrap();
        drop(self.handle);
        Self::on(self.dir)
    }

    pub(crate) async fn wait_for(&self, condition: impl FnMut(&State) -> bool) -> State {
        let mut states = self.handle.watch();
        let met = tokio::time::timeout(Duration::from_secs(20), states.wait_for(condition));
        met.await
            .expect("the condition holds in time")
            .unwrap()
            .clone()
    }
}

fn admit(n: u128) -> impl FnOnce(&mut Tx<'_>) -> Result<(), ControlError> + Send + 'static {
    move |tx| {
        control::admit_node(
            tx,
            &NodeId::from_random(n),
            Role::Worker,
            Availability::Active,
        )
    }
}

fn rename(
    version: u64,
    name: &'static str,
) -> impl FnOnce(&mut Tx<'_>) -> Result<(), ControlError> + Send + 'static {
    move |tx| {
        let id = NodeId::from_random(1);
        let mut spec = tx.node(&id).unwrap().spec.clone();
        spec.name = Some(name.to_owned());
        control::update_node(tx, &id, version, spec, &Group::default())
    }
}

#[tokio::test]
async fn an_answered_write_is_in_the_state_and_survives_a_restart() {
    let manager = TestManager::plain().await;
    manager.handle.write(admit(1)).await.unwrap();
    assert!(
        manager
            .handle
            .state()
            .node(&NodeId::from_random(1))
            .is_some()
    );
    let manager = manager.restart().await;
    let state = manager.wait_for(|s| s.nodes().count() == 2).await;
    assert!(state.network_by_name("ingress").is_some());
}

#[tokio::test]
async fn a_refused_write_changes_nothing() {
    let manager = TestManager::plain().await;
    let before = manager.handle.state();
    let refused = manager
        .handle
        .write(|tx| {
            let manager = NodeId::from_random(MANAGER);
            let mut node = orch_core::objects::Node::clone(tx.node(&manager).unwrap());
            node.spec.name = Some("half".to_owned());
            tx.put(Object::Node(node));
            control::remove_node(tx, &NodeId::from_random(99), false)
        })
        .await;
    assert!(matches!(
        refused,
        Err(WriteError::Control(ControlError::NotFound { .. }))
    ));
    let node = manager
        .handle
        .state()
        .node(&NodeId::from_random(MANAGER))
        .cloned();
    assert_eq!(node, before.node(&NodeId::from_random(MANAGER)).cloned());
}

#[tokio::test]
async fn of_two_updates_of_one_version_in_one_group_the_second_is_refused() {
    let manager = TestManager::plain().await;
    manager.handle.write(admit(1)).await.unwrap();
    let version = manager
        .handle
        .state()
        .node(&NodeId::from_random(1))
        .unwrap()
        .meta
        .version;
    let (first, second) = tokio::join!(
        manager.handle.write(rename(version, "first")),
        manager.handle.write(rename(version, "second")),
    );
    first.unwrap();
    assert!(matches!(
        second,
        Err(WriteError::Control(ControlError::OutOfSequence))
    ));
    let node = manager
        .handle
        .state()
        .node(&NodeId::from_random(1))
        .cloned()
        .unwrap();
    assert_eq!(node.spec.name.as_deref(), Some("first"));
}

#[tokio::test]
async fn a_full_disk_refuses_changes_until_there_is_room() {
    let manager = TestManager::plain().await;
    let before = manager.handle.state();
    manager.free.store(3 << 20, Ordering::Relaxed);
    let refused = manager.handle.write(admit(1)).await.unwrap_err();
    assert!(refused.to_string().contains("has 3 MiB left"), "{refused}");
    assert_eq!(manager.handle.state(), before);
    // Its sessions outlive that: the manager goes on leading.
    let opened = SessionEvent::Opened {
        node: NodeId::from_random(MANAGER),
        session: "s".to_owned(),
    };
    manager.handle.session(opened).await;
    manager.handle.write(admit(1)).await.unwrap_err();
    let (reply, alive) = oneshot::channel();
    let beat = SessionEvent::Beat {
        node: NodeId::from_random(MANAGER),
        session: "s".to_owned(),
        alive: reply,
    };
    manager.handle.session(beat).await;
    assert_eq!(alive.await, Ok(true));
    manager.free.store(u64::MAX, Ordering::Relaxed);
    manager.handle.write(admit(1)).await.unwrap();
    assert_eq!(manager.handle.state().nodes().count(), 2);
}

/// A node at 192.0.2.1 with a session.
async fn with_session(manager: &TestManager, session: &str) -> NodeId {
    let node = NodeId::from_random(1);
    manager.handle.write(admit(1)).await.unwrap();
    let opened = SessionEvent::Opened {
        node: node.clone(),
        session: session.to_owned(),
    };
    manager.handle.session(opened).await;
    let of = node.clone();
    let address = "192.0.2.1".parse().unwrap();
    manager
        .handle
        .write(move |tx| control::open_session(tx, &of, NodeDescription::default(), address))
        .await
        .unwrap();
    node
}

/// Waits until the node's health is this, for this reason.
async fn wait_for_health(manager: &TestManager, node: &NodeId, state: NodeState, why: &str) {
    let is_so = |s: &State| {
        let status = s.node(node).map(|n| &n.status);
        status.is_some_and(|status| status.state == state && status.message == why)
    };
    manager.wait_for(is_so).await;
}

#[tokio::test]
async fn a_node_that_stops_beating_is_down() {
    let manager = TestManager::plain().await;
    let node = with_session(&manager, "s").await;
    for (session, alive) in [("s", true), ("another", false)] {
        let (reply, answer) = oneshot::channel();
        let session = session.to_owned();
        let beat = SessionEvent::Beat {
            node: node.clone(),
            session,
            alive: reply,
        };
        manager.handle.session(beat).await;
        assert_eq!(answer.await, Ok(alive));
    }
    wait_for_health(&manager, &node, NodeState::Ready, "").await;
    wait_for_health(&manager, &node, NodeState::Down, "heartbeat failure").await;
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_led_nowhere_and_then_given_up() {
    let manager = TestManager::plain().await;
    let node = with_session(&manager, "s").await;
    let broken = |session: &str| SessionEvent::Broken {
        node: node.clone(),
        session: session.to_owned(),
    };
    let host: IpAddr = "192.0.2.1".parse().unwrap();
    let silent = "host does not answer";
    manager.silent.send_replace([host].into());
    // An older session of the node, which nobody misses.
    manager.handle.session(broken("r")).await;
    manager.handle.session(broken("s")).await;
    wait_for_health(&manager, &node, NodeState::Unreachable, silent).await;
    manager.silent.send_replace(BTreeSet::new());
    wait_for_health(&manager, &node, NodeState::Ready, "").await;
    manager.silent.send_replace([host].into());
    wait_for_health(&manager, &node, NodeState::Unreachable, silent).await;
    wait_for_health(&manager, &node, NodeState::Down, silent).await;
}
