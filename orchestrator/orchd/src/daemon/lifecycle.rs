//! The task that owns the membership.

mod refounding;
mod roles;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use orch_core::control::{self, InitCluster};
use orch_core::ids::{ClusterId, NodeId};
use orch_core::objects::Network;
use orch_core::objects::node::Role;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::address;
use super::founding::{Founding, own_address};
use super::joining::Joining;
use super::leaving;
use super::managing::{self, Managing};
use super::member::{self, Context, Failure, News, Running};
use super::state_dir::{StateDir, StoredMembership};
use super::{Command, InitRequest, JoinRequest, LifecycleError, Member, Membership, preflight};
use crate::agent;
use crate::args::Options;
use crate::netplane::NetPlane;
use crate::pki::Identity;
use crate::pki::ca::{self, CertificateAuthority};
use crate::pki::credentials::{Credentials, NodeKey};
use crate::pki::token;
use crate::plugin::{self, Driver};
use crate::raft::Raft;

/// Pause before a member that failed is started again.
const RETRY: Duration = Duration::from_secs(3);
/// Time that a join waits for the node to be ready: Docker's.
const JOIN_PATIENCE: Duration = Duration::from_secs(20);
const JOIN_GOES_ON: &str = "Timeout was reached before node joined. The attempt to join the swarm \
                            will continue in the background. Use the \"docker info\" command to \
                            see the current swarm status of your node.";

/// The running life cycle.
#[derive(Debug)]
pub struct Lifecycle {
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Lifecycle {
    pub(super) fn spawn(
        options: Arc<Options>,
        dir: StateDir,
        commands: mpsc::Receiver<Command>,
        membership: watch::Sender<Membership>,
        networks: watch::Sender<Arc<Vec<Network>>>,
        plane: watch::Sender<Option<NetPlane>>,
        shutdown: CancellationToken,
    ) -> Self {
        let stop = CancellationToken::new();
        let (failures, failed) = mpsc::channel(8);
        let context = Context {
            options,
            driver: Driver::new(),
            plane,
            failures,
        };
        let owner = Owner {
            context,
            dir,
            membership,
            networks,
            running: None,
            retry_at: None,
        };
        let token = stop.clone();
        let task = tokio::spawn(async move {
            // Whatever ends the life cycle ends the process.
            let _guard = shutdown.drop_guard();
            owner.run(commands, failed, token).await
        });
        Self { stop, task }
    }

    /// Stops the member's tasks; containers and the data plane stay as they are. Returns what
    /// ended the life cycle before its time.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.task.await?
    }
}

struct Owner {
    context: Context,
    dir: StateDir,
    membership: watch::Sender<Membership>,
    networks: watch::Sender<Arc<Vec<Network>>>,
    running: Option<(Running, StoredMembership)>,
    /// When a member that could not run is started again.
    retry_at: Option<Instant>,
}

fn failed(error: anyhow::Error) -> LifecycleError {
    LifecycleError::Failed(format!("{error:#}"))
}

