"""Who lives in the cloud: the services' own users, and people of two projects."""


class Cast:
    """Makes everybody in Keystone. Names are ids to the stories: `cast.users["alice"]`, `cast.projects["demo"]`."""

    password = "what-everybody-here-uses"

    def __init__(self, keystone):
        self.keystone = keystone
        for role in ("swiftoperator", "ResellerAdmin", "service", "member"):
            keystone.role(role)
        self.users = {}
        # The role `service` lets a user check the tokens and S3 signatures of others, `admin` read EC2 secrets.
        self.add("swift", service=["service", "admin"])
        self.add("glance", service=["service", "admin"])
        self.add("cinder", service=["service", "admin"])
        # Owns an account, with the role that Swift's operators give for that.
        self.add("alice", demo=["member", "swiftoperator"])
        # In the project, but nobody's operator.
        self.add("bob", demo=["member"])
        # Operator of another project.
        self.add("carol", other=["member", "swiftoperator"])
        # May do everything everywhere.
        self.add("rita", demo=["ResellerAdmin"])
        self.projects = {name: keystone.project(name)["id"] for name in ("service", "demo", "other")}

    def add(self, name, **roles):
        self.users[name] = self.keystone.user(name, self.password, **roles)["id"]

    def token(self, user, project=None, url=None):
        """A fresh token of `user`, in `project` or unscoped; of the Keystone at `url` if one is given."""
        return self.keystone.token(user, self.password, project, url)

    def ec2(self, user, project):
        """A fresh pair of S3 keys."""
        return self.keystone.ec2_credentials(self.users[user], self.projects[project])
