//! `service ...`

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::Value;

use super::{each, fail_with, filters, inspect::inspect, lookup, service_logs, warn};
use crate::{
    args::{
        ServiceCommand, ServiceCreate, ServiceInspect, ServiceList, ServicePs, ServiceScale,
        ServiceUpdate, TaskViewFlags, WaitFlags,
    },
    client::{Call, Client, decode, segment},
    flags::{Assignment, parse_env_file},
    model::{Created, Network, Service, Task},
    output, progress, spec, view,
};

/// Runs one verb.
pub async fn run(client: &Client, command: ServiceCommand) -> Result<()> {
    match command {
        ServiceCommand::Create(args) => create(client, &args).await,
        ServiceCommand::Update(args) => update(client, &args).await,
        ServiceCommand::Scale(args) => scale(client, &args).await,
        ServiceCommand::Ls(args) => list(client, &args).await,
        ServiceCommand::Ps(args) => tasks(client, args).await,
        ServiceCommand::Inspect(args) => inspect_services(client, &args).await,
        ServiceCommand::Logs(args) => service_logs::run(client, &args).await,
        ServiceCommand::Rollback(args) => rollback(client, &args.service, &args.wait).await,
        ServiceCommand::Rm { services } => {
            each(&services, async |service| {
                client
                    .delete(&format!("/services/{}", segment(service)))
                    .done()
                    .await?;
                Ok(service.to_owned())
            })
            .await
        }
    }
}

async fn wait(client: &Client, id: &str, flags: &WaitFlags) -> Result<()> {
    if flags.detach.unwrap_or(false) {
        return Ok(());
    }
    progress::follow(client, id, flags.quiet).await
}

/// The daemon resolves the digest unless it is told not to.
fn resolve_image<'a>(call: Call<'a>, no_resolve: bool) -> Call<'a> {
    if no_resolve {
        call.query("resolveImage", "never")
    } else {
        call
    }
}

/// Refused rather than ignored: a pull that needs credentials would fail later, without a reason.
fn refuse_registry_auth(typed: bool) -> Result<()> {
    ensure!(
        !typed,
        "--with-registry-auth is not supported yet: log in on each host's own engine, or use a \
         registry that needs no login"
    );
    Ok(())
}

async fn create(client: &Client, args: &ServiceCreate) -> Result<()> {
    refuse_registry_auth(args.shared.with_registry_auth)?;
    let mut env = Vec::new();
    for path in &args.lists.env_file {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| anyhow::anyhow!("--env-file {shown}: {error}"))?;
        env.extend(
            parse_env_file(&text)
                .map_err(|error| anyhow::anyhow!("--env-file {shown}: {error}"))?,
        );
    }
    let names = args
        .lists
        .network
        .iter()
        .map(|network| network.target.as_str());
    let resolved = lookup::resolve(client, names, &args.lists.secret, &args.lists.config).await?;
    let spec = spec::create(args, env, &resolved)?;
    let call = resolve_image(
        client.post("/services/create"),
        args.shared.no_resolve_image,
    );
    let created: Created = call.body(&spec)?.json().await?;
    warn(&created.warnings);
    output::line(&created.id)?;
    wait(client, &created.id, &args.wait).await?;
    warn_of_hosts(client, &created.id).await;
    Ok(())
}

/// Says what the user should know of the hosts that the service is on. A daemon that is not orchd
/// has nothing to say.
async fn warn_of_hosts(client: &Client, id: &str) {
    let path = format!("/orch/services/{}/warnings", segment(id));
    let warnings: Vec<String> = client.get(&path).json().await.unwrap_or_default();
    let lines: Vec<String> = warnings.iter().map(|w| format!("warning: {w}")).collect();
    warn(&lines);
}

/// A service as the daemon has it: its id, version and spec, the spec untouched.
struct Fetched {
    id: String,
    version: u64,
    spec: Value,
}

async fn fetch(client: &Client, reference: &str) -> Result<Fetched> {
    let path = format!("/services/{}", segment(reference));
    let text = client.get(&path).text().await?;
    let mut service: Value = serde_json::from_str(&text)?;
    Ok(Fetched {
        id: service["ID"]
            .as_str()
            .context("the service has no id")?
            .to_owned(),
        version: service["Version"]["Index"]
            .as_u64()
            .context("the service has no version")?,
        spec: service["Spec"].take(),
    })
}

async fn post(client: &Client, service: &Fetched, spec: &Value, no_resolve: bool) -> Result<()> {
    let call = client
        .post(&format!("/services/{}/update", segment(&service.id)))
        .query("version", &service.version.to_string())
        .query("registryAuthFrom", "spec");
    let answer: Created = resolve_image(call, no_resolve).body(spec)?.json().await?;
    warn(&answer.warnings);
    Ok(())
}

async fn update(client: &Client, args: &ServiceUpdate) -> Result<()> {
    refuse_registry_auth(args.shared.with_registry_auth)?;
    if args.rollback {
        return rollback(client, &args.service, &args.wait).await;
    }
    let service = fetch(client, &args.service).await?;
    let lists = &args.lists;
    let added = lists
        .network_add
        .iter()
        .map(|network| network.target.as_str());
    let removed = lists.network_rm.iter().map(String::as_str);
    let names = added.chain(removed);
    let resolved = lookup::resolve(client, names, &lists.secret_add, &lists.config_add).await?;
    let spec = spec::update(service.spec.clone(), args, &resolved)?;
    post(client, &service, &spec, args.shared.no_resolve_image).await?;
    output::line(&args.service)?;
    wait(client, &service.id, &args.wait).await?;
    warn_of_hosts(client, &service.id).await;
    Ok(())
}

