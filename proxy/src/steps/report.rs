//! Reports of requests that do many things at once, in the formats of Swift's bulk middleware.

use quick_xml::escape::escape;
use serde_json::{Map, Value, json};

/// Formats a client may ask for; the first is for those who do not say.
pub const OFFERS: [&str; 4] = ["text/plain", "application/json", "application/xml", "text/xml"];

/// What was done, and what failed: quoted names with their status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// In the order of their names, as every format shows them.
    pub fields: Vec<(String, Value)>,
    pub errors: Vec<(String, String)>,
}

impl Report {
    pub fn new<const N: usize>(fields: [(&str, Value); N], errors: Vec<(String, String)>) -> Self {
        let fields = fields.map(|(name, value)| (name.to_owned(), value)).into();
        Report { fields, errors }
    }

    /// The body of the report; `root` names its element in XML.
    pub fn write(&self, format: &str, root: &str) -> String {
        let mut fields = self.fields.clone();
        fields.sort_by(|(a, _), (b, _)| a.cmp(b));
        match format {
            "application/json" => {
                let mut map: Map<String, Value> = fields.into_iter().collect();
                map.insert("Errors".into(), json!(self.errors));
                Value::Object(map).to_string()
            }
            "application/xml" | "text/xml" => {
                let mut out = format!("<{root}>\n");
                for (name, value) in fields {
                    let tag = name.replace(' ', "_").to_lowercase();
                    out.push_str(&format!("<{tag}>{}</{tag}>\n", escape(plain(&value))));
                }
                out.push_str("<errors>\n");
                for (name, status) in &self.errors {
                    let (name, status) = (escape(name), escape(status));
                    out.push_str(&format!(
                        "<object><name>{name}</name><status>{status}</status></object>\n"
                    ));
                }
                out.push_str(&format!("</errors>\n</{root}>\n"));
                out
            }
            _ => {
                let mut out = String::new();
                for (name, value) in fields {
                    out.push_str(&format!("{name}: {}\n", plain(&value)));
                }
                out.push_str("Errors:\n");
                for (name, status) in &self.errors {
                    out.push_str(&format!("{name}, {status}\n"));
                }
                out
            }
        }
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format() {
        let report = Report::new(
            [
                ("Response Status", json!("400 Bad Request")),
                ("Number Deleted", json!(2)),
            ],
            vec![("/c/a%26b".into(), "Etag Mismatch <".into())],
        );
        assert_eq!(
            report.write("text/plain", "delete"),
            "Number Deleted: 2\nResponse Status: 400 Bad Request\nErrors:\n/c/a%26b, Etag Mismatch <\n"
        );
        assert_eq!(
            report.write("application/json", "delete"),
            r#"{"Errors":[["/c/a%26b","Etag Mismatch <"]],"Number Deleted":2,"Response Status":"400 Bad Request"}"#
        );
        assert_eq!(
            report.write("text/xml", "delete"),
            "<delete>\n<number_deleted>2</number_deleted>\n<response_status>400 Bad Request</response_status>\n<errors>\n\
             <object><name>/c/a%26b</name><status>Etag Mismatch &lt;</status></object>\n</errors>\n</delete>\n"
        );
    }
}
