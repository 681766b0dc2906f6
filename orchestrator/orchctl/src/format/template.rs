//! Go's text/template language, parsed: actions, pipelines, `if`, `range`, `with`, variables,
//! comments and trim markers. Templates of templates (`define`, `block`) are refused.

use super::Data;

/// A template that does not parse or cannot be evaluated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template parsing error: {0}")]
pub struct TemplateError(pub(super) String);

/// A parsed template.
#[derive(Debug, Clone, PartialEq)]
pub struct Template(pub(super) Vec<Node>);

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Text(String),
    Print(Pipeline),
    If {
        condition: Pipeline,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
    Range {
        over: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
    With {
        value: Pipeline,
        body: Vec<Node>,
        otherwise: Vec<Node>,
    },
}

/// `$x := a | b c`: optional variables, then commands whose results feed the next one.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pipeline {
    pub declares: Vec<String>,
    pub commands: Vec<Vec<Operand>>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Operand {
    Dot,
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Literal(Data),
    Function(String),
    Group(Box<Pipeline>, Vec<String>),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Operand(Operand),
    Open,
    /// `)` and the fields that hang on it.
    Close(Vec<String>),
    Pipe,
    Declare,
    Comma,
}

fn error(message: impl Into<String>) -> TemplateError {
    TemplateError(message.into())
}

impl Template {
    /// Parses a template.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut pieces = split(text)?.into_iter().peekable();
        let (nodes, end) = parse_nodes(&mut pieces)?;
        match end {
            None => Ok(Self(nodes)),
            Some(word) => Err(error(format!("unexpected {{{{{word}}}}}"))),
        }
    }
}

enum Piece {
    Text(String),
    Action(String),
}

/// Cuts the text at `{{` and `}}` and applies the trim markers.
fn split(text: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    loop {
        let open = rest.find("{{");
        let (literal, after) = open.map_or((rest, None), |at| (&rest[..at], Some(&rest[at + 2..])));
        let literal = if trim_next {
            literal.trim_start()
        } else {
            literal
        };
        let Some(after) = after else {
            pieces.push(Piece::Text(literal.to_owned()));
            return Ok(pieces);
        };
        let end = action_end(after).ok_or_else(|| error("unclosed action"))?;
        let mut action = &after[..end];
        rest = &after[end + 2..];
        let trim_before = action.starts_with('-') && action[1..].starts_with(char::is_whitespace);
        trim_next = action.ends_with('-')
            && action[..action.len() - 1].ends_with(|c: char| c.is_whitespace());
        if trim_before {
            action = &action[1..];
        }
        if trim_next {
            action = &action[..action.len() - 1];
        }
        let literal = if trim_before {
            literal.trim_end()
        } else {
            literal
        };
        pieces.push(Piece::Text(literal.to_owned()));
        let action = action.trim();
        if !(action.starts_with("/*") && action.ends_with("*/")) {
            pieces.push(Piece::Action(action.to_owned()));
        }
    }
}

/// Where the action's `}}` is, not counting those inside quotes.
fn action_end(text: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, next) in text.char_indices() {
        match quote {
            Some('"') if escaped => escaped = false,
            Some('"') if next == '\\' => escaped = true,
            Some(open) if next == open => quote = None,
            Some(_) => {}
            None if matches!(next, '"' | '`') => quote = Some(next),
            None if text[at..].starts_with("}}") => return Some(at),
            None => {}
        }
    }
    None
}

/// Parses up to `{{end}}` or `{{else ...}}`, which is returned as the word that ended the block.
fn parse_nodes(
    pieces: &mut std::iter::Peekable<std::vec::IntoIter<Piece>>,
) -> Result<(Vec<Node>, Option<String>), TemplateError> {
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let action = match piece {
            Piece::Text(text) => {
                if !text.is_empty() {
                    nodes.push(Node::Text(text));
                }
                continue;
            }
            Piece::Action(action) => action,
        };
        let (word, rest) = match action.find(|c: char| !c.is_ascii_alphanumeric()) {
            Some(at) => action.split_at(at),
            None => (action.as_str(), ""),
        };
        match word {
            "if" | "range" | "with" => nodes.push(parse_block(word, rest, pieces)?),
            "end" | "else" => return Ok((nodes, Some(action))),
            "define" | "block" | "template" | "break" | "continue" => {
                return Err(error(format!("{word} is not supported")));
            }
            _ => nodes.push(Node::Print(parse_pipeline(&action)?)),
        }
    }
    Ok((nodes, None))
}

fn parse_block(
    word: &str,
    head: &str,
    pieces: &mut std::iter::Peekable<std::vec::IntoIter<Piece>>,
) -> Result<Node, TemplateError> {
    let head = parse_pipeline(head)?;
    let (body, end) = parse_nodes(pieces)?;
    let end = end.ok_or_else(|| error(format!("{{{{{word}}}}} without {{{{end}}}}")))?;
    let otherwise = match end.strip_prefix("else").map(str::trim) {
        None => Vec::new(),
        Some("") => {
            let (nodes, end) = parse_nodes(pieces)?;
            if end.as_deref() != Some("end") {
                return Err(error("{{else}} without {{end}}"));
            }
            nodes
        }
        Some(chained) => {
            let (next, rest) = chained.split_once(' ').unwrap_or((chained, ""));
            if next != word || word == "range" {
                return Err(error(format!("unexpected {{{{else {chained}}}}}")));
            }
            vec![parse_block(next, rest, pieces)?]
        }
    };
    Ok(match word {
        "if" => Node::If {
            condition: head,
            then: body,
            otherwise,
        },
        "range" => Node::Range {
            over: head,
            body,
            otherwise,
        },
        _ => Node::With {
            value: head,
            body,
            otherwise,
        },
    })
}

