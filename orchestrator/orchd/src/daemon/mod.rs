//! The host's swarm life cycle: not in a cluster, manager or worker.
//!
//! [`Daemon`] is the handle that the API uses. One task ([`lifecycle`]) owns the membership and
//! carries out init, join and leave one after the other. Nothing here decides about cluster
//! objects: that is `orch_core::control` behind the manager's handle.

mod address;
mod founding;
mod joining;
mod leaving;
mod lifecycle;
mod managing;
mod member;
pub mod preflight;
mod state_dir;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use ipnet::IpNet;
use orch_core::control::ControlError;
use orch_core::ids::NodeId;
use orch_core::objects::node::{Availability, Role};
use orch_core::objects::{ClusterSpec, Network};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

pub use lifecycle::Lifecycle;
pub use state_dir::StateDir;

use crate::args::Options;
use crate::manager::WriteError;
use crate::netplane::NetPlane;
use crate::pki::PkiError;
use crate::pki::token::TokenError;
use crate::rpc::control::Control;
use crate::rpc::{ClockOffset, RpcError};

/// What this host is to a cluster.
#[derive(Debug, Clone)]
pub enum Membership {
    /// Nothing.
    Inactive,
    /// On its way in or out, or starting.
    Pending,
    /// A member that cannot take part at the moment, and why. It keeps trying.
    Error(String),
    /// A member.
    Member(Box<Member>),
}

/// A member's place in its cluster.
#[derive(Debug, Clone)]
pub struct Member {
    /// This node.
    pub node_id: NodeId,
    /// Address that other nodes know it by.
    pub node_address: IpAddr,
    /// The managers, as this node knows them.
    pub remote_managers: Vec<(NodeId, SocketAddr)>,
    /// What it is trusted with.
    pub role: Role,
    /// The cluster's state and control, on managers.
    pub manager: Option<Control>,
    /// How far a manager's clock is from this host's, once that is known.
    pub clock: Option<watch::Receiver<Option<ClockOffset>>>,
}

/// `swarm init`: addresses as the user wrote them.
#[derive(Debug, Clone)]
pub struct InitRequest {
    /// `address[:port]` or `interface[:port]` to listen on; empty is `0.0.0.0:2377`.
    pub listen_addr: String,
    /// `address[:port]` or `interface[:port]` told to other nodes; empty guesses.
    pub advertise_addr: String,
    /// Address or interface of tunnel traffic; empty is the advertised address.
    pub data_path_addr: String,
    /// UDP port of tunnel traffic; 0 is 4789.
    pub data_path_port: u32,
    /// Ranges that networks without a subnet are cut from; empty is Docker's 10.0.0.0/8.
    pub default_addr_pool: Vec<IpNet>,
    /// Prefix length of such a network; 0 is 24.
    pub subnet_size: u32,
    /// Whether tasks may be placed on this node.
    pub availability: Availability,
    /// Settings of the cluster.
    pub spec: ClusterSpec,
}

/// `swarm join`: addresses as the user wrote them.
#[derive(Debug, Clone)]
pub struct JoinRequest {
    /// As in [`InitRequest`]; used by managers only.
    pub listen_addr: String,
    /// As in [`InitRequest`].
    pub advertise_addr: String,
    /// As in [`InitRequest`].
    pub data_path_addr: String,
    /// Managers to ask, `address[:port]`; the first that answers is used.
    pub remote_addrs: Vec<String>,
    /// The join token.
    pub token: String,
    /// Whether tasks may be placed on this node.
    pub availability: Availability,
}

/// Why init, join or leave was refused; texts are Docker's where Docker has them.
#[derive(Debug, thiserror::Error)]
pub enum LifecycleError {
    /// The host is a member.
    #[error(
        "This node is already part of a swarm. Use \"docker swarm leave\" to leave this swarm \
         and join another one."
    )]
    AlreadyMember,
    /// The host is not a member.
    #[error("This node is not part of a swarm")]
    NotMember,
    /// The host is no manager.
    #[error(
        "This node is not a swarm manager: run this on a manager of the swarm that is to go on"
    )]
    NotManager,
    /// A manager leaves only with force.
    #[error(
        "You are attempting to leave the swarm on a node that is participating as a manager. {0}"
    )]
    IsManager(String),
    /// An address or port of the request makes no sense on this host.
    #[error("{0}")]
    BadAddress(String),
    /// The join token is malformed.
    #[error("invalid join token: {0}")]
    BadToken(#[from] TokenError),
    /// The host lacks something.
    #[error("this host is not fit: {check}: {detail}. {fix}")]
    Unfit {
        /// The check that failed.
        check: String,
        /// What it found.
        detail: String,
        /// What the user can do.
        fix: String,
    },
    /// The cluster refused, in its words.
    #[error("{0}")]
    Refused(#[from] ControlError),
    /// The manager could not be reached or refused.
    #[error(transparent)]
    Rpc(#[from] RpcError),
    /// Keys or certificates are at fault.
    #[error(transparent)]
    Pki(#[from] PkiError),
    /// Something on this host failed.
    #[error("{0}")]
    Failed(String),
}

impl From<WriteError> for LifecycleError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Control(error) => Self::Refused(error),
            WriteError::Unavailable(reason) => Self::Failed(reason),
            WriteError::NotLeader => Self::Failed(error.to_string()),
        }
    }
}

