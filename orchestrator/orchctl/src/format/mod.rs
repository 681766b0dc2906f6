//! Text as docker prints it: Go templates, tables, and amounts for people. Pure.

mod data;
mod eval;
mod functions;
mod json;
mod list;
mod table;
mod template;
mod units;

pub use data::Data;
pub use eval::render;
pub use json::indent;
pub use list::{Column, Listing, Row};
pub use table::align;
pub use template::{Template, TemplateError};
pub use units::{bytes_size, human_duration};
