//! `doctor`

use anyhow::{Result, bail};

use crate::{client::Client, model::CheckResult, output, view};

/// Prints what this host has and lacks; fails when it lacks something.
pub async fn run(client: &Client, data_path_port: Option<u16>) -> Result<()> {
    let mut call = client.get_orch("/doctor");
    if let Some(port) = data_path_port {
        call = call.query("port", &port.to_string());
    }
    let checks: Vec<CheckResult> = call.json().await?;
    output::print(&view::doctor(&checks))?;
    let failed = checks.iter().filter(|check| check.severity == "failure");
    match failed.count() {
        0 => Ok(()),
        lacking => bail!("{lacking} of {} checks failed", checks.len()),
    }
}
