//! Making, checking and ending credentials.

use std::{sync::Arc, time::Duration};

use bindery_core::{Digest, OrgId, TokenId};
use bindery_datastore::{
    CommitError, Database, Datastore, Expect, RangeQuery, ReadError, Table, Transaction,
};
use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, de::DeserializeOwned};
use subtle::ConstantTimeEq;

use crate::{
    credential::{self, Kind, Parsed, SecretText},
    record::{Principal, RECORD_VERSION, Role, SessionRecord, TokenRecord},
};

/// How long a session lasts: a working day, so that nobody signs in twice on one.
pub const SESSION_LIFETIME: Duration = Duration::from_secs(12 * 60 * 60);

/// The store's key that says that the first token was given.
const FIRST_TOKEN_KEY: &[u8] = b"identity/first-token";
/// Sessions looked at when one is opened, to delete those that have run out: more than anyone
/// opens between two of them, so that the table stays small.
const SESSIONS_SWEPT_MAX: usize = 256;
/// Longest name of a token, in characters; it is shown in one line of a list.
const NAME_CHARS_MAX: usize = 120;
/// Tokens listed at most: one organisation with more has a script that forgets them.
const TOKENS_LISTED_MAX: usize = 10_000;

/// Credentials cannot be checked or changed.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("failed to read credentials")]
    Read(#[from] ReadError),
    #[error("failed to record a credential")]
    Commit(#[from] CommitError),
    #[error("stored {what} cannot be read: {fault}")]
    Damaged { what: &'static str, fault: String },
    #[error("the system gives no random bytes: {0}")]
    NoRandom(String),
}

/// A token to be made.
#[derive(Debug, Clone)]
pub struct NewToken {
    pub org: OrgId,
    pub role: Role,
    /// For people, to tell their tokens apart.
    pub name: String,
    pub expires: Option<Timestamp>,
}

/// What may be told of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    pub id: TokenId,
    pub org: OrgId,
    pub role: Role,
    pub name: String,
    pub created: Timestamp,
    pub expires: Option<Timestamp>,
    pub revoked: Option<Timestamp>,
}

/// See the crate. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Identity {
    datastore: Arc<dyn Datastore>,
}

impl Identity {
    #[must_use]
    pub fn new(datastore: Arc<dyn Datastore>) -> Self {
        Self { datastore }
    }

