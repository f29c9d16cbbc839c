//! What a browser is to do with the bytes: save them under a name, or show them.

use martlet_protocol::percent;

/// The value of `Content-Disposition`: what the URL asks for, else what the object says, else its name.
pub fn value(is_inline: bool, filename: Option<&str>, of_object: Option<&str>, object: &str) -> String {
    match (is_inline, filename) {
        (true, None) => "inline".to_owned(),
        (true, Some(name)) => named("inline", name),
        (false, Some(name)) => named("attachment", name),
        (false, None) => of_object.map_or_else(|| named("attachment", base_name(object)), str::to_owned),
    }
}

fn base_name(object: &str) -> &str {
    let object = object.trim_end_matches('/');
    object.rsplit_once('/').map_or(object, |(_, name)| name)
}

/// The name twice, as RFC 6266 asks: quoted for old browsers, and in UTF-8.
fn named(kind: &str, name: &str) -> String {
    let encoded = percent::quote(name);
    // A percent sign of the name itself has become `%25`, so every `%20` is a space.
    let quoted = encoded.replace("%20", " ");
    format!("{kind}; filename=\"{quoted}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_then_the_object_then_its_name() {
        for (is_inline, filename, of_object, object, expected) in [
            (
                false,
                None,
                None,
                "dir/o",
                "attachment; filename=\"o\"; filename*=UTF-8''o",
            ),
            (
                false,
                None,
                None,
                "dir/o//",
                "attachment; filename=\"o\"; filename*=UTF-8''o",
            ),
            (
                false,
                None,
                None,
                "a\r\nb\"c",
                "attachment; filename=\"a%0D%0Ab%22c\"; filename*=UTF-8''a%0D%0Ab%22c",
            ),
            (false, None, Some("inline"), "o", "inline"),
            (
                false,
                Some("bob /k %20.txt"),
                Some("inline"),
                "o",
                "attachment; filename=\"bob /k %2520.txt\"; filename*=UTF-8''bob%20/k%20%2520.txt",
            ),
            (true, None, Some("attachment"), "o", "inline"),
            (
                true,
                Some("ü"),
                None,
                "o",
                "inline; filename=\"%C3%BC\"; filename*=UTF-8''%C3%BC",
            ),
        ] {
            assert_eq!(value(is_inline, filename, of_object, object), expected);
        }
    }
}
