//! How somebody proved who they are: the `amr` of access tokens.

/// A way to prove who one is, under its name in RFC 8176 §2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthenticationMethod {
    /// `pwd`: a password.
    Password,
    /// `mca`: something that came by another channel, a mailed code or link.
    MultipleChannels,
    /// `otp`: a one-time password of an authenticator.
    OneTimePassword,
    /// `pop`: possession of a key, a passkey's.
    ProofOfPossession,
    /// `user`: somebody was present at the device.
    UserPresence,
    /// `mfa`: factors of more than one sort.
    MultipleFactors,
}

impl AuthenticationMethod {
    /// All of them, in the order in which they are written.
    pub const ALL: [Self; 6] = [
        Self::Password,
        Self::MultipleChannels,
        Self::OneTimePassword,
        Self::ProofOfPossession,
        Self::UserPresence,
        Self::MultipleFactors,
    ];

    /// Its name in RFC 8176.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Password => "pwd",
            Self::MultipleChannels => "mca",
            Self::OneTimePassword => "otp",
            Self::ProofOfPossession => "pop",
            Self::UserPresence => "user",
            Self::MultipleFactors => "mfa",
        }
    }

    /// Reads what `as_str` writes.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.as_str() == text)
    }

    const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// The ways in which somebody proved who they are, at one sign-in or when asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AuthenticationMethods(u8);

impl AuthenticationMethods {
    /// A password alone.
    pub const PASSWORD: Self = Self(AuthenticationMethod::Password.bit());
    /// A mailed code or link, on the device that asked for it.
    pub const MAIL: Self = Self(AuthenticationMethod::MultipleChannels.bit());

    /// With one more.
    #[must_use]
    pub const fn with(self, method: AuthenticationMethod) -> Self {
        Self(self.0 | method.bit())
    }

    /// Whether this one is among them.
    pub const fn contains(self, method: AuthenticationMethod) -> bool {
        self.0 & method.bit() != 0
    }

    /// Each of them, in one order.
    pub fn iter(self) -> impl Iterator<Item = AuthenticationMethod> {
        AuthenticationMethod::ALL.into_iter().filter(move |method| self.contains(*method))
    }

    /// As they are stored: names with a space between.
    pub fn to_text(self) -> String {
        self.iter().map(AuthenticationMethod::as_str).collect::<Vec<_>>().join(" ")
    }

    /// Reads what `to_text` writes; `None` for a name that is unknown, and for nothing at all.
    pub fn parse(text: &str) -> Option<Self> {
        text.split(' ').try_fold(Self(0), |methods, name| Some(methods.with(AuthenticationMethod::parse(name)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_of_them_are_read_as_they_were_written() {
        for bits in 1..1 << AuthenticationMethod::ALL.len() {
            let methods = AuthenticationMethods(bits);
            assert_eq!(AuthenticationMethods::parse(&methods.to_text()), Some(methods));
        }
        let both = AuthenticationMethods::PASSWORD.with(AuthenticationMethod::MultipleChannels);
        assert_eq!(both.to_text(), "pwd mca");
        assert!(both.contains(AuthenticationMethod::Password) && !both.contains(AuthenticationMethod::OneTimePassword));
    }

    #[test]
    fn a_name_that_nobody_knows_is_not_passed_over() {
        for text in ["", "pwd ", "pwd fpt", "PWD", "pwd,mca"] {
            assert_eq!(AuthenticationMethods::parse(text), None, "{text:?}");
        }
    }
}
