//! `inspect` of any noun: the daemon's JSON as it came, or a template over it.

use anyhow::Result;

use super::fail_with;
use crate::{
    format::{Data, Template, indent, render},
    output,
};

/// Fetches each reference and prints it; goes on after a failure and fails at the end.
pub async fn inspect(
    references: &[String],
    format: Option<&str>,
    fetch: impl AsyncFn(&str) -> Result<String>,
) -> Result<()> {
    let template = match format {
        None | Some("" | "json") => None,
        Some(text) => Some(Template::parse(text)?),
    };
    let mut found = Vec::new();
    let mut failures = Vec::new();
    for reference in references {
        match fetch(reference).await {
            Ok(text) => found.push(text.trim().to_owned()),
            Err(error) => failures.push(error.to_string()),
        }
    }
    match (template, format) {
        (Some(template), _) => {
            for text in &found {
                output::line(&render(&template, &Data::parse(text)?)?)?;
            }
        }
        (None, Some("json")) => {
            let compact = Data::parse(&format!("[{}]", found.join(",")))?;
            output::line(&serde_json::to_string(&compact)?)?;
        }
        (None, _) => output::line(&indent(&format!("[{}]", found.join(","))))?,
    }
    fail_with(failures)
}

/// Prints one document (`info`, `version`) through `--format`.
pub fn print_formatted(text: &str, format: &str) -> Result<()> {
    let template = Template::parse(if format == "json" {
        "{{json .}}"
    } else {
        format
    })?;
    output::line(&render(&template, &Data::parse(text)?)?)?;
    Ok(())
}