    /// Makes the first token of the built-in organisation, once in the life of a store: every
    /// later call gives none, also after that token was revoked.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn ensure_admin_token(&self) -> Result<Option<SecretText>, IdentityError> {
        if self
            .datastore
            .get(Database::Meta, Table::SETTINGS, FIRST_TOKEN_KEY)?
            .is_some()
        {
            return Ok(None);
        }
        let new = NewToken {
            org: OrgId::BUILT_IN,
            role: Role::Admin,
            name: "first admin token".to_owned(),
            expires: None,
        };
        let (id, text, transaction) = token_transaction(&new)?;
        let transaction = transaction
            .check(Table::SETTINGS, FIRST_TOKEN_KEY, Expect::Absent)
            .put(
                Table::SETTINGS,
                FIRST_TOKEN_KEY,
                id.to_string().into_bytes(),
            );
        match self.datastore.commit(transaction).await {
            Ok(_) => Ok(Some(text)),
            // Another start was first.
            Err(CommitError::Conflict { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes a token. Its text is given here and never again.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn create_token(
        &self,
        new: &NewToken,
    ) -> Result<(TokenId, SecretText), IdentityError> {
        let (id, text, transaction) = token_transaction(new)?;
        self.datastore.commit(transaction).await?;
        Ok((id, text))
    }

    /// Ends a token and all sessions opened with it; false when there is no such token.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn revoke_token(&self, id: TokenId) -> Result<bool, IdentityError> {
        // Records of tokens change only by revocation, so a second round finds it done.
        const ROUNDS_MAX: usize = 3;
        for _ in 0..ROUNDS_MAX {
            let Some(before) = self
                .datastore
                .get(Database::Meta, Table::TOKENS, id.as_bytes())?
            else {
                return Ok(false);
            };
            let mut record: TokenRecord = decode("token", &before)?;
            if record.revoked.is_some() {
                return Ok(true);
            }
            record.revoked = Some(Timestamp::now());
            let key = id.as_bytes().to_vec();
            let transaction = Transaction::new(Database::Meta)
                .check(Table::TOKENS, key.clone(), Expect::Equals(before))
                .put(Table::TOKENS, key, encode("token", &record)?);
            match self.datastore.commit(transaction).await {
                Ok(_) => return Ok(true),
                Err(CommitError::Conflict { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    /// The tokens there are, oldest first, revoked ones among them.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn tokens(&self) -> Result<Vec<TokenInfo>, IdentityError> {
        let all = RangeQuery::prefix(Vec::new(), TOKENS_LISTED_MAX);
        self.datastore
            .range(Database::Meta, Table::TOKENS, &all)?
            .iter()
            .map(|(_, value)| info(&decode("token", value)?))
            .collect()
    }

    /// Who shows this token; none when it is not good.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn authenticate(&self, token: &str) -> Result<Option<Principal>, IdentityError> {
        self.authenticate_at(token, Timestamp::now())
    }

    /// Whether a principal that was good a while ago still is: long-lived connections ask.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn is_current(&self, principal: &Principal) -> Result<bool, IdentityError> {
        let token = self.token(principal.token)?;
        Ok(token.is_some_and(|token| is_good(&token, Timestamp::now())))
    }

    /// Opens a session for a principal and gives its text, the only time.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn open_session(&self, principal: &Principal) -> Result<SecretText, IdentityError> {
        let now = Timestamp::now();
        let id = *TokenId::generate().as_bytes();
        let (text, hash) = generate(Kind::Session, &id)?;
        let lifetime = SignedDuration::try_from(SESSION_LIFETIME).unwrap_or_default();
        let record = SessionRecord {
            v: RECORD_VERSION,
            token: principal.token.to_string(),
            hash: hash.to_string(),
            created: now,
            expires: now.saturating_add(lifetime).unwrap_or(now),
        };
        let mut transaction = Transaction::new(Database::Meta).put(
            SESSIONS,
            id.to_vec(),
            encode("session", &record)?,
        );
        // Ids are ordered by time: those that have run out come first.
        let oldest = RangeQuery::prefix(Vec::new(), SESSIONS_SWEPT_MAX);
        for (key, value) in self.datastore.range(Database::Meta, SESSIONS, &oldest)? {
            let over = decode::<SessionRecord>("session", &value)
                .map_or(true, |session| session.expires <= now);
            if over {
                transaction = transaction.delete(SESSIONS, key);
            }
        }
        self.datastore.commit(transaction).await?;
        Ok(text)
    }

    /// Who shows this session; none when it is not good.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn authenticate_session(&self, session: &str) -> Result<Option<Principal>, IdentityError> {
        self.authenticate_session_at(session, Timestamp::now())
    }

    /// Ends a session, if it is one.
    ///
    /// # Errors
    /// When the store cannot be read or written.
    pub async fn close_session(&self, session: &str) -> Result<(), IdentityError> {
        let Some(parsed) = credential::parse(Kind::Session, session) else {
            return Ok(());
        };
        if self.session(&parsed)?.is_some() {
            let gone = Transaction::new(Database::Meta).delete(SESSIONS, parsed.id.to_vec());
            self.datastore.commit(gone).await?;
        }
        Ok(())
    }

    fn authenticate_at(
        &self,
        token: &str,
        now: Timestamp,
    ) -> Result<Option<Principal>, IdentityError> {
        let Some(parsed) = credential::parse(Kind::Token, token) else {
            return Ok(None);
        };
        let Some(record) = self.token(TokenId::from_bytes(parsed.id))? else {
            return Ok(None);
        };
        if !same(&record.hash, &parsed.hash) || !is_good(&record, now) {
            return Ok(None);
        }
        principal(&record).map(Some)
    }

    fn authenticate_session_at(
        &self,
        session: &str,
        now: Timestamp,
    ) -> Result<Option<Principal>, IdentityError> {
        let Some(parsed) = credential::parse(Kind::Session, session) else {
            return Ok(None);
        };
        let Some(record) = self.session(&parsed)? else {
            return Ok(None);
        };
        if record.expires <= now {
            return Ok(None);
        }
        let id = record
            .token
            .parse()
            .map_err(|error| IdentityError::Damaged {
                what: "session",
                fault: format!("{error}"),
            })?;
        match self.token(id)? {
            Some(token) if is_good(&token, now) => principal(&token).map(Some),
            _ => Ok(None),
        }
    }

    fn token(&self, id: TokenId) -> Result<Option<TokenRecord>, IdentityError> {
        self.datastore
            .get(Database::Meta, Table::TOKENS, id.as_bytes())?
            .map(|bytes| decode("token", &bytes))
            .transpose()
    }

    fn session(&self, parsed: &Parsed) -> Result<Option<SessionRecord>, IdentityError> {
        let Some(bytes) = self.datastore.get(Database::Meta, SESSIONS, &parsed.id)? else {
            return Ok(None);
        };
        let record: SessionRecord = decode("session", &bytes)?;
        Ok(same(&record.hash, &parsed.hash).then_some(record))
    }
}

/// Table of sessions, beside `Table::TOKENS` and its neighbours.
const SESSIONS: Table = match Table::custom(0x17) {
    Some(table) => table,
    None => Table::TOKENS,
};

fn token_transaction(new: &NewToken) -> Result<(TokenId, SecretText, Transaction), IdentityError> {
    let id = TokenId::generate();
    let (text, hash) = generate(Kind::Token, id.as_bytes())?;
    let record = TokenRecord {
        v: RECORD_VERSION,
        id: id.to_string(),
        org: new.org.to_string(),
        role: new.role.as_str().to_owned(),
        name: new
            .name
            .chars()
            .filter(|c| !c.is_control())
            .take(NAME_CHARS_MAX)
            .collect(),
        hash: hash.to_string(),
        created: Timestamp::now(),
        expires: new.expires,
        revoked: None,
    };
    let key = id.as_bytes().to_vec();
    let transaction = Transaction::new(Database::Meta)
        .check(Table::TOKENS, key.clone(), Expect::Absent)
        .put(Table::TOKENS, key, encode("token", &record)?);
    Ok((id, text, transaction))
}

fn generate(kind: Kind, id: &[u8; 16]) -> Result<(SecretText, Digest), IdentityError> {
    credential::generate(kind, id).map_err(|error| IdentityError::NoRandom(error.to_string()))
}

/// In constant time: how much of a guess was right must not show.
fn same(stored: &str, shown: &Digest) -> bool {
    stored
        .parse::<Digest>()
        .is_ok_and(|stored| bool::from(stored.as_bytes().ct_eq(shown.as_bytes())))
}

fn is_good(token: &TokenRecord, now: Timestamp) -> bool {
    token.revoked.is_none() && token.expires.is_none_or(|expires| now < expires)
}

fn principal(record: &TokenRecord) -> Result<Principal, IdentityError> {
    let info = info(record)?;
    Ok(Principal {
        org: info.org,
        token: info.id,
        role: info.role,
    })
}

fn info(record: &TokenRecord) -> Result<TokenInfo, IdentityError> {
    let damaged = |fault: String| IdentityError::Damaged {
        what: "token",
        fault,
    };
    Ok(TokenInfo {
        id: record
            .id
            .parse()
            .map_err(|error| damaged(format!("{error}")))?,
        org: record
            .org
            .parse()
            .map_err(|error| damaged(format!("{error}")))?,
        role: record
            .role
            .parse()
            .map_err(|error| damaged(format!("{error}")))?,
        name: record.name.clone(),
        created: record.created,
        expires: record.expires,
        revoked: record.revoked,
    })
}

fn encode<T: Serialize>(what: &'static str, record: &T) -> Result<Vec<u8>, IdentityError> {
    serde_json::to_vec(record).map_err(|error| IdentityError::Damaged {
        what,
        fault: error.to_string(),
    })
}

fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, IdentityError> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        v: u16,
    }
    let damaged = |fault: String| IdentityError::Damaged { what, fault };
    let Versioned { v } =
        serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))?;
    if v != RECORD_VERSION {
        return Err(damaged(format!(
            "version {v}, this host reads {RECORD_VERSION}"
        )));
    }
    serde_json::from_slice(bytes).map_err(|error| damaged(error.to_string()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use bindery_datastore::MemoryDatastore;

    use super::*;

    fn identity() -> Identity {
        Identity::new(Arc::new(MemoryDatastore::new()))
    }

    fn new_token(expires: Option<Timestamp>) -> NewToken {
        NewToken {
            org: OrgId::BUILT_IN,
            role: Role::Admin,
            name: "test".into(),
            expires,
        }
    }

    fn later(seconds: i64) -> Timestamp {
        Timestamp::now()
            .checked_add(SignedDuration::from_secs(seconds))
            .unwrap()
    }

    #[tokio::test]
    async fn the_first_token_is_given_once() {
        let identity = identity();
        let text = identity.ensure_admin_token().await.unwrap().unwrap();
        assert_eq!(identity.ensure_admin_token().await.unwrap(), None);
        let principal = identity.authenticate(text.expose()).unwrap().unwrap();
        assert_eq!(
            (principal.org, principal.role),
            (OrgId::BUILT_IN, Role::Admin)
        );
        identity.revoke_token(principal.token).await.unwrap();
        assert_eq!(identity.ensure_admin_token().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_token_is_good_until_it_is_revoked() {
        let identity = identity();
        let (id, text) = identity.create_token(&new_token(None)).await.unwrap();
        let (_, other) = identity.create_token(&new_token(None)).await.unwrap();
        let principal = identity.authenticate(text.expose()).unwrap().unwrap();
        assert!(identity.is_current(&principal).unwrap());
        let session = identity.open_session(&principal).await.unwrap();
        assert_eq!(
            identity.authenticate_session(session.expose()).unwrap(),
            Some(principal)
        );

        assert!(identity.revoke_token(id).await.unwrap());
        assert!(identity.revoke_token(id).await.unwrap());
        assert!(!identity.revoke_token(TokenId::generate()).await.unwrap());
        assert_eq!(identity.authenticate(text.expose()).unwrap(), None);
        assert!(!identity.is_current(&principal).unwrap());
        assert_eq!(
            identity.authenticate_session(session.expose()).unwrap(),
            None
        );
        assert!(identity.authenticate(other.expose()).unwrap().is_some());
        assert_eq!(identity.tokens().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn tokens_and_sessions_run_out() {
        let identity = identity();
        let (_, text) = identity
            .create_token(&new_token(Some(later(60))))
            .await
            .unwrap();
        let principal = identity.authenticate(text.expose()).unwrap().unwrap();
        assert_eq!(
            identity.authenticate_at(text.expose(), later(61)).unwrap(),
            None
        );

        let (_, lasting) = identity.create_token(&new_token(None)).await.unwrap();
        let lasting = identity.authenticate(lasting.expose()).unwrap().unwrap();
        let session = identity.open_session(&lasting).await.unwrap();
        let hours = |hours: i64| later(hours * 3600);
        assert_eq!(
            identity
                .authenticate_session_at(session.expose(), hours(11))
                .unwrap(),
            Some(lasting)
        );
        assert_eq!(
            identity
                .authenticate_session_at(session.expose(), hours(13))
                .unwrap(),
            None
        );
        // A session never outlives its token.
        let short = identity.open_session(&principal).await.unwrap();
        assert_eq!(
            identity
                .authenticate_session_at(short.expose(), later(61))
                .unwrap(),
            None
        );
    }

    #[tokio::test]
    async fn a_closed_session_is_over_and_a_token_is_no_session() {
        let identity = identity();
        let (_, text) = identity.create_token(&new_token(None)).await.unwrap();
        let principal = identity.authenticate(text.expose()).unwrap().unwrap();
        let session = identity.open_session(&principal).await.unwrap();
        assert_eq!(identity.authenticate_session(text.expose()).unwrap(), None);
        assert_eq!(identity.authenticate(session.expose()).unwrap(), None);
        identity.close_session(session.expose()).await.unwrap();
        identity.close_session("rubbish").await.unwrap();
        assert_eq!(
            identity.authenticate_session(session.expose()).unwrap(),
            None
        );
    }

    #[tokio::test]
    async fn what_is_stored_does_not_hold_the_secret() {
        let datastore = Arc::new(MemoryDatastore::new());
        let identity = Identity::new(Arc::clone(&datastore) as Arc<dyn Datastore>);
        let (_, text) = identity.create_token(&new_token(None)).await.unwrap();
        let secret = text.expose().split('_').nth(2).unwrap().to_owned();
        let all = RangeQuery::prefix(Vec::new(), 10);
        let rows = datastore
            .range(Database::Meta, Table::TOKENS, &all)
            .unwrap();
        assert_eq!(rows.len(), 1);
        for (key, value) in rows {
            assert!(!String::from_utf8_lossy(&value).contains(&secret));
            assert!(!String::from_utf8_lossy(&key).contains(&secret));
        }
    }
}
