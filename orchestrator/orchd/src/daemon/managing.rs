//! What a manager does besides what every node does: raft, deciding, serving nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use orch_core::store::State;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::LifecycleError;
use super::member::{Context, Failure, end, report, supervise};
use super::state_dir::{StateDir, StoredMembership};
use crate::manager;
use crate::manager::hosts::AskHosts;
use crate::netplane::NetPlane;
use crate::pki::credentials::Credentials;
use crate::raft::{Log, Raft, Room};
use crate::rpc::carrier::{Carrier, Inbox, Myself};
use crate::rpc::control::Control;
use crate::rpc::{client, server};

/// A running manager. Dropping it does not stop it: [`Managing::stop`] does.
pub(super) struct Managing {
    /// The cluster's state and control.
    pub control: Control,
    /// Its id in the raft group.
    pub member: u64,
    /// A version of the state in which it has that place, if it got it just now.
    pub since: u64,
    stop: CancellationToken,
    tasks: TaskTracker,
    failures: mpsc::Sender<Failure>,
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

impl Managing {
    /// Starts everything of a manager. One that has no log yet gets a place in the raft group.
    pub async fn resume(
        context: &Context,
        dir: &StateDir,
        membership: &StoredMembership,
        credentials: watch::Receiver<Arc<Credentials>>,
    ) -> Result<Self, LifecycleError> {
        let listener = bind(membership.listen).await?;
        let mut since = 0;
        if !dir.raft().exists() {
            let known = Arc::clone(&credentials.borrow());
            let managers = membership.known_managers();
            let place = client::enroll(&known, &managers, membership.advertise).await?;
            since = place.version;
            dir.enroll(place.raft_id)
                .map_err(|e| failed("cannot make the log of a manager", format!("{e:#}")))?;
        }
        let (mut managing, inbox) =
            Self::start(context, dir, membership.advertise, credentials.clone())?;
        managing.since = since;
        managing.serve(listener, credentials, inbox);
        Ok(managing)
    }

    /// Starts raft on the log in the state folder, and what decides. Returns where raft's messages
    /// go in.
    pub fn start(
        context: &Context,
        dir: &StateDir,
        address: SocketAddr,
        credentials: watch::Receiver<Arc<Credentials>>,
    ) -> Result<(Self, Inbox), LifecycleError> {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let failures = context.failures.clone();
        let log = Log::open(&dir.raft()).map_err(|e| failed("cannot open raft's log", e))?;
        let myself = Myself {
            id: log
                .member()
                .map_err(|e| failed("cannot read raft's log", e))?,
            address,
            credentials: credentials.clone(),
        };
        let member_id = myself.id;
        let (told, addresses) = watch::channel(BTreeMap::new());
        let (carrier, inbox) = Carrier::new(myself, addresses, stop.clone());
        let tick = context.options.tick;
        let (raft, member) = Raft::start(log, Room::of(&dir.raft()), carrier, tick, stop.clone())
            .map_err(|e| failed("cannot start raft", e))?;
        let fatal = failures.clone();
        tasks.spawn(async move {
            let reason = match member.await {
                Ok(Ok(())) => return,
                Ok(Err(error)) => error.to_string(),
                Err(error) => error.to_string(),
            };
            report(&fatal, Failure::Fatal(reason)).await;
        });
        let following = tell_addresses(raft.state(), told);
        tasks.spawn(stop.clone().run_until_cancelled_owned(following));
        let (handle, leader) =
            manager::spawn(raft, through(context.plane.subscribe()), stop.clone());
        let deciding = async move { leader.await.map_err(anyhow::Error::from) };
        supervise(&tasks, &stop, failures.clone(), "the manager", deciding);
        let managing = Self {
            control: Control::new(handle, credentials),
            member: member_id,
            since: 0,
            stop,
            tasks,
            failures,
        };
        Ok((managing, inbox))
    }

    /// Serves the calls of nodes.
    pub fn serve(
        &self,
        listener: TcpListener,
        credentials: watch::Receiver<Arc<Credentials>>,
        inbox: Inbox,
    ) {
        let (manager, stop) = (self.control.manager().clone(), self.stop.clone());
        let serving =
            async move { Ok(server::serve(listener, credentials, manager, inbox, stop).await?) };
        let (tasks, failures) = (&self.tasks, self.failures.clone());
        supervise(
            tasks,
            &self.stop,
            failures,
            "the node-to-node server",
            serving,
        );
    }

    /// Stops it; the log stays.
    pub async fn stop(self) {
        self.stop.cancel();
        end(&self.tasks).await;
    }
}

/// Asks hosts through the tunnels of this host, whose data plane may come and go.
fn through(plane: watch::Receiver<Option<NetPlane>>) -> AskHosts {
    Arc::new(move |hosts, patience| {
        let plane = plane.borrow().clone();
        Box::pin(async move {
            let Some(plane) = plane else {
                return BTreeSet::new();
            };
            match plane.silent(hosts, patience).await {
                Ok(silent) => silent,
                Err(error) => {
                    tracing::warn!(%error, "other hosts cannot be asked");
                    BTreeSet::new()
                }
            }
        })
    })
}

/// Tells where the managers are, whenever the state says something else.
async fn tell_addresses(
    mut state: watch::Receiver<State>,
    told: watch::Sender<BTreeMap<u64, SocketAddr>>,
) {
    loop {
        let addresses: BTreeMap<u64, SocketAddr> = state
            .borrow_and_update()
            .nodes()
            .filter_map(|node| node.manager.as_ref())
            .map(|manager| (manager.raft_id, manager.address))
            .collect();
        told.send_if_modified(|known| {
            let changed = *known != addresses;
            *known = addresses;
            changed
        });
        if state.changed().await.is_err() {
            return;
        }
    }
}
