//! Typed ids.
//!
//! An id is a short prefix and a UUIDv7 in simple form, so that ids sort by time of creation and
//! a reader sees what a stray one names: `exe_0199…`. Outside this module ids are opaque.

use std::{fmt, str::FromStr};

use uuid::Uuid;

/// A text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not {kind} id (expected `{prefix}_` and 32 hex digits)")]
pub struct ParseIdError {
    text: String,
    kind: &'static str,
    prefix: &'static str,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Uuid);

        impl $name {
            /// What its text form starts with.
            pub const PREFIX: &'static str = $prefix;

            /// A new id, later than all made before by this process.
            #[must_use]
            pub fn generate() -> Self {
                Self(Uuid::now_v7())
            }

            /// Big-endian bytes: their order is that of creation.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "_{}"), self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.strip_prefix(concat!($prefix, "_"))
                    .filter(|hex| hex.len() == 32 && !hex.bytes().any(|b| b.is_ascii_uppercase()))
                    .and_then(|hex| Uuid::try_parse(hex).ok())
                    .map(Self)
                    .ok_or_else(|| ParseIdError {
                        text: text.chars().take(80).collect(),
                        kind: $kind,
                        prefix: $prefix,
                    })
            }
        }
    };
}

id!(
    /// One submission.
    JobId, "job", "a job"
);
id!(
    /// One run of one task version.
    ExecutionId, "exe", "an execution"
);
id!(
    /// An uploaded file.
    FileId, "file", "a file"
);
id!(
    /// An output file of an execution.
    ArtifactId, "art", "an artifact"
);
id!(
    /// An organisation: everything but itself belongs to exactly one.
    OrgId, "org", "an organisation"
);
id!(
    /// An API token; the public part of the token's text.
    TokenId, "tok", "a token"
);

impl OrgId {
    /// The organisation that exists from the first start.
    pub const BUILT_IN: Self = Self(Uuid::from_u128(1));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test")]

    use super::*;

    #[test]
    fn text_form_round_trips() {
        let id = ExecutionId::generate();
        assert_eq!(id.to_string().parse::<ExecutionId>().unwrap(), id);
    }

    #[test]
    fn other_kinds_and_other_spellings_are_refused() {
        let id = JobId::generate().to_string();
        assert!(id.parse::<ExecutionId>().is_err());
        assert!(id.to_uppercase().parse::<JobId>().is_err());
        assert!("job_".parse::<JobId>().is_err());
        assert!("".parse::<JobId>().is_err());
    }

    #[test]
    fn byte_order_is_creation_order() {
        let ids: Vec<JobId> = (0..1000).map(|_| JobId::generate()).collect();
        assert!(
            ids.windows(2)
                .all(|pair| pair[0].as_bytes() < pair[1].as_bytes())
        );
    }
}
