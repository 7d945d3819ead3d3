//! A symbolized stack, and the frame to look at. Symbolizes nothing itself.

use std::{borrow::Cow, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{
    found_by::FoundBy,
    no_site::{NoSite, NoSiteBecause},
};

/// A stack with names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Stack {
    /// `function (file:line)`, innermost first.
    pub frames: Vec<String>,
    /// The frame to look at: the innermost one of the application's own code.
    pub site: Option<String>,
    /// The stack ends early: no more of it was copied, or the code has no frame pointers.
    pub is_cut: bool,
    /// Why there is no `site`; `None` where there is one, and where that was not recorded.
    pub no_site: Option<NoSite>,
    /// How the line was found; `None` where that was not recorded, and of a stack that nobody has.
    pub found_by: Option<FoundBy>,
}

impl Stack {
    /// What stands for a stack that nobody has, with the reason.
    #[must_use]
    pub fn unknown(because: impl Into<NoSite>) -> Self {
        Self { frames: Vec::new(), site: None, is_cut: false, no_site: Some(because.into()), found_by: None }
    }

    /// Whether it stands for a stack that nobody has.
    fn is_unknown(&self) -> bool {
        self.frames.is_empty() && !self.is_cut && self.no_site.is_some()
    }

    /// The frame to look at. Where neither that nor the reason was recorded, the innermost frame.
    #[must_use]
    pub fn line(&self) -> Option<&str> {
        match &self.no_site {
            Some(_) => self.site.as_deref(),
            None => self.site.as_ref().or(self.frames.first()).map(String::as_str),
        }
    }

    /// Whether the function to look at may be one that the line's caller calls, passed over unseen.
    #[must_use]
    pub(crate) fn may_skip_callers(&self) -> bool {
        self.found_by.as_ref().is_some_and(FoundBy::may_skip_callers)
    }

    /// Whether it has something to say to people.
    #[must_use]
    pub(crate) fn is_news(&self) -> bool {
        self.no_site.as_ref().is_none_or(|no_site| no_site.because.is_news())
    }

    /// What sockets are grouped by: the line, else why there is none.
    #[must_use]
    pub fn title(&self) -> Option<Cow<'_, str>> {
        let reason = || self.no_site.as_ref().map(|no_site| Cow::Owned(no_site.to_string()));
        self.line().map(Cow::Borrowed).or_else(reason)
    }
}

impl From<NoSiteBecause> for Stack {
    fn from(because: NoSiteBecause) -> Self {
        Self::unknown(because)
    }
}

/// A stack among the fields of a record; all are null where there is none.
#[derive(Serialize, Deserialize)]
struct StackFields<'a> {
    site: Option<Cow<'a, str>>,
    stack: Option<Cow<'a, [String]>>,
    stack_is_cut: Option<bool>,
    /// Absent where it was not recorded: such sessions are replayed as they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    no_site: Option<Cow<'a, NoSite>>,
    /// As `no_site`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    found_by: Option<Cow<'a, FoundBy>>,
}

impl StackFields<'_> {
    const NONE: Self = Self { site: None, stack: None, stack_is_cut: None, no_site: None, found_by: None };

    /// The stack; `None` when the fields say nothing of one.
    fn into_stack(self) -> Option<Stack> {
        let Self { site, stack, stack_is_cut, no_site, found_by } = self;
        let (site, no_site) = (site.map(Cow::into_owned), no_site.map(Cow::into_owned));
        if stack.is_none() && no_site.is_none() {
            return None;
        }
        let frames = stack.map(Cow::into_owned).unwrap_or_default();
        let (is_cut, found_by) = (stack_is_cut.unwrap_or(false), found_by.map(Cow::into_owned));
        Some(Stack { frames, site, is_cut, no_site, found_by })
    }
}

impl<'a> From<&'a Stack> for StackFields<'a> {
    fn from(stack: &'a Stack) -> Self {
        let Stack { frames, site, is_cut, no_site, found_by } = stack;
        let is_known = !stack.is_unknown();
        Self {
            site: site.as_deref().map(Cow::from),
            stack: is_known.then(|| frames.into()),
            stack_is_cut: is_known.then_some(*is_cut),
            no_site: no_site.as_ref().map(Cow::Borrowed),
            found_by: found_by.as_ref().map(Cow::Borrowed),
        }
    }
}

/// How a record has a stack (serde's `with`).
pub(crate) mod required {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(stack: &Arc<Stack>, serializer: S) -> Result<S::Ok, S::Error> {
        StackFields::from(stack.as_ref()).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Arc<Stack>, D::Error> {
        let fields = StackFields::deserialize(deserializer)?;
        fields.into_stack().map(Arc::new).ok_or_else(|| D::Error::missing_field("stack"))
    }
}

/// How a record has a stack that may not be known (serde's `with`).
pub(crate) mod optional {
    use super::{Arc, Deserialize, Deserializer, Serialize, Serializer, Stack, StackFields};

    #[expect(clippy::ref_option, reason = "serde passes a reference to the field")]
    pub(crate) fn serialize<S: Serializer>(
        stack: &Option<Arc<Stack>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        stack.as_deref().map_or(StackFields::NONE, StackFields::from).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Arc<Stack>>, D::Error> {
        StackFields::deserialize(deserializer).map(|fields| fields.into_stack().map(Arc::new))
    }
}
