//! The pages themselves: a listing, and the one that says that there is none. Identifiers and classes are Swift's, since
//! style sheets rest on them. Everything that a client chose is escaped.

use super::site::Site;
use crate::steps::tempurl::Link;
use martlet_protocol::percent;
use serde::Deserialize;
use std::fmt::Write;

/// One line of a container's JSON listing.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    Subdir {
        subdir: String,
    },
    Object {
        name: String,
        bytes: u64,
        content_type: String,
        last_modified: String,
    },
}

impl Entry {
    pub fn name(&self) -> &str {
        match self {
            Entry::Subdir { subdir } => subdir,
            Entry::Object { name, .. } => name,
        }
    }
}

/// A listing of what lies below `prefix`, which is empty or ends in a slash. With a temporary URL, the links carry on what
/// it grants.
pub fn listing(site: &Site, path: &str, prefix: &str, entries: &[Entry], link: Option<&Link>) -> String {
    let title = format!("Listing of {}", escape(&site.label(path)));
    let (query, granted) = match link.and_then(|link| Some((link, link.prefix.as_deref()?))) {
        Some((link, granted)) => (link_query(link, granted), granted),
        None => (String::new(), ""),
    };
    let mut page = head(site, &title, prefix, LISTING_STYLE);
    page.push_str(" <body>\n");
    // Writing to a string cannot fail.
    let _ = write!(
        page,
        "  <h1 id=\"title\">{title}</h1>\n  <table id=\"listing\">\n   <tr id=\"heading\">\n    \
         <th class=\"colname\">Name</th>\n    <th class=\"colsize\">Size</th>\n    \
         <th class=\"coldate\">Date</th>\n   </tr>\n"
    );
    if prefix.len() > granted.len() {
        let link = format!("<a href=\"../{query}\">../</a>");
        row(
            &mut page,
            "id=\"parent\" class=\"item\"",
            &link,
            "&nbsp;",
            "&nbsp;",
        );
    }
    let below = |name: &str| -> String { name.strip_prefix(prefix).unwrap_or(name).to_owned() };
    for entry in entries {
        if let Entry::Subdir { subdir } = entry {
            let link = anchor(&below(subdir), &query);
            row(&mut page, "class=\"item subdir\"", &link, "&nbsp;", "&nbsp;");
        }
    }
    for entry in entries {
        if let Entry::Object {
            name,
            bytes,
            content_type,
            last_modified,
        } = entry
        {
            let kinds = content_type
                .split('/')
                .map(|kind| format!(" type-{}", escape(&kind.to_lowercase())));
            let attributes = format!("class=\"item{}\"", kinds.collect::<String>());
            let date = last_modified.split('.').next().unwrap_or("").replace('T', " ");
            let link = anchor(&below(name), &query);
            row(
                &mut page,
                &attributes,
                &link,
                &human_readable(*bytes),
                &escape(&date),
            );
        }
    }
    page.push_str("  </table>\n </body>\n</html>\n");
    page
}

/// What stands where a listing would, when the owner wants none.
pub fn no_listing(site: &Site, path: &str, prefix: &str) -> String {
    let title = format!("Listing of {}", escape(&site.label(path)));
    let mut page = head(site, &title, prefix, REFUSAL_STYLE);
    page.push_str(
        " <body>\n  <h1>Web Listing Disabled</h1>\n  <p>This site shows no listings.</p>\n  \
         <p>Its owner can change that with the header X-Container-Meta-Web-Listings.</p>\n",
    );
    if !site.index.is_empty() {
        let _ = write!(
            page,
            "  <h1>Index File Not Found</h1>\n  <p>The header <b>X-Container-Meta-Web-Index: {}</b> names a file \
             that is not here.</p>\n",
            escape(&site.index)
        );
    }
    page.push_str(" </body>\n</html>\n");
    page
}

const LISTING_STYLE: &str = "   h1 {font-size: 1em; font-weight: bold;}\n   \
     th {text-align: left; padding: 0px 1em 0px 1em;}\n   td {padding: 0px 1em 0px 1em;}\n   \
     a {text-decoration: none;}\n";
const REFUSAL_STYLE: &str = "   h1 {font-size: 1em; font-weight: bold;}\n";

fn head(site: &Site, title: &str, prefix: &str, style: &str) -> String {
    let style = match site.css_link(prefix) {
        Some(link) => format!("  <link rel=\"stylesheet\" type=\"text/css\" href=\"{link}\" />\n"),
        None => format!("  <style type=\"text/css\">\n{style}  </style>\n"),
    };
    format!("<!DOCTYPE html>\n<html>\n <head>\n  <title>{title}</title>\n{style} </head>\n")
}

fn row(page: &mut String, attributes: &str, name: &str, size: &str, date: &str) {
    let _ = write!(
        page,
        "   <tr {attributes}>\n    <td class=\"colname\">{name}</td>\n    <td class=\"colsize\">{size}</td>\n    \
         <td class=\"coldate\">{date}</td>\n   </tr>\n"
    );
}

