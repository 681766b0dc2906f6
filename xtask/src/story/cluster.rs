//! What the cluster says about itself, read through the Engine API as any client could.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::lab::http::Api;
use crate::lab::{Daemon, Host};

/// A task of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its id.
    pub id: String,
    /// `service.slot`, which is how people speak of it.
    pub name: String,
    /// Its slot, which a replacement takes over.
    pub slot: u64,
    /// What it is: `running`, `failed`, ...
    pub state: String,
    /// What it should be.
    pub desired: String,
    /// The node it was given to.
    pub node: String,
    /// Its container; empty before there is one.
    pub container: String,
    /// Its IPv4 addresses by network id.
    pub addresses: BTreeMap<String, String>,
    /// Its IPv6 addresses by network id.
    pub addresses6: BTreeMap<String, String>,
    /// Why it is in its state.
    pub error: String,
}

impl Task {
    /// One line about it.
    pub fn summary(&self) -> String {
        format!(
            "{} {} (should be {}) {}",
            self.name, self.state, self.desired, self.error
        )
    }
}

/// The cluster of a lab's hosts.
#[derive(Debug)]
pub struct Cluster {
    hosts: Vec<Host>,
}

impl Cluster {
    /// The cluster whose first manager is the first of these hosts.
    pub fn new(hosts: &[Host]) -> Self {
        Self {
            hosts: hosts.to_vec(),
        }
    }

    /// The lab's hosts.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The API of the first manager.
    pub fn api(&self) -> Result<Api> {
        let manager = self.hosts.first().context("a lab has hosts")?;
        Ok(manager.api(Daemon::Orchd))
    }

    /// All tasks of a service, old ones too.
    pub fn tasks(&self, service: &str) -> Result<Vec<Task>> {
        let id = self.service(service)?["ID"].clone();
        let all = self.api()?.want("/tasks")?;
        let ours = all
            .as_array()
            .into_iter()
            .flatten()
            .filter(|task| task["ServiceID"] == id);
        Ok(ours.map(|task| parse_task(service, task)).collect())
    }

    /// The tasks of a service that run and shall.
    pub fn running(&self, service: &str) -> Result<Vec<Task>> {
        let mut tasks = self.tasks(service)?;
        tasks.retain(|task| task.state == "running" && task.desired == "running");
        tasks.sort_by_key(|task| task.slot);
        Ok(tasks)
    }

    /// The only running task of a service.
    pub fn only(&self, service: &str) -> Result<Task> {
        let mut tasks = self.running(service)?;
        match (tasks.pop(), tasks.len()) {
            (Some(task), 0) => Ok(task),
            _ => bail!("{service} should have one running task"),
        }
    }

    /// A service as `service inspect` shows it.
    pub fn service(&self, name: &str) -> Result<Value> {
        let all = self.api()?.want("/services")?;
        let found = all
            .as_array()
            .into_iter()
            .flatten()
            .find(|s| s["Spec"]["Name"] == name);
        found
            .cloned()
            .with_context(|| format!("there is no service {name}"))
    }

    /// The id of a network.
    pub fn network(&self, name: &str) -> Result<String> {
        let all = self.api()?.want("/networks")?;
        let found = all
            .as_array()
            .into_iter()
            .flatten()
            .find(|net| net["Name"] == name);
        let id = found.and_then(|net| net["Id"].as_str());
        Ok(id
            .with_context(|| format!("there is no network {name}"))?
            .to_owned())
    }

    /// The virtual IPv4 address of a service on a network.
    pub fn vip(&self, service: &str, network: &str) -> Result<String> {
        self.vip_of(service, network, |address| !address.contains(':'))
    }

    /// The virtual IPv6 address of a service on a network.
    pub fn vip6(&self, service: &str, network: &str) -> Result<String> {
        self.vip_of(service, network, |address| address.contains(':'))
    }

    fn vip_of(&self, service: &str, network: &str, wanted: fn(&str) -> bool) -> Result<String> {
        let id = self.network(network)?;
        let service = self.service(service)?;
        let vips = service["Endpoint"]["VirtualIPs"]
            .as_array()
            .into_iter()
            .flatten();
        let on_network = vips.filter(|vip| vip["NetworkID"] == *id);
        let mut addresses = on_network.filter_map(|vip| vip["Addr"].as_str());
        let address = addresses.find(|address| wanted(address));
        Ok(without_prefix(address.with_context(|| {
            format!("{service} has no such VIP on {network}")
        })?))
    }

