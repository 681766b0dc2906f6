//! The one owner of this host's data plane.
//!
//! [`NetPlane`] is a handle; behind it one task holds the [`DataPlane`] value, applies the newest
//! desired state and attaches endpoints, one thing after the other. It owns when the kernel is
//! changed; it must not know why something is desired or who asks for an endpoint.
//!
//! Ending the task leaves everything in the kernel as it is; a new daemon takes it over.

mod events;
mod names;

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use orch_core::network::{DesiredNetwork, Vni};
use orch_dataplane::{Attachment, Config, DataPlane, Error, FlowEvent, Inspection};
use tokio::sync::{broadcast, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

pub use names::Asked;

use events::Telling;

/// Pause before a desired state that could not be applied is tried again.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Time between two looks at whether somebody else changed the maps.
const INSPECTION_PERIOD: Duration = Duration::from_secs(30);
/// Requests that wait at most: each belongs to a container that is being started or stopped.
const QUEUE: usize = 64;

/// The data plane did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum NetPlaneError {
    /// The kernel refused.
    #[error(transparent)]
    Refused(#[from] Error),
    /// Frames cannot be sent to other hosts.
    #[error("the host link takes no frames: {0}")]
    Link(std::io::Error),
    /// The daemon leaves the cluster or stops.
    #[error("the data plane of this host is being shut down")]
    Closed,
}

type Reply<T> = oneshot::Sender<Result<T, NetPlaneError>>;

/// Something that is done with the data plane between two of its changes.
type Look = Box<dyn FnOnce(&mut DataPlane) + Send>;

enum Command {
    Attach(Attachment, Reply<String>),
    Detach(String, Reply<()>),
    Attached(Reply<BTreeSet<String>>),
    Look(Look),
    Listen(Reply<broadcast::Receiver<FlowEvent>>),
    /// The reader of flow events has no listener.
    Unheard,
}

/// What the kernel holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// Version of the desired state.
    pub version: u64,
    /// Its endpoints that drain.
    pub draining: BTreeSet<(Vni, IpAddr)>,
}

/// Handle to the data plane's owner.
#[derive(Clone)]
pub struct NetPlane {
    stop: CancellationToken,
    commands: mpsc::Sender<Command>,
    desired: watch::Sender<Option<DesiredNetwork>>,
    applied: watch::Receiver<Option<Applied>>,
}

impl NetPlane {
    /// Opens the data plane and starts its owner.
    pub async fn open(config: Config) -> Result<Self, Error> {
        let plane = DataPlane::open(config).await?;
        let (commands, requests) = mpsc::channel(QUEUE);
        let (desired, wanted) = watch::channel(None);
        let (done, applied) = watch::channel(None);
        let owner = Owner {
            plane,
            commands: commands.downgrade(),
            telling: None,
            requests,
            wanted,
            done,
            retry_at: None,
        };
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(owner.run()));
        Ok(Self {
            stop,
            commands,
            desired,
            applied,
        })
    }

    /// Sets what the data plane must hold. Of several that wait, only the newest is applied.
    pub fn set_desired(&self, desired: DesiredNetwork) {
        self.desired.send_replace(Some(desired));
    }

    /// The desired state that the kernel holds; notified after every apply, also when the version
    /// is the same.
    pub fn applied(&self) -> watch::Receiver<Option<Applied>> {
        self.applied.clone()
    }

    /// Attaches an endpoint and returns the name of the interface for the container. Attaching
    /// the same one again changes nothing.
    pub async fn attach(&self, attachment: Attachment) -> Result<String, NetPlaneError> {
        self.ask(|reply| Command::Attach(attachment, reply)).await
    }

    /// Detaches an endpoint; one that is not attached is fine.
    pub async fn detach(&self, endpoint: &str) -> Result<(), NetPlaneError> {
        self.ask(|reply| Command::Detach(endpoint.to_owned(), reply))
            .await
    }

    /// Ids of the endpoints that are attached.
    pub async fn attached(&self) -> Result<BTreeSet<String>, NetPlaneError> {
        self.ask(Command::Attached).await
    }

    /// Reads something of the data plane. `look` must be short: packets go on meanwhile, but
    /// containers that start wait.
    pub async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&mut DataPlane) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, NetPlaneError> {
        self.ask(|reply| {
            Command::Look(Box::new(move |plane| {
                // As with every command, an asker may be gone.
                drop(reply.send(look(plane).map_err(Into::into)));
            }))
        })
        .await
    }

    /// What becomes of the first packets of conversations from now on. Telling costs each of them
    /// a little; it ends when the receiver is dropped.
    pub async fn flow_events(&self) -> Result<broadcast::Receiver<FlowEvent>, NetPlaneError> {
        self.ask(Command::Listen).await
    }

    /// Which of these other hosts do not answer within `patience`: their kernels do, whatever has
    /// become of their daemons. This host does not ask itself.
    pub async fn silent(
        &self,
        hosts: BTreeSet<IpAddr>,
        patience: Duration,
    ) -> Result<BTreeSet<IpAddr>, NetPlaneError> {
        let prober = self.look(|plane| Ok(plane.prober())).await?;
        let nonce = rand::random();
        let asking = move || prober.silent(&hosts, patience, nonce);
        let asked = tokio::task::spawn_blocking(asking).await;
        let silent = asked.map_err(|_| NetPlaneError::Closed)?;
        silent.map_err(NetPlaneError::Link)
    }

    /// Ends the owner and waits until it has let go of the kernel, where all stays as it is.
    pub async fn close(&self) {
        self.stop.cancel();
        self.commands.closed().await;
    }

    async fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, NetPlaneError> {
        let (reply, answer) = oneshot::channel();
        self.commands
            .send(command(reply))
            .await
            .map_err(|_| NetPlaneError::Closed)?;
        answer.await.map_err(|_| NetPlaneError::Closed)?
    }
}

