//! What a host must have to be a node, in one set of words for `doctor` and for the refusals of
//! `swarm init` and `swarm join`.

use ipnet::IpNet;
use orch_dataplane::{Check, Purpose};

use crate::args::Options;
use crate::engine::Engine;

use super::LifecycleError;

/// The first engine whose API has all that is used (Docker Engine 20.10).
const ENGINE_API: (u32, u32) = (1, 41);

/// What a host is to be or is.
#[derive(Debug, Clone)]
pub struct Role {
    /// UDP port of the tunnels.
    pub data_path_port: u16,
    /// TCP port of the managers that is to be taken; `None` if it is not, or is already.
    pub manager_port: Option<u16>,
    /// Ranges that the cluster gives to networks, or gave, as far as they are known.
    pub ranges: Vec<IpNet>,
}

/// Every check of this host, the engine's first.
///
/// # Errors
///
/// When the checks themselves broke off.
pub async fn checks(options: &Options, role: Role) -> Result<Vec<Check>, LifecycleError> {
    let bpf_dir = options.bpf_dir.clone();
    let of_host = tokio::task::spawn_blocking(move || {
        orch_dataplane::doctor(&Purpose {
            vxlan_port: role.data_path_port,
            manager_port: role.manager_port,
            bpf_dir: &bpf_dir,
            ranges: &role.ranges,
        })
    });
    let mut checks = vec![engine(options).await];
    checks.extend(
        of_host
            .await
            .map_err(|e| LifecycleError::Failed(format!("the host could not be checked: {e}")))?,
    );
    Ok(checks)
}

/// Refuses a host that lacks something, naming the check and the way out.
pub(super) async fn check(options: &Options, role: Role) -> Result<(), LifecycleError> {
    match checks(options, role).await?.into_iter().find(Check::failed) {
        None => Ok(()),
        Some(failed) => Err(LifecycleError::Unfit {
            check: failed.name,
            detail: failed.detail,
            fix: failed.fix,
        }),
    }
}

async fn engine(options: &Options) -> Check {
    let socket = &options.engine_socket;
    let name = "container engine";
    match Engine::new(socket).version().await {
        Ok((version, api)) if is_known(&api) => {
            Check::new(name, Ok(format!("version {version}, API {api}")), "")
        }
        Ok((version, api)) => Check::new(
            name,
            Err(format!("version {version} with API {api} is too old")),
            "install Docker Engine 20.10 or newer",
        ),
        Err(error) => Check::new(
            name,
            Err(error.to_string()),
            &format!(
                "start Docker Engine, or name its socket with --engine (now unix://{})",
                socket.display()
            ),
        ),
    }
}

/// Whether an engine's API is new enough.
fn is_known(api: &str) -> bool {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u32>().ok());
    let mut numbers = api.split('.');
    let version = (number(numbers.next()), number(numbers.next()));
    matches!(version, (Some(major), Some(minor)) if (major, minor) >= ENGINE_API)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_from_20_10_on_are_new_enough() {
        for (api, known) in [("1.41", true), ("1.51", true), ("1.40", false), ("", false)] {
            assert_eq!(is_known(api), known, "{api}");
        }
    }
}
