//! The allow-list of Rightfoot's addresses, a second check beside the secret URL.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// The networks that may call. An empty list allows every address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(Vec<IpNet>);

/// The error for an element that is neither an address nor a CIDR block. Holds the element.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither an IP address nor a CIDR block")]
pub struct InvalidNetwork(String);

impl FromStr for AllowList {
    type Err = InvalidNetwork;

    /// Parses `203.0.113.0/24, 198.51.100.7`.
    fn from_str(list: &str) -> Result<Self, InvalidNetwork> {
        list.split(',')
            .map(str::trim)
            .filter(|element| !element.is_empty())
            .map(|element| {
                element
                    .parse::<IpNet>()
                    .or_else(|_| element.parse::<IpAddr>().map(IpNet::from))
                    .map_err(|_| InvalidNetwork(element.to_owned()))
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

impl AllowList {
    /// Returns `true` if a call from `source_ip` (the gateway's `sourceIp`, never a header) is allowed.
    pub fn permits(&self, source_ip: Option<&str>) -> bool {
        // `to_canonical`, because an IPv4 address may come as `::ffff:a.b.c.d`.
        self.0.is_empty()
            || source_ip
                .and_then(|ip| ip.parse::<IpAddr>().ok())
                .is_some_and(|ip| self.0.iter().any(|net| net.contains(&ip.to_canonical())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_allow_list_allows_all_and_an_error_names_the_element() {
        let list: AllowList = " 203.0.113.0/24, 198.51.100.7 ,2001:db8::/32,".parse().unwrap();
        for (ip, permitted) in [
            (Some("203.0.113.9"), true),
            (Some("198.51.100.7"), true),
            (Some("::ffff:198.51.100.7"), true),
            (Some("2001:db8::1"), true),
            (Some("198.51.100.8"), false),
            (Some("nonsense"), false),
            (None, false),
        ] {
            assert_eq!(list.permits(ip), permitted, "{ip:?}");
        }
        assert!(AllowList::default().permits(None));
        let wrong = "10.0.0.0/33".parse::<AllowList>().unwrap_err();
        assert_eq!(wrong.to_string(), r#""10.0.0.0/33" is neither an IP address nor a CIDR block"#);
    }
}
