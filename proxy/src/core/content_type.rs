//! Guesses a content type from an object's name, as Swift does (Python's `mimetypes`) when a client gives none.

/// What a name says, or `application/octet-stream`. A compressed file is named by what is inside, as in Swift.
pub fn guess(name: &str) -> &'static str {
    const UNKNOWN: &str = "application/octet-stream";
    let file = name.rsplit('/').next().unwrap_or(name);
    let Some((stem, extension)) = file.rsplit_once('.') else {
        return UNKNOWN;
    };
    if stem.is_empty() {
        return UNKNOWN;
    }
    match extension.to_ascii_lowercase().as_str() {
        "gz" | "z" | "bz2" | "xz" | "br" => stem.rsplit_once('.').and_then(|(_, inner)| of(inner)),
        "tgz" | "taz" | "tz" => Some("application/x-tar"),
        other => of(other),
    }
    .unwrap_or(UNKNOWN)
}

/// A content type without the size of a large object, which only listings read; `None`: it has none.
pub fn without_size(content_type: &str) -> Option<&str> {
    let (kind, last) = content_type.rsplit_once(';')?;
    last.trim_start().starts_with("swift_bytes=").then_some(kind)
}

fn of(extension: &str) -> Option<&'static str> {
    Some(match extension.to_ascii_lowercase().as_str() {
        "txt" | "c" | "h" | "bat" | "ksh" | "pl" | "srt" => "text/plain",
        "htm" | "html" => "text/html",
        "css" => "text/css",
        "csv" => "text/csv",
        "tsv" => "text/tab-separated-values",
        "xml" | "xsl" | "rdf" | "wsdl" => "text/xml",
        "vcf" => "text/x-vcard",
        "py" => "text/x-python",
        "md" => "text/markdown",
        "ics" => "text/calendar",
        "js" | "mjs" => "application/javascript",
        "json" => "application/json",
        "pdf" => "application/pdf",
        "zip" => "application/zip",
        "tar" => "application/x-tar",
        "sh" => "application/x-sh",
        "doc" | "dot" => "application/msword",
        "xls" => "application/vnd.ms-excel",
        "ppt" => "application/vnd.ms-powerpoint",
        "docx" => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xlsx" => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "pptx" => "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        "odt" => "application/vnd.oasis.opendocument.text",
        "ps" | "eps" | "ai" => "application/postscript",
        "swf" => "application/x-shockwave-flash",
        "wasm" => "application/wasm",
        "rtf" => "application/rtf",
        "7z" => "application/x-7z-compressed",
        "gif" => "image/gif",
        "jpg" | "jpeg" | "jpe" => "image/jpeg",
        "png" => "image/png",
        "svg" => "image/svg+xml",
        "tif" | "tiff" => "image/tiff",
        "ico" => "image/vnd.microsoft.icon",
        "bmp" => "image/bmp",
        "webp" => "image/webp",
        "mp3" | "mp2" => "audio/mpeg",
        "wav" => "audio/x-wav",
        "aif" | "aiff" | "aifc" => "audio/x-aiff",
        "ogg" => "audio/ogg",
        "flac" => "audio/flac",
        "mp4" | "m4v" => "video/mp4",
        "mpg" | "mpeg" | "mpe" => "video/mpeg",
        "mov" | "qt" => "video/quicktime",
        "avi" => "video/x-msvideo",
        "webm" => "video/webm",
        "mkv" => "video/x-matroska",
        "eml" | "mht" | "mhtml" => "message/rfc822",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_their_type() {
        for (name, expected) in [
            ("a/b.TXT", "text/plain"),
            ("photo.jpeg", "image/jpeg"),
            ("archive.tar.gz", "application/x-tar"),
            ("archive.tgz", "application/x-tar"),
            ("noextension", "application/octet-stream"),
            (".json", "application/octet-stream"),
            ("dir.d/file", "application/octet-stream"),
            ("what.xyzzy", "application/octet-stream"),
        ] {
            assert_eq!(guess(name), expected, "{name}");
        }
    }

    #[test]
    fn the_size_of_a_large_object_is_not_shown() {
        assert_eq!(without_size("a/b;swift_bytes=7"), Some("a/b"));
        assert_eq!(without_size("a/b; c=d; swift_bytes=7"), Some("a/b; c=d"));
        assert_eq!(without_size("a/b; c=d"), None);
        assert_eq!(without_size("a/b"), None);
    }
}
