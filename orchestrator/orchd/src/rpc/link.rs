//! A node's lasting link to the managers: it holds a session, beats, reports, and connects again
//! for as long as it takes.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use orch_core::dispatch::{Assignment, TaskReport};
use orch_core::ids::{NodeId, TaskId};
use orch_core::objects::node::NodeDescription;
use orch_core::objects::task::TaskStatus;
use orch_proto::{Manager, SessionMessage, SessionRequest};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::transport::Channel;

use super::client::{ManagerClient, dispatcher};
use super::clock::ClockOffset;
use super::connection::Patience;
use super::{RpcError, connection, wire};
use crate::pki::credentials::Credentials;
use crate::pki::tls;

/// Pause before the first attempt to connect again; doubles up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_millis(100);
/// Swarm's.
const MAX_BACKOFF: Duration = Duration::from_secs(8);
/// Time that a manager may take to open a session.
const SESSION_TIMEOUT: Duration = Duration::from_secs(10);
/// Reports so close to each other travel together.
const REPORT_BATCH: Duration = Duration::from_millis(20);
/// Reports that may wait before the agent must.
const REPORT_QUEUE: usize = 256;
/// The heartbeat until the manager says another one: Docker's default.
const DEFAULT_PERIOD: Duration = Duration::from_secs(5);
/// Share of the heartbeat's period, in percent, by which a beat may come early.
const JITTER_PERCENT: u32 = 10;

/// The agent's end of the link.
#[derive(Debug)]
pub struct NodeLink {
    /// What this node must do; the last assignment stays while no manager can be reached. `None`
    /// until the first one has come.
    pub assignments: watch::Receiver<Option<Assignment>>,
    /// What became of tasks; reported until a manager has taken it. Only the latest status of a
    /// task counts.
    pub reports: mpsc::Sender<TaskReport>,
}

/// What a link is opened with.
pub struct LinkConfig<D> {
    /// What this node proves itself with; connections are made with the latest.
    pub credentials: watch::Receiver<Arc<Credentials>>,
    /// Its address in the underlay.
    pub address: IpAddr,
    /// Managers to begin with; later ones come from the managers themselves.
    pub managers: Vec<SocketAddr>,
    /// The unit of time in which a manager that is gone is missed.
    pub tick: Duration,
    /// Describes this host, anew for each session.
    pub describe: D,
}

/// An open link.
pub struct Link {
    /// The agent's end.
    pub node: NodeLink,
    /// Calls to the connected manager.
    pub client: ManagerClient,
    /// The managers, as they last told.
    pub managers: watch::Receiver<Vec<(NodeId, SocketAddr)>>,
    /// Why no manager will have this node: its certificate is of no use, or it was removed.
    pub fault: watch::Receiver<Option<String>>,
    /// How far the clock of the manager is that was connected last, once that is known.
    pub clock: watch::Receiver<Option<ClockOffset>>,
}

/// Opens a link. Its tasks run in `tasks` until `stop`.
pub fn open<D, F, E>(config: LinkConfig<D>, tasks: &TaskTracker, stop: &CancellationToken) -> Link
where
    D: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = Result<NodeDescription, E>> + Send,
    E: std::fmt::Display + Send,
{
    let (channel, channel_rx) = watch::channel(None);
    let (assignments, assignments_rx) = watch::channel(None);
    let (managers, managers_rx) = watch::channel(Vec::new());
    let (fault, fault_rx) = watch::channel(None);
    let (clock, clock_rx) = watch::channel(None);
    let (reports, report_queue) = mpsc::channel(REPORT_QUEUE);
    let client = ManagerClient::new(channel_rx);
    let session = Session {
        config,
        client: client.clone(),
        channel,
        assignments,
        managers,
        fault,
        clock,
    };
    let token = stop.clone();
    tasks.spawn(async move { token.run_until_cancelled(session.run()).await });
    let reporter = Reporter {
        client: client.clone(),
        queue: report_queue,
    };
    let token = stop.clone();
    tasks.spawn(async move { token.run_until_cancelled(reporter.run()).await });
    let node = NodeLink {
        assignments: assignments_rx,
        reports,
    };
    Link {
        node,
        client,
        managers: managers_rx,
        fault: fault_rx,
        clock: clock_rx,
    }
}