/// What the lifecycle task is asked to do.
enum Command {
    Init(
        Box<InitRequest>,
        oneshot::Sender<Result<NodeId, LifecycleError>>,
    ),
    /// Go on as the only manager; the address is what the user wants to be advertised.
    Refound(String, oneshot::Sender<Result<NodeId, LifecycleError>>),
    Join(
        Box<JoinRequest>,
        oneshot::Sender<Result<(), LifecycleError>>,
    ),
    Leave {
        force: bool,
        reply: oneshot::Sender<Result<(), LifecycleError>>,
    },
}

/// Handle to the host's swarm life cycle.
#[derive(Clone)]
pub struct Daemon {
    options: Arc<Options>,
    commands: mpsc::Sender<Command>,
    membership: watch::Receiver<Membership>,
    networks: watch::Receiver<Arc<Vec<Network>>>,
    plane: watch::Receiver<Option<NetPlane>>,
}

impl Daemon {
    /// Starts the life cycle and resumes the membership kept in `state_dir`. Should the life
    /// cycle end by itself, it cancels `shutdown`.
    pub fn start(
        options: Options,
        state_dir: StateDir,
        shutdown: CancellationToken,
    ) -> (Self, Lifecycle) {
        let options = Arc::new(options);
        let (commands, requests) = mpsc::channel(8);
        let (membership_tx, membership) = watch::channel(Membership::Pending);
        let (networks_tx, networks) = watch::channel(Arc::default());
        let (plane_tx, plane) = watch::channel(None);
        let lifecycle = Lifecycle::spawn(
            Arc::clone(&options),
            state_dir,
            requests,
            membership_tx,
            networks_tx,
            plane_tx,
            shutdown,
        );
        (
            Self {
                options,
                commands,
                membership,
                networks,
                plane,
            },
            lifecycle,
        )
    }

    /// What this host is to a cluster right now.
    pub fn membership(&self) -> Membership {
        self.membership.borrow().clone()
    }

    /// The parsed command line.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// The networks that this node's last assignment named; empty outside a cluster.
    pub fn known_networks(&self) -> Vec<Network> {
        self.networks.borrow().as_ref().clone()
    }

    /// This host's data plane, while it is a member whose agent runs.
    pub fn plane(&self) -> Option<NetPlane> {
        self.plane.borrow().clone()
    }

    /// Makes this host the first manager of a new cluster.
    pub async fn init(&self, request: InitRequest) -> Result<NodeId, LifecycleError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Init(Box::new(request), reply), answer)
            .await
    }

    /// Goes on with the cluster as its only manager, whatever has become of the others. Returns
    /// this node.
    pub async fn refound(&self, advertise_addr: String) -> Result<NodeId, LifecycleError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Refound(advertise_addr, reply), answer)
            .await
    }

    /// Makes this host a member of an existing cluster.
    pub async fn join(&self, request: JoinRequest) -> Result<(), LifecycleError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Join(Box::new(request), reply), answer)
            .await
    }

    /// Leaves the cluster and removes everything of it from this host.
    pub async fn leave(&self, force: bool) -> Result<(), LifecycleError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Command::Leave { force, reply }, answer).await
    }

    async fn ask<T>(
        &self,
        command: Command,
        answer: oneshot::Receiver<Result<T, LifecycleError>>,
    ) -> Result<T, LifecycleError> {
        let stopping = || LifecycleError::Failed("orchd is stopping".to_owned());
        self.commands.send(command).await.map_err(|_| stopping())?;
        answer.await.map_err(|_| stopping())?
    }
}
