//! Parses JSON Lines. Skips unknown fields and keeps records of unknown types as they are, so that a later
//! version's output can be read; refuses nonsense.

use std::borrow::Cow;

use serde::Deserialize;
use thiserror::Error;

use super::transition;
use crate::model::record::{Header, Record, SCHEMA, Summary, Versioned, cleared::Ended, other::Other};

/// A text that is no record.
#[derive(Debug, Error)]
pub enum ParseError {
    /// Not the JSON of a record.
    #[error("not a record: {0}")]
    Json(#[from] serde_json::Error),
    /// Records of a later form, which may mean something else.
    #[error("its records have the form {found}; this tcptrace reads forms up to {SCHEMA}")]
    NewerSchema {
        /// The form.
        found: u32,
    },
}

impl Record {
    /// Reads a record from the JSON object that it is written as.
    ///
    /// # Errors
    /// When the text is no record, or one of a later form.
    pub fn from_json(text: &[u8]) -> Result<Self, ParseError> {
        let kind = kind(text)?;
        Ok(match &*kind {
            "transition" => Self::Transition(transition::read(text)?),
            "leak" => Self::Leak(serde_json::from_slice(text)?),
            "leak_end" => Self::LeakEnd(serde_json::from_slice(text)?),
            "header" => Self::Header(Box::new(header(text)?)),
            "summary" if let Some(summary) = summary(text)? => Self::Summary(Box::new(summary)),
            other => Self::Other(Box::new(Other::from_json(other, text)?)),
        })
    }
}

/// The type of a record. This program writes it first; others may have put it anywhere.
fn kind(text: &[u8]) -> Result<Cow<'_, str>, ParseError> {
    #[derive(Deserialize)]
    struct Typed<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
    }
    let first = text.strip_prefix(br#"{"type":""#).and_then(|rest| {
        let length = rest.iter().position(|byte| *byte == b'"')?;
        let name = rest.get(..length).filter(|name| !name.contains(&b'\\'))?;
        std::str::from_utf8(name).ok()
    });
    match first {
        Some(name) => Ok(Cow::Borrowed(name)),
        None => Ok(serde_json::from_slice::<Typed<'_>>(text)?.r#type),
    }
}

fn header(text: &[u8]) -> Result<Header, ParseError> {
    let Versioned { schema, header } = serde_json::from_slice(text)?;
    if schema > SCHEMA {
        return Err(ParseError::NewerSchema { found: schema });
    }
    Ok(header)
}

/// The summary; `None` when it says more than that, as `clear` does.
fn summary(text: &[u8]) -> Result<Option<Summary>, ParseError> {
    let summary = serde_json::from_slice(text)?;
    let Ended { outcomes } = serde_json::from_slice(text)?;
    Ok(outcomes.is_none().then_some(summary))
}

#[cfg(test)]
mod tests;
