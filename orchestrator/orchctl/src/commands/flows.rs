//! `flows`

use anyhow::Result;

use crate::{
    args::Flows,
    client::{Client, decode, json_lines},
    model::Flow,
    output, view,
};

/// The columns of a table that grows cannot be fitted to lines that have not come yet.
const WIDE: usize = 26;

/// Prints the flows there are and, when asked, those that come.
pub async fn run(client: &Client, args: &Flows) -> Result<()> {
    let mut call = client.get_orch("/net/flows");
    if let Some(service) = &args.service {
        call = call.query("service", service);
    }
    let format = args.format.as_deref();
    if !args.follow {
        let text = call.text().await?;
        let flows: Vec<Flow> = text.lines().map(decode).collect::<Result<_, _>>()?;
        let rows: Vec<_> = flows.iter().map(view::flow_row).collect();
        output::print(&view::FLOWS.render(&rows, format, false)?)?;
        return Ok(());
    }
    let body = call.query("follow", "true").stream().await?;
    if format.is_none_or(|format| format == "table") {
        output::line(&view::flow_heading(WIDE))?;
    }
    json_lines(body, |line| {
        let flow: Flow = decode(line)?;
        output::print(&match format {
            None | Some("table") => view::flow_line(&flow, WIDE),
            Some(_) => view::FLOWS.render(&[view::flow_row(&flow)], format, false)?,
        })?;
        anyhow::Ok(())
    })
    .await
}
