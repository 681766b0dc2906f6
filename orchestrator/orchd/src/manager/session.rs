//! What the dispatcher tells the leader about the sessions of nodes.

use orch_core::ids::NodeId;
use tokio::sync::oneshot;

/// Something happened to a node's session.
#[derive(Debug)]
pub enum SessionEvent {
    /// The node registered; a session it had before is over.
    Opened {
        /// The node.
        node: NodeId,
        /// Names the session.
        session: String,
    },
    /// The node says that it lives.
    Beat {
        /// The node.
        node: NodeId,
        /// The session it believes to have.
        session: String,
        /// Answer: whether it has that session. If not it must register again.
        alive: oneshot::Sender<bool>,
    },
    /// The connection of a session is gone.
    Broken {
        /// The node.
        node: NodeId,
        /// The session that it was.
        session: String,
    },
    /// A node's host was asked whether it is there.
    Asked {
        /// The node.
        node: NodeId,
        /// Whether it answered, or could not be asked.
        answered: bool,
    },
    /// The node said good-bye or was removed.
    Closed {
        /// The node.
        node: NodeId,
    },
}
