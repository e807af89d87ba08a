//! `Set-Cookie` headers, read strictly.

/// One `Set-Cookie` header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SetCookie {
    pub(crate) name: String,
    pub(crate) value: String,
    /// Attributes as they were written, sorted.
    pub(crate) attributes: Vec<String>,
}

impl SetCookie {
    pub(crate) fn parse(header: &str) -> Self {
        let mut parts = header.split("; ");
        let (name, value) = parts.next().and_then(|pair| pair.split_once('=')).expect("name=value");
        let mut attributes: Vec<String> = parts.map(str::to_owned).collect();
        attributes.sort();
        let cookie = Self { name: name.to_owned(), value: value.to_owned(), attributes };
        // Browsers drop a cookie of this prefix that is anything else (RFC 6265bis §4.1.3.2).
        let bound = cookie.attribute("secure").is_some()
            && cookie.attribute("path") == Some("/")
            && cookie.attribute("domain").is_none();
        assert!(bound || !name.starts_with("__Host-"), "no browser takes {header}");
        cookie
    }

    pub(crate) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.iter().find_map(|attribute| {
            let (found, value) = attribute.split_once('=').unwrap_or((attribute, ""));
            found.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub(crate) fn max_age(&self) -> Option<u64> {
        self.attribute("max-age").map(|seconds| seconds.parse().expect("seconds"))
    }

    pub(crate) fn is_cleared(&self) -> bool {
        self.max_age() == Some(0)
    }
}
