//! The shell around consensus: one task that owns the member, its log and the applied state.
//!
//! It carries out what `orch_core::consensus` asks for, in its order: the log is written on a
//! blocking thread and on disk before anything is acknowledged. It must not know what changes
//! mean. When the disk fails it stops for good: a member that forgets what it promised is worse
//! than none.

mod driver;
mod log;
mod reads;
mod record;
mod refound;
mod room;
mod seal;
#[cfg(test)]
mod tests;
mod transport;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orch_core::consensus::{ConsensusError, Group, Leadership, MembershipChange};
use orch_core::control::ControlError;
use orch_core::store::{ApplyError, Change, State};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use log::Log;
pub use refound::refound;
pub use room::Room;
#[cfg(test)]
pub use transport::SoleManager;
pub use transport::Transport;

/// The log cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LogFileError {
    /// A file beside the database.
    #[error("raft log: {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The database itself.
    #[error("raft log: {0}")]
    Database(Box<redb::Error>),
    /// A value cannot be sealed or opened.
    #[error("raft log: {0}")]
    Seal(&'static str),
    /// A record cannot be encoded or decoded.
    #[error("raft log: a record is damaged: {0}")]
    Record(String),
    /// Something that is always there is not.
    #[error("raft log: {0}")]
    Missing(&'static str),
}

impl LogFileError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source,
        }
    }
}

impl<E: Into<redb::Error>> From<E> for LogFileError {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

/// Why the member cannot go on. All of them end the process: its promises are at stake.
#[derive(Debug, thiserror::Error)]
pub enum RaftError {
    /// The log.
    #[error(transparent)]
    Log(#[from] LogFileError),
    /// Raft itself.
    #[error(transparent)]
    Consensus(#[from] ConsensusError),
    /// A committed entry cannot be decoded.
    #[error("the committed entry {index} cannot be read: {reason}")]
    BadEntry {
        /// Its index.
        index: u64,
        /// The decoder's words.
        reason: String,
    },
    /// A committed entry contradicts the state.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// The state does not let it be changed.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The thread that writes the log died.
    #[error("the log writer died: {0}")]
    Writer(#[from] tokio::task::JoinError),
}

/// Why a proposal has no known outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This member does not lead.
    #[error("this manager does not lead the swarm at the moment; try again")]
    NotLeader,
    /// It stopped leading before the outcome was known.
    #[error("leadership changed before the change was known to be committed; look, then try again")]
    Unknown,
    /// The member is stopping.
    #[error("the manager is stopping")]
    Stopping,
    /// The disk is nearly full.
    #[error(
        "the disk of this manager's state folder has {free} MiB left: the swarm takes no changes \
         until {reserve} MiB are free"
    )]
    NoRoom {
        /// What is free, in MiB.
        free: u64,
        /// What must be, in MiB.
        reserve: u64,
    },
    /// The changes cannot be encoded.
    #[error("the change cannot be written: {0}")]
    Encoding(String),
}

/// What the member is asked for.
enum Request {
    Propose {
        data: Vec<u8>,
        done: oneshot::Sender<Result<State, ProposeError>>,
    },
    Read {
        done: oneshot::Sender<State>,
    },
    Change(MembershipChange),
    TransferTo(u64),
}

/// Handle to this host's member of the raft group.
#[derive(Debug, Clone)]
pub struct Raft {
    id: u64,
    tick: Duration,
    requests: mpsc::Sender<Request>,
    state: watch::Receiver<State>,
    leadership: watch::Receiver<Leadership>,
    group: watch::Receiver<Group>,
    room: Room,
}

impl Raft {
    /// Founds a group in the empty folder `dir` with this member alone.
    pub fn found(dir: &Path, member: u64) -> Result<(), LogFileError> {
        let state = record::encode(&State::default())?;
        Log::create(dir, member, record::founding_snapshot(member, state)).map(drop)
    }

    /// Prepares the empty folder `dir` for a member of a group that there is: its leader will send
    /// what it needs.
    pub fn join(dir: &Path, member: u64) -> Result<(), LogFileError> {
        let state = record::encode(&State::default())?;
        Log::create(dir, member, record::blank_snapshot(state)).map(drop)
    }

    /// Starts the member with this log, on a disk where there has to be `room` for changes; `tick`
    /// is what elections and heartbeats are counted in. The task ends when `stop` is cancelled, or
    /// with an error after which the process must not go on.
    pub fn start(
        log: Log,
        room: Room,
        transport: impl Transport,
        tick: Duration,
        stop: CancellationToken,
    ) -> Result<(Self, JoinHandle<Result<(), RaftError>>), RaftError> {
        let (requests, queue) = mpsc::channel(driver::QUEUE);
        let id = log.member()?;
        let (driver, published) = driver::Driver::open(log, transport)?;
        let task = tokio::spawn(driver.run(tick, queue, stop));
        Ok((
            Self {
                id,
                tick,
                requests,
                state: published.state,
                leadership: published.leadership,
                group: published.group,
                room,
            },
            task,
        ))
    }

    /// This member.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The unit of time of elections.
    pub fn tick(&self) -> Duration {
        self.tick
    }

    /// Follows the applied state.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Follows who leads.
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.clone()
    }

    /// Follows who the members are.
    pub fn group(&self) -> watch::Receiver<Group> {
        self.group.clone()
    }

    /// Commits changes as one entry. Returns the state right after it, once the entry is durable
    /// and applied.
    pub async fn propose(&self, changes: &[Change]) -> Result<State, ProposeError> {
        self.room.check()?;
        let data =
            rmp_serde::to_vec_named(changes).map_err(|e| ProposeError::Encoding(e.to_string()))?;
        let (done, outcome) = oneshot::channel();
        self.request(Request::Propose { data, done }).await?;
        outcome.await.map_err(|_| ProposeError::Stopping)?
    }

    /// The state with everything in it that was committed when this was called. Takes as long as
    /// there is no leader.
    pub async fn read(&self) -> Result<State, ProposeError> {
        let (done, state) = oneshot::channel();
        self.request(Request::Read { done }).await?;
        state.await.map_err(|_| ProposeError::Stopping)
    }

    /// Asks for a change of the members. Nothing comes of it unless this member leads and no other
    /// change is on its way.
    pub async fn change(&self, change: MembershipChange) -> Result<(), ProposeError> {
        self.request(Request::Change(change)).await
    }

    /// Asks that another member leads. Nothing comes of it unless this one leads.
    pub async fn transfer_to(&self, member: u64) -> Result<(), ProposeError> {
        self.request(Request::TransferTo(member)).await
    }

    async fn request(&self, request: Request) -> Result<(), ProposeError> {
        let sent = self.requests.send(request).await;
        sent.map_err(|_| ProposeError::Stopping)
    }
}
