//! The driver on a real log file: what was acknowledged is there after a restart.

use std::path::Path;

use orch_core::consensus::{Batch, Entry, HardState, LogError, LogStore};
use orch_core::ids::{ClusterId, NodeId};
use orch_core::objects::cluster::{JoinTokens, RootCa};
use orch_core::objects::node::{Availability, NodeState, NodeStatus, Role};
use orch_core::objects::{Cluster, ClusterSpec, Labels, Meta, Node, NodeSpec};
use orch_core::store::{Change, Object, ObjectKey};

use super::*;

const SECRET: &str = "a secret that must not be found on the disk";

struct Running {
    raft: Raft,
    stop: CancellationToken,
    task: JoinHandle<Result<(), RaftError>>,
}

impl Running {
    fn start(dir: &Path) -> Self {
        let stop = CancellationToken::new();
        let (raft, task) = Raft::start(
            Log::open(dir).unwrap(),
            Room::of(dir),
            SoleManager,
            Duration::from_millis(50),
            stop.clone(),
        )
        .unwrap();
        Self { raft, stop, task }
    }

    /// Ends the task wherever it is, as a kill would: nothing is closed or flushed.
    async fn kill(self) -> State {
        let state = self.raft.state().borrow().clone();
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
        state
    }

    async fn lead(&self) {
        self.raft
            .leadership()
            .wait_for(|l| l.established)
            .await
            .unwrap();
    }
}

fn node(n: u128) -> Change {
    Change::Put(Object::Node(Node {
        id: NodeId::from_random(n),
        meta: Meta::default(),
        spec: NodeSpec {
            name: Some(SECRET.to_owned()),
            labels: Labels::new(),
            role: Role::Worker,
            availability: Availability::Active,
        },
        description: None,
        status: NodeStatus {
            state: NodeState::Down,
            message: String::new(),
            address: None,
        },
        manager: None,
        taken_ports: Default::default(),
    }))
}

/// A cluster that takes a snapshot every `interval` entries and keeps `trailing` before it.
fn cluster(interval: u64, trailing: u64) -> Change {
    let mut spec = ClusterSpec::default();
    spec.raft.snapshot_interval = interval;
    spec.raft.log_entries_for_slow_followers = trailing;
    Change::Put(Object::Cluster(Cluster {
        id: ClusterId::from_random(1),
        meta: Meta::default(),
        spec,
        address_pools: Vec::new(),
        subnet_size: 24,
        data_path_port: 4789,
        root_ca: RootCa {
            certificate_pem: String::new(),
            key_pem: SECRET.to_owned(),
        },
        join_tokens: JoinTokens {
            worker: String::new(),
            manager: String::new(),
        },
        removed_nodes: Default::default(),
    }))
}

fn new_log() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    Raft::found(dir.path(), 7).unwrap();
    dir
}

#[tokio::test]
async fn acknowledged_entries_survive_a_kill() {
    let dir = new_log();
    let running = Running::start(dir.path());
    for n in 1..=20 {
        let state = running.raft.propose(&[node(n)]).await.unwrap();
        assert!(state.node(&NodeId::from_random(n)).is_some());
    }
    let before = running.kill().await;
    let again = Running::start(dir.path());
    again.lead().await;
    let after = again.raft.state().borrow().clone();
    assert_eq!(after, before);
    assert_eq!(after.nodes().count(), 20);
    // And it goes on from there.
    let gone = ObjectKey::Node(NodeId::from_random(1));
    let state = again.raft.propose(&[Change::Remove(gone)]).await.unwrap();
    assert!(state.version() > before.version());
    assert_eq!(state.nodes().count(), 19);
}

#[tokio::test]
async fn proposals_made_together_are_all_committed() {
    let dir = new_log();
    let running = Running::start(dir.path());
    let proposals = (1..=50).map(|n| {
        let raft = running.raft.clone();
        async move { raft.propose(&[node(n)]).await }
    });
    for outcome in futures_util::future::join_all(proposals).await {
        outcome.unwrap();
    }
    assert_eq!(running.raft.state().borrow().nodes().count(), 50);
}

