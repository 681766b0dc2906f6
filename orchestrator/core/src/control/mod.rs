//! What the API, the nodes and the certificate authority may do to the store.
//!
//! Every operation is a pure function on a transaction: it checks its input against the state,
//! records changes, or returns an error and leaves nothing behind. One file per noun. Nothing
//! here decides what follows from a change: that is [`crate::reconcile`].

mod attachment;
mod cluster;
mod command;
mod error;
mod find;
mod manager;
mod network;
mod node;
mod service;
mod task;
#[cfg(test)]
mod tests;

pub use attachment::{AttachRequest, attach, detach, name_attachment, sync_attachments};
pub use cluster::{InitCluster, init_cluster, update_cluster};
pub use command::{Command, run};
pub use error::ControlError;
pub use find::{find_network, find_node, find_service, find_task};
pub use manager::{dismiss, enroll, leave, refound, wanted_members};
pub use network::{create_network, remove_network};
pub use node::{admit_node, open_session, record_finding, remove_node, report_ports, update_node};
pub(crate) use service::check_networks;
pub use service::{
    create_service, remove_service, rollback_service, service_warnings, update_service,
};
pub use task::report_tasks;
