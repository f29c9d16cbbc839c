//! Who a request was made by, after its token or signature was checked.

/// A user that a door (tempauth, an S3 signature) has proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `account:user` as the user logs in.
    pub user: String,
    /// The storage account that is the user's own, such as `AUTH_test`.
    pub account: String,
    /// What ACLs are matched against: `account`, `account:user`, and the groups the user was given.
    pub groups: Vec<String>,
    /// May do everything in every account.
    pub is_reseller_admin: bool,
    /// May read everything in every account.
    pub is_reseller_reader: bool,
}