async fn rollback(client: &Client, reference: &str, flags: &WaitFlags) -> Result<()> {
    let service = fetch(client, reference).await?;
    let call = client
        .post(&format!("/services/{}/update", segment(&service.id)))
        .query("version", &service.version.to_string())
        .query("registryAuthFrom", "previous-spec")
        .query("rollback", "previous");
    let answer: Created = call.body(&service.spec)?.json().await?;
    warn(&answer.warnings);
    output::line(reference)?;
    wait(client, &service.id, flags).await
}

async fn scale(client: &Client, args: &ServiceScale) -> Result<()> {
    let mut scaled = Vec::new();
    let mut failures = Vec::new();
    for Assignment { key, value } in &args.targets {
        match scale_one(client, key, value).await {
            Ok(id) => {
                output::line(&format!("{key} scaled to {value}"))?;
                scaled.push(id);
            }
            Err(error) => failures.push(format!("{key}: {error}")),
        }
    }
    if !args.detach.unwrap_or(false) {
        for id in &scaled {
            if let Err(error) = progress::follow(client, id, false).await {
                failures.push(format!("{id}: {error}"));
            }
        }
    }
    fail_with(failures)
}

async fn scale_one(client: &Client, reference: &str, replicas: &str) -> Result<String> {
    let replicas: u64 = replicas
        .parse()
        .map_err(|_| anyhow::anyhow!("invalid replicas value {replicas}: give a whole number"))?;
    let service = fetch(client, reference).await?;
    let spec = spec::scale(service.spec.clone(), replicas)?;
    post(client, &service, &spec, false).await?;
    Ok(service.id)
}

async fn list(client: &Client, args: &ServiceList) -> Result<()> {
    let mut call = client.get("/services").query("status", "true");
    if let Some(filters) = filters::encode(&args.filters.filter) {
        call = call.query("filters", &filters);
    }
    let services: Vec<Service> = call.json().await?;
    let rows = view::service_rows(services);
    output::print(&view::SERVICES.render(&rows, args.format.as_deref(), args.quiet)?)?;
    Ok(())
}

/// Which tasks to list: those of some services or nodes, and conditions.
pub struct TaskQuery<'a> {
    /// `-f`
    pub filters: &'a [Assignment],
    /// `service` or `node`.
    pub key: &'static str,
    /// Of what is listed.
    pub ids: Vec<String>,
}

async fn tasks(client: &Client, args: ServicePs) -> Result<()> {
    let mut ids = Vec::new();
    let mut failures = Vec::new();
    for reference in &args.services {
        match fetch(client, reference).await {
            Ok(service) => ids.push(service.id),
            Err(error) if is_not_found(&error) => {
                failures.push(format!("no such service: {reference}"));
            }
            Err(error) => return Err(error),
        }
    }
    if !ids.is_empty() {
        let query = TaskQuery {
            filters: &args.filters.filter,
            key: "service",
            ids: ids.clone(),
        };
        print_tasks(client, query, &args.view, Timestamp::now()).await?;
    }
    for id in &ids {
        warn_of_hosts(client, id).await;
    }
    fail_with(failures)
}

fn is_not_found(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<crate::client::Error>()
        .is_some_and(crate::client::Error::is_not_found)
}

/// Lists tasks as `service ps` and `node ps` do. A filter by node takes names, as docker's does.
pub async fn print_tasks(
    client: &Client,
    query: TaskQuery<'_>,
    flags: &TaskViewFlags,
    now: Timestamp,
) -> Result<()> {
    let mut typed = query.filters.to_vec();
    for filter in typed.iter_mut().filter(|filter| filter.key == "node") {
        filter.value = lookup::node_id(client, &filter.value).await?;
    }
    let filters = filters::encode_with(&typed, query.key, &query.ids);
    let tasks: Vec<Task> = client
        .get("/tasks")
        .query("filters", &filters)
        .json()
        .await?;
    let mut names = view::TaskNames::default();
    if !flags.no_resolve {
        let services: BTreeSet<String> = tasks.iter().map(|task| task.service_id.clone()).collect();
        names.services = lookup::service_names(client, &services).await?;
        names.nodes = lookup::hostnames(client).await?;
    }
    let table = flags
        .format
        .as_deref()
        .is_none_or(|format| format.starts_with("table"));
    let indent = table && !flags.quiet;
    let rows = view::task_rows(tasks, &names, !flags.no_trunc && !flags.quiet, indent, now);
    output::print(&view::TASKS.render(&rows, flags.format.as_deref(), flags.quiet)?)?;
    Ok(())
}

async fn inspect_services(client: &Client, args: &ServiceInspect) -> Result<()> {
    let fetch = async |reference: &str| {
        let path = format!("/services/{}", segment(reference));
        let found = client
            .get(&path)
            .query("insertDefaults", "true")
            .text()
            .await;
        found.map_err(|error| match error.is_not_found() {
            true => anyhow::anyhow!("Error: no such service: {reference}"),
            false => error.into(),
        })
    };
    if !args.pretty {
        return inspect(&args.services, args.format.as_deref(), fetch).await;
    }
    ensure!(
        args.format.is_none(),
        "--format is incompatible with human friendly format"
    );
    each(&args.services, async |reference| {
        let service: Service = decode(&fetch(reference).await?)?;
        warn_of_hosts(client, &service.id).await;
        let networks = network_names(client, &service).await;
        Ok(view::service_pretty(&service, &networks, Timestamp::now()))
    })
    .await
}

/// Names of a service's networks; one that cannot be read keeps its id.
async fn network_names(client: &Client, service: &Service) -> Vec<String> {
    let mut names = Vec::new();
    for network in &service.spec.task_template.networks {
        let path = format!("/networks/{}", segment(&network.target));
        let found = client.get(&path).json::<Network>().await;
        names.push(found.map_or_else(|_| network.target.clone(), |found| found.name));
    }
    names
}
