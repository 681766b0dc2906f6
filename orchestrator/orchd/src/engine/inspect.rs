//! What containers there are, and how they are.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use bollard::models::{
    ContainerInspectResponse, ContainerState as ApiState, ContainerStateStatusEnum as Status,
    EndpointSettings, HealthStatusEnum,
};
use bollard::query_parameters::{InspectContainerOptions, ListContainersOptionsBuilder};
use orch_core::agent::{Container, ContainerState, Health};
use orch_core::ids::{NodeId, TaskId};

use super::error::found;
use super::{CALL_TIMEOUT, Engine, EngineError, labels};

/// A container that was made for a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskContainer {
    /// The task.
    pub task: TaskId,
    /// Its container.
    pub container: Container,
}

/// An endpoint of a running container, whoever runs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedEndpoint {
    /// The engine's id of the endpoint.
    pub id: String,
    /// The engine's id of its network.
    pub network: String,
    /// Its addresses, one of each family at most.
    pub addresses: Vec<IpAddr>,
}

/// What a container is called in the networks it is attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedContainer {
    /// Its name and the first 12 digits of its id, which Docker's own name server knows too.
    pub names: Vec<String>,
    /// Its endpoints, and further names of it in that network.
    pub endpoints: Vec<(UsedEndpoint, Vec<String>)>,
}

impl Engine {
    /// What a container is called; `None` when it is gone.
    pub async fn container_names(&self, id: &str) -> Result<Option<NamedContainer>, EngineError> {
        let docker = self.docker(CALL_TIMEOUT)?;
        let inspect = docker.inspect_container(id, None::<InspectContainerOptions>);
        Ok(found(inspect.await.map_err(self.error()))?.and_then(named_container))
    }

    /// The ids of all containers that run now.
    pub async fn running_containers(&self) -> Result<Vec<String>, EngineError> {
        let docker = self.docker(CALL_TIMEOUT)?;
        let options = ListContainersOptionsBuilder::new().build();
        let list = docker.list_containers(Some(options)).await;
        let list = list.map_err(self.error())?;
        Ok(list.into_iter().filter_map(|c| c.id).collect())
    }

    /// This node's task containers, running or not. When there are several for one task, which
    /// only another program can have made, the newest is named.
    pub async fn task_containers(
        &self,
        node: &NodeId,
    ) -> Result<BTreeMap<TaskId, Container>, EngineError> {
        let docker = self.docker(CALL_TIMEOUT)?;
        let mine = HashMap::from([("label", vec![format!("{}={node}", labels::NODE_ID)])]);
        let options = ListContainersOptionsBuilder::new()
            .all(true)
            .filters(&mine)
            .build();
        let list = docker
            .list_containers(Some(options))
            .await
            .map_err(self.error())?;
        let mut found = BTreeMap::new();
        for id in list.into_iter().filter_map(|container| container.id) {
            // One that was removed meanwhile is simply not there.
            if let Some(seen) = self.inspect_task_container(&id).await? {
                found.entry(seen.task).or_insert(seen.container);
            }
        }
        Ok(found)
    }

    /// A container by id or name; `None` when there is none or it was not made for a task.
    pub async fn inspect_task_container(
        &self,
        id_or_name: &str,
    ) -> Result<Option<TaskContainer>, EngineError> {
        let docker = self.docker(CALL_TIMEOUT)?;
        let inspect = docker.inspect_container(id_or_name, None::<InspectContainerOptions>);
        Ok(found(inspect.await.map_err(self.error()))?.and_then(task_container))
    }

    /// All endpoints of all containers that run now.
    pub async fn used_endpoints(&self) -> Result<Vec<UsedEndpoint>, EngineError> {
        let docker = self.docker(CALL_TIMEOUT)?;
        let options = ListContainersOptionsBuilder::new().build();
        let list = docker
            .list_containers(Some(options))
            .await
            .map_err(self.error())?;
        Ok(list
            .into_iter()
            .filter_map(|container| container.network_settings?.networks)
            .flat_map(HashMap::into_values)
            .filter_map(used_endpoint)
            .collect())
    }
}

fn used_endpoint(settings: EndpointSettings) -> Option<UsedEndpoint> {
    let addresses = [settings.ip_address, settings.global_ipv6_address];
    Some(UsedEndpoint {
        id: settings.endpoint_id.filter(|id| !id.is_empty())?,
        network: settings.network_id?,
        addresses: addresses
            .iter()
            .flatten()
            .filter_map(|address| address.parse().ok())
            .collect(),
    })
}

fn named_container(answer: ContainerInspectResponse) -> Option<NamedContainer> {
    /// Digits of an id that Docker shows.
    const SHORT: usize = 12;
    let name = answer.name?.trim_start_matches('/').to_owned();
    let short: String = answer.id?.chars().take(SHORT).collect();
    let networks = answer.network_settings?.networks.unwrap_or_default();
    let endpoints = networks.into_values().filter_map(|settings| {
        let aliases = settings.aliases.clone().unwrap_or_default();
        Some((used_endpoint(settings)?, aliases))
    });
    Some(NamedContainer {
        names: vec![name, short],
        endpoints: endpoints.collect(),
    })
}

