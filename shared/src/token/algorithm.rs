//! The signature algorithms of access tokens.

use jsonwebtoken::Algorithm;

/// How access tokens are signed (parameter `SigningAlgorithm`). A key has one algorithm for life; a token's header is
/// compared with it and never chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SigningAlgorithm {
    /// ECDSA on P-256 with SHA-256 (RFC 7518 §3.4): small and fast, the default.
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 §3.3): the only one that API Gateway's own JWT authorizer takes.
    Rs256,
}

impl SigningAlgorithm {
    /// As a JWT header and the parameter name it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
        }
    }

    /// Reads what `as_str` writes.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "ES256" => Some(Self::Es256),
            "RS256" => Some(Self::Rs256),
            _ => None,
        }
    }

    pub(super) const fn of_jsonwebtoken(self) -> Algorithm {
        match self {
            Self::Es256 => Algorithm::ES256,
            Self::Rs256 => Algorithm::RS256,
        }
    }
}
