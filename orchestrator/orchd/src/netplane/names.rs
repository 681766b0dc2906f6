//! The cluster's names as the task sees them that asks the host's listener.
//!
//! The data plane answers such questions itself, but for what it leaves to the listener: questions
//! over TCP, and names longer than it keeps.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use orch_core::network::Vni;
use orch_dataplane::{Attachment, DataPlane, Error};

use super::{NetPlane, NetPlaneError};

/// A question that reached the listener.
#[derive(Debug)]
pub struct Asked {
    /// IP protocol number of the conversation.
    pub protocol: u8,
    /// Who asked, as the listener sees it.
    pub client: SocketAddr,
    /// The listener.
    pub listener: SocketAddr,
    /// The name, without a final dot.
    pub name: String,
}

impl NetPlane {
    /// The addresses of the name in the first network of the asking container that knows it;
    /// `None` if none does.
    pub async fn addresses_of(
        &self,
        asked: Asked,
    ) -> Result<Option<BTreeSet<IpAddr>>, NetPlaneError> {
        let name = asked.name.to_ascii_lowercase();
        let networks = self.look(move |plane| networks_of(plane, &asked)).await?;
        let desired = self.desired.borrow();
        Ok(desired.as_ref().and_then(|desired| {
            networks
                .into_iter()
                .find_map(|vni| desired.names.get(&(vni, name.clone())).cloned())
        }))
    }
}

/// The networks of the container that asks, the one it asks from first.
fn networks_of(plane: &DataPlane, asked: &Asked) -> Result<Vec<Vni>, Error> {
    let tables = plane.flow_tables()?;
    let asker = tables.task_behind(asked.protocol, asked.client, asked.listener);
    let Some((vni, address)) = asker else {
        return Ok(Vec::new());
    };
    let has = |attachment: &&Attachment| {
        attachment.vni == vni && attachment.addresses().any(|own| own == address)
    };
    let sandbox = plane.attachments().find(has).map(|own| &own.sandbox_id);
    let others = plane
        .attachments()
        .filter(|other| Some(&other.sandbox_id) == sandbox && other.vni != vni)
        .map(|other| other.vni);
    Ok(std::iter::once(vni).chain(others).collect())
}
