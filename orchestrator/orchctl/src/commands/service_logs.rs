//! `service logs`: each line with the task and node it came from.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::{lookup, system::unix_time};
use crate::{
    args::ServiceLogs,
    client::{Client, LogFrame, LogStream, LogTarget, segment},
    model::{Service, Task},
    view::TaskNames,
};

/// Follows or prints the logs of a service, or of one task.
pub async fn run(client: &Client, args: &ServiceLogs) -> Result<()> {
    let target = segment(&args.target);
    let service = client
        .get(&format!("/services/{target}"))
        .json::<Service>()
        .await;
    let (path, tty) = match service {
        Ok(service) => {
            let tty = service.spec.task_template.container_spec.tty;
            (format!("/services/{}/logs", segment(&service.id)), tty)
        }
        Err(error) if error.is_not_found() => {
            let task = client.get(&format!("/tasks/{target}")).json::<Task>().await;
            let task = match task {
                Err(error) if error.is_not_found() => {
                    anyhow::bail!("no such task or service: {}", args.target)
                }
                task => task?,
            };
            (
                format!("/tasks/{}/logs", segment(&task.id)),
                task.spec.container_spec.tty,
            )
        }
        Err(error) => return Err(error.into()),
    };
    let flag = |on: bool| if on { "1" } else { "0" };
    let labelled = !(args.raw || tty);
    let mut call = client
        .get(&path)
        .query("stdout", "1")
        .query("stderr", "1")
        .query("follow", flag(args.follow))
        .query("timestamps", flag(args.timestamps))
        .query("details", flag(labelled || args.details))
        .query("tail", &args.tail);
    if let Some(since) = &args.since {
        call = call.query("since", &unix_time(since, Timestamp::now())?);
    }
    let mut stream = LogStream::new(call.stream().await?, tty);
    let mut labels = Labels::new(client, args);
    while let Some(frame) = stream.next().await? {
        let prefix = if labelled {
            labels.line(&frame).await?
        } else {
            None
        };
        write(&frame, prefix.as_deref())?;
    }
    Ok(())
}

fn write(frame: &LogFrame, text: Option<&[u8]>) -> io::Result<()> {
    let text = text.unwrap_or(&frame.payload);
    match frame.target {
        LogTarget::Stdout => io::stdout().lock().write_all(text),
        LogTarget::Stderr => io::stderr().lock().write_all(text),
    }
}

/// Turns the ids in a line's details into `web.1.abc@n1    | `.
struct Labels<'a> {
    client: &'a Client,
    args: &'a ServiceLogs,
    known: BTreeMap<(String, String), String>,
    width: usize,
}

const CONTEXT: [&str; 3] = [
    "com.docker.swarm.node.id=",
    "com.docker.swarm.service.id=",
    "com.docker.swarm.task.id=",
];

impl<'a> Labels<'a> {
    fn new(client: &'a Client, args: &'a ServiceLogs) -> Self {
        Self {
            client,
            args,
            known: BTreeMap::new(),
            width: 0,
        }
    }

    /// `[timestamp ]details message` with the details replaced by a label.
    async fn line(&mut self, frame: &LogFrame) -> Result<Option<Vec<u8>>> {
        let text = String::from_utf8_lossy(&frame.payload);
        let (timestamp, rest) = match self.args.timestamps {
            true => text
                .split_once(' ')
                .context("a log line without its timestamp")?,
            false => ("", text.as_ref()),
        };
        let (details, message) = rest.split_once(' ').unwrap_or((rest, ""));
        let value = |prefix: &str| {
            let found = details
                .split(',')
                .find_map(|detail| detail.strip_prefix(prefix));
            found.unwrap_or_default().to_owned()
        };
        let (node, task) = (value(CONTEXT[0]), value(CONTEXT[2]));
        let label = self.label(node, task).await?;
        self.width = self.width.max(label.chars().count());
        let mut line = String::new();
        if !timestamp.is_empty() {
            line.push_str(&format!("{timestamp} "));
        }
        line.push_str(&format!("{label:<width$}    | ", width = self.width));
        if self.args.details {
            let extra: Vec<&str> = details
                .split(',')
                .filter(|detail| !CONTEXT.iter().any(|known| detail.starts_with(known)))
                .collect();
            line.push_str(&format!("{} ", extra.join(",")));
        }
        line.push_str(message);
        Ok(Some(line.into_bytes()))
    }

    async fn label(&mut self, node_id: String, task_id: String) -> Result<String> {
        let key = (node_id, task_id);
        if let Some(label) = self.known.get(&key) {
            return Ok(label.clone());
        }
        let label = self.look_up(&key.0, &key.1).await?;
        self.known.insert(key, label.clone());
        Ok(label)
    }

    async fn look_up(&self, node_id: &str, task_id: &str) -> Result<String> {
        let task: Task = self
            .client
            .get(&format!("/tasks/{}", segment(task_id)))
            .json()
            .await?;
        let mut names = TaskNames::default();
        if !self.args.no_resolve {
            let ids = [task.service_id.clone()].into();
            names.services = lookup::service_names(self.client, &ids).await?;
            names.nodes = lookup::hostnames(self.client).await?;
        }
        let mut label = names.task(&task);
        if !self.args.no_task_ids {
            let shown: String = match self.args.no_trunc {
                true => task_id.to_owned(),
                false => task_id.chars().take(12).collect(),
            };
            label.push_str(&format!(".{shown}"));
        }
        let node = names.nodes.get(node_id).map_or(node_id, String::as_str);
        Ok(format!("{label}@{node}"))
    }
}
