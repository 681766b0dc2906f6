//! A manager's side: serves the calls of nodes.

use std::sync::Arc;
use std::time::Duration;

use orch_proto::ca_server::CaServer;
use orch_proto::dispatcher_server::DispatcherServer;
use orch_proto::managers_server::ManagersServer;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use super::access::{Access, GuardLayer, TABLE};
use super::ca::Ca;
use super::carrier::Inbox;
use super::connection::{Identification, Patience};
use super::dispatcher::Dispatcher;
use super::managers::Managers;
use super::{connection, wire};
use crate::manager::ManagerHandle;
use crate::pki::PkiError;
use crate::pki::credentials::Credentials;

/// Time that open calls have to end when the server stops.
const GRACE: Duration = Duration::from_secs(2);

/// Serves on `listener` until `stop`; raft's messages go to `inbox`. New connections are shown the
/// latest credentials; those that there are go on.
pub async fn serve(
    listener: TcpListener,
    credentials: watch::Receiver<Arc<Credentials>>,
    manager: ManagerHandle,
    inbox: Inbox,
    stop: CancellationToken,
) -> Result<(), PkiError> {
    serve_with(TABLE, listener, credentials, manager, inbox, stop).await
}

/// [`serve`] with other rules.
pub(super) async fn serve_with(
    table: &'static [(&'static str, Access)],
    listener: TcpListener,
    credentials: watch::Receiver<Arc<Credentials>>,
    manager: ManagerHandle,
    inbox: Inbox,
    stop: CancellationToken,
) -> Result<(), PkiError> {
    let identification = Identification::new(credentials)?;
    let (accepting, incoming) = connection::accept(listener, identification, stop.clone());
    let dispatcher = DispatcherServer::new(Dispatcher::new(manager.clone(), stop.clone()))
        .max_decoding_message_size(wire::MAX_MESSAGE)
        .max_encoding_message_size(wire::MAX_MESSAGE);
    let managers = ManagersServer::new(Managers::new(manager.clone(), inbox, stop.clone()))
        .max_decoding_message_size(wire::MAX_MESSAGE);
    let patience = Patience::of_link(manager.tick());
    let serving = Server::builder()
        .http2_keepalive_interval(Some(patience.keep_alive))
        .http2_keepalive_timeout(Some(patience.answer))
        .layer(GuardLayer {
            table,
            manager: manager.clone(),
        })
        .add_service(CaServer::new(Ca::new(manager)))
        .add_service(dispatcher)
        .add_service(managers)
        .serve_with_incoming_shutdown(incoming, stop.clone().cancelled_owned());
    let overdue = async {
        stop.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = serving => {
            if let Err(error) = served {
                tracing::error!(%error, "the node-to-node server failed");
            }
        }
        () = overdue => tracing::debug!("node-to-node calls did not end in time"),
    }
    // Who starts again right away wants the same port.
    if let Err(error) = accepting.await {
        tracing::error!(%error, "the node-to-node server did not end well");
    }
    Ok(())
}