/// The task behind the handle.
struct Owner {
    plane: DataPlane,
    commands: mpsc::WeakSender<Command>,
    /// The reader of flow events, while anybody listens.
    telling: Option<Telling>,
    requests: mpsc::Receiver<Command>,
    wanted: watch::Receiver<Option<DesiredNetwork>>,
    done: watch::Sender<Option<Applied>>,
    /// When a failed apply or refresh is tried again.
    retry_at: Option<Instant>,
}

impl Owner {
    async fn run(mut self) {
        let first = Instant::now() + INSPECTION_PERIOD;
        let mut inspection = tokio::time::interval_at(first, INSPECTION_PERIOD);
        inspection.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let retry_at = self.retry_at.unwrap_or_else(Instant::now);
            tokio::select! {
                request = self.requests.recv() => match request {
                    Some(command) => self.carry_out(command).await,
                    None => return,
                },
                Ok(()) = self.wanted.changed() => self.apply().await,
                () = self.plane.changed() => self.refresh().await,
                _ = inspection.tick() => self.heal(),
                () = tokio::time::sleep_until(retry_at), if self.retry_at.is_some() => {
                    self.retry_at = None;
                    self.refresh().await;
                    self.apply().await;
                }
            }
        }
    }

    async fn carry_out(&mut self, command: Command) {
        // An asker that is gone (its call timed out) needs no answer.
        match command {
            Command::Attach(attachment, reply) => {
                drop(reply.send(self.plane.attach(attachment).await.map_err(Into::into)));
            }
            Command::Detach(endpoint, reply) => {
                drop(reply.send(self.plane.detach(&endpoint).await.map_err(Into::into)));
            }
            Command::Attached(reply) => {
                let ids = self
                    .plane
                    .attachments()
                    .map(|known| known.endpoint_id.clone());
                drop(reply.send(Ok(ids.collect())));
            }
            Command::Look(look) => look(&mut self.plane),
            Command::Listen(reply) => drop(reply.send(self.listen())),
            Command::Unheard => self.stop_unheard(),
        }
    }

    fn listen(&mut self) -> Result<broadcast::Receiver<FlowEvent>, NetPlaneError> {
        let telling = match self.telling.take() {
            Some(telling) => telling,
            None => {
                let commands = self.commands.upgrade().ok_or(NetPlaneError::Closed)?;
                Telling::start(&mut self.plane, commands)?
            }
        };
        Ok(self.telling.insert(telling).listen())
    }

    fn stop_unheard(&mut self) {
        if self.telling.as_ref().is_some_and(Telling::is_heard) {
            return;
        }
        self.telling = None;
        if let Err(error) = self.plane.tell_events(false) {
            tracing::warn!(%error, "the programs go on telling of flows");
        }
    }

    async fn apply(&mut self) {
        let Some(desired) = self.wanted.borrow_and_update().clone() else {
            return;
        };
        let result = self.plane.apply(&desired).await;
        if self.settled(result) {
            tracing::debug!(version = desired.version, "desired network applied");
            self.done.send_replace(Some(Applied {
                version: desired.version,
                draining: desired.draining,
            }));
        }
    }

    async fn refresh(&mut self) {
        let result = self.plane.refresh().await;
        self.settled(result);
    }

    /// Puts right what somebody else changed in the maps.
    fn heal(&mut self) {
        match self.plane.inspect(true) {
            Ok(inspection) => log_healed(&inspection),
            Err(error) => tracing::warn!(%error, "the maps could not be checked"),
        }
    }

    /// Notes when to try again what was refused. A success of one call is none of the other: the
    /// managers wait for the version whose apply failed.
    fn settled(&mut self, result: Result<(), Error>) -> bool {
        match result {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(%error, "the data plane is behind; trying again");
                self.retry_at = Some(Instant::now() + RETRY_PAUSE);
                false
            }
        }
    }
}

/// Says what was changed in the maps by somebody else and is right again.
pub fn log_healed(inspection: &Inspection) {
    for found in &inspection.differences {
        let (kind, key) = (found.kind(), &found.key);
        tracing::warn!(
            map = found.map,
            kind,
            key,
            "healed an entry that is ours to write"
        );
    }
}
