//! Which addresses a guest's request may go to.
//!
//! The internet's own, and no others: a host runs beside services that trust whoever is near
//! (databases, metadata of clouds, other plugins' hosts), and a name can be made to resolve to
//! any of them. IPv6 is a list of what is allowed, as most of it is not in use; an address that
//! has an IPv4 address inside is what that one is.
//!
//! The ranges are those of the IANA registries of special-purpose addresses (RFC 6890 and after).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What kind of address it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Anybody's on the internet.
    Public,
    /// Of this machine or its network: an operator may allow it for a name.
    Private,
    /// For nobody, whatever an operator says: among them the link-local addresses, where clouds
    /// hand out the machine's own credentials.
    Never,
}

pub(super) fn reach(address: IpAddr) -> Reach {
    match address {
        IpAddr::V4(address) => reach_v4(address),
        IpAddr::V6(address) => reach_v6(address),
    }
}

fn reach_v4(address: Ipv4Addr) -> Reach {
    match address.octets() {
        // Loopback; RFC 1918; addresses shared behind a carrier's translation.
        [127, ..] | [10, ..] | [192, 168, ..] => Reach::Private,
        [172, b, ..] if (16..32).contains(&b) => Reach::Private,
        [100, b, ..] if (64..128).contains(&b) => Reach::Private,
        // "This network"; link-local; protocol assignments; relays of 6to4.
        [0, ..] | [169, 254, ..] | [192, 0, 0, _] | [192, 88, 99, _] => Reach::Never,
        // Documentation.
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Reach::Never,
        // Measurements between networks.
        [198, 18 | 19, ..] => Reach::Never,
        // Multicast, reserved, broadcast.
        [224..=255, ..] => Reach::Never,
        _ => Reach::Public,
    }
}

fn reach_v6(address: Ipv6Addr) -> Reach {
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        reach_v4(Ipv4Addr::new(a, b, c, d))
    };
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Private,
        // Mapped, and the translation of networks that speak IPv6 alone (NAT64).
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            embedded(high, low)
        }
        // Unique local.
        [0xfc00..=0xfdff, ..] => Reach::Private,
        // Protocol assignments (Teredo is one), documentation, 6to4.
        [0x2001, 0..=0x01ff, ..] | [0x2001, 0x0db8, ..] | [0x2002, ..] => Reach::Never,
        [0x3fff, 0..=0x0fff, ..] => Reach::Never,
        // Global unicast, as far as it has been given out.
        [0x2000..=0x3fff, ..] => Reach::Public,
        _ => Reach::Never,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test")]

    use super::*;

    #[test]
    fn only_the_internets_own_are_public() {
        for (address, expected) in [
            ("1.1.1.1", Reach::Public),
            ("8.8.8.8", Reach::Public),
            ("172.15.255.255", Reach::Public),
            ("172.32.0.0", Reach::Public),
            ("100.63.255.255", Reach::Public),
            ("100.128.0.0", Reach::Public),
            ("198.17.255.255", Reach::Public),
            ("198.20.0.0", Reach::Public),
            ("223.255.255.255", Reach::Public),
            ("2606:4700::1111", Reach::Public),
            ("2001:4860:4860::8888", Reach::Public),
            ("64:ff9b::808:808", Reach::Public),
            ("::ffff:8.8.8.8", Reach::Public),
            ("127.0.0.1", Reach::Private),
            ("127.255.255.254", Reach::Private),
            ("10.0.0.1", Reach::Private),
            ("172.16.0.1", Reach::Private),
            ("172.31.255.255", Reach::Private),
            ("192.168.1.1", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("100.127.255.255", Reach::Private),
            ("::1", Reach::Private),
            ("fc00::1", Reach::Private),
            ("fd12:3456::1", Reach::Private),
            ("::ffff:7f00:1", Reach::Private),
            ("::ffff:10.0.0.1", Reach::Private),
            ("64:ff9b::7f00:1", Reach::Private),
            ("0.0.0.0", Reach::Never),
            ("0.1.2.3", Reach::Never),
            ("169.254.169.254", Reach::Never),
            ("192.0.0.192", Reach::Never),
            ("192.0.2.1", Reach::Never),
            ("192.88.99.1", Reach::Never),
            ("198.18.0.1", Reach::Never),
            ("198.19.255.255", Reach::Never),
            ("198.51.100.7", Reach::Never),
            ("203.0.113.7", Reach::Never),
            ("224.0.0.1", Reach::Never),
            ("239.255.255.250", Reach::Never),
            ("240.0.0.1", Reach::Never),
            ("255.255.255.255", Reach::Never),
            ("::", Reach::Never),
            ("::127.0.0.1", Reach::Never),
            ("::ffff:169.254.169.254", Reach::Never),
            ("64:ff9b::a9fe:a9fe", Reach::Never),
            ("64:ff9b:1::7f00:1", Reach::Never),
            ("100::1", Reach::Never),
            ("2001::1", Reach::Never),
            ("2001:db8::1", Reach::Never),
            ("2002:7f00:1::", Reach::Never),
            ("3fff::1", Reach::Never),
            ("4000::1", Reach::Never),
            ("5f00::1", Reach::Never),
            ("fe80::1", Reach::Never),
            ("fec0::1", Reach::Never),
            ("ff02::1", Reach::Never),
        ] {
            assert_eq!(reach(address.parse().unwrap()), expected, "{address}");
        }
    }
}
