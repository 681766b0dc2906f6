//! Addresses of tasks: `New` becomes `Pending`, or stays with the reason.

use super::AddressBook;
use super::endpoints::Refusals;
use crate::ids::NetworkId;
use crate::network::networks_of;
use crate::objects::task::NetworkAttachment;
use crate::objects::{Network, Service, Task};
use crate::store::{Object, Tx};
use crate::task_state::TaskState;

/// Gives every new task its addresses, oldest first.
pub(super) fn settle(tx: &mut Tx<'_>, book: &mut AddressBook, refusals: &Refusals) {
    let mut new: Vec<Task> = tx
        .tasks()
        .filter(|t| t.status.state == TaskState::New && t.is_wanted())
        .map(|t| Task::clone(t))
        .collect();
    new.sort_by_key(|t| (t.meta.created_at, t.slot()));
    new.retain_mut(|task| !give(tx, task, book, refusals));
    // The reason is what holds at the end of the pass, when all have got what there is.
    for mut task in new {
        if let Err(reason) = needed(tx, &task, book, refusals)
            && reason != task.status.error
        {
            task.status.error = reason;
            tx.put(Object::Task(task));
        }
    }
}

/// Gives one task its addresses, if there are enough.
fn give(tx: &mut Tx<'_>, task: &mut Task, book: &mut AddressBook, refusals: &Refusals) -> bool {
    let Ok(attachments) = needed(tx, task, book, refusals) else {
        return false;
    };
    task.attachments = attachments;
    task.status.state = TaskState::Pending;
    task.status.since = tx.now();
    task.status.message = "pending task scheduling".to_owned();
    task.status.error.clear();
    tx.put(Object::Task(task.clone()));
    true
}

/// The addresses that a task needs, taken, or why there are none for it.
fn needed(
    tx: &mut Tx<'_>,
    task: &Task,
    book: &mut AddressBook,
    refusals: &Refusals,
) -> Result<Vec<NetworkAttachment>, String> {
    let service = task.service().and_then(|id| tx.service(id)).cloned();
    let service = service.ok_or_else(|| "the task's service is gone".to_owned())?;
    match refusals.get(&service.id) {
        Some(reason) => Err(reason.clone()),
        None => attachments(tx, &service, book),
    }
}

/// An address of each family per network, or none at all and the reason.
fn attachments(
    tx: &mut Tx<'_>,
    service: &Service,
    book: &mut AddressBook,
) -> Result<Vec<NetworkAttachment>, String> {
    let wanted = networks_of(tx, &service.spec);
    if wanted.is_empty() {
        return Err("there is no ingress network to attach the task to".to_owned());
    }
    let mut given = Vec::new();
    match take_each(tx, wanted, book, &mut given) {
        Ok(networks) => {
            for network in networks {
                tx.put(Object::Network(network));
            }
            Ok(given)
        }
        Err(reason) => {
            for attachment in &given {
                for address in &attachment.addresses {
                    book.release(&attachment.network, address.addr());
                }
            }
            Err(reason)
        }
    }
}

fn take_each(
    tx: &Tx<'_>,
    wanted: Vec<(&NetworkId, &[String])>,
    book: &mut AddressBook,
    given: &mut Vec<NetworkAttachment>,
) -> Result<Vec<Network>, String> {
    let mut networks = Vec::new();
    for (id, aliases) in wanted {
        let found = tx
            .network(id)
            .ok_or_else(|| format!("network {id} not found"))?;
        let mut network = Network::clone(found);
        let addresses = book.take_each(&mut network).map_err(|e| e.to_string())?;
        given.push(NetworkAttachment {
            network: id.clone(),
            addresses,
            aliases: aliases.to_vec(),
        });
        networks.push(network);
    }
    Ok(networks)
}