#[tokio::test]
async fn the_log_is_compacted_and_restored_from_a_snapshot() {
    let dir = new_log();
    let running = Running::start(dir.path());
    running.raft.propose(&[cluster(10, 3)]).await.unwrap();
    for n in 1..=35 {
        running.raft.propose(&[node(n)]).await.unwrap();
    }
    running.stop.cancel();
    let before = running.raft.state().borrow().clone();
    running.task.await.unwrap().unwrap();
    drop(running.raft);
    let log = Log::open(dir.path()).unwrap();
    let snapshot = log.newest_snapshot().unwrap().get_metadata().index;
    assert!(snapshot > 30, "{snapshot}");
    assert_eq!(log.first_index().unwrap(), snapshot - 3 + 1);
    assert!(matches!(log.term(1), Err(LogError::Compacted)));
    drop(log);
    let again = Running::start(dir.path());
    again.lead().await;
    assert_eq!(*again.raft.state().borrow(), before);
}

#[tokio::test]
async fn nothing_secret_is_readable_in_the_folder() {
    let dir = new_log();
    let running = Running::start(dir.path());
    running.raft.propose(&[cluster(2, 1)]).await.unwrap();
    for n in 1..=6 {
        running.raft.propose(&[node(n)]).await.unwrap();
    }
    running.kill().await;
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let content = std::fs::read(file.unwrap().path()).unwrap();
        assert!(
            !content
                .windows(SECRET.len())
                .any(|w| w == SECRET.as_bytes())
        );
    }
}

#[test]
fn a_log_with_a_foreign_key_does_not_open_its_values() {
    let (dir, other) = (new_log(), new_log());
    std::fs::copy(other.path().join("seal.key"), dir.path().join("seal.key")).unwrap();
    let log = Log::open(dir.path()).unwrap();
    assert!(matches!(log.newest_snapshot(), Err(LogFileError::Seal(_))));
}

fn entry(index: u64, term: u64) -> Entry {
    Entry {
        index,
        term,
        data: vec![1, 2, 3].into(),
        ..Entry::default()
    }
}

#[test]
fn an_entry_of_a_new_term_replaces_what_followed() {
    let dir = new_log();
    let log = Log::open(dir.path()).unwrap();
    let hard_state = HardState {
        term: 2,
        vote: 7,
        commit: 1,
        ..HardState::default()
    };
    let entries = vec![entry(2, 2), entry(3, 2), entry(4, 2)];
    let batch = Batch {
        entries,
        hard_state: Some(hard_state.clone()),
        ..Batch::default()
    };
    log.persist(&batch).unwrap();
    assert_eq!(log.last_index().unwrap(), 4);
    let batch = Batch {
        entries: vec![entry(3, 3)],
        ..Batch::default()
    };
    log.persist(&batch).unwrap();
    assert_eq!(log.last_index().unwrap(), 3);
    assert_eq!(log.term(3).unwrap(), 3);
    assert_eq!(log.entries(2, 4, None).unwrap(), [entry(2, 2), entry(3, 3)]);
    assert_eq!(log.entries(2, 4, Some(1)).unwrap(), [entry(2, 2)]);
    assert!(matches!(log.entries(2, 5, None), Ok(e) if e.len() == 2));
    assert!(matches!(log.term(4), Err(LogError::Unavailable)));
    assert_eq!(log.restored().unwrap().hard_state, hard_state);
    assert_eq!(log.restored().unwrap().members.get_voters(), [7]);
}

#[tokio::test]
async fn a_member_goes_on_alone_with_all_that_it_has() {
    let dir = new_log();
    let running = Running::start(dir.path());
    running.raft.propose(&[cluster(3, 1)]).await.unwrap();
    for n in 1..=5 {
        running.raft.propose(&[node(n)]).await.unwrap();
    }
    let before = running.kill().await;
    refound(dir.path(), 9, |state| {
        assert_eq!(*state, before);
        Ok(vec![node(6)])
    })
    .unwrap();
    assert_eq!(Log::open(dir.path()).unwrap().member().unwrap(), 9);
    let again = Running::start(dir.path());
    again.lead().await;
    let after = again.raft.propose(&[node(7)]).await.unwrap();
    assert_eq!(after.nodes().count(), 7);
    assert!(after.version() > before.version() + 1);
    assert_eq!(again.raft.group().borrow().voters, [9].into());
    // What cannot be changed is left as it was.
    let before = again.kill().await;
    let refused = refound(dir.path(), 10, |_| Err(ControlError::OutOfSequence.into()));
    assert!(refused.is_err());
    assert_eq!(Log::open(dir.path()).unwrap().member().unwrap(), 9);
    let last = Running::start(dir.path());
    last.lead().await;
    assert_eq!(*last.raft.state().borrow(), before);
}