impl Owner {
    async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
        mut failures: mpsc::Receiver<Failure>,
        stop: CancellationToken,
    ) -> anyhow::Result<()> {
        let plugin = self.serve_driver(stop.clone());
        self.resume().await;
        let outcome = loop {
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                command = commands.recv() => match command {
                    Some(command) => tokio::select! {
                        () = self.obey(command) => {}
                        // What is half done is undone at the next start.
                        () = stop.cancelled() => break Ok(()),
                    },
                    None => break Ok(()),
                },
                Some(failure) = failures.recv() => match failure {
                    Failure::Fatal(reason) => break Err(anyhow::anyhow!(reason)),
                    Failure::Restart(reason) => self.restart_later(reason).await,
                },
                news = news(&mut self.running) => self.hear(news).await,
                () = until(self.retry_at) => self.resume().await,
            }
        };
        if let Some((running, _)) = self.running.take() {
            running.stop().await;
        }
        plugin.abort();
        outcome
    }

    /// The engine may call its network driver whether this host is a member or not.
    fn serve_driver(&self, stop: CancellationToken) -> JoinHandle<()> {
        let driver = self.context.driver.clone();
        let socket = self.context.options.plugin_socket();
        tokio::spawn(async move {
            if let Err(error) = plugin::serve(driver, socket, stop).await {
                tracing::error!(error = format!("{error:#}"), "the network driver failed");
            }
        })
    }

    async fn obey(&mut self, command: Command) {
        let answered = match command {
            Command::Init(request, reply) => reply.send(self.init(*request).await).is_ok(),
            Command::Refound(advertise, reply) => {
                reply.send(self.refound(&advertise).await).is_ok()
            }
            Command::Join(request, reply) => reply.send(self.join(*request).await).is_ok(),
            Command::Leave { force, reply } => reply.send(self.leave(force).await).is_ok(),
        };
        if !answered {
            tracing::debug!("the caller did not wait for the answer");
        }
    }

    /// Starts the member that the state folder describes, if any; tries again later when it
    /// cannot.
    async fn resume(&mut self) {
        self.retry_at = None;
        let stored = match self.dir.membership() {
            Ok(Some(stored)) => match self.with_certified_role(stored) {
                Ok(stored) => stored,
                Err(error) => return self.cannot_run(error.to_string()),
            },
            Ok(None) => {
                if let Err(error) = self.dir.clear() {
                    tracing::warn!(error = format!("{error:#}"), "leftovers stay");
                }
                self.publish(Membership::Inactive);
                return;
            }
            Err(error) => return self.cannot_run(format!("{error:#}")),
        };
        match Running::resume(self.context.clone(), &self.dir, &stored).await {
            Ok(running) => self.runs(running, stored),
            Err(error) => self.cannot_run(error.to_string()),
        }
    }

    /// The membership with the role that the certificate says: it is what others believe.
    fn with_certified_role(
        &self,
        mut stored: StoredMembership,
    ) -> Result<StoredMembership, LifecycleError> {
        let certified = Credentials::load(&self.dir.certs())?.identity().role;
        if stored.role() != certified {
            stored.manager = certified == Role::Manager;
            self.dir.save(&stored).map_err(failed)?;
        }
        Ok(stored)
    }

    fn runs(&mut self, running: Running, stored: StoredMembership) {
        tracing::info!(node = %stored.node_id, role = ?stored.role(), "member of a swarm");
        self.running = Some((running, stored));
        self.publish_member();
    }

    fn cannot_run(&mut self, reason: String) {
        tracing::error!(
            reason,
            "this node cannot take part in its swarm; trying again"
        );
        self.retry_at = Some(Instant::now() + RETRY);
        self.publish(Membership::Error(reason));
    }

    async fn restart_later(&mut self, reason: String) {
        if let Some((running, _)) = self.running.take() {
            running.stop().await;
            self.cannot_run(reason);
        }
    }

    async fn hear(&mut self, news: News) {
        match news {
            News::Role(role) => self.change_role(role).await,
            News::Assignment(assignment) => {
                self.keep_place(&assignment).await;
                self.networks.send_replace(Arc::new(assignment.networks));
            }
            News::Managers(managers) => {
                if let Some((_, stored)) = &mut self.running
                    && stored.managers != managers
                {
                    stored.managers = managers;
                    if let Err(error) = self.dir.save(stored) {
                        tracing::warn!(error = format!("{error:#}"), "the managers are not kept");
                    }
                    self.publish_member();
                }
            }
            // Containers and the data plane go on as they were told last.
            News::Fault(Some(reason)) => self.publish(Membership::Error(reason)),
            News::Fault(None) => self.publish_member(),
        }
    }

    fn publish(&self, membership: Membership) {
        if !matches!(membership, Membership::Member(_)) {
            self.networks.send_replace(Arc::default());
        }
        self.membership.send_replace(membership);
    }

    fn publish_member(&self) {
        if let Some((running, stored)) = &self.running {
            self.publish(Membership::Member(Box::new(Member {
                node_id: stored.node_id.clone(),
                node_address: stored.advertise.ip(),
                remote_managers: stored.managers.clone(),
                role: stored.role(),
                manager: running.control().cloned(),
                clock: running.clock(),
            })));
        }
    }

    /// Refuses members, also those that cannot run at the moment.
    fn check_outside(&self) -> Result<(), LifecycleError> {
        match self.dir.membership().map_err(failed)? {
            Some(_) => Err(LifecycleError::AlreadyMember),
            None => Ok(()),
        }
    }

    async fn init(&mut self, request: InitRequest) -> Result<NodeId, LifecycleError> {
        self.check_outside()?;
        let plan = Founding::plan(&request, &address::interfaces()?)?;
        let role = preflight::Role {
            data_path_port: plan.data_path_port,
            manager_port: Some(plan.listen.port()),
            ranges: plan.pools.clone(),
            clock: None,
        };
        preflight::check(&self.context.options, role).await?;
        self.publish(Membership::Pending);
        let mut running = Running::new(self.context.clone());
        match self.found(&mut running, request, plan).await {
            Ok(stored) => {
                let node = stored.node_id.clone();
                if !running.joined(JOIN_PATIENCE).await {
                    tracing::warn!("the swarm's own node is not ready yet");
                }
                self.runs(running, stored);
                Ok(node)
            }
            Err(error) => {
                running.stop().await;
                self.undo();
                Err(error)
            }
        }
    }

    /// Makes keys, log and cluster, and starts the first manager.
    async fn found(
        &self,
        running: &mut Running,
        request: InitRequest,
        plan: Founding,
    ) -> Result<StoredMembership, LifecycleError> {
        let listener = managing::bind(plan.listen).await?;
        let description = member::describe(&self.context.options, plan.data_path)
            .await
            .map_err(|e| LifecycleError::Failed(e.to_string()))?;
        let now = SystemTime::now();
        let root_ca = ca::new_root(now)?;
        let authority = CertificateAuthority::open(&root_ca)?;
        let identity = Identity {
            node: NodeId::from_random(rand::random()),
            role: Role::Manager,
            cluster: ClusterId::from_random(rand::random()),
        };
        let key = NodeKey::generate()?;
        let expiry = request.spec.node_cert_expiry;
        let certificate = authority.issue(&key.request()?, &identity, expiry, now)?;
        let credentials = Credentials::new(&key, certificate, authority.root().clone())?;
        let raft_id = rand::random_range(1..=u64::MAX);
        credentials.save(&self.dir.certs())?;
        Raft::found(&self.dir.raft(), raft_id)
            .map_err(|e| LifecycleError::Failed(e.to_string()))?;
        let credentials = watch::Sender::new(Arc::new(credentials));
        let shown = credentials.subscribe();
        let (managing, inbox) = Managing::start(&self.context, &self.dir, plan.advertise, shown)?;
        let manager = managing.control.manager().clone();
        let managing = running.managing.insert(managing);
        manager.led().await;
        let cluster = InitCluster {
            id: identity.cluster.clone(),
            spec: request.spec,
            address_pools: plan.pools,
            subnet_size: plan.subnet_size,
            data_path_port: plan.data_path_port,
            join_tokens: token::new_tokens(authority.root().digest()),
            root_ca,
            node: identity.node.clone(),
            availability: request.availability,
            raft_id,
            manager_address: plan.advertise,
            address: plan.advertise.ip(),
            description,
        };
        manager
            .write(move |tx| control::init_cluster(tx, cluster))
            .await?;
        let stored = StoredMembership {
            managers: vec![(identity.node.clone(), plan.advertise)],
            node_id: identity.node,
            cluster_id: identity.cluster,
            manager: true,
            advertise: plan.advertise,
            data_path_address: plan.data_path,
            data_path_port: plan.data_path_port,
            listen: plan.listen,
            joined_at: Some(own_address(plan.listen)),
        };
        self.dir.save(&stored).map_err(failed)?;
        managing.serve(listener, credentials.subscribe(), inbox);
        running.start_node(&self.dir, &stored, credentials);
        Ok(stored)
    }

    /// After a failure: this host is a member of nothing, and nothing is left of the attempt.
    fn undo(&self) {
        if let Err(error) = self.dir.clear() {
            tracing::error!(
                error = format!("{error:#}"),
                "leftovers of a failed attempt stay"
            );
        }
        self.publish(Membership::Inactive);
    }

    async fn join(&mut self, request: JoinRequest) -> Result<(), LifecycleError> {
        self.check_outside()?;
        let joining = Joining::prepare(&self.context.options, &request).await?;
        self.publish(Membership::Pending);
        let (stored, credentials) = match joining.admit(&self.dir).await {
            Ok(admitted) => admitted,
            Err(error) => {
                self.undo();
                return Err(error);
            }
        };
        // From here on it is a node, whatever happens: the managers know it.
        let mut running = Running::new(self.context.clone());
        if let Err(error) = running.start(&self.dir, &stored, credentials).await {
            running.stop().await;
            self.cannot_run(error.to_string());
            return Err(error);
        }
        let ready = running.joined(JOIN_PATIENCE).await;
        self.runs(running, stored);
        match ready {
            true => Ok(()),
            false => Err(LifecycleError::Failed(JOIN_GOES_ON.to_owned())),
        }
    }

    async fn leave(&mut self, force: bool) -> Result<(), LifecycleError> {
        let stored = self.dir.membership();
        match &stored {
            Ok(None) => return Err(LifecycleError::NotMember),
            Ok(Some(stored)) if stored.manager && !force => {
                let running = self.running.as_ref().map(|(running, _)| running);
                return Err(LifecycleError::IsManager(leaving::consequence(running)));
            }
            // A damaged file says nothing: only force may throw it away.
            Err(error) if !force => return Err(LifecycleError::Failed(format!("{error:#}"))),
            Ok(Some(_)) | Err(_) => {}
        }
        self.publish(Membership::Pending);
        self.retry_at = None;
        if let Some((running, stored)) = self.running.take() {
            leaving::say_goodbye(&running, &stored).await;
            running.stop().await;
        }
        let node = stored.as_ref().ok().and_then(Option::as_ref);
        let node = node.map(|membership| &membership.node_id);
        if let Err(error) = agent::cleanup(&self.context.options, node).await {
            let reason =
                format!("what the swarm runs on this host could not be removed: {error:#}");
            if !force {
                self.resume().await;
                return Err(LifecycleError::Failed(format!(
                    "{reason}. Try again, or use --force"
                )));
            }
            tracing::warn!(reason, "leaving all the same");
        }
        self.dir.clear().map_err(failed)?;
        self.publish(Membership::Inactive);
        tracing::info!("left the swarm");
        Ok(())
    }
}

async fn news(running: &mut Option<(Running, StoredMembership)>) -> News {
    match running {
        Some((running, _)) => running.news().await,
        None => std::future::pending().await,
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment.into()).await,
        None => std::future::pending().await,
    }
}
