//! Requests to the other cluster, signed as its proxies expect it.

use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue, Method, Uri};
use martlet_protocol::sync::{Destination, Signed};
use martlet_protocol::{header, percent};
use martlet_service::{Body, Request, headers};

/// Where the rows of one container go.
pub struct OtherEnd {
    pub to: Destination,
    /// The secret of the owner, which both containers have.
    pub user_key: String,
}

impl OtherEnd {
    /// A request about an object. The headers say its moment. `None`: its name makes no address.
    pub fn request(
        &self,
        method: Method,
        name: &str,
        query: Option<&str>,
        mut map: HeaderMap,
        body: Body,
    ) -> Option<Request> {
        let path = format!("{}/{}", self.to.path, percent::quote(name));
        self.sign(&method, &path, &mut map);
        map.insert(USER_AGENT, HeaderValue::from_static("container-sync"));
        let path_and_query = match query {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        let uri = Uri::builder()
            .scheme(self.to.scheme.as_str())
            .authority(self.to.authority.as_str())
            .path_and_query(path_and_query);
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = uri.build().ok()?;
        *request.headers_mut() = map;
        Some(request)
    }

    fn sign(&self, method: &Method, path: &str, map: &mut HeaderMap) {
        let Some((realm, key)) = &self.to.realm else {
            headers::set(map, "x-container-sync-key", &self.user_key);
            return;
        };
        let nonce = format!("{:032x}", rand::random::<u128>());
        let signed = Signed {
            method: method.as_str(),
            path,
            timestamp: headers::text(map, header::X_TIMESTAMP).unwrap_or("0"),
            nonce: &nonce,
            user_key: &self.user_key,
        };
        let signature = signed.signature(key);
        headers::set(
            map,
            "x-container-sync-auth",
            &format!("{realm} {nonce} {signature}"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(realm: Option<(String, String)>) -> OtherEnd {
        OtherEnd {
            to: Destination {
                scheme: "http".into(),
                authority: "there:80".into(),
                path: "/v1/AUTH_a/c%20d".into(),
                realm,
            },
            user_key: "users".into(),
        }
    }

    #[test]
    fn what_the_other_side_checks_is_signed() {
        let mut map = HeaderMap::new();
        headers::set(&mut map, header::X_TIMESTAMP, "1700000000.00000");
        let end = end(Some(("US".into(), "key".into())));
        let request = end
            .request(Method::PUT, "ä/b", Some("symlink=get"), map, Body::empty())
            .unwrap();
        assert_eq!(
            request.uri(),
            "http://there:80/v1/AUTH_a/c%20d/%C3%A4/b?symlink=get"
        );
        let auth = headers::text(request.headers(), "x-container-sync-auth").unwrap();
        let parts: Vec<&str> = auth.split(' ').collect();
        assert_eq!((parts.len(), parts[0], parts[1].len()), (3, "US", 32));
        let signed = Signed {
            method: "PUT",
            path: "/v1/AUTH_a/c%20d/%C3%A4/b",
            timestamp: "1700000000.00000",
            nonce: parts[1],
            user_key: "users",
        };
        assert_eq!(parts[2], signed.signature("key"));
        assert!(!request.headers().contains_key("x-container-sync-key"));
    }

    #[test]
    fn whole_addresses_get_the_owners_key() {
        let request = end(None).request(Method::HEAD, "o", None, HeaderMap::new(), Body::empty());
        let request = request.unwrap();
        assert_eq!(
            headers::text(request.headers(), "x-container-sync-key"),
            Some("users")
        );
        assert!(!request.headers().contains_key("x-container-sync-auth"));
    }
}
