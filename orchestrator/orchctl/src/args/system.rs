//! `orchctl info`, `version` and `events`.

use clap::Args;

use super::FilterFlag;

/// Commands whose only choice is how they print.
#[derive(Debug, Args)]
pub struct FormatOnly {
    /// Format output using 'json' or a Go TEMPLATE
    #[arg(short, long, value_name = "FORMAT")]
    pub format: Option<String>,
}

/// `events`
#[derive(Debug, Args)]
pub struct Events {
    /// Conditions.
    #[command(flatten)]
    pub filters: FilterFlag,
    /// Format output using 'json' or a Go TEMPLATE
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Show all events created since timestamp
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Stream events until this timestamp
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}
