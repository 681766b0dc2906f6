//! The `key=value,key=value` syntax that several flags share: one CSV record, so that a field with
//! a comma in it can be quoted.

use super::FlagError;

/// One field of a long-form flag value; `value` is `None` for a bare word such as `readonly`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub key: String,
    pub value: Option<String>,
}

impl Field {
    /// The field's value, or an error naming the field that lacks one.
    pub fn required(&self) -> Result<&str, FlagError> {
        self.value.as_deref().ok_or_else(|| {
            FlagError::new(format!(
                "invalid field '{}' must be a key=value pair",
                self.key
            ))
        })
    }

    /// A boolean field: true when it is bare, else one of Go's boolean words.
    pub fn boolean(&self) -> Result<bool, FlagError> {
        match self.value.as_deref() {
            None => Ok(true),
            Some(text) => parse_bool(text).ok_or_else(|| {
                FlagError::new(format!(
                    "invalid value for {}: {text} is not a boolean",
                    self.key
                ))
            }),
        }
    }
}

/// Go's `strconv.ParseBool`.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Splits one long-form value into fields; keys are lower-cased as docker does.
pub(super) fn parse(text: &str) -> Result<Vec<Field>, FlagError> {
    split_record(text)?
        .into_iter()
        .map(|item| parse_field(&item))
        .collect()
}

fn parse_field(item: &str) -> Result<Field, FlagError> {
    let (key, value) = match item.split_once('=') {
        Some((key, value)) => (key, Some(value.to_owned())),
        None => (item, None),
    };
    if key.trim() != key || key.is_empty() {
        return Err(FlagError::new(format!(
            "invalid field '{item}': empty or padded key"
        )));
    }
    Ok(Field {
        key: key.to_ascii_lowercase(),
        value,
    })
}

fn split_record(text: &str) -> Result<Vec<String>, FlagError> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(next) = chars.next() {
        let current = fields.len() - 1;
        match next {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                fields[current].push('"');
            }
            '"' if quoted || fields[current].is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => fields[current].push(other),
        }
    }
    if quoted {
        return Err(FlagError::new("a double quote is not closed"));
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_fields_keep_their_commas() {
        let fields = parse(r#"type=volume,"volume-opt=o=addr=1,rw",readonly"#).unwrap();
        assert_eq!(fields[1].key, "volume-opt");
        assert_eq!(fields[1].value.as_deref(), Some("o=addr=1,rw"));
        assert_eq!(
            fields[2],
            Field {
                key: "readonly".into(),
                value: None
            }
        );
    }

    #[test]
    fn an_open_quote_or_an_empty_key_is_refused() {
        assert!(parse("\"a=b").is_err());
        assert!(parse("a=b,,c=d").is_err());
        assert!(parse("=b").is_err());
    }
}