    /// The addresses of a service's running tasks on a network.
    pub fn addresses(&self, service: &str, network: &str) -> Result<BTreeSet<String>> {
        let id = self.network(network)?;
        let tasks = self.running(service)?;
        Ok(tasks
            .iter()
            .filter_map(|task| task.addresses.get(&id).cloned())
            .collect())
    }

    /// The host that runs a task.
    pub fn host_of(&self, task: &Task) -> Result<Host> {
        let node = self.api()?.want(&format!("/nodes/{}", task.node))?;
        let name = node["Description"]["Hostname"]
            .as_str()
            .context("a node has a host name")?;
        let host = self.hosts.iter().find(|host| host.name() == name);
        host.copied()
            .with_context(|| format!("no host is called {name}"))
    }

    /// Everything that must survive a crash, by a name for people.
    pub fn memory(&self) -> Result<BTreeMap<String, Value>> {
        let api = self.api()?;
        let mut memory = BTreeMap::new();
        for service in list(&api, "/services")? {
            let name = service["Spec"]["Name"].clone();
            memory.insert(
                format!("service {name}"),
                json!([service["ID"], service["Spec"], service["Endpoint"]]),
            );
            for task in self.running(name.as_str().unwrap_or_default())? {
                let facts = json!([
                    task.id,
                    task.node,
                    task.container,
                    task.addresses,
                    task.addresses6
                ]);
                memory.insert(format!("task {}", task.name), facts);
            }
        }
        for network in list(&api, "/networks")? {
            if network["Scope"] == "swarm" {
                let facts = json!([network["Id"], network["IPAM"]]);
                memory.insert(format!("network {}", network["Name"]), facts);
            }
        }
        for node in list(&api, "/nodes")? {
            let facts = json!([node["Spec"], node["Description"]["Hostname"]]);
            memory.insert(format!("node {}", node["ID"]), facts);
        }
        memory.insert(
            "tokens".to_owned(),
            api.want("/swarm")?["JoinTokens"].clone(),
        );
        Ok(memory)
    }
}

/// An error that names what is not the same in both.
pub fn same(before: &BTreeMap<String, Value>, after: &BTreeMap<String, Value>) -> Result<()> {
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let changed: Vec<String> = names
        .into_iter()
        .filter(|name| before.get(*name) != after.get(*name))
        .map(|name| {
            format!(
                "{name}: {:?} became {:?}",
                before.get(name),
                after.get(name)
            )
        })
        .collect();
    if changed.is_empty() {
        Ok(())
    } else {
        bail!(changed.join("\n"))
    }
}

fn list(api: &Api, path: &str) -> Result<Vec<Value>> {
    let answer = api.want(path)?;
    let items = answer
        .as_array()
        .with_context(|| format!("{path} should be a list: {answer}"))?;
    Ok(items.clone())
}

fn parse_task(service: &str, task: &Value) -> Task {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let slot = task["Slot"].as_u64().unwrap_or_default();
    let attachments = task["NetworksAttachments"].as_array().into_iter().flatten();
    let addresses = attachments.flat_map(|attachment| {
        let network = text(&attachment["Network"]["ID"]);
        let all = attachment["Addresses"].as_array().into_iter().flatten();
        all.map(move |address| (network.clone(), without_prefix(&text(address))))
    });
    let (addresses6, addresses) = addresses.partition(|(_, address)| address.contains(':'));
    Task {
        id: text(&task["ID"]),
        name: format!("{service}.{slot}"),
        slot,
        state: text(&task["Status"]["State"]),
        desired: text(&task["DesiredState"]),
        node: text(&task["NodeID"]),
        container: text(&task["Status"]["ContainerStatus"]["ContainerID"]),
        addresses,
        addresses6,
        error: text(&task["Status"]["Err"]),
    }
}

fn without_prefix(address: &str) -> String {
    address.split('/').next().unwrap_or_default().to_owned()
}
