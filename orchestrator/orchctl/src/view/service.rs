//! `service ls`.

use super::{image::short_image, natural_order, ports::ingress_ports, short_id};
use crate::{
    format::{Column, Listing, Row},
    model::{Mode, Service},
};

/// The columns of `service ls`.
pub const SERVICES: Listing = Listing {
    columns: &[
        Column {
            field: "ID",
            header: "ID",
        },
        Column {
            field: "Name",
            header: "NAME",
        },
        Column {
            field: "Mode",
            header: "MODE",
        },
        Column {
            field: "Replicas",
            header: "REPLICAS",
        },
        Column {
            field: "Image",
            header: "IMAGE",
        },
        Column {
            field: "Ports",
            header: "PORTS",
        },
    ],
    table: "{{.ID}}\t{{.Name}}\t{{.Mode}}\t{{.Replicas}}\t{{.Image}}\t{{.Ports}}",
    quiet: "{{.ID}}",
};

/// One row per service by name.
pub fn service_rows(mut services: Vec<Service>) -> Vec<Row> {
    services.sort_by(|a, b| natural_order(&a.spec.name, &b.spec.name));
    let row = |service: &Service| {
        vec![
            short_id(&service.id, true),
            service.spec.name.clone(),
            mode_name(&service.spec.mode).to_owned(),
            replicas(service),
            short_image(&service.spec.task_template.container_spec.image),
            ingress_ports(&service.endpoint.ports),
        ]
    };
    services.iter().map(row).collect()
}

/// docker's word for a mode.
pub fn mode_name(mode: &Mode) -> &'static str {
    match mode {
        Mode {
            global: Some(_), ..
        } => "global",
        Mode {
            replicated_job: Some(_),
            ..
        } => "replicated job",
        Mode {
            global_job: Some(_),
            ..
        } => "global job",
        Mode { .. } => "replicated",
    }
}

fn replicas(service: &Service) -> String {
    let status = service.service_status.unwrap_or_default();
    let running = status.running_tasks;
    let counts = match &service.spec.mode {
        Mode {
            replicated: Some(replicated),
            ..
        } => {
            format!("{running}/{}", replicated.replicas)
        }
        Mode {
            replicated_job: Some(job),
            ..
        } => format!(
            "{running}/{} ({}/{} completed)",
            status.desired_tasks, status.completed_tasks, job.total_completions
        ),
        Mode {
            global_job: Some(_),
            ..
        } => format!(
            "{running}/{} ({}/{} completed)",
            status.desired_tasks,
            status.completed_tasks,
            status.desired_tasks + status.completed_tasks
        ),
        Mode { .. } => format!("{running}/{}", status.desired_tasks),
    };
    match service.spec.task_template.placement.max_replicas {
        0 => counts,
        max => format!("{counts} (max {max} per node)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::decode;

    #[test]
    fn the_table() {
        let services: Vec<Service> = decode(
            r#"[{"ID": "zzzzzzzzzzzzzzzzzzzzzzzzz",
                 "Spec": {"Name": "web", "Mode": {"Replicated": {"Replicas": 3}},
                          "TaskTemplate": {"ContainerSpec": {"Image": "web:1@sha256:ab"},
                                           "Placement": {"MaxReplicas": 1}}},
                 "Endpoint": {"Ports": [{"Protocol": "tcp", "TargetPort": 80,
                              "PublishedPort": 8080, "PublishMode": "ingress"}]},
                 "ServiceStatus": {"RunningTasks": 2, "DesiredTasks": 3}},
                {"ID": "aaaaaaaaaaaaaaaaaaaaaaaaa",
                 "Spec": {"Name": "job", "Mode": {"ReplicatedJob": {"TotalCompletions": 4}},
                          "TaskTemplate": {"ContainerSpec": {"Image": "busybox"}}},
                 "Endpoint": {"Ports": null},
                 "ServiceStatus": {"RunningTasks": 1, "DesiredTasks": 1, "CompletedTasks": 3}}]"#,
        )
        .unwrap();
        assert_eq!(
            SERVICES
                .render(&service_rows(services), None, false)
                .unwrap(),
            "ID             NAME      MODE             REPLICAS               IMAGE     PORTS\n\
             aaaaaaaaaaaa   job       replicated job   1/1 (3/4 completed)    busybox   \n\
             zzzzzzzzzzzz   web       replicated       2/3 (max 1 per node)   web:1     \
             *:8080->80/tcp\n"
        );
    }
}