/// The task that holds a session with some manager.
struct Session<D> {
    config: LinkConfig<D>,
    client: ManagerClient,
    channel: watch::Sender<Option<Channel>>,
    assignments: watch::Sender<Option<Assignment>>,
    managers: watch::Sender<Vec<(NodeId, SocketAddr)>>,
    fault: watch::Sender<Option<String>>,
    clock: watch::Sender<Option<ClockOffset>>,
}

impl<D, F, E> Session<D>
where
    D: Fn() -> F + Send + Sync + 'static,
    F: Future<Output = Result<NodeDescription, E>> + Send,
    E: std::fmt::Display + Send,
{
    async fn run(self) {
        let mut backoff = MIN_BACKOFF;
        let mut attempt = 0;
        let mut leader = None;
        loop {
            let manager = match leader.take() {
                Some(leader) => leader,
                None => self.pick(attempt),
            };
            attempt += 1;
            let mut opened = false;
            let error = match self.hold(&manager, &mut opened).await {
                Ok(()) => "the manager ended it".to_owned(),
                Err(RpcError::NotLeader { leader: told }) => {
                    leader = told.map(|address| address.to_string());
                    backoff = MIN_BACKOFF;
                    "it does not lead".to_owned()
                }
                Err(error) => {
                    if is_own_fault(&error) {
                        self.note_fault(Some(error.to_string()));
                    }
                    error.to_string()
                }
            };
            self.channel.send_replace(None);
            if opened {
                backoff = MIN_BACKOFF;
            }
            // Once per outage: what follows says the same until somebody mends it.
            if opened || attempt == 1 {
                tracing::warn!(manager, error, "no session with the manager; trying again");
            } else {
                tracing::debug!(manager, error, "still no session with the manager");
            }
            let early = backoff.mul_f64(rand::random::<f64>() / 2.0);
            tokio::time::sleep(backoff - early).await;
            backoff = (backoff * 2).min(MAX_BACKOFF);
        }
    }

    /// Managers take turns.
    fn pick(&self, attempt: usize) -> String {
        let told = self.managers.borrow();
        let told = told.iter().map(|(_, address)| *address);
        let mut known: Vec<SocketAddr> = told.collect();
        known.extend(
            self.config
                .managers
                .iter()
                .filter(|a| !known.contains(a))
                .copied()
                .collect::<Vec<_>>(),
        );
        known
            .get(attempt % known.len().max(1))
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    /// One session, from the connection to its end.
    async fn hold(&self, manager: &str, opened: &mut bool) -> Result<(), RpcError> {
        let credentials = Arc::clone(&self.config.credentials.borrow());
        let tls = tls::client(&credentials)?;
        let patience = Patience::of_link(self.config.tick);
        let (channel, _) = connection::connect_within(manager, tls, patience).await?;
        let description = (self.config.describe)()
            .await
            .map_err(|e| RpcError::Refused {
                code: tonic::Code::Unavailable,
                message: format!("the container engine does not describe this host: {e}"),
            })?;
        let request = SessionRequest {
            description: wire::encode(&description)?,
            address: self.config.address.to_string(),
        };
        let mut client = dispatcher(channel.clone());
        let mut stream = tokio::time::timeout(SESSION_TIMEOUT, client.session(request))
            .await
            .map_err(|_| RpcError::TimedOut(SESSION_TIMEOUT.as_secs()))??
            .into_inner();
        let Some(first) = stream.message().await? else {
            return Ok(());
        };
        let session = first.session_id.clone();
        self.note_fault(None);
        self.take(first)?;
        tracing::info!(manager, session, "session with the manager");
        *opened = true;
        self.channel.send_replace(Some(channel));
        let reading = async {
            while let Some(message) = stream.message().await? {
                self.take(message)?;
            }
            Ok(())
        };
        tokio::select! {
            ended = reading => ended,
            error = self.beat(session) => Err(error),
        }
    }

    fn note_fault(&self, fault: Option<String>) {
        self.fault.send_if_modified(|known| {
            let changed = *known != fault;
            *known = fault;
            changed
        });
    }

    fn take(&self, message: SessionMessage) -> Result<(), RpcError> {
        let assignment: Assignment = wire::decode_answer(&message.assignment)?;
        let managers = message
            .managers
            .iter()
            .map(parse_manager)
            .collect::<Result<_, _>>()?;
        self.managers.send_if_modified(|current| {
            let changed = *current != managers;
            *current = managers;
            changed
        });
        self.assignments.send_replace(Some(assignment));
        Ok(())
    }

    /// Beats until a beat fails.
    async fn beat(&self, session: String) -> RpcError {
        loop {
            let period = self
                .assignments
                .borrow()
                .as_ref()
                .map(|a| a.heartbeat_period);
            tokio::time::sleep(jittered(period.unwrap_or(DEFAULT_PERIOD))).await;
            match self.client.heartbeat(session.clone()).await {
                Ok(offset) => self.clock.send_replace(Some(offset)),
                Err(error) => return error,
            };
        }
    }
}

/// Whether another manager, or another attempt, would help as little.
fn is_own_fault(error: &RpcError) -> bool {
    match error {
        RpcError::Pki(_) => true,
        RpcError::Refused { code, .. } => *code == tonic::Code::PermissionDenied,
        RpcError::Unreachable { .. }
        | RpcError::Untrusted { .. }
        | RpcError::NoManager
        | RpcError::NotLeader { .. }
        | RpcError::TimedOut(_)
        | RpcError::BadAnswer(_) => false,
    }
}

/// The period, or a little less, so that nodes do not beat in step.
fn jittered(period: Duration) -> Duration {
    period - period * rand::random_range(0..JITTER_PERCENT) / 100
}

fn parse_manager(manager: &Manager) -> Result<(NodeId, SocketAddr), RpcError> {
    let bad = |e: String| RpcError::BadAnswer(e);
    let node = NodeId::parse(&manager.node_id).map_err(|e| bad(e.to_string()))?;
    let address = manager
        .address
        .parse()
        .map_err(|_| bad(format!("\"{}\"", manager.address)))?;
    Ok((node, address))
}

/// The task that reports until a manager has taken it.
struct Reporter {
    client: ManagerClient,
    queue: mpsc::Receiver<TaskReport>,
}

impl Reporter {
    async fn run(mut self) {
        let mut waiting: BTreeMap<TaskId, TaskStatus> = BTreeMap::new();
        let mut pause = REPORT_BATCH;
        loop {
            if waiting.is_empty() {
                let Some(report) = self.queue.recv().await else {
                    return;
                };
                waiting.insert(report.id, report.status);
            }
            self.gather(&mut waiting, pause).await;
            let batch: Vec<TaskReport> = waiting
                .iter()
                .map(|(id, status)| TaskReport {
                    id: id.clone(),
                    status: status.clone(),
                })
                .collect();
            match self.client.report_tasks(&batch).await {
                Ok(()) => {
                    waiting.clear();
                    pause = REPORT_BATCH;
                }
                Err(error) => {
                    tracing::debug!(%error, tasks = batch.len(), "task reports wait");
                    pause = (pause * 2).min(MAX_BACKOFF);
                }
            }
        }
    }

    /// Takes further reports for the time of `pause`; newer ones replace older ones.
    async fn gather(&mut self, waiting: &mut BTreeMap<TaskId, TaskStatus>, pause: Duration) {
        let end = tokio::time::sleep(pause);
        tokio::pin!(end);
        loop {
            tokio::select! {
                () = &mut end => return,
                Some(report) = self.queue.recv() => {
                    waiting.insert(report.id, report.status);
                }
            }
        }
    }
}
