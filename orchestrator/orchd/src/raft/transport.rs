//! How messages of raft travel between managers.

use std::future::Future;

use orch_core::consensus::{Input, Message};

/// Carries messages to and from the other managers. Messages may be lost, doubled and reordered;
/// they must come from authenticated managers only.
pub trait Transport: Send + 'static {
    /// Sends without waiting; a message that cannot be sent is dropped.
    fn send(&mut self, message: Message);

    /// The next message of another manager, or what became of one that was sent. Cancel-safe.
    fn receive(&mut self) -> impl Future<Output = Input> + Send;
}

/// The transport of a cluster with one manager: there is nobody to talk to.
#[cfg(test)]
#[derive(Debug, Clone, Copy)]
pub struct SoleManager;

#[cfg(test)]
impl Transport for SoleManager {
    fn send(&mut self, message: Message) {
        tracing::warn!(
            to = message.to,
            "a raft message for a manager that does not exist"
        );
    }

    fn receive(&mut self) -> impl Future<Output = Input> + Send {
        std::future::pending()
    }
}