fn task_container(answer: ContainerInspectResponse) -> Option<TaskContainer> {
    let labels = answer.config?.labels?;
    let task = TaskId::parse(labels.get(labels::TASK_ID)?).ok()?;
    let state = container_state(answer.state?);
    Some(TaskContainer {
        task,
        container: Container {
            id: answer.id?,
            state,
        },
    })
}

fn container_state(state: ApiState) -> ContainerState {
    let running = ContainerState::Running {
        pid: state.pid.unwrap_or(0),
        health: state
            .health
            .and_then(|health| health.status)
            .map_or(Health::Unchecked, health),
    };
    match state.status {
        Some(Status::CREATED) => ContainerState::Created,
        Some(Status::RUNNING | Status::PAUSED | Status::RESTARTING | Status::STOPPING) => running,
        Some(Status::EMPTY) | None if state.running == Some(true) => running,
        Some(Status::EXITED | Status::DEAD | Status::REMOVING | Status::EMPTY) | None => {
            ContainerState::Ended {
                exit_code: state.exit_code.unwrap_or(0),
                out_of_memory: state.oom_killed.unwrap_or(false),
                error: state.error.unwrap_or_default(),
            }
        }
    }
}

fn health(status: HealthStatusEnum) -> Health {
    match status {
        HealthStatusEnum::EMPTY | HealthStatusEnum::NONE => Health::Unchecked,
        HealthStatusEnum::STARTING => Health::Starting,
        HealthStatusEnum::HEALTHY => Health::Healthy,
        HealthStatusEnum::UNHEALTHY => Health::Unhealthy,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn inspected(state: serde_json::Value) -> Option<TaskContainer> {
        let answer = json!({
            "Id": "c0ffee",
            "Config": { "Labels": { labels::TASK_ID: TaskId::from_random(7).as_str() } },
            "State": state,
        });
        task_container(serde_json::from_value(answer).unwrap())
    }

    fn state_of(state: serde_json::Value) -> ContainerState {
        let seen = inspected(state).unwrap();
        assert_eq!(seen.task, TaskId::from_random(7));
        assert_eq!(seen.container.id, "c0ffee");
        seen.container.state
    }

    #[test]
    fn every_status_has_a_meaning() {
        let running = |health| ContainerState::Running { pid: 9, health };
        let created = state_of(json!({"Status": "created", "ExitCode": 128, "Error": "no"}));
        assert_eq!(created, ContainerState::Created);
        for status in ["running", "paused", "restarting"] {
            let state = state_of(json!({"Status": status, "Running": true, "Pid": 9}));
            assert_eq!(state, running(Health::Unchecked));
        }
        let cases = [
            ("none", Health::Unchecked),
            ("starting", Health::Starting),
            ("healthy", Health::Healthy),
            ("unhealthy", Health::Unhealthy),
        ];
        for (word, health) in cases {
            let state =
                state_of(json!({"Status": "running", "Pid": 9, "Health": {"Status": word}}));
            assert_eq!(state, running(health));
        }
        for status in ["exited", "dead", "removing"] {
            let state = state_of(json!({"Status": status, "ExitCode": 137, "OOMKilled": true}));
            let ended = ContainerState::Ended {
                exit_code: 137,
                out_of_memory: true,
                error: String::new(),
            };
            assert_eq!(state, ended);
        }
    }

    #[test]
    fn a_container_is_called_by_its_name_its_id_and_its_aliases() {
        let answer = json!({
            "Id": "0123456789abcdef",
            "Name": "/tool",
            "NetworkSettings": {"Networks": {
                "sandbox": {
                    "EndpointID": "e", "NetworkID": "n", "IPAddress": "10.0.10.5",
                    "Aliases": ["db", "0123456789ab"],
                },
                "left": {"EndpointID": "", "NetworkID": "m", "Aliases": null},
            }},
        });
        let named = named_container(serde_json::from_value(answer).unwrap()).unwrap();
        assert_eq!(named.names, ["tool", "0123456789ab"]);
        let [(endpoint, aliases)] = named.endpoints.as_slice() else {
            panic!("one endpoint, not {:?}", named.endpoints);
        };
        assert_eq!(
            (endpoint.id.as_str(), endpoint.network.as_str()),
            ("e", "n")
        );
        assert_eq!(aliases, &["db", "0123456789ab"]);
    }

    #[test]
    fn foreign_containers_are_none_of_ours() {
        let answer = json!({"Id": "x", "Config": {"Labels": {}}, "State": {"Status": "running"}});
        assert_eq!(
            task_container(serde_json::from_value(answer).unwrap()),
            None
        );
        let forged = json!({
            "Id": "x",
            "Config": {"Labels": {labels::TASK_ID: "not an id"}},
            "State": {"Status": "running"},
        });
        assert_eq!(
            task_container(serde_json::from_value(forged).unwrap()),
            None
        );
    }
}
