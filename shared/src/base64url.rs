//! base64url without padding (RFC 4648 §5), refusing every second spelling of the same bytes.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// `bytes` as text.
pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes that `text` spells; `None` for padding, foreign characters or stray bits at the end.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// As [`decode`], for exactly `N` bytes.
pub(crate) fn decode_array<const N: usize>(text: &str) -> Option<[u8; N]> {
    decode(text)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_padding_and_stray_bits() {
        assert_eq!(decode("AA"), Some(vec![0]));
        assert_eq!(decode("AA=="), None);
        assert_eq!(decode("AB"), None);
        assert_eq!(decode_array::<2>("AA"), None);
    }
}