fn parse_pipeline(text: &str) -> Result<Pipeline, TemplateError> {
    let tokens = tokenize(text)?;
    let mut at = 0;
    let pipeline = pipeline(&tokens, &mut at)?;
    if at < tokens.len() {
        return Err(error(format!("unexpected right paren in \"{text}\"")));
    }
    Ok(pipeline)
}

fn pipeline(tokens: &[Token], at: &mut usize) -> Result<Pipeline, TemplateError> {
    let declares = declarations(tokens, at);
    let mut commands = vec![Vec::new()];
    while let Some(token) = tokens.get(*at) {
        let operand = match token {
            Token::Close(_) => break,
            Token::Pipe => {
                commands.push(Vec::new());
                *at += 1;
                continue;
            }
            Token::Open => {
                *at += 1;
                let inner = pipeline(tokens, at)?;
                match tokens.get(*at) {
                    Some(Token::Close(fields)) => Operand::Group(Box::new(inner), fields.clone()),
                    _ => return Err(error("unclosed left paren")),
                }
            }
            Token::Operand(operand) => operand.clone(),
            Token::Declare | Token::Comma => {
                return Err(error("unexpected \":=\" or \",\" in command"));
            }
        };
        *at += 1;
        if let Some(command) = commands.last_mut() {
            command.push(operand);
        }
    }
    if commands.iter().any(Vec::is_empty) {
        return Err(error("missing value for command"));
    }
    Ok(Pipeline { declares, commands })
}

/// `$a :=` or `$a, $b :=` at the front.
fn declarations(tokens: &[Token], at: &mut usize) -> Vec<String> {
    let name = |token: &Token| {
        let Token::Operand(Operand::Variable(name, path)) = token else {
            return None;
        };
        path.is_empty().then(|| name.clone())
    };
    let names: Vec<String> = match tokens {
        [first, Token::Declare, ..] => name(first).into_iter().collect(),
        [first, Token::Comma, second, Token::Declare, ..] => {
            [first, second].into_iter().filter_map(name).collect()
        }
        _ => Vec::new(),
    };
    *at += if names.is_empty() { 0 } else { names.len() * 2 };
    names
}

fn tokenize(text: &str) -> Result<Vec<Token>, TemplateError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, after) = match first {
            '|' => (Token::Pipe, &rest[1..]),
            '(' => (Token::Open, &rest[1..]),
            ',' => (Token::Comma, &rest[1..]),
            ')' => {
                let (fields, after) = fields(&rest[1..])?;
                (Token::Close(fields), after)
            }
            ':' if rest.starts_with(":=") => (Token::Declare, &rest[2..]),
            '"' | '`' => string(rest)?,
            '.' => {
                let (path, after) = fields(rest)?;
                match path.is_empty() {
                    true => (Token::Operand(Operand::Dot), &rest[1..]),
                    false => (Token::Operand(Operand::Field(path)), after),
                }
            }
            '$' => {
                let (name, after) = identifier(&rest[1..]);
                let (path, after) = fields(after)?;
                (
                    Token::Operand(Operand::Variable(name.to_owned(), path)),
                    after,
                )
            }
            c if c.is_ascii_digit() || c == '-' => number(rest)?,
            c if c.is_alphabetic() || c == '_' => {
                let (name, after) = identifier(rest);
                (Token::Operand(word(name)), after)
            }
            other => return Err(error(format!("unexpected \"{other}\" in \"{text}\""))),
        };
        tokens.push(token);
        rest = after.trim_start();
    }
    Ok(tokens)
}

fn word(name: &str) -> Operand {
    match name {
        "true" => Operand::Literal(Data::Bool(true)),
        "false" => Operand::Literal(Data::Bool(false)),
        "nil" => Operand::Literal(Data::Null),
        name => Operand::Function(name.to_owned()),
    }
}

fn identifier(text: &str) -> (&str, &str) {
    let end = text
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len());
    text.split_at(end)
}

/// `.A.B.C` without spaces between.
fn fields(mut text: &str) -> Result<(Vec<String>, &str), TemplateError> {
    let mut path = Vec::new();
    while let Some(after) = text.strip_prefix('.') {
        let (name, rest) = identifier(after);
        if name.is_empty() {
            if path.is_empty() {
                break;
            }
            return Err(error("a field name is missing after \".\""));
        }
        path.push(name.to_owned());
        text = rest;
    }
    Ok((path, text))
}

fn number(text: &str) -> Result<(Token, &str), TemplateError> {
    let end = text[1..]
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '.')
        .map_or(text.len(), |at| at + 1);
    let (digits, after) = text.split_at(end);
    let number: serde_json::Number = digits
        .parse()
        .map_err(|_| error(format!("bad number syntax: \"{digits}\"")))?;
    Ok((
        Token::Operand(Operand::Literal(Data::Number(number))),
        after,
    ))
}

fn string(text: &str) -> Result<(Token, &str), TemplateError> {
    let unterminated = || error("unterminated quoted string");
    let (value, after) = if let Some(raw) = text.strip_prefix('`') {
        let (value, after) = raw.split_once('`').ok_or_else(unterminated)?;
        (value.to_owned(), after)
    } else {
        let mut value = String::new();
        let mut chars = text.char_indices().skip(1);
        loop {
            match chars.next().ok_or_else(unterminated)? {
                (at, '"') => break (value, &text[at + 1..]),
                (_, '\\') => value.push(match chars.next().ok_or_else(unterminated)?.1 {
                    'n' => '\n',
                    't' => '\t',
                    'r' => '\r',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        }
    };
    Ok((Token::Operand(Operand::Literal(Data::Text(value))), after))
}