/// Dots are encoded so that a name of dots is no way up.
fn anchor(name: &str, query: &str) -> String {
    let href = percent::quote(name).replace('.', "%2E");
    format!("<a href=\"./{href}{query}\">{}</a>", escape(name))
}

fn link_query(link: &Link, prefix: &str) -> String {
    let mut query = format!(
        "?temp_url_prefix={}&amp;temp_url_expires={}&amp;temp_url_sig={}",
        percent::quote(prefix),
        percent::quote(&link.expires),
        link.signature
    );
    if let Some(range) = &link.ip_range {
        let _ = write!(query, "&amp;temp_url_ip_range={}", percent::quote(range));
    }
    if link.is_inline {
        query.push_str("&amp;inline");
    }
    query
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#x27;"),
            c => escaped.push(c),
        }
    }
    escaped
}

/// `1048576` as `1Mi`, rounded at every step as Swift does.
fn human_readable(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    let mut value = bytes;
    let mut unit = 0;
    while value >= 1024 && unit + 1 < UNITS.len() {
        let (whole, rest) = (value / 1024, value % 1024);
        // Halves go to the even number.
        let is_up = rest > 512 || (rest == 512 && whole % 2 == 1);
        value = whole + u64::from(is_up);
        unit += 1;
    }
    format!("{value}{}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::super::site::tests::site;
    use super::*;

    fn entries(json: &str) -> Vec<Entry> {
        serde_json::from_str(json).unwrap()
    }

    const ENTRIES: &str = r#"[
        {"name": "d/<b>.txt", "bytes": 2048, "content_type": "Text/Plain", "hash": "x", "last_modified": "2024-05-06T07:08:09.123450"},
        {"subdir": "d/e f/"}]"#;

    #[test]
    fn listings_show_subdirs_first_and_escape_names() {
        let page = listing(&site(&[]), "/v1/a/c&d/d/", "d/", &entries(ENTRIES), None);
        for part in [
            "<title>Listing of /v1/a/c&amp;d/d/</title>",
            "<style type=\"text/css\">",
            "<tr id=\"parent\" class=\"item\">",
            "<a href=\"../\">../</a>",
            "<tr class=\"item subdir\">",
            "<a href=\"./e%20f/\">e f/</a>",
            "<tr class=\"item type-text type-plain\">",
            "<a href=\"./%3Cb%3E%2Etxt\">&lt;b&gt;.txt</a>",
            "<td class=\"colsize\">2Ki</td>",
            "<td class=\"coldate\">2024-05-06 07:08:09</td>",
        ] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(page.find("item subdir") < page.find("type-text"));
        assert!(!page.contains("<link"));
        let root = listing(&site(&[("web-listings-css", "l.css")]), "/v1/a/c/", "", &[], None);
        assert!(root.contains("<link rel=\"stylesheet\" type=\"text/css\" href=\"l.css\" />"));
        assert!(!root.contains("<td") && !root.contains("<style"));
    }

    #[test]
    fn links_carry_on_what_a_temporary_url_grants() {
        let mut link = Link {
            prefix: Some("d/".into()),
            expires: "2024-12-31T00:00:00Z".into(),
            signature: "ab".into(),
            ip_range: None,
            is_inline: false,
        };
        let page = |link: &Link, prefix: &str| {
            listing(&site(&[]), "/v1/a/c/d/", prefix, &entries(ENTRIES), Some(link))
        };
        let shown = page(&link, "d/");
        let query = "?temp_url_prefix=d/&amp;temp_url_expires=2024-12-31T00%3A00%3A00Z&amp;temp_url_sig=ab";
        assert!(shown.contains(&format!("href=\"./e%20f/{query}\"")), "{shown}");
        assert!(!shown.contains("href=\".."), "the way up is not granted");
        assert!(page(&link, "d/e f/").contains(&format!("href=\"../{query}\"")));
        link.ip_range = Some("10.0.0.0/8".into());
        link.is_inline = true;
        let query = format!("{query}&amp;temp_url_ip_range=10.0.0.0/8&amp;inline\"");
        assert!(page(&link, "d/").contains(&query));
        link.prefix = None;
        assert!(page(&link, "d/").contains("href=\"./e%20f/\""));
    }

    #[test]
    fn no_listing_says_why() {
        let page = no_listing(&site(&[("web-index", "<i>")]), "/v1/a/c/", "");
        assert!(
            page.contains("Web Listing Disabled") && page.contains("X-Container-Meta-Web-Index: &lt;i&gt;")
        );
        let page = no_listing(&site(&[("web-listings-css", "l.css")]), "/v1/a/c/d/", "d/");
        assert!(page.contains("href=\"../l.css\"") && !page.contains("Index File Not Found"));
    }

    #[test]
    fn sizes_are_short() {
        for (bytes, expected) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1Ki"),
            (1535, "1Ki"),
            (1536, "2Ki"),
            (2560, "2Ki"),
            (3584, "4Ki"),
            (1_047_961, "1023Ki"),
            (1_048_576, "1Mi"),
            (1_073_741_824, "1Gi"),
            (u64::MAX, "16Ei"),
        ] {
            assert_eq!(human_readable(bytes), expected, "{bytes}");
        }
    }
}
