//! Who may ask: the page itself, and programs on their own behalf. Not the pages of others, which a browser lets
//! send requests to this machine, by a name of theirs that leads here or from where they are.

use std::net::IpAddr;

use hyper::header::{HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::http::uri::Authority;

static SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
static MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
static DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");

/// Returns why a request is refused.
pub(super) fn refusal(
    headers: &HeaderMap,
    target: Option<&Authority>,
    names: &[String],
) -> Option<&'static str> {
    let Some(host) = single(headers, &HOST).and_then(authority) else {
        return Some("the request needs one Host\n");
    };
    if !is_known(&host, names) || target.is_some_and(|target| !is_known(target, names)) {
        return Some("this page is not known by that name: ask for it by its address\n");
    }
    if headers.contains_key(&ORIGIN) && !is_own_origin(headers, &host) {
        return Some("the page of another origin asks\n");
    }
    let site = headers.get(&SITE).map(|site| site.as_bytes());
    let is_own = matches!(site, None | Some(b"same-origin" | b"none"));
    let is = |name, value: &str| headers.get(name).is_some_and(|is| is == value);
    // To follow a link shows the page, not its content to the other.
    let follows_link = is(&MODE, "navigate") && is(&DEST, "document");
    (!is_own && !follows_link).then_some("the page of another site asks\n")
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values
        .next()
        .is_none()
        .then_some(value.to_str().ok())
        .flatten()
}

fn authority(host: &str) -> Option<Authority> {
    let authority: Authority = host.parse().ok()?;
    (!host.contains('@')).then_some(authority)
}

/// An address is no name, so that nobody else's name leads here.
fn is_known(authority: &Authority, names: &[String]) -> bool {
    let host = authority.host();
    let inside = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    inside.unwrap_or(host).parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

fn is_own_origin(headers: &HeaderMap, host: &Authority) -> bool {
    let origin = single(headers, &ORIGIN);
    let origin = origin.and_then(|origin| origin.split_once("://"));
    origin.is_some_and(|(scheme, origin)| {
        matches!(scheme, "http" | "https") && origin.eq_ignore_ascii_case(host.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refuses(pairs: &[(&str, &str)]) -> bool {
        let headers = pairs.iter().map(|(name, value)| {
            let name: HeaderName = name.parse().unwrap();
            (name, value.parse().unwrap())
        });
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value)| {
            map.append(name, value);
        });
        refusal(&map, None, &["pages.internal".to_owned()]).is_some()
    }

    #[test]
    fn answers_itself_and_programs() {
        for host in [
            "127.0.0.1:6060",
            "127.0.0.1",
            "LOCALHOST:1",
            "[::1]:6060",
            "192.168.0.7:80",
            "Pages.Internal:6060",
        ] {
            assert!(!refuses(&[("host", host)]), "{host}");
            let origin = format!("http://{host}");
            assert!(!refuses(&[("host", host), ("origin", &origin)]), "{host}");
        }
        let link = [
            ("host", "localhost"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert!(!refuses(&link));
    }

    #[test]
    fn refuses_the_pages_of_others() {
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:6060",
            "localhost@evil.example",
            "evil.example@localhost",
            "127.1",
            "2130706433",
            "local host",
            "[::1",
        ] {
            assert!(refuses(&[("host", host)]), "{host}");
        }
        assert!(refuses(&[]));
        assert!(refuses(&[("host", "localhost"), ("host", "localhost")]));
        for origin in [
            "null",
            "",
            "http://evil.example",
            "http://127.0.0.1:1",
            "http://127.0.0.1.evil.example:6060",
            "file://127.0.0.1:6060",
            "127.0.0.1:6060",
        ] {
            assert!(
                refuses(&[("host", "127.0.0.1:6060"), ("origin", origin)]),
                "{origin}"
            );
        }
        for site in ["cross-site", "same-site", "what"] {
            assert!(refuses(&[("host", "localhost"), ("sec-fetch-site", site)]));
            let framed = [
                ("host", "localhost"),
                ("sec-fetch-site", site),
                ("sec-fetch-mode", "navigate"),
                ("sec-fetch-dest", "iframe"),
            ];
            assert!(refuses(&framed));
        }
    }
}
