//! A symbolized stack, and the frame to look at. Symbolizes nothing itself.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A stack with names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stack {
    /// `function (file:line)`, innermost first.
    pub frames: Vec<String>,
    /// The frame to look at: the innermost one outside the language's runtime and the C library and, if
    /// possible, outside an interpreter.
    pub site: Option<String>,
    /// The stack ends early: no more of it was copied, or the code has no frame pointers.
    pub is_cut: bool,
}

impl Stack {
    /// The frame to look at, else the innermost frame.
    pub fn line(&self) -> Option<&str> {
        self.site.as_ref().or(self.frames.first()).map(String::as_str)
    }
}

/// A stack among the fields of a record; all are null where there is none.
#[derive(Serialize, Deserialize)]
struct StackFields<'a> {
    site: Option<Cow<'a, str>>,
    stack: Option<Cow<'a, [String]>>,
    stack_is_cut: Option<bool>,
}

impl<'a> From<&'a Stack> for StackFields<'a> {
    fn from(Stack { frames, site, is_cut }: &'a Stack) -> Self {
        Self { site: site.as_deref().map(Cow::from), stack: Some(frames.into()), stack_is_cut: Some(*is_cut) }
    }
}

/// How a record has a stack (serde's `with`).
pub(crate) mod required {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(stack: &Arc<Stack>, serializer: S) -> Result<S::Ok, S::Error> {
        StackFields::from(stack.as_ref()).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Stack>, D::Error> {
        let StackFields { site, stack, stack_is_cut } = StackFields::deserialize(deserializer)?;
        let frames = stack.ok_or_else(|| D::Error::missing_field("stack"))?.into_owned();
        let is_cut = stack_is_cut.ok_or_else(|| D::Error::missing_field("stack_is_cut"))?;
        Ok(Arc::new(Stack { frames, site: site.map(Cow::into_owned), is_cut }))
    }
}

/// How a record has a stack that may not be known (serde's `with`).
pub(crate) mod optional {
    use super::{Arc, Cow, Deserialize, Deserializer, Serialize, Serializer, Stack, StackFields};

    #[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
    pub(crate) fn serialize<S: Serializer>(
        stack: &Option<Arc<Stack>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let nothing = StackFields { site: None, stack: None, stack_is_cut: None };
        stack.as_deref().map_or(nothing, StackFields::from).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Arc<Stack>>, D::Error> {
        let StackFields { site, stack, stack_is_cut } = StackFields::deserialize(deserializer)?;
        Ok(stack.map(|frames| {
            let is_cut = stack_is_cut.unwrap_or(false);
            Arc::new(Stack { frames: frames.into_owned(), site: site.map(Cow::into_owned), is_cut })
        }))
    }
}
