//! What a host must have before it becomes a node.

use crate::args::Options;
use crate::engine::Engine;

use super::LifecycleError;

/// Refuses a host that lacks something, naming the check and the way out.
pub(super) async fn check(options: &Options, vxlan_port: u16) -> Result<(), LifecycleError> {
    engine(options).await?;
    let bpf_dir = options.bpf_dir.clone();
    let checks = tokio::task::spawn_blocking(move || orch_dataplane::doctor(vxlan_port, &bpf_dir))
        .await
        .map_err(|e| LifecycleError::Failed(format!("the host could not be checked: {e}")))?;
    match checks.into_iter().find(|check| !check.passed) {
        None => Ok(()),
        Some(failed) => Err(LifecycleError::Unfit {
            check: failed.name,
            detail: failed.detail,
            fix: failed.fix,
        }),
    }
}

async fn engine(options: &Options) -> Result<(), LifecycleError> {
    let socket = &options.engine_socket;
    Engine::new(socket)
        .ping()
        .await
        .map_err(|error| LifecycleError::Unfit {
            check: "container engine".to_owned(),
            detail: error.to_string(),
            fix: format!(
                "start Docker Engine, or name its socket with --engine (now unix://{})",
                socket.display()
            ),
        })
}
