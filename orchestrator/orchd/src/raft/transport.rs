//! How messages of raft travel between managers.

use std::future::Future;

use orch_core::consensus::Message;

/// Carries messages to and from the other managers. Messages may be lost, doubled and reordered;
/// they must come from authenticated managers only.
pub trait Transport: Send + 'static {
    /// Sends without waiting; a message that cannot be sent is dropped.
    fn send(&mut self, message: Message);

    /// The next message of another manager. Cancel-safe.
    fn receive(&mut self) -> impl Future<Output = Message> + Send;
}

/// The transport of a cluster with one manager: there is nobody to talk to.
#[derive(Debug, Clone, Copy)]
pub struct SoleManager;

impl Transport for SoleManager {
    fn send(&mut self, message: Message) {
        tracing::warn!(
            to = message.to,
            "a raft message for a manager that does not exist"
        );
    }

    fn receive(&mut self) -> impl Future<Output = Message> + Send {
        std::future::pending()
    }
}
