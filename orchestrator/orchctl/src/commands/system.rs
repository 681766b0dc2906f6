//! `info`, `version` and `events`.

use anyhow::{Context, Result};
use jiff::{Timestamp, tz::TimeZone};

use super::{filters, inspect::print_formatted, warn};
use crate::{
    args::{Events, FormatOnly},
    client::{Client, decode, json_lines},
    flags::GoDuration,
    format::{Data, Template, render},
    model::{Info, Version},
    output, view,
};

/// `info`
pub async fn info(client: &Client, args: FormatOnly) -> Result<()> {
    let text = client.get("/info").text().await?;
    if let Some(format) = &args.format {
        return print_formatted(&text, format);
    }
    let info: Info = decode(&text)?;
    output::print(&view::info(&info))?;
    warn(&info.warnings);
    Ok(())
}

/// `version`: the client's part also when no daemon answers.
pub async fn version(client: &Client, args: FormatOnly) -> Result<()> {
    let own = env!("CARGO_PKG_VERSION");
    let answer = client.get("/version").text().await;
    if let Some(format) = &args.format {
        let text = answer?;
        let both = format!(
            "{{\"Client\":{{\"Version\":\"{own}\",\"ApiVersion\":\"1.51\"}},\"Server\":{text}}}"
        );
        return print_formatted(&both, format);
    }
    output::print(&view::client_version(own))?;
    let server: Version = decode(&answer?)?;
    output::print(&view::server_version(&server))?;
    Ok(())
}

/// `events`: until the stream ends or the pipe is closed.
pub async fn events(client: &Client, args: Events) -> Result<()> {
    let template = match args.format.as_deref() {
        None => None,
        Some("json") => Some(Template::parse("{{json .}}")?),
        Some(format) => Some(Template::parse(format)?),
    };
    let mut call = client.get("/events");
    if let Some(filters) = filters::encode(&args.filters.filter) {
        call = call.query("filters", &filters);
    }
    for (key, time) in [("since", &args.since), ("until", &args.until)] {
        if let Some(time) = time {
            call = call.query(key, &unix_time(time, Timestamp::now())?);
        }
    }
    let body = call.stream().await?;
    json_lines(body, |line| {
        let event = Data::parse(line)?;
        let text = match &template {
            Some(template) => render(template, &event)?,
            None => event_line(&event)?,
        };
        output::line(&text)?;
        anyhow::Ok(())
    })
    .await
}

/// `2026-01-01T00:00:00.000000000+00:00 service create abc (name=web)`
fn event_line(event: &Data) -> Result<String> {
    let text = |path: &[&str]| {
        let mut current = Some(event);
        for name in path {
            current = current.and_then(|data| data.field(name));
        }
        current.map_or_else(String::new, |data| data.to_text(""))
    };
    let nanos: i128 = text(&["timeNano"])
        .parse()
        .context("an event without timeNano")?;
    let time = Timestamp::from_nanosecond(nanos)?.to_zoned(TimeZone::system());
    let mut line = format!(
        "{} {} {} {}",
        time.strftime("%Y-%m-%dT%H:%M:%S.%9f%:z"),
        text(&["Type"]),
        text(&["Action"]),
        text(&["Actor", "ID"])
    );
    if let Some(Data::Object(attributes)) = event
        .field("Actor")
        .and_then(|actor| actor.field("Attributes"))
    {
        let mut pairs: Vec<String> = attributes
            .iter()
            .map(|(key, value)| format!("{key}={}", value.to_text("")))
            .collect();
        pairs.sort();
        line.push_str(&format!(" ({})", pairs.join(", ")));
    }
    Ok(line)
}

/// A point in time for `since` and `until`: seconds, RFC 3339, or an age such as `10m`.
pub fn unix_time(text: &str, now: Timestamp) -> Result<String> {
    if text.chars().all(|c| c.is_ascii_digit() || c == '.') && !text.is_empty() {
        return Ok(text.to_owned());
    }
    let nanos = match text.parse::<GoDuration>() {
        Ok(age) => now.as_nanosecond() - i128::from(age.0),
        Err(_) => text
            .parse::<Timestamp>()
            .map(Timestamp::as_nanosecond)
            .with_context(|| format!("\"{text}\" is neither a time nor a duration"))?,
    };
    Ok(format!(
        "{}.{:09}",
        nanos.div_euclid(1_000_000_000),
        nanos.rem_euclid(1_000_000_000)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_be_ages() {
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        let base = now.as_second();
        assert_eq!(
            unix_time("1m", now).unwrap(),
            format!("{}.000000000", base - 60)
        );
        assert_eq!(unix_time("12.5", now).unwrap(), "12.5");
        assert_eq!(
            unix_time("2026-01-01T00:00:00.5Z", now).unwrap(),
            format!("{}.500000000", base - 60)
        );
        assert!(unix_time("yesterday", now).is_err());
    }
}
