//! Stored records and who they stand for.

use std::{fmt, str::FromStr};

use bindery_core::{OrgId, TokenId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Version of the shapes in this module.
pub(crate) const RECORD_VERSION: u16 = 1;

/// What a caller may do. The permission table is a later layer on top of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Everything within the organisation, and the host itself.
    Admin,
}

impl Role {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown role")]
pub struct ParseRoleError;

impl FromStr for Role {
    type Err = ParseRoleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "admin" => Ok(Self::Admin),
            _ => Err(ParseRoleError),
        }
    }
}

/// Who is calling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Principal {
    pub org: OrgId,
    /// The token that was shown, or that the session was opened with.
    pub token: TokenId,
    pub role: Role,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TokenRecord {
    pub(crate) v: u16,
    pub(crate) id: String,
    pub(crate) org: String,
    pub(crate) role: String,
    pub(crate) name: String,
    /// SHA-256 of the token's text.
    pub(crate) hash: String,
    pub(crate) created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) expires: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revoked: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionRecord {
    pub(crate) v: u16,
    pub(crate) token: String,
    /// SHA-256 of the session's text.
    pub(crate) hash: String,
    pub(crate) created: Timestamp,
    pub(crate) expires: Timestamp,
}
