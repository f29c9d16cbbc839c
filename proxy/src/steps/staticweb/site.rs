//! What a container says about being a web site (`X-Container-Meta-Web-*`).

use crate::context::is_true;
use crate::core::ContainerInfo;
use martlet_protocol::percent;

/// The settings of a site; an empty one is not set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Site {
    /// The object that is shown for a path that ends in a slash.
    pub index: String,
    /// What comes after the status in the names of error pages.
    pub error: String,
    listings: String,
    label: String,
    css: String,
    directory_type: String,
}

impl Site {
    pub fn of(info: &ContainerInfo) -> Self {
        let text = |name: &str| {
            info.metadata
                .get(name)
                .map_or("", |value| value.trim())
                .to_owned()
        };
        Site {
            index: text("web-index"),
            error: text("web-error"),
            listings: text("web-listings"),
            label: text("web-listings-label"),
            css: text("web-listings-css"),
            directory_type: text("web-directory-type"),
        }
    }

    /// Whether anything but objects may be shown. A container that only says no to listings is a site too.
    pub fn has_pages(&self) -> bool {
        !self.index.is_empty() || !self.listings.is_empty()
    }

    pub fn shows_listings(&self) -> bool {
        is_true(&self.listings)
    }

    /// The content type of objects that stand for directories.
    pub fn directory_type(&self) -> &str {
        match self.directory_type.as_str() {
            "" => "application/directory",
            own => own,
        }
    }

    /// How the page at a decoded path, `/v1/a/c/...`, names itself.
    pub fn label(&self, path: &str) -> String {
        match self.label.as_str() {
            "" => path.to_owned(),
            label => format!("{label}/{}", path.splitn(5, '/').nth(4).unwrap_or("")),
        }
    }

    /// The link to the style sheet from a listing of `prefix`, percent-encoded.
    pub fn css_link(&self, prefix: &str) -> Option<String> {
        if self.css.is_empty() {
            return None;
        }
        let is_absolute = ["/", "http://", "https://"]
            .iter()
            .any(|start| self.css.starts_with(start));
        let quoted = percent::quote(&self.css);
        Some(match is_absolute {
            true => quoted.replace("%3A", ":"),
            false => "../".repeat(prefix.matches('/').count()) + &quoted,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn site(pairs: &[(&str, &str)]) -> Site {
        let mut info = ContainerInfo::default();
        for (name, value) in pairs {
            info.metadata.insert(name.to_string(), value.to_string());
        }
        Site::of(&info)
    }

    #[test]
    fn settings_are_read_and_trimmed() {
        assert_eq!(site(&[("colour", "blue")]), Site::default());
        assert!(!Site::default().has_pages());
        let own = site(&[("web-index", " index.html "), ("web-listings", "off")]);
        assert_eq!(own.index, "index.html");
        assert!(own.has_pages() && !own.shows_listings());
        assert!(site(&[("web-listings", "True")]).shows_listings());
        assert_eq!(own.directory_type(), "application/directory");
        assert_eq!(
            site(&[("web-directory-type", "text/directory")]).directory_type(),
            "text/directory"
        );
    }

    #[test]
    fn labels_replace_the_container() {
        assert_eq!(site(&[]).label("/v1/a/c/d/"), "/v1/a/c/d/");
        let own = site(&[("web-listings-label", "example.com")]);
        assert_eq!(own.label("/v1/a/c/"), "example.com/");
        assert_eq!(own.label("/v1/a/c/d/e/"), "example.com/d/e/");
        assert_eq!(own.label("/v1/a/c"), "example.com/");
    }

    #[test]
    fn style_sheets_are_found_from_every_depth() {
        for (css, prefix, expected) in [
            ("", "", None),
            ("a b.css", "", Some("a%20b.css")),
            ("a.css", "d/e/", Some("../../a.css")),
            ("/a.css", "d/e/", Some("/a.css")),
            ("http://x.org/a.css", "d/", Some("http://x.org/a.css")),
            ("\" onload=\"x", "", Some("%22%20onload%3D%22x")),
        ] {
            let own = site(&[("web-listings-css", css)]);
            assert_eq!(own.css_link(prefix).as_deref(), expected, "{css} {prefix}");
        }
    }
}
