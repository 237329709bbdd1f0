//! Any header in front of what a trusted proxy adds.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};

use super::proxies::Proxies;
use crate::config::server::ServerConfig;

/// The client's own values, one a line; each proxy's word comes after them.
pub(crate) fn forwarded(data: &[u8]) {
    let (proxy, client) = ([10, 0, 0, 2].into(), [203, 0, 113, 7].into());
    for (header, word) in [("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=203.0.113.7;proto=http")] {
        let config = ServerConfig {
            trusted_proxies: vec!["10.0.0.0/8".to_owned()],
            forwarded_header: header.to_owned(),
            ..ServerConfig::default()
        };
        let proxies = Proxies::new(&config);
        let name = HeaderName::from_static(header);
        let values: Vec<&[u8]> = data.split(|byte| *byte == b'\n').collect();
        // A proxy adds a header of its own, or to the last one that is there.
        for joins in [false, true] {
            let mut headers = HeaderMap::new();
            for (index, value) in values.iter().enumerate() {
                let mut value = value.to_vec();
                if joins && index + 1 == values.len() {
                    value.extend_from_slice(b", ");
                    value.extend_from_slice(word.as_bytes());
                }
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    headers.append(name.clone(), value);
                } else if joins {
                    return;
                }
            }
            if !joins {
                headers.append(name.clone(), HeaderValue::from_static(word));
            }
            headers.append(HeaderName::from_static("x-forwarded-proto"), HeaderValue::from_static("http"));
            let source = proxies.source(proxy, false, &headers);
            // Whom the proxy saw, or the proxy itself where nothing is believed.
            assert!(source.address == client || source.address == proxy, "{source:?} {headers:?}");
            assert!(!source.https, "{headers:?}");
            // Of anybody else nothing is believed.
            assert_eq!(proxies.source(client, false, &headers).address, client);
        }
    }
}
