//! Roles: words by which an app tells its users apart, given and taken by operators.
//!
//! What they mean is the app's own matter. A role is 1 to 32 ASCII letters, digits and `. _ : -`, and begins with a letter;
//! `Editor` and `editor` are two. So it needs no quoting in a token, a header or a shell, and no other word looks like it.

use std::collections::BTreeSet;
use std::fmt;

use thiserror::Error;

/// The most roles that a user may have.
pub const MAX_ROLES: usize = 16;
/// The most characters of a role.
const MAX_LENGTH: usize = 32;

/// A role.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Role(String);

/// Why a text is no role, or these are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InvalidRole {
    /// It has other characters, too many or none.
    #[error("a role is 1 to 32 letters (a-z, A-Z), digits and . _ : -, and begins with a letter")]
    Malformed,
    /// There are too many.
    #[error("a user may have 16 roles")]
    TooMany,
}

impl Role {
    /// Reads a role, as it is.
    pub fn parse(text: &str) -> Result<Self, InvalidRole> {
        let fits = |c: u8| c.is_ascii_alphanumeric() || b"._:-".contains(&c);
        let begins = text.bytes().next().is_some_and(|first| first.is_ascii_alphabetic());
        if !begins || text.len() > MAX_LENGTH || !text.bytes().all(fits) {
            return Err(InvalidRole::Malformed);
        }
        Ok(Self(text.to_owned()))
    }

    /// The role.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Role {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::str::FromStr for Role {
    type Err = InvalidRole;

    fn from_str(text: &str) -> Result<Self, InvalidRole> {
        Self::parse(text)
    }
}

/// The roles of a user: at most [`MAX_ROLES`], each once, in the order of their bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roles(BTreeSet<Role>);

impl Roles {
    /// These, each once.
    pub fn new(roles: impl IntoIterator<Item = Role>) -> Result<Self, InvalidRole> {
        let roles: BTreeSet<Role> = roles.into_iter().collect();
        if roles.len() > MAX_ROLES { Err(InvalidRole::TooMany) } else { Ok(Self(roles)) }
    }

    /// Whether this one is among them.
    pub fn contains(&self, role: &str) -> bool {
        self.iter().any(|one| one == role)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether all of these are among `others`.
    pub fn is_subset_of(&self, others: &Self) -> bool {
        self.0.is_subset(&others.0)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(Role::as_str)
    }

    /// These with some more, and without others.
    pub fn changed(&self, added: &[Role], removed: &[Role]) -> Result<Self, InvalidRole> {
        let kept = self.0.iter().chain(added).filter(|role| !removed.contains(role));
        Self::new(kept.cloned())
    }

    /// As they are stored.
    pub(crate) fn to_text(&self) -> String {
        self.iter().collect::<Vec<_>>().join(" ")
    }

    /// Reads what `to_text` writes.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let roles: Result<Vec<Role>, _> = text.split(' ').filter(|word| !word.is_empty()).map(Role::parse).collect();
        Self::new(roles.ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(text: &str) -> Role {
        Role::parse(text).expect(text)
    }

    #[test]
    fn a_role_is_a_short_plain_word() {
        let longest = "a".repeat(32);
        for text in ["admin", "Editor", "ROLE_USER", "billing:read", "team-7", "a.b", "x", &longest] {
            assert_eq!(role(text).as_str(), text);
        }
        let too_long = "a".repeat(33);
        for text in ["", " ", "a b", "7up", "-a", "_a", "a,b", "a/b", "관리자", "admın", "a\n", "a\u{200b}", &too_long]
        {
            assert_eq!(Role::parse(text), Err(InvalidRole::Malformed), "{text:?}");
        }
    }

    #[test]
    fn roles_are_read_as_they_are_written_each_once_and_sixteen_at_most() {
        let roles = Roles::new(["editor", "admin", "editor"].map(role)).expect("two");
        assert_eq!(roles.iter().collect::<Vec<_>>(), ["admin", "editor"]);
        assert_eq!(Roles::parse(&roles.to_text()), Some(roles.clone()));
        assert_eq!(Roles::parse(""), Some(Roles::default()));
        assert_eq!(Roles::parse("admin 7up"), None);
        assert!(roles.contains("admin") && !roles.contains("Admin") && !roles.contains(""));

        let numbered = |count: usize| (0..count).map(|number| role(&format!("r{number}")));
        assert!(Roles::new(numbered(16)).is_ok());
        assert_eq!(Roles::new(numbered(17)), Err(InvalidRole::TooMany));
    }

    #[test]
    fn a_change_adds_and_takes_away() {
        let roles = Roles::new(["admin", "editor"].map(role)).expect("two");
        let changed = roles.changed(&[role("author")], &[role("admin"), role("nobody")]).expect("two");
        assert_eq!(changed.iter().collect::<Vec<_>>(), ["author", "editor"]);
        assert!(!roles.is_subset_of(&changed));
        assert!(roles.is_subset_of(&roles.changed(&[role("author")], &[]).expect("three")));
    }
}
