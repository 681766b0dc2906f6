//! `ls` output: a table by default, or what `--format` and `-q` ask for.

use super::{Data, Template, TemplateError, align, render};

/// A field that templates may name, and its heading in a table.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// The name in templates.
    pub field: &'static str,
    /// The heading.
    pub header: &'static str,
}

impl Column {
    /// A column.
    pub const fn new(field: &'static str, header: &'static str) -> Self {
        Self { field, header }
    }
}

/// One line: a value for every column, in the columns' order.
pub type Row = Vec<String>;

/// A kind of list: its columns and how it prints when nothing else is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Listing {
    /// All fields that templates may name.
    pub columns: &'static [Column],
    /// The default table's template.
    pub table: &'static str,
    /// What `-q` prints.
    pub quiet: &'static str,
}

impl Listing {
    /// Renders `rows`. `format` is `--format` as typed.
    pub fn render(
        &self,
        rows: &[Row],
        format: Option<&str>,
        quiet: bool,
    ) -> Result<String, TemplateError> {
        let typed = format.unwrap_or("table");
        let (is_table, source) = match typed.strip_prefix("table") {
            Some("") if quiet => (false, self.quiet.to_owned()),
            Some("") => (true, self.table.to_owned()),
            Some(rest) if rest.starts_with([' ', '\t', '{']) => (true, unescape(rest.trim_start())),
            _ if typed == "json" => (false, "{{json .}}".to_owned()),
            _ => (false, unescape(typed)),
        };
        let template = Template::parse(&source)?;
        self.check_fields(&source)?;
        let mut lines = Vec::new();
        if is_table {
            lines.push(render(&template, &self.header())?);
        }
        for row in rows {
            lines.push(render(&template, &self.object(row))?);
        }
        match is_table {
            true => Ok(align(&lines)),
            false => Ok(lines.into_iter().map(|line| line + "\n").collect()),
        }
    }

    /// A list's fields are all known, so a name that is not among them is a typo.
    fn check_fields(&self, source: &str) -> Result<(), TemplateError> {
        let after_brace = source.split("{{").skip(1);
        for action in after_brace {
            let action = action
                .split("}}")
                .next()
                .unwrap_or_default()
                .trim()
                .trim_start_matches("- ");
            let Some(name) = action.strip_prefix('.') else {
                continue;
            };
            let name = name
                .split(|c: char| !c.is_alphanumeric())
                .next()
                .unwrap_or_default();
            if !name.is_empty() && !self.columns.iter().any(|column| column.field == name) {
                let known: Vec<&str> = self.columns.iter().map(|column| column.field).collect();
                return Err(TemplateError(format!(
                    "can't evaluate field {name}: use one of {}",
                    known.join(", ")
                )));
            }
        }
        Ok(())
    }

    fn header(&self) -> Data {
        let fields = self.columns.iter();
        Data::Object(
            fields
                .map(|c| (c.field.to_owned(), Data::from(c.header)))
                .collect(),
        )
    }

    /// Fields in alphabetical order, as Go writes maps. The texts `true` and `false` of `Self` are
    /// booleans to `{{if}}`.
    fn object(&self, row: &Row) -> Data {
        let mut fields: Vec<(String, Data)> = self
            .columns
            .iter()
            .zip(row)
            .map(|(column, value)| {
                let data = match (column.field, value.as_str()) {
                    ("Self", "true") => Data::Bool(true),
                    ("Self", _) => Data::Bool(false),
                    (_, text) => Data::from(text),
                };
                (column.field.to_owned(), data)
            })
            .collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        Data::Object(fields)
    }
}

/// `\t` and `\n` as typed in a shell's single quotes.
fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PETS: Listing = Listing {
        columns: &[
            Column {
                field: "ID",
                header: "ID",
            },
            Column {
                field: "Name",
                header: "NAME",
            },
            Column {
                field: "Self",
                header: "",
            },
        ],
        table: "{{.ID}} {{if .Self}}*{{else}} {{end}}\t{{.Name}}",
        quiet: "{{.ID}}",
    };

    fn rows() -> Vec<Row> {
        vec![
            vec!["1".into(), "cat".into(), "true".into()],
            vec!["2".into(), "dog".into(), "false".into()],
        ]
    }

    #[test]
    fn every_way_to_print() {
        let show = |format, quiet| PETS.render(&rows(), format, quiet).unwrap();
        assert_eq!(
            show(None, false),
            "ID        NAME\n1 *       cat\n2         dog\n"
        );
        assert_eq!(show(None, true), "1\n2\n");
        assert_eq!(show(Some("{{.Name}}"), false), "cat\ndog\n");
        assert_eq!(
            show(Some("table {{.Name}}\\t{{.ID}}"), false),
            "NAME      ID\ncat       1\ndog       2\n"
        );
        assert_eq!(
            show(Some("json"), false),
            "{\"ID\":\"1\",\"Name\":\"cat\",\"Self\":true}\n{\"ID\":\"2\",\"Name\":\"dog\",\"Self\":false}\n"
        );
    }

    #[test]
    fn an_unknown_field_lists_the_known_ones() {
        let error = PETS
            .render(&rows(), Some("{{.Nmae}}"), false)
            .unwrap_err()
            .to_string();
        assert!(error.contains("Nmae: use one of ID, Name"), "{error}");
    }
}
