//! A small cluster for the tests of lists.

use orch_core::ids::{NetworkId, NodeId, ServiceId, TaskId};
use orch_core::network::{Subnet, Vni};
use orch_core::objects::network::NetworkSpec;
use orch_core::objects::service::{Endpoint, EndpointSpec, ServiceMode};
use orch_core::objects::task::{
    ContainerStatus, NetworkAttachment, TaskOwner, TaskSpec, TaskStatus,
};
use orch_core::objects::{Labels, Meta, Network, Service, ServiceSpec, Task};
use orch_core::store::{Change, Object, State as Store};
use orch_core::task_state::{DesiredState, TaskState};
use orch_core::time::Timestamp;

/// A replicated service of one task, made from its second spec.
pub fn service(bits: u128, name: &str) -> Service {
    Service {
        id: ServiceId::from_random(bits),
        meta: Meta::default(),
        spec: ServiceSpec {
            name: name.to_owned(),
            labels: Labels::from([("app".to_owned(), name.to_owned())]),
            task: TaskSpec::default(),
            mode: ServiceMode::Replicated { replicas: 1 },
            networks: Vec::new(),
            update: None,
            rollback: None,
            endpoint: EndpointSpec::default(),
        },
        spec_version: 2,
        previous_spec: None,
        endpoint: Endpoint::default(),
        update_status: None,
    }
}

/// The network that all tasks here are on.
pub fn network() -> Network {
    Network {
        id: NetworkId::from_random(50),
        meta: Meta {
            version: 3,
            ..Meta::default()
        },
        spec: NetworkSpec {
            name: "sandbox".to_owned(),
            labels: Labels::new(),
            attachable: true,
            internal: false,
            ingress: false,
            ipv6: false,
            ipam: Vec::new(),
            driver_options: Labels::new(),
        },
        vni: Vni(4097),
        subnets: vec![Subnet {
            range: "10.0.10.0/24".parse().unwrap(),
            gateway: "10.0.10.1".parse().unwrap(),
        }],
        last_address: None,
        last_address_v6: None,
    }
}

fn task(bits: u128, owner: TaskOwner, desired: DesiredState) -> Task {
    Task {
        id: TaskId::from_random(bits),
        meta: Meta::default(),
        owner,
        spec: TaskSpec::default(),
        spec_version: 2,
        node: Some(NodeId::from_random(9)),
        status: TaskStatus {
            state: TaskState::Running,
            since: Timestamp::from_nanos(1_700_000_000_000_000_000),
            message: "started".to_owned(),
            error: String::new(),
            container: Some(ContainerStatus {
                id: "c1".to_owned(),
                pid: 42,
                exit_code: None,
            }),
        },
        desired,
        not_before: None,
        running_since: None,
        attachments: vec![NetworkAttachment {
            network: network().id,
            addresses: vec!["10.0.10.5/24".parse().unwrap()],
            aliases: Vec::new(),
        }],
    }
}

fn replica(bits: u128, service: &Service, desired: DesiredState) -> Task {
    let owner = TaskOwner::Service {
        id: service.id.clone(),
        name: service.spec.name.clone(),
        slot: 1,
    };
    task(bits, owner, desired)
}

/// web (a current and an old task), db (one task), and an attached container.
pub fn state() -> Store {
    let (web, db) = (service(1, "web"), service(2, "db"));
    let mut old = replica(11, &web, DesiredState::Shutdown);
    old.spec_version = 1;
    old.spec.force_update = 1;
    let tasks = [
        replica(10, &web, DesiredState::Running),
        old,
        replica(12, &db, DesiredState::Running),
        task(
            13,
            TaskOwner::Attachment {
                endpoint: "e".to_owned(),
            },
            DesiredState::Running,
        ),
    ];
    let mut changes = vec![
        Change::Put(Object::Network(network())),
        Change::Put(Object::Service(web)),
        Change::Put(Object::Service(db)),
    ];
    changes.extend(
        tasks
            .into_iter()
            .map(|task| Change::Put(Object::Task(task))),
    );
    let mut state = Store::default();
    state.apply(7, &changes).unwrap();
    state
}
