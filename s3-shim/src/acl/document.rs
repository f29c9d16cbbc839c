//! Lists as documents: `AccessControlPolicy`, both ways.

use super::headers::too_large;
use super::{Acl, Grant, Grantee, Permission};
use crate::errors::{Code, S3Error, S3Result};
use crate::xml::read::{Element, parse};
use crate::xml::write::Xml;

/// Reads what a client sends.
pub fn read(body: &[u8]) -> S3Result<Acl> {
    let malformed = || S3Error::from(Code::MalformedACLError);
    let root = parse(body).map_err(|_| malformed())?;
    if root.name != "AccessControlPolicy" {
        return Err(malformed());
    }
    let owner = root
        .child("Owner")
        .and_then(|owner| owner.child_text("ID"))
        .filter(|id| !id.is_empty())
        .ok_or_else(malformed)?;
    let list = root.child("AccessControlList").ok_or_else(malformed)?;
    let grants = list.all("Grant").map(grant).collect::<S3Result<_>>()?;
    let acl = Acl {
        owner: owner.to_owned(),
        grants,
    };
    if acl.can_be_stored() {
        Ok(acl)
    } else {
        Err(too_large())
    }
}

fn grant(element: &Element) -> S3Result<Grant> {
    let malformed = || S3Error::from(Code::MalformedACLError);
    let grantee = element.child("Grantee").ok_or_else(malformed)?;
    let permission = element
        .child_text("Permission")
        .and_then(Permission::parse)
        .ok_or_else(malformed)?;
    let grantee = match grantee.kind.as_deref() {
        Some("CanonicalUser") => {
            let id = grantee.child_text("ID").ok_or_else(malformed)?;
            Grantee::user(id).ok_or_else(|| S3Error::argument("id", id, "Invalid id"))?
        }
        Some("Group") => {
            let uri = grantee.child_text("URI").ok_or_else(malformed)?;
            Grantee::group(uri).ok_or_else(|| S3Error::argument("uri", uri, "Invalid group uri"))?
        }
        Some("AmazonCustomerByEmail") => {
            return Err(S3Error::new(
                Code::NotImplemented,
                "Grants to e-mail addresses are not implemented.",
            ));
        }
        _ => return Err(malformed()),
    };
    Ok(Grant { grantee, permission })
}

/// Writes it for a client.
pub fn write(acl: &Acl) -> String {
    let user = |xml: &mut Xml, id: &str| {
        xml.leaf("ID", id);
        xml.leaf("DisplayName", id);
    };
    Xml::document("AccessControlPolicy", |xml| {
        xml.within("Owner", |xml| user(xml, &acl.owner));
        xml.within("AccessControlList", |xml| {
            for grant in &acl.grants {
                xml.within("Grant", |xml| {
                    match &grant.grantee {
                        Grantee::User(id) => xml.typed("Grantee", "CanonicalUser", |xml| user(xml, id)),
                        group => xml.typed("Grantee", "Group", |xml| {
                            xml.leaf("URI", group.uri().unwrap_or_default());
                        }),
                    }
                    xml.leaf("Permission", grant.permission.as_str());
                });
            }
        });
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "<AccessControlPolicy><Owner><ID>a:b</ID></Owner><AccessControlList>";
    const TAIL: &str = "</AccessControlList></AccessControlPolicy>";

    fn one(grantee: &str, permission: &str) -> String {
        format!("{HEAD}<Grant>{grantee}<Permission>{permission}</Permission></Grant>{TAIL}")
    }

    #[test]
    fn documents_go_both_ways() {
        let acl = super::super::canned("public-read-write", "a:b", "a:b").unwrap();
        assert_eq!(read(write(&acl).as_bytes()).unwrap(), acl);
        let none = read(format!("{HEAD}{TAIL}").as_bytes()).unwrap();
        assert!(none.grants.is_empty() && none.owner == "a:b");
    }

    #[test]
    fn what_is_refused() {
        let user =
            |id: &str| format!("<Grantee xmlns:xsi=\"x\" xsi:type=\"CanonicalUser\"><ID>{id}</ID></Grantee>");
        let code = |text: &str| read(text.as_bytes()).unwrap_err().code;
        for bad in [
            "",
            "<Other/>",
            "<AccessControlPolicy/>",
            "<AccessControlPolicy><Owner/><AccessControlList/></AccessControlPolicy>",
            "<AccessControlPolicy><Owner><ID>a</ID></Owner></AccessControlPolicy>",
            &one(&user("a"), "FLY"),
            &one("<Grantee><ID>a</ID></Grantee>", "READ"),
            &one("<Grantee xsi:type=\"CanonicalUser\"/>", "READ"),
            &one("", "READ"),
        ] {
            assert_eq!(code(bad), Code::MalformedACLError, "{bad}");
        }
        assert_eq!(code(&one(&user("LogDelivery"), "READ")), Code::InvalidArgument);
        let group = "<Grantee xsi:type=\"Group\"><URI>http://nowhere</URI></Grantee>";
        assert_eq!(code(&one(group, "READ")), Code::InvalidArgument);
        let mail = "<Grantee xsi:type=\"AmazonCustomerByEmail\"><EmailAddress>a@b</EmailAddress></Grantee>";
        assert_eq!(code(&one(mail, "READ")), Code::NotImplemented);
    }
}
