//! Where a request comes from, as limits count it.
//!
//! Whoever has one IPv6 address has a whole network of them, so those are counted by network: by /64, which is one
//! household or phone, and by /48, which is one site at most providers and has ten times as much. Where nobody can say where a
//! request comes from, all such requests are one source: they share its limit, and are never without one.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// How much more a /48 may than a /64.
const SITE_FACTOR: u32 = 10;

/// Where a request comes from, as far as it can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source(Place);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// An address of somebody's. IPv4 in IPv6 (`::ffff:a.b.c.d`) is IPv4.
    Remote(IpAddr),
    /// This machine: only the local stack sees that.
    Loopback(IpAddr),
    /// It is not there, or cannot be read.
    Unknown,
}

impl Source {
    /// What API Gateway says (`sourceIp`), which no client can write.
    pub fn of_gateway(source_ip: Option<&str>) -> Self {
        match source_ip.and_then(|text| text.parse().ok()).map(|address: IpAddr| address.to_canonical()) {
            Some(address) if address.is_loopback() => Self(Place::Loopback(address)),
            Some(address) => Self(Place::Remote(address)),
            None => Self(Place::Unknown),
        }
    }

    /// What somebody else than API Gateway says: `203.0.113.7` or `2001:db8::7`, in brackets or not, with a port or without;
    /// an IPv6 address that has a port should have brackets, and some CDNs write none. It never counts as loopback: that would be a way around every limit.
    pub fn of_text(text: &str) -> Self {
        let text = text.trim();
        let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
        let address = text.parse().ok().or_else(|| text.parse().ok().map(|address: SocketAddr| address.ip()));
        let unbracketed = || {
            let (address, port) = text.rsplit_once(':')?;
            port.parse::<u16>().ok()?;
            address.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
        };
        let address: Option<IpAddr> = address.or_else(bracketed).or_else(unbracketed);
        Self(address.map_or(Place::Unknown, |address| Place::Remote(address.to_canonical())))
    }

    /// The address, for the log.
    pub const fn address(self) -> Option<IpAddr> {
        match self.0 {
            Place::Remote(address) | Place::Loopback(address) => Some(address),
            Place::Unknown => None,
        }
    }

    /// The networks that the request counts for, each with the multiple of a limit that it has. Loopback has no limit, and
    /// so counts for none.
    pub fn counted(self) -> impl Iterator<Item = (Network, u32)> {
        let (network, site) = match self.0 {
            Place::Loopback(_) => (None, None),
            Place::Unknown => (Some(Network::new(&[])), None),
            Place::Remote(IpAddr::V4(address)) => (Some(Network::new(&address.octets())), None),
            Place::Remote(IpAddr::V6(address)) => {
                let octets = address.octets();
                (Some(Network::new(&octets[..8])), Some(Network::new(&octets[..6])))
            }
        };
        network.map(|network| (network, 1)).into_iter().chain(site.map(|site| (site, SITE_FACTOR)))
    }
}

/// A network that requests are counted by: the length of its prefix in bits, and its first 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network([u8; 9]);

impl Network {
    /// The one with this prefix of up to eight bytes.
    fn new(prefix: &[u8]) -> Self {
        let mut bytes = [0; 9];
        let [length, start @ ..] = &mut bytes;
        for (byte, octet) in start.iter_mut().zip(prefix) {
            *byte = *octet;
            *length += 8;
        }
        Self(bytes)
    }

    /// What to count it under. No two networks have the same bytes.
    pub const fn as_bytes(&self) -> &[u8; 9] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn counted(source: Source) -> Vec<([u8; 9], u32)> {
        source.counted().map(|(network, factor)| (*network.as_bytes(), factor)).collect()
    }

    /// What is shared by all whose source nobody knows.
    const UNKNOWN: ([u8; 9], u32) = ([0; 9], 1);

    #[test]
    fn an_ipv4_address_is_one_network_and_an_ipv6_address_two() {
        let expected = [([32, 203, 0, 113, 7, 0, 0, 0, 0], 1)];
        assert_eq!(counted(Source::of_gateway(Some("203.0.113.7"))), expected);
        assert_eq!(counted(Source::of_gateway(Some("::ffff:203.0.113.7"))), expected);
        assert_eq!(
            counted(Source::of_gateway(Some("2001:db8:1:2:3:4:5:6"))),
            [([64, 0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 2], 1), ([48, 0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 0], 10),]
        );
    }

