//! `service ps` and `node ps`.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    capitalize, image::short_image, natural_order, ports::task_ports, short_id, time::seconds_since,
};
use crate::{
    format::{Column, Listing, Row, human_duration},
    model::Task,
};

/// The columns of `service ps`.
pub const TASKS: Listing = Listing {
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
            field: "Image",
            header: "IMAGE",
        },
        Column {
            field: "Node",
            header: "NODE",
        },
        Column {
            field: "DesiredState",
            header: "DESIRED STATE",
        },
        Column {
            field: "CurrentState",
            header: "CURRENT STATE",
        },
        Column {
            field: "Error",
            header: "ERROR",
        },
        Column {
            field: "Ports",
            header: "PORTS",
        },
    ],
    table: "{{.ID}}\t{{.Name}}\t{{.Image}}\t{{.Node}}\t{{.DesiredState}}\t{{.CurrentState}}\t\
            {{.Error}}\t{{.Ports}}",
    quiet: "{{.ID}}",
};

/// The longest error that fits the table.
const MAX_ERROR: usize = 30;

/// Names for ids; an id without a name stands for itself (`--no-resolve`).
#[derive(Debug, Default)]
pub struct TaskNames {
    /// Service id → name.
    pub services: BTreeMap<String, String>,
    /// Node id → hostname.
    pub nodes: BTreeMap<String, String>,
}

impl TaskNames {
    /// `redis.1`, or `redis.<node id>` for a task of a global service.
    pub fn task(&self, task: &Task) -> String {
        let service = self
            .services
            .get(&task.service_id)
            .unwrap_or(&task.service_id);
        match task.slot {
            0 => format!("{service}.{}", task.node_id),
            slot => format!("{service}.{slot}"),
        }
    }

    /// The hostname.
    pub fn node<'a>(&'a self, task: &'a Task) -> &'a str {
        self.nodes.get(&task.node_id).unwrap_or(&task.node_id)
    }
}

/// One row per task, newest first within a slot. In a table, older tasks of a slot are indented
/// below the newest.
pub fn task_rows(
    mut tasks: Vec<Task>,
    names: &TaskNames,
    truncate: bool,
    indent: bool,
    now: Timestamp,
) -> Vec<Row> {
    tasks.sort_by(|a, b| {
        natural_order(&names.task(a), &names.task(b)).then_with(|| b.created_at.cmp(&a.created_at))
    });
    let mut previous = String::new();
    let mut rows = Vec::new();
    for task in &tasks {
        let name = names.task(task);
        let shown = match indent && name == previous {
            true => format!(" \\_ {name}"),
            false => name.clone(),
        };
        previous = name;
        rows.push(row(task, shown, names.node(task), truncate, now));
    }
    rows
}

fn row(task: &Task, name: String, node: &str, truncate: bool, now: Timestamp) -> Row {
    let image = &task.spec.container_spec.image;
    let age = human_duration(seconds_since(&task.status.timestamp, now)).to_lowercase();
    vec![
        short_id(&task.id, truncate),
        name,
        if truncate {
            short_image(image)
        } else {
            image.clone()
        },
        node.to_owned(),
        capitalize(&task.desired_state),
        format!("{} {age} ago", capitalize(&task.status.state)),
        quote_error(&task.status.err, truncate),
        task_ports(&task.status.port_status.ports),
    ]
}

fn quote_error(error: &str, truncate: bool) -> String {
    match error {
        "" => String::new(),
        long if truncate && long.chars().count() > MAX_ERROR => {
            format!(
                "\"{}…\"",
                long.chars().take(MAX_ERROR - 1).collect::<String>()
            )
        }
        short => format!("\"{short}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::decode;

    #[test]
    fn history_is_indented_below_the_newest_task() {
        let tasks: Vec<Task> = decode(
            r#"[{"ID": "1111111111111111111111111", "ServiceID": "s", "Slot": 1, "NodeID": "a",
                 "CreatedAt": "2026-01-01T00:00:00Z", "DesiredState": "shutdown",
                 "Spec": {"ContainerSpec": {"Image": "redis:7@sha256:ab"}},
                 "Status": {"State": "failed", "Timestamp": "2026-01-01T00:00:10Z",
                            "Err": "task: non-zero exit (137): out of memory"}},
                {"ID": "2222222222222222222222222", "ServiceID": "s", "Slot": 1, "NodeID": "b",
                 "CreatedAt": "2026-01-01T00:00:10Z", "DesiredState": "running",
                 "Spec": {"ContainerSpec": {"Image": "redis:7@sha256:ab"}},
                 "Status": {"State": "running", "Timestamp": "2026-01-01T00:00:12.9Z"}}]"#,
        )
        .unwrap();
        let names = TaskNames {
            services: BTreeMap::from([("s".into(), "redis".into())]),
            nodes: BTreeMap::from([("a".into(), "n1".into()), ("b".into(), "n2".into())]),
        };
        let now = "2026-01-01T00:03:12Z".parse().unwrap();
        let rows = task_rows(tasks, &names, true, true, now);
        assert_eq!(
            TASKS.render(&rows, None, false).unwrap(),
            "ID             NAME          IMAGE     NODE      DESIRED STATE   CURRENT STATE           \
             ERROR                              PORTS\n\
             222222222222   redis.1       redis:7   n2        Running         Running 3 minutes ago   \
             \u{20}                                  \n\
             111111111111    \\_ redis.1   redis:7   n1        Shutdown        Failed 3 minutes ago    \
             \"task: non-zero exit (137): ou…\"   \n"
        );
    }
}