    #[test]
    fn loopback_is_of_the_gateway_alone() {
        for loopback in ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(counted(Source::of_gateway(Some(loopback))), [], "{loopback}");
            assert_eq!(counted(Source::of_text(loopback)).first().map(|counted| counted.1), Some(1), "{loopback}");
        }
        assert_eq!(counted(Source::of_text("[::1]:80")), counted(Source::of_text("::2")));
    }

    /// Whatever becomes of the port, the network is the right one.
    #[test]
    fn an_ipv6_address_may_have_a_port_without_brackets() {
        for (text, bracketed) in [
            ("1:2:3:4:5:6:7:8:80", "[1:2:3:4:5:6:7:8]:80"),
            ("2001:db8:1:2::1:46532", "[2001:db8:1:2::1]:46532"),
            ("2001:db8::1:443", "[2001:db8::1]:443"),
        ] {
            assert_eq!(counted(Source::of_text(text)), counted(Source::of_text(bracketed)), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_one_source() {
        for text in [
            "",
            " ",
            "test-invoke-source-ip",
            "203.0.113",
            "203.0.113.07",
            "1.2.3.4:",
            "1.2.3.4:70000",
            "[1.2.3.4",
            "fe80::1%eth0",
            "1:2:3:4:5:6:7:8:9:80",
            "2001:db8::1, 203.0.113.7",
            "\u{661}.2.3.4",
            "0x7f.1",
            "2130706433",
        ] {
            assert_eq!(counted(Source::of_text(text)), [UNKNOWN], "{text}");
            assert_eq!(counted(Source::of_gateway(Some(text))), [UNKNOWN], "{text}");
            assert_eq!(Source::of_text(text).address(), None);
        }
        assert_eq!(counted(Source::of_gateway(None)), [UNKNOWN]);
    }

    proptest! {
        #[test]
        fn no_text_is_without_a_limit(text in ".{0,60}") {
            prop_assert!(!counted(Source::of_text(&text)).is_empty());
        }

        #[test]
        fn nearly_addresses_are_not_without_one_either(text in "\\[?[0-9a-f:.]{0,45}\\]?(:[0-9]{0,6})?") {
            prop_assert!(!counted(Source::of_text(&text)).is_empty());
        }

        #[test]
        fn every_spelling_of_an_ipv4_address_is_the_same_source(bits: u32, port: u16) {
            let address = Ipv4Addr::from(bits);
            let mapped = address.to_ipv6_mapped();
            let expected = Source::of_text(&address.to_string());
            for text in [
                format!("{address}:{port}"),
                format!(" {address} "),
                format!("[{address}]"),
                mapped.to_string(),
                format!("[{mapped}]"),
                format!("[{mapped}]:{port}"),
            ] {
                prop_assert_eq!(Source::of_text(&text), expected, "{}", text);
            }
            prop_assert_eq!(expected.address(), Some(IpAddr::V4(address)));
        }

        #[test]
        fn every_spelling_of_an_ipv6_address_is_the_same_source(bits: u128, port: u16) {
            let address = Ipv6Addr::from(bits);
            prop_assume!(address.to_ipv4_mapped().is_none());
            let whole = address.segments().map(|segment| format!("{segment:04X}")).join(":");
            let expected = Source::of_text(&address.to_string());
            for text in [whole.clone(), format!("[{whole}]"), format!("[{address}]:{port}"), format!("[{whole}]:{port}")] {
                prop_assert_eq!(Source::of_text(&text), expected, "{}", text);
            }
            prop_assert_eq!(expected.address(), Some(IpAddr::V6(address)));
        }

        /// Two addresses share the counter of a network if their first bits are the same, and only then.
        #[test]
        fn ipv6_addresses_share_what_their_networks_say(one: u128, flipped in 0..128_u32) {
            prop_assume!(Ipv6Addr::from(one).to_ipv4_mapped().is_none());
            let other = Ipv6Addr::from(one ^ (1 << 127 >> flipped));
            prop_assume!(other.to_ipv4_mapped().is_none());
            let one = counted(Source::of_text(&Ipv6Addr::from(one).to_string()));
            let other = counted(Source::of_text(&other.to_string()));
            prop_assert_eq!(one[0] == other[0], flipped >= 64);
            prop_assert_eq!(one[1] == other[1], flipped >= 48);
            prop_assert_ne!(one[0].0, one[1].0);
        }

        #[test]
        fn an_ipv4_address_shares_its_counter_with_no_other(one: u32, other: u32) {
            prop_assume!(one != other);
            let source = |bits| counted(Source::of_text(&Ipv4Addr::from(bits).to_string()));
            prop_assert_ne!(source(one), source(other));
        }
    }
}
